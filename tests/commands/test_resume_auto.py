"""``plansguard train --resume auto``: the same command begins, continues or ends, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from plansguard.training.folder_lock import LOCK
from tests.rules.pg7_run.results import (
    FINAL,
    LATEST,
    STEPS,
    STOCK,
    checkpoint,
    fold,
    step_checkpoint,
    validated,
)
from tests.rules.pg7_run.resume_variants import other_batch
from tests.rules.pg7_run.trainings import CT, READY
from tests.support.command import Done, run
from tests.support.variants import Edit, place, truncate
from tests.support.weights import WITH, weights

pytestmark = pytest.mark.workspace(CT, edits=READY, chdir=True)

EXTENSION = "nnUNetTrainer_900steps_from500"
TRAINING = ("train", "2", "3d_fullres", "0", "-device", "cpu", "--steps", "500", "--data", "headers", "--dry-run")
AUTO = (*TRAINING, "--resume", "auto")
EXTENDING = ("--extend-to", "900")
#: A path that was typed for the first start, and is no longer there.
GONE = ("-pretrained_weights", "gone.pth")
LOG = "training_log_2026_11_30_12_00_00.txt"
HOLD = """
import sys
from pathlib import Path
from plansguard.training.folder_lock import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def left(name: str) -> Edit:
    """An incomplete file in the folder of results."""

    def edit(workspace: Path, dataset: str) -> None:
        path = place(workspace, dataset, f"{fold(STEPS)}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half of ")

    return edit


def typed(workspace: Path, edits: Sequence[Edit], *words: str) -> Done:
    for edit in edits:
        edit(workspace, CT)
    return run(*AUTO, *words)


@pytest.mark.parametrize("words", [(), WITH])
def test_without_a_checkpoint_it_begins(workspace: Path, words: tuple[str, ...]) -> None:
    """As the command without the option, with the weights that are typed."""
    done = typed(workspace, [weights()], *words)
    assert done.code == 0
    assert "plansguard: there is no checkpoint: a new training begins" in done.err
    assert done.err.endswith(run(*TRAINING, *words).err.splitlines()[-1] + "\n")


@pytest.mark.parametrize("complete", [False, True])
def test_what_a_killed_training_has_left(workspace: Path, complete: bool) -> None:
    """A checkpoint that was being written is none, whether there is an earlier one or not."""
    done = typed(workspace, [*[step_checkpoint(LATEST, 250)] * complete, *map(left, (f"{LATEST}.tmp", LOCK, LOG))])
    continued, begun = f"{LATEST} is continued, at step 250 of 500", "there is no checkpoint: a new training begins"
    assert (done.code, f"plansguard: {continued if complete else begun}\n" in done.err) == (0, True), done.err


@pytest.mark.skipif(os.name == "nt", reason="POSIX locks")
@pytest.mark.parametrize("edits", [[], [step_checkpoint(LATEST, 250)]], ids=["no-checkpoint-yet", "at-step-250"])
def test_a_training_in_progress_is_left_alone(workspace: Path, edits: list[Edit]) -> None:
    folder = place(workspace, CT, fold(STEPS))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        done = typed(workspace, edits, "--output", "json")
    assert done.code == 1
    fixes = {one["code"]: one["fix"] for one in done.json["findings"] if one["severity"] == "error"}
    assert fixes["PG739"] == "wait for it to end, or end it; then the same command continues"
    assert "would run" not in done.err


@pytest.mark.parametrize(
    ("edits", "words", "where"),
    [
        ([step_checkpoint(LATEST, 250)], (), "checkpoint_latest.pth is continued, at step 250 of 500"),
        ([step_checkpoint(LATEST, 250)], GONE, "at step 250 of 500; gone.pth is not read again"),
        ([step_checkpoint(LATEST, 250)], ("--from-scratch",), "at step 250 of 500"),
        (
            [step_checkpoint(FINAL, 500)],
            (),
            "checkpoint_final.pth has all 500 steps: only the final validation is left",
        ),
        (
            [step_checkpoint(LATEST, 500)],
            (),
            "has all 500 steps: the validation of the last window and the final one are left",
        ),
        ([step_checkpoint(FINAL, 500)], EXTENDING, "checkpoint_final.pth is continued, at step 500 of 900"),
        (
            [step_checkpoint(FINAL, 500), step_checkpoint(LATEST, 750, trainer=EXTENSION)],
            (*EXTENDING, *GONE),
            "checkpoint_latest.pth is continued, at step 750 of 900; gone.pth is not read again",
        ),
    ],
)
def test_a_checkpoint_is_continued(workspace: Path, edits: list[Edit], words: tuple[str, ...], where: str) -> None:
    """Also one whose final validation is still to be made."""
    done = typed(workspace, edits, *words)
    command = done.err.splitlines()[-1]
    assert (done.code, f"{where}\n" in done.err) == (0, True), done.out + done.err
    assert (command.endswith(" --c"), "-pretrained_weights" in command) == (True, False)


@pytest.mark.parametrize("screen", ["text", "json"])
@pytest.mark.parametrize("trainer", [STEPS, EXTENSION])
def test_a_finished_training_ends_with_0(workspace: Path, trainer: str, screen: str) -> None:
    """Whatever else is wrong now: plans that were edited later and weights that are gone do not matter any more."""
    done_steps = 500 if trainer == STEPS else 900
    words = [*GONE, *(EXTENDING if trainer == EXTENSION else ())]
    edits = [step_checkpoint(FINAL, done_steps, trainer=trainer, change=other_batch), validated(trainer)]
    done = typed(workspace, edits, *words, "--output", screen)
    assert (done.code, done.err) == (0, "plansguard: this training is finished; nothing was started\n")
    if screen == "json":
        assert [(one["code"], one["severity"]) for one in done.json["findings"]] == [("PG727", "info")]
    else:
        assert "nothing is left to train" in done.out
        assert "to validate once more: plansguard train" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("edits", "words", "code"),
    [
        pytest.param([step_checkpoint(LATEST, 250), truncate(f"{fold(STEPS)}/{LATEST}", 900)], (), "PG726", id="torn"),
        pytest.param([step_checkpoint(LATEST, 250, change=other_batch)], (), "PG729", id="other plans"),
        pytest.param([step_checkpoint(LATEST, 250, of=1)], (), "PG730", id="other cases"),
        pytest.param([step_checkpoint(LATEST, 250, by=f"{STOCK}_80steps")], (), "PG728", id="another trainer"),
        pytest.param(
            [step_checkpoint(FINAL, 500, by=f"{STOCK}_80steps"), validated(STEPS)], (), "PG728", id="not its own end"
        ),
        pytest.param([checkpoint(LATEST, 50, trainer=STEPS)], (), "PG726", id="a trainer of epochs"),
        pytest.param([], EXTENDING, "PG722", id="nothing to extend"),
        pytest.param([step_checkpoint(LATEST, 250)], EXTENDING, "PG722", id="not finished yet"),
    ],
)
def test_what_cannot_be_continued_is_refused(
    workspace: Path, edits: list[Edit], words: tuple[str, ...], code: str
) -> None:
    """It never begins from scratch beside a checkpoint."""
    done = typed(workspace, edits, *words, "--output", "json")
    assert done.code in (1, 2)
    assert code in {one["code"] for one in done.json["findings"] if one["severity"] == "error"}
    assert "would run" not in done.err


@pytest.mark.parametrize("other", ["--c", "--val"])
def test_it_decides_alone(other: str) -> None:
    done = run(*AUTO, other)
    assert (done.code, done.out) == (2, "")
    assert f"--resume auto and {other} exclude each other" in done.err


def test_fixes_repeat_it_where_it_applies(workspace: Path) -> None:
    """A longer training is typed with it, a validation without it, and neither with --c."""
    done = typed(workspace, [step_checkpoint(FINAL, 500), validated(STEPS)], "--output", "json")
    (fix,) = (one["fix"] for one in done.json["findings"])
    longer, validation = fix.split("; to validate once more: ")
    assert ("--resume auto" in longer, "--extend-to 1000" in longer, "--c" in longer.split()) == (True, True, False)
    assert ("--resume" in validation, validation.endswith("--val")) == (False, True)
