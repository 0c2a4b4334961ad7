"""Progress: on a terminal after a second, in a log once a minute, and never on standard output."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest

from plansguard import check
from plansguard.cli.check import Depth, pool_of
from plansguard.cli.progress_bar import ProgressLine
from tests.conftest import ROOT
from tests.support.command import Done, run
from tests.support.terminals import terminal
from tests.support.training_records import leave
from tests.support.variants import place

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"

#: Run a command. `plansguard doctor` imports torchvision in another process, which takes five seconds of a processor.
PROGRAM = """
import sys
from plansguard.cli import main
from plansguard.nnunet.install import packages
packages.import_error = lambda module: None
sys.argv = ["plansguard", *sys.argv[1:]]
main()
"""
#: The same; one function takes ``seconds`` longer, and progress begins after a twentieth of one.
SLOW = """
import sys, time
from importlib import import_module
from plansguard.cli import progress_bar
name, seconds = sys.argv[1], float(sys.argv[2])
module, _, function = name.partition(":")
module = import_module(module)
original = getattr(module, function)
def slow(*values, **named):
    time.sleep(seconds)
    return original(*values, **named)
setattr(module, function, slow)
progress_bar._DELAY = 0.05
progress_bar._IN_LOG = 0.1
del sys.argv[1:3]
"""

pytestmark = pytest.mark.workspace(CT, OTHER_CT, chdir=True)


class Screen(io.StringIO):
    """A terminal that only knows carriage returns and line feeds."""

    def __init__(self, *, on_terminal: bool = True) -> None:
        super().__init__()
        self.on_terminal = on_terminal

    def isatty(self) -> bool:
        return self.on_terminal

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without spaces at the end of lines."""
        return shown(self.getvalue())


def shown(written: str) -> list[str]:
    """The lines on a screen to which this was written."""
    lines = []
    for row in written.replace("\r\n", "\n").split("\n"):
        line: list[str] = []
        for part in row.split("\r"):
            line[: len(part)] = part
        lines.append("".join(line).rstrip())
    return lines


@pytest.fixture
def clock() -> Iterator[list[float]]:
    """The time of `ProgressLine.report`, which a test sets."""
    now = [0.0]
    with patch.object(time, "monotonic", lambda: now[0]):
        yield now


def test_a_line_on_a_terminal_after_one_second(clock: list[float]) -> None:
    screen = Screen()
    line = ProgressLine("reading model.zip", screen, 0)
    line.tick(0.9)
    assert screen.getvalue() == ""
    line.tick(1.1)
    assert screen.lines == ["reading model.zip: 1 s"]
    clock[0] = 2
    line.cases(0, 20_000)
    clock[0] = 10
    line.cases(1_200, 20_000)
    line.tick(10)
    assert screen.lines == ["reading cases: 1,200 of 20,000 [#                   ] 2 min left"]
    line.cases(20_000, 20_000)
    line.tick(130)
    assert screen.lines == ["reading cases: 20,000 of 20,000 [####################] 0 s left"]
    line.clear()
    assert screen.lines == [""]


def test_nothing_is_written_by_short_work() -> None:
    screen = Screen()
    line = ProgressLine("reading", screen, 0)
    for tenth in range(10):
        line.cases(tenth, 10)
        line.tick(tenth / 10)
    line.clear()
    assert screen.getvalue() == ""


def test_one_line_a_minute_in_a_log(clock: list[float]) -> None:
    log = Screen(on_terminal=False)
    line = ProgressLine("judging the training", log, 0)
    for second in range(241):
        clock[0] = second
        if second >= 90:
            line.cases((second - 90) * 100, 20_000)
        line.tick(second)
    line.clear()
    assert log.getvalue().splitlines() == [
        "judging the training: 60 s",
        "reading cases: 3,000 of 20,000",
        "reading cases: 9,000 of 20,000",
        "reading cases: 15,000 of 20,000",
    ]


def test_what_is_counted_inside_another_count(clock: list[float]) -> None:
    log = Screen(on_terminal=False)
    line = ProgressLine("looking", log, 0)

    def text(now: float) -> str:
        line.tick(now)
        return log.getvalue().splitlines()[-1]

    line.report("checking datasets", 3, 40)
    line.cases(100, 2_000)
    assert text(60) == "checking datasets: 3 of 40, reading cases: 100 of 2,000"
    line.cases(2_000, 2_000)
    assert text(120) == "checking datasets: 3 of 40"
    line.report("checking datasets", 4, 40)
    assert text(180) == "checking datasets: 4 of 40"
    line.report("checking datasets", 0, 1)  # one of one tells nothing
    assert text(240) == "looking: 4 min"


def test_workers_count_the_cases_that_they_read() -> None:
    log = Screen(on_terminal=False)
    line = ProgressLine("looking", log, 0)
    pool = pool_of(Depth.HEADERS, None, line)
    assert pool is not None
    results = pool.run(len, range(40), 10)
    assert next(results) == 10
    line.tick(60)
    assert log.getvalue() == "reading cases: 10 of 40\n"
    results.close()


def test_a_line_is_cut_to_the_terminal() -> None:
    screen = Screen()
    line = ProgressLine("reading \x1b[31m" + "x" * 200, screen, 0)
    line.tick(2)
    assert len(screen.lines[0]) == 79
    assert "\x1b" not in screen.getvalue()
    line.clear()
    assert screen.lines == [""]


def test_a_terminal_that_is_gone_does_not_end_the_work() -> None:
    screen = Screen()
    line = ProgressLine("reading", screen, 0)
    screen.close()
    line._on_terminal = True
    line.tick(2)
    line.clear()


CHECKPOINT = "nnUNet_results/Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
PLANS = "nnUNet_preprocessed/Dataset002_FinetuneCT/nnUNetPlans.json"
#: Arguments, the function that takes long, and what is shown meanwhile.
COMMANDS: dict[str, tuple[Sequence[str], str, str]] = {
    "verify-receipt": (
        ["verify-receipt", "nnUNet_results"],
        "plansguard.records.verify:verify",
        "verifying trainings: 1 of 2",
    ),
    "check": (["check", "-d", "2"], "plansguard.commands.check:run_rules", "looking for documents: "),
    "check-of-datasets": (
        ["check", "-d", "1", "-d", "2"],
        "plansguard.commands.check:_dataset_named",
        "reading datasets: 1 of 2",
    ),
    "check-of-folders": (["check"], "plansguard.subjects.discovery:dataset_in", "checking folders: 1 of "),
    "fit": (["fit", CHECKPOINT, "--all"], "plansguard.commands.fit:dataset_of", "reading datasets: 1 of 2"),
    "show": (
        ["show", CHECKPOINT],
        "plansguard.artefacts.checkpoint.trained_model:read_checkpoint",
        f"reading {CHECKPOINT}: ",
    ),
    "extract": (
        ["extract", CHECKPOINT],
        "plansguard.artefacts.checkpoint.trained_model:read_checkpoint",
        f"reading {CHECKPOINT}: ",
    ),
    "diff": (["diff", PLANS, PLANS], "plansguard.documents.git_revisions:read", "comparing the plans: "),
    "migrate": (
        ["migrate", "-s", "1", "-t", "2", "-tp", "New"],
        "plansguard.migration.plan:run_rules",
        "judging the migration: ",
    ),
    "gate": (
        ["gate", "--dry-run", "--", "nnUNetv2_train", "2", "2d", "0"],
        "plansguard.commands.train:run_rules",
        "judging the command: ",
    ),
    "train": (
        ["train", "2", "2d", "0", "--steps", "500", "--dry-run"],
        "plansguard.commands.train:run_rules",
        "judging the training: ",
    ),
    "doctor": (["doctor"], "plansguard.commands.doctor:run_rules", "checking this machine: "),
    "preprocess": (
        ["preprocess", "-d", "2", "-c", "2d", "--dry-run"],
        "plansguard.commands.preprocess:listing",
        "listing cases: ",
    ),
}


def slowed(case: str, seconds: float) -> list[str]:
    arguments, function, _ = COMMANDS[case]
    return [sys.executable, "-c", SLOW + PROGRAM, function, str(seconds), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
@pytest.mark.parametrize("case", COMMANDS)
def test_every_command_shows_progress_on_a_terminal(case: str, workspace: Path, tmp_path: Path) -> None:
    """And standard output is the same as without a terminal."""
    if case == "preprocess":
        pytest.importorskip("nnunetv2")
    if case == "verify-receipt":
        leave(workspace)
        leave(workspace, fold="1")
    if case == "doctor":  # shows what limits this machine, which tests hide in this process
        command = [sys.executable, "-c", PROGRAM, *COMMANDS[case][0]]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
        expected = Done(done.returncode, done.stdout, done.stderr)
    else:
        expected = run(*COMMANDS[case][0])
    if case == "migrate":
        place(workspace, OTHER_CT, "preprocessed/New.json").unlink()
        place(workspace, OTHER_CT, "preprocessed/New.plansguard.json").unlink()
    output = tmp_path / "output"
    with output.open("wb") as file, terminal(slowed(case, 0.6), environment(), stdout=file) as screen:
        assert screen.wait() == expected.code, screen.text
    assert COMMANDS[case][2] in screen.text
    # A terminal has narrower lines.
    assert " ".join(shown(screen.text)).split() == expected.err.split()
    assert output.read_text(encoding="utf-8") == expected.out


@pytest.mark.slow
@pytest.mark.usefixtures("workspace")
def test_a_log_has_lines() -> None:
    done = subprocess.run(slowed("check", 0.6), env=environment(), capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert len(lines) >= 2
    assert set(lines) <= {"looking for documents: 0 s", "looking for documents: 1 s"}
    assert "looking" not in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("workspace")
def test_an_interrupt_leaves_a_clean_line() -> None:
    with terminal(slowed("check", 60), environment()) as screen:
        assert screen.shows(["looking for documents"], 60)
        screen.type("\x03")
        assert screen.wait() == 130
    assert [line for line in shown(screen.text) if line] == []


@pytest.mark.usefixtures("workspace")
def test_the_library_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    """But reports to a caller who wants to know."""
    counts: list[tuple[str, int, int]] = []
    check(datasets=["1", "2"])
    check(datasets=["1", "2"], progress=lambda *count: counts.append(count))
    assert capfd.readouterr() == ("", "")
    assert ("checking datasets", 1, 2) in counts
    assert counts[-1] == ("checking datasets", 2, 2)
