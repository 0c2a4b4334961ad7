"""Rules that depend on more than files: a queue's time limit, a trainer's source, learning rates of any schedule."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plansguard.commands import train
from plansguard.core.report import Finding, Report
from plansguard.nnunet.workspace import Workspace
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.rules.pg7_run.resume import _planned
from plansguard.subjects.request import Reading
from plansguard.training.options import Options
from tests.rules.pg7_run.results import FINAL, LATEST, PACE, STEPS, STOCK, checkpoint, fold, step_checkpoint, validated
from tests.rules.pg7_run.trainings import CT, READY, TRAIN
from tests.support.nnunets import HEAD, install, write
from tests.support.training_records import training_values
from tests.support.variants import ROOTS
from tests.support.weights import WITH, weights

pytestmark = pytest.mark.workspace(CT, edits=READY)


def judged(*words: str, **options: Any) -> Report:
    """The report about ``nnUNetv2_train 2 3d_fullres 0`` with these words."""
    values = training_values([CT, *TRAIN, *words])
    run = train.prepare(Workspace.from_environment(), values, Reading("headers"))
    run.options = Options(**options)
    return train.judge(run, "gate", ActiveSettings())


def reported(code: str, *words: str, **options: Any) -> list[Finding]:
    """The findings of this rule about such a training."""
    return [one for one in judged(*words, **options).findings if one.code == code]


# --- Fixes


@pytest.mark.parametrize(
    ("trainer", "longer"),
    [
        ("nnUNetTrainer_500steps_lr1en3", "-tr nnUNetTrainer_1000steps_from500_lr1en3 -device cpu --c"),
        ("nnUNetTrainer_500steps_from200", "an extension is not extended again"),
    ],
)
def test_how_to_continue_a_finished_training(workspace: Path, trainer: str, longer: str) -> None:
    step_checkpoint(FINAL, 500, trainer=trainer)(workspace, CT)
    validated(trainer)(workspace, CT)
    (found,) = reported("PG727", "--c", "-tr", trainer)
    assert longer in found.fix


# --- Continuing


@pytest.mark.parametrize(
    "rates", [[0.01], [0.01, 0.01, 0.01], [0.01, 0.009, 0.0085]], ids=["one", "constant", "own schedule"]
)
def test_a_schedule_that_is_not_nnunets_is_no_gap(workspace: Path, rates: list[float]) -> None:
    """PG728 does not apply to it, and is not listed as a check that was not possible."""
    checkpoint(LATEST, len(rates), rates=rates)(workspace, CT)
    report = judged("--c")
    assert "PG728" not in {one.code for one in report.findings} | {one.code for one in report.not_checked}


# --- A queue


@pytest.mark.parametrize(
    ("trainer", "epochs", "options"),
    [
        (STOCK, 50, {}),
        (STEPS, 2, {"save_every": 0}),  # at its end alone
        (STEPS, 1, {"save_every": 250}),
        (STEPS, 2, {"save_every": 9000}),
    ],
)
def test_a_job_that_ends_before_the_next_checkpoint(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, trainer: str, epochs: int, options: dict[str, int]
) -> None:
    """The pace is that of the log, 60 s for each epoch of 250 steps."""
    (checkpoint(LATEST, 80) if trainer == STOCK else step_checkpoint(LATEST, 250, trainer=trainer))(workspace, CT)
    words = ("-tr", trainer, "--c")
    for share, expected in ((1.2, 0), (0.8, 1)):
        monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time() + epochs * PACE * share)))
        assert len(reported("PG733", *words, **options)) == expected
    if trainer == STEPS:
        assert reported("PG733", *words, **options, max_time=60) == []
    monkeypatch.delenv("SLURM_JOB_END_TIME")
    assert reported("PG733", *words, **options) == []


@pytest.mark.parametrize("end", ["soon", "-1", "9" * 400, "9" * 5000], ids=["word", "sign", "float", "int"])
def test_an_invalid_end_of_a_job(workspace: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    checkpoint(LATEST, 80)(workspace, CT)
    monkeypatch.setenv("SLURM_JOB_END_TIME", end)
    assert reported("PG733", "--c") == reported("PG000", "--c") == []


def test_the_pace_of_another_fold(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time() + 630)))
    assert reported("PG733") == []  # not known
    checkpoint(LATEST, 80)(workspace, CT)
    first = workspace / ROOTS["results"] / CT / fold().removeprefix("results/")
    first.rename(first.with_name("fold_1"))
    (found,) = reported("PG733")
    assert "ends in 10m" in found.message
    assert "due in 50m, by the pace of fold_1/checkpoint_latest.pth" in found.message


# --- Another process

HOLD = """
import sys
from pathlib import Path
from plansguard.training.folder_lock import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="there the lock file cannot be opened twice")
def test_a_training_in_progress(workspace: Path) -> None:
    folder = workspace / ROOTS["results"] / CT / fold().removeprefix("results/")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        (found,) = reported("PG739")
        assert f"process {other.pid} on " in found.message
        assert found.fix == "wait for it to end, or end it; then continue with --c"
        other.kill()
    assert reported("PG739") == []


# --- A trainer's source

_LATE = f"""{HEAD}class {{name}}(nnUNetTrainer):
    def {{method}}(self{{arguments}}):
        super().{{method}}({{passed}})
        self.num_epochs = 100
"""
_INIT = {"arguments": ", plans, configuration, fold, dataset_json, device", "method": "__init__"}
_INIT["passed"] = _INIT["arguments"].removeprefix(", ")


@pytest.fixture
def trainers(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of trainers of an nnU-Net."""
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    return install(workspace / "site", monkeypatch, nnunetv2="2.8.1") / "nnunetv2/training/nnUNetTrainer"


def test_a_number_of_epochs_that_comes_too_late(trainers: Path) -> None:
    late = _LATE.format(name="Late", method="on_train_start", arguments="", passed="")
    write(trainers, {"late.py": late, "timely.py": _LATE.format(name="Timely", **_INIT)})
    write(
        trainers,
        {"child.py": "from nnunetv2.training.nnUNetTrainer.late import Late\n\n\nclass Child(Late):\n    pass\n"},
    )
    for trainer in ("Late", "Child"):
        (found,) = reported("PG738", "-tr", trainer)
        assert "Late sets num_epochs in on_train_start" in found.message
        assert (Path(found.location.path).name, found.location.line) == ("late.py", 5)
    assert reported("PG738", "-tr", "Timely") == []
    assert reported("PG738") == []


def test_a_trainer_with_a_rate_of_its_own(trainers: Path, workspace: Path) -> None:
    """Its source contains the rate, so that a low one is not reported."""
    weights()(workspace, CT)
    words = (WITH[0], str(workspace / WITH[1]))
    for name, rate in (("Slow", 3e-4), ("Fast", 1e-1)):
        source = _LATE.format(name=name, **_INIT).replace("num_epochs = 100", f"initial_lr = {rate}")
        write(trainers, {f"{name}.py": source})
    assert reported("PG731", "-tr", "Slow", *words) == []
    assert reported("PG731", "-tr", "Slow_500steps", *words) == []
    (found,) = reported("PG731", "-tr", "Fast", *words)
    assert "would begin at 0.1, the learning rate" in found.message
    assert "nnUNetv2_train 2 3d_fullres 0 -tr Fast_250000steps_lr1en3 -device cpu -pretrained_weights" in found.fix


def test_the_epochs_of_a_trainer_of_ones_own(trainers: Path, workspace: Path) -> None:
    """Its source contains their number, so that a changed schedule is found."""
    write(trainers, {"timely.py": _LATE.format(name="Timely", **_INIT)})
    checkpoint(LATEST, 50, trainer="Timely")(workspace, CT)
    (found,) = reported("PG728", "-tr", "Timely", "--c")
    assert "1000 epochs were planned, Timely makes 100" in found.message
    assert "would jump from 0.0096 to 0.0054" in found.message


# --- Learning rates


def _logged(rates: list[float]) -> Any:
    return SimpleNamespace(path=LATEST, logging={"lrs": rates})


@given(epochs=st.integers(2, 20_000), done=st.integers(2, 20_000), initial=st.floats(1e-6, 1))
def test_the_number_of_epochs_from_the_rates(epochs: int, done: int, initial: float) -> None:
    assume(done <= epochs)
    rates = [initial * (1 - number / epochs) ** 0.9 for number in range(max(0, done - 5), done)]
    assert _planned(_logged([initial] * (done - len(rates)) + rates)) == epochs


@given(epochs=st.integers(20, 2000), share=st.floats(0.1, 0.9), falls=st.sampled_from(["cosine", "line", "step"]))
def test_no_number_of_epochs_from_other_schedules(epochs: int, share: float, falls: str) -> None:
    rates = {
        "cosine": [0.01 * (1 + math.cos(math.pi * number / epochs)) / 2 for number in range(epochs)],
        "line": [0.01 * (1 - number / epochs) for number in range(epochs)],
        "step": [0.01 * 0.1 ** (number // 30) for number in range(epochs)],
    }
    assert _planned(_logged(rates[falls][: max(3, int(share * epochs))])) is None


def test_rates_of_no_training() -> None:
    for rates in ([1e308, 1e-308], [math.inf, 0.01], [0.01, math.nan]):
        assert _planned(_logged(rates)) is None
