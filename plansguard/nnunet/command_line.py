"""nnU-Net's own command lines, read as nnU-Net reads them: which words are its command, and what they ask for.

Source: the entry points of nnU-Net 2.8.1 (run/run_training.py, experiment_planning/plan_and_preprocess_entrypoints.py,
experiment_planning/plans_for_pretraining/move_plans_between_datasets.py, inference/predict_from_raw_data.py). The
options are those of their parsers, and argparse reads them here as well, so that an abbreviation or a negative number
means the same.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, NamedTuple, NoReturn

from plansguard.core.errors import UsageError
from plansguard.core.text import nearest
from plansguard.nnunet import constants
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER, DEFAULT_TRAINER

TRAIN: Final = "nnUNetv2_train"
PREPROCESS: Final = "nnUNetv2_preprocess"
FINGERPRINT: Final = "nnUNetv2_extract_fingerprint"
PLAN: Final = "nnUNetv2_plan_experiment"
PLAN_AND_PREPROCESS: Final = "nnUNetv2_plan_and_preprocess"
MOVE: Final = "nnUNetv2_move_plans_between_datasets"
PREDICT: Final = "nnUNetv2_predict"
PREDICT_FROM_FOLDER: Final = "nnUNetv2_predict_from_modelfolder"

#: What preprocessing is for unless -c names something else.
DEFAULT_CONFIGURATIONS: Final = ("2d", "3d_fullres", "3d_lowres")
#: How all of nnU-Net's commands begin.
_PREFIX = "nnUNetv2_"
#: Modules of nnU-Net that are commands when they are run: ``python -m ...``, or as a file.
_MODULES: Final[Mapping[str, str]] = {
    "nnunetv2.run.run_training": TRAIN,
    "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints": PLAN_AND_PREPROCESS,
}
_FILES = {tuple(f"{module.replace('.', '/')}.py".split("/")): name for module, name in _MODULES.items()}
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_EXAMPLE = "plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p PretrainPlans"


@dataclass(frozen=True)
class CommandLine:
    """A command of nnU-Net, as it was typed.

    ``words`` are all of it. The first ``before`` of them start the command (``srun``, ``torchrun``, ``env``, and their
    options), and then comes the command itself, which nnU-Net calls ``name``.
    """

    words: tuple[str, ...]
    before: int
    name: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """What nnU-Net itself gets to read."""
        return self.words[self.before + 1 :]

    @property
    def assignments(self) -> dict[str, str]:
        """Environment variables that an ``env`` in front of the command sets for it."""
        launcher = self.words[: self.before]
        start = next((at for at, word in enumerate(launcher) if PurePath(word).name == "env"), self.before)
        matches = (_ASSIGNMENT.fullmatch(word) for word in launcher[start:])
        return {match[1]: match[2] for match in matches if match is not None}


class Parsed(NamedTuple):
    """The arguments under nnU-Net's own names for them; ``unknown`` are those that nnU-Net 2.8.1 does not have."""

    values: argparse.Namespace
    unknown: tuple[str, ...]


def command_line(words: Sequence[str]) -> CommandLine:
    """The words as a command of nnU-Net; UsageError where there is none in them, with what could be meant."""
    if not words:
        raise UsageError("no command is named", hint=_EXAMPLE)
    for word in words:
        if "\0" in word:
            raise UsageError("a word of the command holds a NUL character, which no program can be given")
    if _ASSIGNMENT.fullmatch(words[0]):
        raise UsageError(
            f"{words[0]} is for a shell, and none reads it here",
            hint=f"put it in front of plansguard, or write env: plansguard gate -- env {words[0]} ...",
        )
    found = [(at, name) for at, word in enumerate(words) if (name := _command(words, at, word)) is not None]
    # A word behind an option may be its value: srun --job-name nnUNetv2_train nnUNetv2_train ...
    sure = [(at, name) for at, name in found if at == 0 or not words[at - 1].startswith("-") or words[at] in _MODULES]
    for at, name in sure or found:
        return CommandLine(tuple(words), at, name)
    near = nearest(PurePath(words[0]).name, GRAMMARS)
    raise UsageError(
        f"there is no command of nnU-Net in: {' '.join(words[:4])}{' ...' if len(words) > 4 else ''}",
        hint=f"did you mean {near}?"
        if near
        else f"the gate takes the commands that begin with {_PREFIX}, also behind srun, torchrun, env or python -m",
    )


def _command(words: Sequence[str], at: int, word: str) -> str | None:
    """The command of nnU-Net that this word is, if it is one."""
    path = PurePath(word)
    name = path.name.removesuffix(".exe")
    if name.startswith(_PREFIX):
        return name
    if at and words[at - 1] in ("-m", "--module"):
        return _MODULES.get(word)
    return _FILES.get(path.parts[-3:])


def parsed(line: CommandLine) -> Parsed | None:
    """What the command is asked for; None where it is asked for help.

    Raises UsageError for what nnU-Net's own parser refuses. What that of 2.8.1 does not know, another one may: it is
    returned, and nothing is said about it.
    """
    return parse(line.name, line.arguments)


def parse(name: str, arguments: Sequence[str]) -> Parsed | None:
    """As ``parsed``, for the arguments of one of GRAMMARS."""
    parser = _Parser(name, add_help=False)
    parser.add_argument("-h", "--help", action=_Help, nargs=0, default=argparse.SUPPRESS)
    GRAMMARS[name](parser.add_argument)
    try:
        values, unknown = parser.parse_known_args(arguments)
        if name == TRAIN and any(not word.startswith("-") for word in unknown):
            # Of a value in front, argparse would make the dataset: -new 5 2 3d_fullres 0
            with suppress(UsageError):
                values, unknown = parser.parse_known_args(_without_values(arguments, unknown))
    except _AsksForHelp:
        return None
    return Parsed(values, tuple(unknown))


def _without_values(arguments: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """The arguments without the word behind each option that is not known."""
    options = {word for word in unknown if word.startswith("-")}
    kept = zip(["", *arguments], arguments, strict=False)
    return [word for before, word in kept if before not in options or word.startswith("-")]


# ---------------------------------------------------------------------------------------------------------------------
# Grammars
# ---------------------------------------------------------------------------------------------------------------------

_Add = Callable[..., Any]


class _Parser(argparse.ArgumentParser):
    """One that tells what is wrong in place of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", hint=f"{self.prog} -h shows how it is called")


class _AsksForHelp(Exception):
    """The command is asked for help: nothing will be done."""


class _Help(argparse.Action):
    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise _AsksForHelp


def _train(add: _Add) -> None:
    for name in ("dataset_name_or_id", "configuration", "fold"):
        add(name)
    add("-tr", default=DEFAULT_TRAINER)
    add("-p", default=DEFAULT_IDENTIFIER)
    add("-pretrained_weights")
    add("-num_gpus", type=int, default=1)
    _flags(add, "--npz", "--c", "--val", "--val_best", "--disable_checkpointing")
    add("-device", default="cuda")


def _preprocess(add: _Add) -> None:
    add("-d", nargs="+", type=int)
    add("-plans_name", default=DEFAULT_IDENTIFIER)
    _configurations(add)
    _logging(add)


def _fingerprint(add: _Add) -> None:
    add("-d", nargs="+", type=int)
    add("-fpe", default="DatasetFingerprintExtractor")
    add("-np", type=int)
    _flags(add, "--verify_dataset_integrity", "--clean")
    _logging(add)


def _plan(add: _Add) -> None:
    add("-d", nargs="+", type=int)
    _planner(add)


def _plan_and_preprocess(add: _Add) -> None:
    add("-d", nargs="+", type=int)
    add("-fpe", default="DatasetFingerprintExtractor")
    add("-npfp", type=int, default=8)
    _flags(add, "--verify_dataset_integrity", "--no_pp", "--clean")
    _planner(add)
    _configurations(add)
    _logging(add)


def _move(add: _Add) -> None:
    for name in ("-s", "-t", "-sp"):
        add(name, required=True)
    add("-tp")


def _predict(add: _Add) -> None:
    add("-d", required=True)
    add("-p", default=DEFAULT_IDENTIFIER)
    add("-tr", default=DEFAULT_TRAINER)
    add("-c", required=True)
    _flags(add, "--continue_prediction")
    add("-num_parts", type=int, default=1)
    add("-part_id", type=int, default=0)
    _prediction(add)


def _predict_from_folder(add: _Add) -> None:
    add("-m", required=True)
    add("--continue_prediction", "--c", action="store_true")
    _prediction(add)


def _prediction(add: _Add) -> None:
    """What both ways to predict have in common."""
    for name in ("-i", "-o"):
        add(name, required=True)
    add("-f", nargs="+", default=(0, 1, 2, 3, 4))
    add("-step_size", type=float, default=0.5)
    add("-chk", default=constants.CHECKPOINT_FINAL)
    for name in ("-npp", "-nps"):
        add(name, type=int, default=3)
    add("-prev_stage_predictions")
    add("-device", default="cuda")
    _flags(add, "--disable_tta", "--verbose", "--save_probabilities", "--disable_progress_bar", "--not_on_device")


def _planner(add: _Add) -> None:
    add("-pl", default="ExperimentPlanner")
    add("-gpu_memory_target", type=float)
    add("-preprocessor_name", default="DefaultPreprocessor")
    add("-overwrite_target_spacing", nargs="+")
    add("-overwrite_plans_name")


def _configurations(add: _Add) -> None:
    add("-c", nargs="+", default=list(DEFAULT_CONFIGURATIONS))
    add("-np", type=int, nargs="+")


def _logging(add: _Add) -> None:
    _flags(add, "--verbose", "--no_pbar")


def _flags(add: _Add, *names: str) -> None:
    for name in names:
        add(name, action="store_true")


GRAMMARS: Final[Mapping[str, Callable[[_Add], None]]] = {
    TRAIN: _train,
    PREPROCESS: _preprocess,
    FINGERPRINT: _fingerprint,
    PLAN: _plan,
    PLAN_AND_PREPROCESS: _plan_and_preprocess,
    MOVE: _move,
    PREDICT: _predict,
    PREDICT_FROM_FOLDER: _predict_from_folder,
}
"""The commands that there is something to judge about. Of all others of nnU-Net's the gate only says that."""
