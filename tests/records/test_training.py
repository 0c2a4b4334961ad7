"""The training record: its content, how starts are added to it, and how it is written."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data.workers import Pool
from plansguard.commands.check import check
from plansguard.core.errors import UnreadableDocument, WriteRefused
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.documents.models.training_record import Schedule, TrainingRecord
from plansguard.documents.recognise import recognise
from plansguard.documents.validation import surely_valid
from plansguard.records import recorded_documents, training
from plansguard.records.verify import DocumentState, verify
from plansguard.rules.engine.acceptance import Accepted
from plansguard.training.schedule import StepSchedule
from tests.rules.pg7_run.trainings import CT, FULLRES, READY
from tests.support.command import run
from tests.support.training_records import MODEL, differences, leave, states, value_of, without_case
from tests.support.variants import PLANS, place, put

#: Each writes a record of a dataset with its data.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, edits=READY, folder="home")]

# ---------------------------------------------------------------------------------------------------------------------
# Content
# ---------------------------------------------------------------------------------------------------------------------


def test_place_and_content(record: Path, workspace: Path) -> None:
    assert record == place(workspace, CT, f"results/{MODEL}/fold_0/{TRAINING_RECORD_NAME}")
    content = value_of(record)
    [start] = content["starts"]
    assert start["command"] == ["plansguard", "train", CT, "3d_fullres", "0", "--steps", "50"]
    assert start["training"] == {
        "dataset": CT,
        "plans": "nnUNetPlans",
        "configuration": "3d_fullres",
        "fold": "0",
        "trainer": "nnUNetTrainer_50steps",
        "continues": False,
        "disables_checkpointing": False,
        "device": "cpu",
        "gpus": 1,
    }
    assert (start["schedule"]["base"], start["schedule"]["total"]) == ("nnUNetTrainer", 50)
    assert list(start["plans"]["used"]["configurations"]) == ["3d_fullres"]
    assert start["splits"]["fold"]["training"] == 4
    assert start["data"]["cases"] == len(content["cases"]) == 5
    assert start["weights"]["of"] == "directory"
    assert (start["times"], start["started"]) == (1, start["last"])


def test_the_record_matches_its_model(record: Path) -> None:
    content = value_of(record)
    assert recognise(content) == "receipt"
    TrainingRecord.model_validate(content)
    assert surely_valid("TrainingRecord", content)
    assert not surely_valid("TrainingRecord", {**content, "left_out": "0"})


def test_the_model_has_every_field_of_a_schedule() -> None:
    assert {"base", *(field.name for field in fields(StepSchedule))} == set(Schedule.model_fields)


def test_no_folder_of_this_machine_is_recorded(workspace: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path of weights stays relative."""
    monkeypatch.chdir(workspace)
    path = leave(workspace, weights=Path("weights.pth"))
    assert str(workspace) not in path.read_text(encoding="utf-8")
    assert value_of(path)["starts"][0]["weights"]["path"] == "weights.pth"
    assert set(states(path).values()) == {DocumentState.SAME}
    monkeypatch.chdir(workspace.parent)
    assert differences(path) == {"weights": f"weights.pth is not there in {workspace.parent}"}


def test_a_stock_trainer_has_no_schedule(workspace: Path) -> None:
    path = leave(workspace, trainer="nnUNetTrainer")
    assert path.parent.parent.name == "nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert value_of(path)["starts"][0]["schedule"] is None


def test_accepted_findings_are_recorded(workspace: Path) -> None:
    put(PLANS, f"{FULLRES}/patch_size/0", 57)(workspace, CT)
    path = leave(workspace, [Accepted("PG101", "only to see whether the queue works")])
    [found] = [finding for finding in value_of(path)["starts"][0]["findings"] if finding["code"] == "PG101"]
    assert found["accepted"] == "only to see whether the queue works"
    assert value_of(path)["starts"][0]["report"]["accepted"] == 1
    assert (
        "accepted PG101 patch-not-divisible: only to see whether the queue works"
        in run("verify-receipt", path.parent).out
    )


# ---------------------------------------------------------------------------------------------------------------------
# Several starts
# ---------------------------------------------------------------------------------------------------------------------


def test_a_continued_training_keeps_its_first_start(workspace: Path, weights: Path) -> None:
    put(PLANS, f"{FULLRES}/patch_size/0", 57)(workspace, CT)
    leave(workspace, [Accepted("PG101", "a test")], weights=weights)
    put(PLANS, f"{FULLRES}/patch_size/0", 48)(workspace, CT)
    path = leave(workspace, continues=True)
    assert [start["training"]["continues"] for start in value_of(path)["starts"]] == [False, True]
    verdict = verify(path, Pool())
    assert [row.details for row in verdict.rows if not row.state.holds] == [
        ("3d_fullres.patch_size was [57, 64, 64] and is [48, 64, 64] (training)",)
    ]
    assert verdict.accepted == (("PG101 patch-not-divisible", "a test"),)
    plans = [row.state for row in verdict.rows if row.document == "plans"]
    assert plans == [DocumentState.SAME, DocumentState.CHANGED]
    assert [row.state for row in verdict.rows if row.document == "weights"] == [DocumentState.SAME]


def test_the_same_start_again_is_only_counted(workspace: Path) -> None:
    path = leave(workspace)
    for _ in range(3):
        leave(workspace, continues=True)
    assert [start["times"] for start in value_of(path)["starts"]] == [1, 3]


def test_a_fresh_start_begins_another_training(workspace: Path) -> None:
    leave(workspace)
    put(PLANS, f"{FULLRES}/batch_size", 3)(workspace, CT)
    path = leave(workspace)
    assert len(value_of(path)["starts"]) == 2
    assert differences(path) == {}
    assert len(verify(path, Pool()).starts) == 1


def test_case_names_are_those_of_the_last_reading(workspace: Path) -> None:
    """A start without data keeps them; cases of a later start are not used for the data of an earlier one."""
    leave(workspace)
    path = leave(workspace, continues=True, depth="none")
    without_case("fine_002")(workspace, CT)
    assert differences(path) == {"data": "there were 5 cases, and there are 4; removed: fine_002"}
    leave(workspace, continues=True)
    assert differences(path) == {"data": "there were 5 cases, and there are 4"}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=40), st.integers(2, 6))
def test_starts_are_bounded_and_the_first_one_stays(starts: list[tuple[bool, int]], most: int) -> None:
    """The first start of the latest training stays. Starts that are left out are counted."""

    def one(number: int, continues: bool, what: int) -> dict[str, Any]:
        start = {"started": str(number), "last": str(number), "times": 1, "what": what}
        return {"left_out": 0, "cases": {}, "starts": [{**start, "training": {"continues": continues}}]}

    whole = one(0, *starts[0])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "MOST_STARTS", most)
        for number, start in enumerate(starts[1:], 1):
            whole = training.merged(whole, one(number, *start))
    listed = whole["starts"]
    changes = [number for number, start in enumerate(starts) if number == 0 or start != starts[number - 1]]
    assert len(listed) <= most
    assert len(listed) + whole["left_out"] == len(changes)
    first = max((number for number in changes if not starts[number][0]), default=0)
    assert listed[training.first_start(listed)]["started"] == str(first)
    assert listed[-1]["last"] == str(len(starts) - 1)


# ---------------------------------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever may write everywhere meets no such folder")
def test_results_that_cannot_be_written(workspace: Path) -> None:
    results = workspace / "nnUNet_results"
    results.chmod(0o500)
    try:
        with pytest.raises(WriteRefused, match="cannot make the folder"):
            leave(workspace)
    finally:
        results.chmod(0o755)


def test_a_file_in_the_place_of_the_folder(workspace: Path) -> None:
    place(workspace, CT, "results/x").parent.mkdir(parents=True)
    place(workspace, CT, f"results/{MODEL}").write_bytes(b"")
    with pytest.raises(WriteRefused, match="cannot make the folder"):
        leave(workspace)


def test_other_files_are_not_replaced(record: Path, workspace: Path) -> None:
    record.write_text("{", encoding="utf-8")
    with pytest.raises(UnreadableDocument):
        leave(workspace, continues=True)
    assert record.read_text(encoding="utf-8") == "{"


def test_an_edit_that_comes_meanwhile_is_kept(record: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the reading of the record and its replacement."""
    edited, fsync = record.read_bytes() + b"\n", os.fsync

    def edit(descriptor: int) -> None:
        record.write_bytes(edited)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", edit)
    with pytest.raises(WriteRefused, match="exists, and is not known to be written by plansguard"):
        leave(workspace, continues=True)
    assert record.read_bytes() == edited


def test_the_lock_of_the_training_is_left_alone(workspace: Path) -> None:
    """A file of this name in the folder of the fold names the running training."""
    note = place(workspace, CT, f"results/{MODEL}/fold_0/.plansguard.lock")
    note.parent.mkdir(parents=True)
    note.write_text('{"run": "a"}', encoding="utf-8")
    path = leave(workspace)
    assert json.loads(note.read_bytes())["run"] == "a"
    assert sorted(one.name for one in path.parent.iterdir()) == [".plansguard.lock", TRAINING_RECORD_NAME]


def test_check_recognises_training_records(record: Path, workspace: Path) -> None:
    """A record is not read as plans, and a damaged one is reported; folders of results are skipped."""
    assert [finding.code for finding in check([record]).findings] == []
    put(f"results/{MODEL}/fold_0/{TRAINING_RECORD_NAME}", "/starts/0/times", "1")(workspace, CT)
    [finding] = check([record]).findings
    assert (finding.code, finding.location.pointer) == ("PG005", "/starts/0/times")
    assert check([workspace / "nnUNet_results"]).findings == ()


# ---------------------------------------------------------------------------------------------------------------------
# Digests of weights
# ---------------------------------------------------------------------------------------------------------------------


def digest(path: Path) -> dict[str, Any]:
    result = recorded_documents.WEIGHTS.digest(path, {})
    assert result is not None
    return result


def test_weights_that_are_no_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of old versions of torch: the whole file, or the beginning of a large one."""
    monkeypatch.setattr(recorded_documents, "MOST_WEIGHTS", 2**20)
    path = tmp_path / "old.model"
    found = []
    for content in (bytes(100), bytes(99) + b"\1", bytes(2**20) + b"\0", bytes(2**20) + b"\1"):
        path.write_bytes(content)
        found.append(digest(path))
    assert [one["of"] for one in found] == ["file", "file", "beginning", "beginning"]
    assert found[0] != found[1]
    assert found[2] == found[3]
    assert [one["bytes"] for one in found] == [100, 100, 2**20 + 1, 2**20 + 1]


def test_weights_that_do_not_exist(workspace: Path) -> None:
    with pytest.raises(UnreadableDocument):
        digest(workspace / "nothing.pth")
    with pytest.raises(UnreadableDocument):
        digest(workspace)


@pytest.mark.nnunet
def test_the_checksums_are_those_that_torch_writes(tmp_path: Path) -> None:
    """Two checkpoints of one network that differ in one number, and the first one saved again."""
    import torch

    def saved(name: str, number: float) -> dict[str, Any]:
        weights = {f"layer.{index}": torch.zeros(100) for index in range(3)}
        weights["layer.1"][50] = number
        folder = tmp_path / name
        folder.mkdir()
        torch.save({"network_weights": weights}, folder / "checkpoint_final.pth")
        return {**digest(folder / "checkpoint_final.pth"), "path": ""}

    first, other, again = saved("first", 1.0), saved("other", 1.5), saved("again", 1.0)
    assert first["bytes"] == other["bytes"]
    assert first["sha256"] != other["sha256"]
    assert first == again
