"""``plansguard preprocess``: what it reports before, what it runs, and what it leaves, also when it is killed.

These tests run a stand-in for nnU-Net's command (tests/support/standin.py), which fails and hangs on demand.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.core.atomic_files import occupied
from plansguard.core.errors import WriteRefused
from plansguard.core.report import Severity
from plansguard.nnunet import runtime
from tests.support import standin
from tests.support.command import run
from tests.support.preprocessing import (
    NAMES,
    both,
    codes,
    contents,
    edited,
    posix_only,
    preprocess,
    process,
    record_of,
    wait_for,
)
from tests.support.preprocessing_records import CT, FOLDER, KWARGS, MEAN, RECORD
from tests.support.variants import PLANS, RESENC, ROOTS, Edit, drop, place, put, remove, rewrite

#: Nearly all of them start processes.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, folder="workspace")]


@pytest.fixture(autouse=True)
def stand_in(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for nnU-Net's command."""
    program = standin.install(tmp_path)
    monkeypatch.setattr(runtime, "command", lambda name: str(program))
    monkeypatch.setenv(standin.LOG, str(tmp_path / "log"))


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], list[str]]:
    """The lines that the stand-in logged."""

    def lines() -> list[str]:
        path = tmp_path / "log"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    return lines


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set what the stand-in does."""
    return lambda words: monkeypatch.setenv(standin.STEPS, words)


Log = Callable[[], list[str]]
Steps = Callable[[str], None]


# --- What it does


def test_both_configurations(workspace: Path, log: Log) -> None:
    done = both()
    assert log() == [f"run -d 2 -plans_name nnUNetPlans -c {name}" for name in ("3d_fullres", "2d")]
    assert done.out.count("does not exist yet: nothing will be lost") == 2
    assert "also read by 3d_fullres of nnUNetResEncUNetMPlans: the same preprocessing" in done.out
    assert "running nnUNetv2_preprocess -d 2 -plans_name nnUNetPlans -c 3d_fullres\n" in done.out
    check, train = "plansguard check -d 2 -p nnUNetPlans\n", "plansguard gate -- nnUNetv2_train 2 3d_fullres 0"
    assert f"{check}  {train} -p nnUNetPlans\n" in done.out
    for name in NAMES:
        assert record_of(workspace, name)["files"]["cases"] == 5
    assert codes() == []


def test_the_preprocessing_record(workspace: Path) -> None:
    both()
    value = record_of(workspace)
    assert (value["plans"], value["configuration"], value["data_identifier"]) == ("nnUNetPlans", "3d_fullres", FOLDER)
    assert value["input"]["spacing"] == [1.5, 1.2000000476837158, 1.2000000476837158]
    assert value["input"]["mean of channel 0"] == 79.87077331542969
    assert value["dataset_json"]["labels"] == {"background": 0, "kidney": 1}
    assert value["began"] <= value["finished"]
    assert value["before"] is None
    folder = place(workspace, CT, f"preprocessed/{FOLDER}")
    assert {path.suffix for path in folder.iterdir()} == {".b2nd", ".pkl"}  # nothing of ours: nnU-Net would refuse it


def test_an_edit_is_found_until_it_is_preprocessed(workspace: Path) -> None:
    edited(workspace, remove(RESENC))
    both()
    edited(workspace, put(PLANS, MEAN, 79.0))
    assert codes() == ["PG540", "PG540"]
    preprocess("-c", "3d_fullres", "--yes")
    [finding] = check(datasets=[CT]).findings
    assert finding.values["identifier"] == "nnUNetPlans_2d"
    preprocess("-c", "2d", "--yes")
    assert codes() == []


def test_what_is_passed_on(workspace: Path, log: Log) -> None:
    done = preprocess("-plans_name", "nnUNetResEncUNetMPlans", "-c", "2d", "-c", "3d_fullres", "2d", "-np", "3")
    assert done.code == 0
    assert log() == [f"run -d 2 -plans_name nnUNetResEncUNetMPlans -c {name} -np 3" for name in ("2d", "3d_fullres")]


def test_one_folder_is_filled_once(workspace: Path, log: Log) -> None:
    """A child, as a cascade stage is one, reads its parent's data."""
    edited(workspace, put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}))
    done = preprocess("-p", "nnUNetPlans", "-c", "3d_fullres", "3d_bs4")
    assert (done.code, len(log())) == (0, 1)
    assert "also read by 3d_bs4 of nnUNetPlans: the same preprocessing" in done.out


def test_the_only_plans_need_no_name(workspace: Path, log: Log) -> None:
    edited(workspace, remove(PLANS))
    assert preprocess("-c", "2d").code == 0
    assert "-plans_name nnUNetResEncUNetMPlans" in log()[0]


def test_cases_that_dataset_json_lists(workspace: Path, log: Log) -> None:
    images = {"fine_000": {"images": ["imagesTr/fine_000_0000.nii.gz"], "label": "labelsTr/fine_000.nii.gz"}}
    edited(workspace, *(put(f"{root}/dataset.json", "/dataset", images) for root in ("raw", "preprocessed")))
    assert "plans nnUNetPlans: 1 case\n" in preprocess("-c", "2d", "--dry-run").out


# --- Again


def test_complete_data_are_not_made_again(workspace: Path, log: Log) -> None:
    both()
    again = preprocess("-p", "nnUNetPlans", "-c", "3d_fullres", "2d", "--resume", "auto")
    assert (again.code, len(log())) == (0, 2)
    assert "the data are complete: nothing to do" in again.out


def test_what_an_interruption_left_is_made_again_without_a_question(workspace: Path, log: Log, steps: Steps) -> None:
    """The other configuration is complete, and stays."""
    preprocess("-p", "nnUNetPlans", "-c", "2d")
    steps("fail")
    assert preprocess("-p", "nnUNetPlans", "-c", "3d_fullres").code == 4
    steps("")
    again = preprocess("-p", "nnUNetPlans", "-c", "2d", "3d_fullres", "--resume", "auto")
    assert again.code == 0, again.err
    assert log()[-1] == "run -d 2 -plans_name nnUNetPlans -c 3d_fullres"
    assert record_of(workspace)["files"]["cases"] == 5


def test_data_of_edited_plans_are_made_again_after_a_yes(workspace: Path, log: Log) -> None:
    edited(workspace, remove(RESENC))
    both()
    edited(workspace, put(PLANS, MEAN, 79.0))
    words = ("-p", "nnUNetPlans", "-c", "3d_fullres", "--resume", "auto")
    refused = preprocess(*words)
    assert (refused.code, len(log())) == (2, 2)
    assert "add --yes if that is meant" in refused.err
    assert preprocess(*words, "--yes").code == 0
    assert len(log()) == 3


# --- Before anything is deleted


def test_a_dry_run_writes_nothing(workspace: Path, log: Log) -> None:
    both()
    before, runs = contents(workspace), log()
    done = preprocess("-c", "3d_fullres", "--dry-run")
    assert done.code == 0
    assert "nnU-Net deletes it first: 5 complete cases, " in done.out
    assert "would run nnUNetv2_preprocess -d 2 -plans_name nnUNetPlans -c 3d_fullres\n" in done.out
    assert (contents(workspace), log()) == (before, runs)


def test_no_terminal_to_ask_on(workspace: Path, log: Log) -> None:
    both()
    before, runs = contents(workspace), log()
    done = preprocess("-c", "3d_fullres")
    assert done.code == 2
    assert "there is no terminal to ask on\n  add --yes" in done.err
    assert (contents(workspace), log()) == (before, runs)


@posix_only
def test_a_link_that_leads_nowhere_hides_no_data(workspace: Path, log: Log) -> None:
    both()
    folder = place(workspace, CT, f"preprocessed/{FOLDER}")
    (folder / "old.b2nd").symlink_to(folder / "nothing")
    (folder / "circle.pkl").symlink_to("circle.pkl")
    before, runs = contents(workspace), log()
    done = preprocess("-c", "3d_fullres")
    assert "nnU-Net deletes it first: 5 complete cases, " in done.out
    assert (done.code, "there is no terminal to ask on" in done.err) == (2, True)
    assert (contents(workspace), log()) == (before, runs)


@posix_only
@pytest.mark.parametrize(("answer", "code", "runs"), [(b"n\n", 1, 2), (b"y\n", 0, 3)])
def test_asks_on_a_terminal(workspace: Path, log: Log, answer: bytes, code: int, runs: int) -> None:
    both()
    terminal, own_end = os.openpty()
    os.write(terminal, answer)
    with process("-c", "3d_fullres", stdin=own_end) as running:
        assert running.wait(60) == code
    os.close(own_end)
    os.close(terminal)
    assert len(log()) == runs


#: Sets the title of a terminal; unlike colours, nothing takes it out of a pipe.
TITLE = "\x1b]0;mine\x07"

WRONG: dict[str, tuple[tuple[Edit, ...], tuple[str, ...], str]] = {
    "unknown-configuration": ((), ("-c", "3d_fulres"), "did you mean 3d_fullres? nnUNetPlans has 2d, 3d_fullres"),
    "one-unknown-among-others": ((), ("-c", "2d", "3d_lowres"), "there is no configuration 3d_lowres"),
    "no-configuration": ((), (), "no configuration is named"),
    "unknown-plans": ((), ("-p", "nnUNetPlan", "-c", "2d"), "did you mean nnUNetPlans?"),
    "broken-plans": ((rewrite(PLANS, lambda text: text[:50]),), ("-p", "nnUNetPlans", "-c", "2d"), "nnUNetPlans.json:"),
    "no-raw-dataset": ((remove("raw"),), ("-c", "2d"), "nnU-Net needs nnUNet_raw"),
    "no-images": ((remove("raw/imagesTr"),), ("-c", "2d"), "has no imagesTr"),
    "other-images": ((put("preprocessed/dataset.json", "/file_ending", ".nrrd"),), ("-c", "2d"), "ends in .nrrd"),
    "no-dataset-json": ((remove("preprocessed/dataset.json"),), ("-c", "2d"), "there is no dataset.json"),
    "no-data-identifier": ((drop(PLANS, "/configurations/2d/data_identifier"),), ("-c", "2d"), "has no data_ident"),
    "wrong-type": (
        (put(PLANS, "/configurations/2d/resampling_fn_data_kwargs", "x"),),
        ("-p", "nnUNetPlans", "-c", "2d"),
        "see PG005)\n  correct what plansguard check reports",
    ),
    "the-whole-dataset": ((put(PLANS, "/configurations/2d/data_identifier", "."),), ("-c", "2d"), "would delete"),
    "another-dataset": (
        (put(PLANS, "/configurations/2d/data_identifier", "../Dataset001_PretrainCT"),),
        ("-c", "2d"),
        "would delete",
    ),
    "control-characters": (
        (put(PLANS, "/configurations/2d/data_identifier", f"a{TITLE}"),),
        ("-c", "2d"),
        r"2d has the data_identifier 'a\x1b]0;mine\x07': nnU-Net would delete what it names",
    ),
    "two-that-differ-in-one-folder": (
        (put(PLANS, "/configurations/2d/data_identifier", FOLDER),),
        ("-c", "2d", "3d_fullres", "--accept-shared"),
        "cannot both be preprocessed into nnUNetPlans_3d_fullres",
    ),
}


def test_names_do_not_steer_the_terminal(workspace: Path) -> None:
    edited(workspace, put(PLANS, f"/configurations/a{TITLE}", {"inherits_from": "3d_fullres", "batch_size": 4}))
    done = preprocess("-p", "nnUNetPlans", "-c", "3d_fullres", "--dry-run")
    assert r"also read by a\x1b]0;mine\x07 of nnUNetPlans: the same" in done.out
    assert "\x1b" not in done.out
    done = preprocess("-p", "nnUNetPlans", "-c", f"a{TITLE}")
    assert r"running nnUNetv2_preprocess -d 2 -plans_name nnUNetPlans -c 'a\x1b]0;mine\x07'" in done.out
    assert r"nnUNetv2_train 2 'a\x1b]0;mine\x07' 0 -p nnUNetPlans" in done.out
    assert "\x1b" not in done.out


@posix_only
def test_names_of_folders_do_not_steer_the_terminal(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, steps: Steps
) -> None:
    moved = workspace.with_name(f"a{TITLE}")
    workspace.rename(moved)
    for name in ROOTS.values():
        monkeypatch.setenv(name, str(moved / name))
    done = both()
    assert done.out.count(r"/a\x1b]0;mine\x07/") == 6  # before, after and where the record is, for two folders
    steps("fail")
    failed = preprocess("-c", "3d_fullres", "--yes")
    assert r"/a\x1b]0;mine\x07/" in failed.err
    assert "\x1b" not in done.out + failed.out + failed.err


@pytest.mark.parametrize("name", WRONG)
def test_requests_that_nnunet_could_not_carry_out(workspace: Path, log: Log, name: str) -> None:
    edits, arguments, message = WRONG[name]
    both()
    edited(workspace, *edits)
    before, runs = contents(workspace), log()
    done = preprocess(*arguments, "--yes")
    assert done.code == 2
    assert message in done.err
    assert (contents(workspace), log()) == (before, runs)


def test_without_nnunet(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "command", lambda name: None)
    done = preprocess("-c", "3d_fullres")
    assert done.code == 2
    assert "nnU-Net is not installed here" in done.err
    assert "plansguard[train]" in done.err


def test_where_the_command_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the stand-in is not meant here
    program = tmp_path / "nnUNetv2_of_no_release"
    shutil.copy(standin.install(tmp_path), program)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert runtime.command(program.name) == str(program)
    assert runtime.command("nnUNetv2_of_none") is None


def test_a_shared_folder(workspace: Path, log: Log) -> None:
    """Other plans read the folder, and nnU-Net would leave it wrong for them."""
    both()
    edited(workspace, put(RESENC, f"{KWARGS}/order", 1))
    before, runs = contents(workspace), log()
    done = preprocess("-c", "3d_fullres", "--yes")
    assert done.code == 1
    assert "also read by 3d_fullres of nnUNetResEncUNetMPlans: DIFFERS in resampling_fn_data_kwargs" in done.out
    assert "error[PG501]" in done.out
    assert "Nothing was deleted." in done.out
    assert "--accept-shared lets nnU-Net" in done.out
    assert (contents(workspace), log()) == (before, runs)
    # 2d is right for both
    assert preprocess("-c", "2d", "--yes").code == 0
    done = preprocess("-c", "3d_fullres", "--yes", "--accept-shared")
    assert (done.code, "warning[PG501]" in done.out) == (0, True)
    [finding] = [one for one in check(datasets=[CT]).findings if one.code == "PG540"]
    assert Path(finding.location.path).name == "nnUNetResEncUNetMPlans.json"


def test_errors_of_the_plans_stop_it(workspace: Path, log: Log) -> None:
    edited(workspace, put(PLANS, "/configurations/3d_fullres/patch_size", [57, 64, 64]))
    done = preprocess("-c", "3d_fullres")
    assert (done.code, "error[PG101]" in done.out, log()) == (1, True, [])
    assert preprocess("-c", "2d").code == 0  # another configuration has no fault


def test_errors_that_are_meant(workspace: Path, log: Log) -> None:
    """By their codes, or by other settings, as a road gives them to its steps."""
    edited(workspace, put(PLANS, "/configurations/3d_fullres/patch_size", [57, 64, 64]))
    refused = preprocess("-c", "3d_fullres")
    assert '--accept CODE --because "..."' in " ".join(refused.out.split())
    done = preprocess("-c", "3d_fullres", "--accept", "PG101", "--because", "a test")
    assert (done.code, "ignored: PG101" in done.out, len(log())) == (0, True, 1)
    settings = workspace / "other.json"
    settings.write_text('{"ignore": [{"rule": "PG101", "reason": "a test"}]}')
    assert preprocess("-c", "3d_fullres", "--yes", "--settings", str(settings)).code == 0
    assert "there is no rule PG999 to accept" in preprocess("-c", "2d", "--accept", "PG999", "--because", "a").err


def test_present_data_do_not_stop_it(workspace: Path) -> None:
    """Data that are stale, half or foreign are what preprocessing is for."""
    both()
    folder = place(workspace, CT, f"preprocessed/{FOLDER}")
    edited(workspace, remove(RESENC), put(PLANS, f"{KWARGS}/order", 1))
    (folder / "fine_000.pkl").write_bytes(b"")
    (folder / "fine_001.b2nd").unlink()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert check(datasets=[CT], configuration="3d_fullres").fails(Severity.ERROR)
    done = preprocess("-c", "3d_fullres", "--yes")
    assert (done.code, "no findings" in done.out) == (0, True)
    assert [finding.code for finding in check(datasets=[CT], configuration="3d_fullres").findings] == []


@pytest.mark.parametrize("text", ["", '{"schema": "plansguard/stamp/1"}'])
def test_a_damaged_record_is_replaced(workspace: Path, text: str) -> None:
    both()
    place(workspace, CT, RECORD).write_text(text, encoding="utf-8")
    assert preprocess("-c", "3d_fullres", "--yes").code == 0
    assert codes() == []


@pytest.mark.parametrize("text", ["{", "[]", "my notes"])
def test_another_file_in_place_of_the_record(workspace: Path, log: Log, text: str) -> None:
    """It is not replaced, and nnU-Net is not started."""
    both()
    record, runs = place(workspace, CT, RECORD), len(log())
    record.write_text(text, encoding="utf-8")
    done = preprocess("-c", "3d_fullres", "--yes")
    assert done.code == 2
    assert f"{record} exists, and is not known to be written by plansguard\n  move it away" in done.err
    assert record.read_text(encoding="utf-8") == text
    assert len(log()) == runs


# --- When it goes wrong


def test_nnunet_fails(workspace: Path, log: Log, steps: Steps) -> None:
    both()
    steps("fail")
    done = preprocess("-c", "3d_fullres", "2d", "--yes")
    assert done.code == 4
    assert "nnU-Net failed with exit code 1" in done.err
    assert f"holds 2 of 5 cases; {FOLDER}.stamp.json is marked unfinished" in done.err
    assert log()[2:] == ["run -d 2 -plans_name nnUNetPlans -c 3d_fullres"]  # the next one was not begun
    assert record_of(workspace)["finished"] is None
    [finding] = [one for one in check(datasets=[CT]).findings if one.code == "PG542"]
    assert finding.severity is Severity.ERROR
    assert finding.message.endswith("did not finish: 2 of 5 cases")
    steps("")
    assert preprocess("-c", "3d_fullres", "--yes").code == 0
    assert codes() == []


def test_nnunet_reports_success_without_all_cases(workspace: Path, steps: Steps) -> None:
    steps("lose")
    done = preprocess("-c", "3d_fullres")
    assert done.code == 4
    assert "ended without an error, but left 1 case out" in done.err
    assert record_of(workspace)["finished"] is None
    assert "PG542" in codes()


def test_documents_that_change_meanwhile(workspace: Path, steps: Steps) -> None:
    """nnU-Net reads plans and dataset.json again for every configuration: which version it read is unknown."""
    steps("edit")
    done = preprocess("-c", "3d_fullres")
    assert done.code == 2
    assert "dataset.json was changed while nnU-Net preprocessed" in done.err
    assert record_of(workspace)["finished"] is None


def test_two_at_once(workspace: Path, log: Log) -> None:
    with occupied(place(workspace, CT, f"preprocessed/{FOLDER}"), "another process"):
        done = preprocess("-c", "3d_fullres")
        assert (done.code, "nnU-Net is still at work on" in done.err, log()) == (2, True, [])
        assert preprocess("-c", "2d").code == 0  # another folder is free


def hanging(log: Log) -> int:
    """The process id of the stand-in that hangs."""
    return int(wait_for(lambda: next((line for line in log() if line.startswith("hanging")), None)).split()[1])


def free(workspace: Path) -> bool:
    """Whether no process fills the data folder of 3d_fullres."""
    with suppress(WriteRefused), occupied(place(workspace, CT, f"preprocessed/{FOLDER}"), "another process"):
        return True
    return False


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(workspace: Path, log: Log, steps: Steps, number: signal.Signals) -> None:
    """To plansguard alone, as a batch system sends them: nnU-Net must not go on without it."""
    steps("hang")
    with process("-c", "3d_fullres", "2d") as running:
        child = hanging(log)
        running.send_signal(number)
        assert running.wait(60) == 128 + number
    wait_for(lambda: not alive(child))
    assert [line for line in log() if line.startswith("run")] == ["run -d 2 -plans_name nnUNetPlans -c 3d_fullres"]
    if number in (signal.SIGINT, signal.SIGTERM):
        assert log()[-1] == f"signal {number}"
    assert record_of(workspace)["finished"] is None
    assert "PG542" in codes()


@posix_only
def test_killed_in_the_middle(workspace: Path, log: Log, steps: Steps) -> None:
    both()
    steps("hang")
    with process("-c", "3d_fullres", "--yes") as running:
        child = hanging(log)
        running.kill()
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: free(workspace))
    [finding] = [one for one in check(datasets=[CT]).findings if one.code == "PG542"]
    assert finding.message.endswith("did not finish: 2 of 5 cases")
    steps("")
    assert preprocess("-c", "3d_fullres", "--yes").code == 0  # nothing of the killed one is in the way
    assert codes() == []


@posix_only
def test_nnunet_outlives_a_killed_plansguard(workspace: Path, log: Log, steps: Steps) -> None:
    """It still writes: a second one beside it would mix the data of two runs and record them as complete."""
    steps("hang")
    with process("-c", "3d_fullres", "--yes") as running:
        child = hanging(log)
        running.kill()
    steps("")
    before, runs = contents(workspace), log()
    try:
        done = preprocess("-c", "3d_fullres", "--yes")
        assert done.code == 2
        assert f"nnU-Net is still at work on {place(workspace, CT, f'preprocessed/{FOLDER}')}" in done.err
        assert "wait for it to end; lsof " in done.err
        assert (contents(workspace), log()) == (before, runs)
    finally:
        os.kill(child, signal.SIGKILL)
    wait_for(lambda: free(workspace))
    assert preprocess("-c", "3d_fullres", "--yes").code == 0
    assert "PG542" not in codes()


@posix_only
@pytest.mark.parametrize(("step", "whole"), [("hang-early", True), ("hang", False)])
def test_interrupted(workspace: Path, log: Log, steps: Steps, step: str, whole: bool) -> None:
    """The message describes the state of the old data and asks for no fix."""
    both()
    steps(step)
    with process("-c", "3d_fullres", "--yes", stderr=subprocess.PIPE) as running:
        hanging(log)
        running.send_signal(signal.SIGINT)
        printed = running.communicate()[1].decode()
    assert "plansguard: interrupted; nnU-Net was stopped" in printed
    assert ("nnU-Net had deleted nothing yet: the old data in" in printed) is whole
    assert ("are unchanged, 5 complete cases" in printed) is whole
    assert ("the old data are no longer complete" in printed) is not whole
    assert "fix the errors" not in printed
    assert "  run the same command again" in printed


@posix_only
def test_data_that_were_not_complete_before(workspace: Path, steps: Steps) -> None:
    both()
    next(place(workspace, CT, f"preprocessed/{FOLDER}").glob("*.pkl")).unlink()
    steps("fail-late")
    done = preprocess("-c", "3d_fullres", "--yes")
    assert (done.code, "complete" in done.err) == (4, False)
    assert "holds 5 of 5 cases" in done.err


@posix_only
def test_data_of_the_same_sizes_are_not_the_old_ones(workspace: Path, log: Log, steps: Steps) -> None:
    both()
    steps("fail-late")
    done = preprocess("-c", "3d_fullres", "--yes")
    assert (done.code, "the old data are no longer complete" in done.err) == (4, True)
    assert "holds 5 of 5 cases" in done.err


@posix_only
def test_killed_before_anything_was_deleted(workspace: Path, log: Log, steps: Steps) -> None:
    """The old data are complete, and their earlier record is still valid."""
    edited(workspace, remove(RESENC))
    both()
    edited(workspace, put(PLANS, f"{KWARGS}/order", 1))
    steps("hang-early")
    with process("-c", "3d_fullres", "--yes") as running:
        child = hanging(log)
        running.kill()
    os.kill(child, signal.SIGKILL)
    assert record_of(workspace)["finished"] is None
    assert codes() == ["PG540"]
    edited(workspace, put(PLANS, f"{KWARGS}/order", 3))
    assert codes() == []


@posix_only
@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    "command",
    [
        ("preprocess", "-d", "2", "-p", "nnUNetPlans", "-c", "3d_fullres", "--yes"),
        ("gate", "--", "nnUNetv2_preprocess", "-d", "2", "-c", "3d_fullres", "-np", "1"),
        ("gate", "--", "nnUNetv2_plan_and_preprocess", "-d", "2", "-c", "3d_fullres", "-np", "1"),
    ],
)
def test_data_behind_a_link_are_refused_before(
    workspace: Path, log: Log, command: tuple[str, ...], exists: bool
) -> None:
    """nnU-Net deletes the folder first, and shutil.rmtree deletes no links."""
    elsewhere = workspace / "elsewhere"
    if exists:
        elsewhere.mkdir()
    place(workspace, CT, f"preprocessed/{FOLDER}").symlink_to(elsewhere, target_is_directory=True)
    done = run(*command)
    assert (done.code, log()) == (2, [])
    assert f"{FOLDER} is a symbolic link, and nnU-Net stops" in done.err
    assert "rm " in done.err
    assert os.path.lexists(place(workspace, CT, f"preprocessed/{FOLDER}"))
