"""Parsers of nnU-Net's command lines.

Source: the entry points of nnU-Net 2.8.1 (run/run_training.py, experiment_planning/plan_and_preprocess_entrypoints.py,
experiment_planning/plans_for_pretraining/move_plans_between_datasets.py, inference/predict_from_raw_data.py). The
options are those of their parsers, and argparse parses them here too, so that an abbreviation or a negative number
has the same meaning.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final, NamedTuple, NoReturn

from plansguard.core.errors import UsageError
from plansguard.core.text import nearest
from plansguard.nnunet import constants
from plansguard.nnunet.constants import (
    DEFAULT_IDENTIFIER,
    DEFAULT_TRAINER,
    FINGERPRINT,
    MOVE,
    PLAN,
    PLAN_AND_PREPROCESS,
    PREDICT,
    PREDICT_FROM_FOLDER,
    PREPROCESS,
    TRAIN,
)
from plansguard.nnunet.printed_commands import CONFIGURATION, DATASET, FOLD, gate, train

#: The configurations that are preprocessed without -c.
DEFAULT_CONFIGURATIONS: Final = ("2d", "3d_fullres", "3d_lowres")
#: Processes that preprocess without -np, and those of all other configurations. Source: preprocess_entry in
#: experiment_planning/plan_and_preprocess_entrypoints.py.
PROCESSES_OF: Final[Mapping[str, int]] = {"2d": 8, "3d_fullres": 4, "3d_lowres": 8}
OTHER_PROCESSES: Final = 4
#: The beginning of the names of all nnU-Net commands.
_PREFIX = "nnUNetv2_"
#: Modules of nnU-Net that are commands: with ``python -m``, or as a file.
_MODULES: Final[Mapping[str, str]] = {
    "nnunetv2.run.run_training": TRAIN,
    "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints": PLAN_AND_PREPROCESS,
}
_FILES = {tuple(f"{module.replace('.', '/')}.py".split("/")): name for module, name in _MODULES.items()}
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class CommandLine:
    """A command of nnU-Net as typed.

    ``words`` are all its words. The first ``before`` of them are launchers (``srun``, ``torchrun``, ``env``) and their
    options; the next one is the command, whose name is ``name``.
    """

    words: tuple[str, ...]
    before: int
    name: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words that nnU-Net parses."""
        return self.words[self.before + 1 :]

    @property
    def assignments(self) -> dict[str, str]:
        """Environment variables that an ``env`` before the command sets for it."""
        launcher = self.words[: self.before]
        start = next((at for at, word in enumerate(launcher) if PurePath(word).name == "env"), self.before)
        matches = (_ASSIGNMENT.fullmatch(word) for word in launcher[start:])
        return {match[1]: match[2] for match in matches if match is not None}

    def with_options(self, options: Mapping[str, Sequence[str]]) -> list[str]:
        """The words with these options and their values, in place of those that are typed."""
        kept, drops = [*self.words[: self.before + 1]], False
        for word in self.arguments:
            drops = word.partition("=")[0] in options or (drops and not word.startswith("-"))
            kept += [] if drops else [word]
        return [*kept, *(word for option, values in options.items() for word in (option, *values))]


class Parsed(NamedTuple):
    """The arguments under nnU-Net's own names; ``unknown`` are those that nnU-Net 2.8.1 does not have."""

    values: argparse.Namespace
    unknown: tuple[str, ...]


def command_line(words: Sequence[str], options: Sequence[str] = ()) -> CommandLine:
    """The command of nnU-Net in these words; UsageError with a suggestion where there is none.

    ``options`` are those of the gate, for the suggestion.
    """
    if not words:
        raise UsageError("no command is named", hint=train(DATASET, CONFIGURATION, FOLD))
    for word in words:
        if "\0" in word:
            raise UsageError(
                "a word of the command has a NUL character, which no program can receive", hint="type it without"
            )
    if _ASSIGNMENT.fullmatch(words[0]):
        raise UsageError(
            f"{words[0]} is an assignment for a shell, and no shell reads it here",
            hint=f"put it before plansguard, or write env: {gate(['env', *words], options)}",
        )
    commands = [(at, name) for at in range(len(words)) if (name := _command(words, at)) is not None]
    # A word after an option may be its value: srun --job-name nnUNetv2_train nnUNetv2_train ...
    certain = [(at, name) for at, name in commands if not at or words[at - 1][:1] != "-" or words[at] in _MODULES]
    for at, name in certain or commands:
        return CommandLine(tuple(words), at, name)
    near = nearest(PurePath(words[0]).name, GRAMMARS)
    raise UsageError(
        f"no command of nnU-Net in: {' '.join(words[:4])}{' ...' if len(words) > 4 else ''}",
        hint=f"did you mean {near}?"
        if near
        else f"the gate accepts the commands that begin with {_PREFIX}, also after srun, torchrun, env or python -m",
    )


def _command(words: Sequence[str], at: int) -> str | None:
    """The name of the nnU-Net command that the word at this index is; None where it is none."""
    word, path = words[at], PurePath(words[at])
    name = path.name.removesuffix(".exe")
    if name.startswith(_PREFIX):
        return name
    if at and words[at - 1] in ("-m", "--module"):
        return _MODULES.get(word)
    return _FILES.get(path.parts[-3:])


def parse(name: str, arguments: Sequence[str]) -> Parsed | None:
    """The arguments of a command in GRAMMARS; None where it is called for help.

    Raises UsageError for what nnU-Net's own parser refuses. Arguments that 2.8.1 does not have are returned, because
    another version may have them.
    """
    parser = _Parser(name, add_help=False)
    parser.add_argument("-h", "--help", action=_Help, nargs=0, default=argparse.SUPPRESS)
    for names, options in GRAMMARS[name].items():
        parser.add_argument(*names.split(), **options)
    try:
        values, unknown = parser.parse_known_args(arguments)
        if name == TRAIN and any(not word.startswith("-") for word in unknown):
            # argparse would use the value of an unknown option as the dataset: -new 5 2 3d_fullres 0
            with suppress(UsageError):
                values, unknown = parser.parse_known_args(_without_values(arguments, unknown))
    except _HelpRequested:
        return None
    return Parsed(values, tuple(unknown))


def _without_values(arguments: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """The arguments without the word after each unknown option."""
    options = {word for word in unknown if word.startswith("-")}
    kept = zip(["", *arguments], arguments, strict=False)
    return [word for before, word in kept if before not in options or word.startswith("-")]


# --- Grammars


class _Parser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", hint=f"{self.prog} -h shows its arguments")


class _HelpRequested(Exception):
    """The arguments contain -h."""


class _Help(argparse.Action):
    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise _HelpRequested


_Grammar = dict[str, dict[str, Any]]
"""Names of an argument, separated by spaces -> the options of ``add_argument``."""


def _flags(*names: str) -> _Grammar:
    return {name: {"action": "store_true"} for name in names}


_DATASETS: _Grammar = {"-d": {"nargs": "+", "type": int}}
_EXTRACTOR: _Grammar = {
    "-fpe": {"default": "DatasetFingerprintExtractor"},
    **_flags("--verify_dataset_integrity", "--clean"),
}
_PLANNER: _Grammar = {
    "-pl": {"default": "ExperimentPlanner"},
    "-gpu_memory_target": {"type": float},
    "-preprocessor_name": {"default": "DefaultPreprocessor"},
    "-overwrite_target_spacing": {"nargs": "+"},
    "-overwrite_plans_name": {},
}
_CONFIGURATIONS: _Grammar = {
    "-c": {"nargs": "+", "default": list(DEFAULT_CONFIGURATIONS)},
    "-np": {"nargs": "+", "type": int},
}
_LOGGING = _flags("--verbose", "--no_pbar")
_PREDICTION: _Grammar = {
    "-i": {"required": True},
    "-o": {"required": True},
    "-f": {"nargs": "+", "default": (0, 1, 2, 3, 4)},
    "-step_size": {"type": float, "default": 0.5},
    "-chk": {"default": constants.CHECKPOINT_FINAL},
    "-npp": {"type": int, "default": 3},
    "-nps": {"type": int, "default": 3},
    "-prev_stage_predictions": {},
    "-device": {"default": "cuda"},
    **_flags("--disable_tta", "--verbose", "--save_probabilities", "--disable_progress_bar", "--not_on_device"),
}
GRAMMARS: Final[Mapping[str, _Grammar]] = {
    TRAIN: {
        "dataset_name_or_id": {},
        "configuration": {},
        "fold": {},
        "-tr": {"default": DEFAULT_TRAINER},
        "-p": {"default": DEFAULT_IDENTIFIER},
        "-pretrained_weights": {},
        "-num_gpus": {"type": int, "default": 1},
        "-device": {"default": "cuda"},
        **_flags("--npz", "--c", "--val", "--val_best", "--disable_checkpointing"),
    },
    PREPROCESS: {**_DATASETS, "-plans_name": {"default": DEFAULT_IDENTIFIER}, **_CONFIGURATIONS, **_LOGGING},
    FINGERPRINT: {**_DATASETS, **_EXTRACTOR, "-np": {"type": int}, **_LOGGING},
    PLAN: {**_DATASETS, **_PLANNER},
    PLAN_AND_PREPROCESS: {
        **_DATASETS,
        **_EXTRACTOR,
        "-npfp": {"type": int, "default": 8},
        **_flags("--no_pp"),
        **_PLANNER,
        **_CONFIGURATIONS,
        **_LOGGING,
    },
    MOVE: {"-s": {"required": True}, "-t": {"required": True}, "-sp": {"required": True}, "-tp": {}},
    PREDICT: {
        "-d": {"required": True},
        "-p": {"default": DEFAULT_IDENTIFIER},
        "-tr": {"default": DEFAULT_TRAINER},
        "-c": {"required": True},
        "-num_parts": {"type": int, "default": 1},
        "-part_id": {"type": int, "default": 0},
        **_flags("--continue_prediction"),
        **_PREDICTION,
    },
    PREDICT_FROM_FOLDER: {"-m": {"required": True}, **_flags("--continue_prediction --c"), **_PREDICTION},
}
"""The commands that the gate checks, with their arguments. For all others it only reports that."""
