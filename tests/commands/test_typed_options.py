"""The commands that fixes print are those typed: no option is lost, whatever the fix corrects."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from plansguard.training.options import MAX_TIME, PORTABLE, SAVE_EVERY, SAVE_LIMIT, read_options
from tests.rules.pg7_run.cascade_inputs_variants import as_fold_all
from tests.rules.pg7_run.results import FINAL, LATEST, STEPS, checkpoint, fold, step_checkpoint, validated
from tests.rules.pg7_run.schedule_variants import FOR_PRETRAINING, MIGRATED
from tests.rules.pg7_run.trainings import CT, READY
from tests.support import graphics
from tests.support.command import Done, run
from tests.support.data_folders import CASES, STAGES, preprocessed, trained
from tests.support.moves import GIVING, move
from tests.support.printed import commands
from tests.support.variants import Edit, place
from tests.support.weights import CHECKPOINT, WITH, weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.workspace(CT, GIVING, chdir=True),
    pytest.mark.skipif(os.name == "nt", reason="the program in place of nvidia-smi is a shell script"),
]

Words = tuple[str, ...]
#: Options of plansguard train and of the gate.
MEMORY: Words = ("--gpu-memory", "24.5")
DRY_RUN: Words = ("--dry-run",)
ACCEPTING: tuple[Words, ...] = (("--accept", "PG715"), ("--because", "a quota"))
SHARED: tuple[Words, ...] = (
    *(("--data", "headers"), DRY_RUN, ("--output", "json"), ("--fail-on", "warning"), ("--quiet",)),
    *(("--settings", "own.json"), MEMORY, *ACCEPTING),
)
#: Options of nnU-Net.
GPUS: Words = ("-num_gpus", "2")
CPU: Words = ("-device", "cpu")
FLAGS: tuple[Words, ...] = (("--npz",), ("--val_best",))
UNKNOWN: Words = ("--of_another_version",)
#: Options of plansguard train alone, and the part of a trainer's name that stands for the last of them.
TIME: Words = ("--max-time", "9m")
RUNNING: tuple[Words, ...] = (TIME, ("--save-every", "100"), ("--save-total-limit", "2"), ("--portable",))
SCHEDULE: tuple[Words, ...] = (("--per-epoch", "100"), ("--validation", "20"), ("--window-lr",), ("--warmup", "10"))
IN_NAME = ("_100per", "_20val", "_windowlr", "_warmup10")

FULLRES, CASCADE = ("2", "3d_fullres", "0"), ("2", "3d_cascade_fullres", "0")
SHORTER = "nnUNetTrainer_400steps"
EXTENSION = "nnUNetTrainer_900steps_from500"


class Fix(NamedTuple):
    """A fix with commands: the edits that lead to it, and the words of the training.

    ``steps`` is the number of steps; 0 for a trainer of epochs. ``free`` is True where no results fix the schedule.
    ``left_out`` are the options that the commands do not have.
    """

    code: str
    edits: Sequence[Edit]
    words: Words = FULLRES
    variables: Mapping[str, str] = {}
    steps: int = 500
    free: bool = False
    left_out: tuple[Words, ...] = ()


def _by_steps(workspace: Path, dataset: str) -> None:
    model = place(workspace, dataset, "results/nnUNetTrainer__nnUNetPlans__3d_lowres")
    model.rename(model.with_name(model.name.replace("nnUNetTrainer", STEPS)))


def _another_fold(workspace: Path, dataset: str) -> None:
    place(workspace, dataset, fold()).rename(place(workspace, dataset, fold()).with_name("fold_1"))


FIRST_STAGE = (*READY, *STAGES, preprocessed("nnUNetPlans_3d_lowres"))
FIXES = {
    "no GPU": Fix("PG714", READY, variables={"CUDA_VISIBLE_DEVICES": ""}, free=True, left_out=(MEMORY,)),
    "no process": Fix("PG740", READY, variables={"nnUNet_def_n_proc": "0"}, free=True),
    "the rate": Fix("PG731", (*READY, weights()), (*FULLRES, *WITH), free=True),
    "the rate of epochs": Fix("PG731", (*READY, weights()), (*FULLRES, *WITH), steps=0),
    "no weights": Fix("PG737", MIGRATED, (*FULLRES, "-p", "PretrainPlans"), free=True),
    "other plans": Fix("PG736", (*READY, move(), FOR_PRETRAINING), free=True),
    "finished": Fix("PG727", (*READY, step_checkpoint(FINAL, 500), validated(STEPS)), (*FULLRES, "--c")),
    "results": Fix("PG721", (*READY, step_checkpoint(LATEST, 250))),
    "finished results": Fix("PG721", (*READY, step_checkpoint(FINAL, 500))),
    "fewer steps": Fix("PG722", (*READY, step_checkpoint(FINAL, 400, trainer=SHORTER)), (*FULLRES, "--c")),
    "unfinished": Fix("PG722", (*READY, step_checkpoint(LATEST, 250, trainer=SHORTER)), (*FULLRES, "--c")),
    "the queue": Fix(
        *("PG733", (*READY, checkpoint(LATEST, 80), _another_fold), FULLRES),
        variables={"SLURM_JOB_END_TIME": "in ten minutes"},
        steps=0,
    ),
    "no first stage": Fix("PG518", FIRST_STAGE, CASCADE, left_out=(DRY_RUN,)),
    "no first stage of epochs": Fix("PG518", FIRST_STAGE, CASCADE, steps=0, left_out=(DRY_RUN,)),
    "the first stage saw all": Fix(
        *("PG743", (*READY, *STAGES, trained("3d_lowres", *CASES), as_fold_all, _by_steps), CASCADE),
        left_out=(DRY_RUN,),
    ),
}


@pytest.fixture(autouse=True)
def machine(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has two GPUs, and the pretraining is one of 1000 epochs."""
    weights(to=CHECKPOINT)(workspace, GIVING)
    graphics.install(workspace, graphics.ADA, graphics.ADA)
    monkeypatch.setenv("PATH", str(workspace / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    (workspace / "own.json").write_text("{}")


def typed(fix: Fix, program: str, device: Words) -> tuple[list[str], list[Words]]:
    """The command as words, and the options that must be in those of its fix."""
    kept = [option for option in (*SHARED, device, *FLAGS) if option not in fix.left_out]
    ours = [word for option in SHARED if option != MEMORY or MEMORY in kept for word in option]
    unknown = [option for option in [UNKNOWN] if option not in fix.left_out]
    theirs = [word for option in (device, *FLAGS) for word in option]
    if program == "gate":
        name = f"nnUNetTrainer_{fix.steps}steps{''.join(IN_NAME) if fix.free else ''}"
        theirs += ["-tr", name] if fix.steps else []
        return ["gate", *ours, "--", "nnUNetv2_train", *fix.words, *theirs, *UNKNOWN], [*kept, *unknown]
    more = [*RUNNING, *(SCHEDULE if fix.free else ())]
    steps = ["--steps", str(fix.steps), *(word for option in more for word in option)]
    return ["train", *fix.words, *ours, *steps, *theirs], [*kept, *more]


def printed(done: Done, code: str) -> list[list[str]]:
    """The trainings in the fix of the one finding of this rule."""
    assert done.code in (0, 1), done.err
    (found,) = [one for one in done.json["findings"] if one["code"] == code]
    chains = commands(found["fix"])
    return [words for chain in chains for words in chain if "gate" in words or "train" in words]


def missing(options: Sequence[Words], words: Sequence[str]) -> Iterator[Words]:
    """The options that are not in a command."""
    for option in options:
        places = range(len(words))
        if not any(tuple(words[at : at + len(option)]) == option for at in places):
            yield option


@pytest.mark.parametrize("device", [GPUS, CPU], ids=" ".join)
@pytest.mark.parametrize("program", ["gate", "train"])
@pytest.mark.parametrize("name", FIXES)
def test_no_option_is_lost(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, name: str, program: str, device: Words
) -> None:
    fix = FIXES[name]
    if (name, device) == ("no GPU", CPU) or (program == "train" and not fix.steps):
        pytest.skip("there is no such finding")
    for edit in fix.edits:
        edit(workspace, CT)
    for variable, value in fix.variables.items():
        monkeypatch.setenv(variable, value if variable[:5] != "SLURM" else str(int(time.time() + 600)))
    words, options = typed(fix, program, device)
    trainings = printed(run(*words), fix.code)
    assert trainings
    for training in trainings:
        # "in steps" is another program: the words that only nnU-Net of another version has are not for it
        wanted = [option for option in options if option != UNKNOWN or "gate" in training]
        assert [*missing(wanted, training)] == [], training
        assert ("--dry-run" in training) is (DRY_RUN in wanted)  # another training has to be made
        if fix.free and program == "gate":
            (trainer,) = (word for word in training if "steps" in word)
            assert [part for part in IN_NAME if part not in trainer] == []


@pytest.mark.parametrize(("flags", "continues"), [([], True), (["--c"], True), (["--val"], False)])
def test_an_extension_continues_unless_it_is_validated(workspace: Path, flags: list[str], continues: bool) -> None:
    """nnU-Net refuses --c together with --val."""
    for edit in (*READY, step_checkpoint(FINAL, 900, trainer="nnUNetTrainer_900steps_from500")):
        edit(workspace, CT)
    done = run("train", *FULLRES, "--steps", "500", "--extend-to", "900", "--data", "headers", "--dry-run", *flags)
    assert (done.code, done.err.rstrip().endswith("--c")) == (0, continues), done.err


@pytest.mark.parametrize(
    ("edits", "words", "code"),
    [
        ((step_checkpoint(FINAL, 900, trainer=EXTENSION), validated(EXTENSION)), (), "PG727"),
        ((step_checkpoint(FINAL, 900, trainer=EXTENSION),), WITH, "PG724"),
        ((), (), "PG722"),
    ],
)
def test_a_flag_that_was_not_typed_is_not_named(
    workspace: Path, edits: Sequence[Edit], words: Words, code: str
) -> None:
    """--extend-to continues without --c."""
    for edit in (*READY, weights(), *edits):
        edit(workspace, CT)
    extending = ("--steps", "500", "--extend-to", "900", "--data", "headers", "--dry-run", "--output", "json")
    found = {one["code"]: one for one in run("train", *FULLRES, *extending, *words).json["findings"]}
    assert "--c " not in f"{found[code]['message']} {found[code]['fix']} "


def test_an_extension_is_told_to_leave_the_weights_out(workspace: Path) -> None:
    """Its own folder of results is empty: what it continues is elsewhere."""
    for edit in (*READY, weights(), step_checkpoint(FINAL, 500, trainer="nnUNetTrainer_500steps")):
        edit(workspace, CT)
    extending = ("--steps", "500", "--extend-to", "900", "--data", "headers", "--dry-run", "--output", "json", *WITH)
    found = {one["code"]: one for one in run("train", *FULLRES, *extending).json["findings"]}
    assert found["PG724"]["message"] == "an extension and -pretrained_weights exclude each other"
    assert found["PG724"]["fix"].startswith("leave -pretrained_weights out: ")
    resumed = run("train", *FULLRES, *extending, "--resume", "auto").json["findings"]
    assert "PG724" not in {one["code"] for one in resumed}


def test_an_option_behind_the_command_is_moved_to_the_others() -> None:
    done = run(
        "gate", "--data", "headers", "--", "nnUNetv2_train", *FULLRES, "--dry-run", "--gpu-memory", "24", "--npz"
    )
    command = done.err.partition("put such options before --: ")[2].strip()
    words = "--data headers --dry-run --gpu-memory 24 -- nnUNetv2_train 2 3d_fullres 0 --npz"
    assert (done.code, command) == (2, f"plansguard gate {words}")


def test_an_assignment_is_moved_behind_the_options() -> None:
    done = run("gate", "--dry-run", "--", "nnUNet_compile=f", "nnUNetv2_train", *FULLRES)
    assert "write env: plansguard gate --dry-run -- env nnUNet_compile=f nnUNetv2_train 2 3d_fullres 0" in done.err


def test_the_model_that_is_there_is_predicted_with_the_same_options(workspace: Path) -> None:
    (workspace / "images").mkdir()
    words = ("nnUNetv2_predict", "-i", "images", "-o", "out", "-d", "1", "-c", "3d_fulres", "--disable_tta")
    done = run("gate", *(word for option in SHARED for word in option), "--", *words)
    (command,) = commands(done.err)[0]
    assert (done.code, [*missing([*SHARED, ("--disable_tta",)], command)]) == (2, [])


@pytest.mark.parametrize("options", [(), *((option,) for option in RUNNING), RUNNING])
def test_a_dry_run_shows_the_options_of_the_environment(options: Sequence[Words], workspace: Path) -> None:
    """Typed as shown, the command of nnU-Net is the same training."""
    for edit in READY:
        edit(workspace, CT)
    typed = [word for option in options for word in option]
    done = run("train", *FULLRES, "--steps", "900", "--data", "headers", *DRY_RUN, *typed)
    shown = done.err.partition('would run, after eval "$(plansguard env)": ')[2].split()
    variables = dict(word.split("=") for word in shown[: shown.index("nnUNetv2_train")])
    names = {
        "--max-time": MAX_TIME,
        "--save-every": SAVE_EVERY,
        "--save-total-limit": SAVE_LIMIT,
        "--portable": PORTABLE,
    }
    assert variables.keys() == {names[option[0]] for option in options}
    values = {names[option[0]]: option[1] if len(option) > 1 else "1" for option in options}
    assert read_options(variables) == read_options(values)
