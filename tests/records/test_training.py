"""The receipt of a training: what it holds, and what `verify-receipt` says when something is no longer as it was."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data.workers import Pool
from plansguard.commands.check import check
from plansguard.commands.train import Accepted
from plansguard.core.errors import UnreadableDocument, UsageError, WriteRefused
from plansguard.documents import json_document
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.documents.models import TrainingRecord
from plansguard.documents.models.training_record import Schedule
from plansguard.documents.recognise import recognise
from plansguard.documents.validation import surely_valid
from plansguard.records import training
from plansguard.records.verify import DocumentState, Verification, verify
from plansguard.training.schedule import StepSchedule
from tests.rules.pg5_data.folders_variants import DATA, DATASET_JSON, PLANS, SPLITS
from tests.rules.pg7_run.trainings import CT, FULLRES, READY
from tests.support.command import Done, run
from tests.support.training_records import leave
from tests.support.variants import FIXTURES, ROOTS, drop, lay_out, place, put, remove, rewrite

#: Each leaves a receipt of a dataset with its data, and judges it again.
pytestmark = pytest.mark.slow

FINGERPRINT = "preprocessed/dataset_fingerprint.json"
MODEL = "nnUNetTrainer_50steps__nnUNetPlans__3d_fullres"
WEIGHTS = FIXTURES / "workspace/nnUNet_results/Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0"
SHAPE = "shape_after_cropping_and_before_resampling"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Dataset002, preprocessed and ready to be trained, and weights to begin with.

    It does not outlive the test: the weights of all of them together would fill a disk.
    """
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    home = ready(tmp_path / "home", monkeypatch)
    source = WEIGHTS / "checkpoint_final.pth"
    with zipfile.ZipFile(source) as fixture, zipfile.ZipFile(home / "weights.pth", "w") as archive:
        for name in fixture.namelist():  # not deflated, as torch writes them
            archive.writestr(name, fixture.read(name))
    yield home
    shutil.rmtree(home, ignore_errors=True)


def ready(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ROOTS.values():
        monkeypatch.setenv(name, str(root / name))
    lay_out(root, CT)
    for edit in READY:
        edit(root, CT)
    return root


@pytest.fixture
def left(workspace: Path) -> Path:
    """The receipt of a training that began with these weights."""
    return leave(workspace, weights=workspace / "weights.pth")


def states(path: Path) -> dict[str, DocumentState]:
    return {row.document: row.state for row in verify(path, Pool()).rows}


def told(path: Path) -> dict[str, str]:
    """What is said of the documents that do not hold."""
    return {row.document: "; ".join(row.details) for row in verify(path, Pool()).rows if not row.state.holds}


def value(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def verified(folder: Path, *options: str) -> Done:
    return run("verify-receipt", folder, *options)


# ---------------------------------------------------------------------------------------------------------------------
# What it holds
# ---------------------------------------------------------------------------------------------------------------------


def test_where_it_lies_and_what_it_says(left: Path, workspace: Path) -> None:
    assert left == place(workspace, CT, f"results/{MODEL}/fold_0/{TRAINING_RECORD_NAME}")
    content = value(left)
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


def test_what_is_written_fits_the_model(left: Path) -> None:
    content = value(left)
    assert recognise(content) == "receipt"
    TrainingRecord.model_validate(content)
    assert surely_valid("TrainingRecord", content)
    assert not surely_valid("TrainingRecord", {**content, "left_out": "0"})


def test_the_model_knows_every_part_of_a_schedule() -> None:
    assert {"base", *(field.name for field in fields(StepSchedule))} == set(Schedule.model_fields)


def test_no_folder_of_this_machine_is_told(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that were named by a relative path stay so."""
    monkeypatch.chdir(workspace)
    path = leave(workspace, weights=Path("weights.pth"))
    assert str(workspace) not in path.read_text(encoding="utf-8")
    assert value(path)["starts"][0]["weights"]["path"] == "weights.pth"
    assert set(states(path).values()) == {DocumentState.SAME}
    monkeypatch.chdir(workspace.parent)
    assert told(path) == {"weights": f"weights.pth is not there, seen from {workspace.parent}"}


def test_a_stock_trainer_has_no_schedule(workspace: Path) -> None:
    path = leave(workspace, trainer="nnUNetTrainer")
    assert path.parent.parent.name == "nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert value(path)["starts"][0]["schedule"] is None


def test_accepted_findings_are_written_down(workspace: Path) -> None:
    put(PLANS, f"{FULLRES}/patch_size/0", 57)(workspace, CT)
    path = leave(workspace, [Accepted("PG101", "only to see whether the queue works")])
    [found] = [finding for finding in value(path)["starts"][0]["findings"] if finding["code"] == "PG101"]
    assert found["accepted"] == "only to see whether the queue works"
    assert value(path)["starts"][0]["report"]["accepted"] == 1
    assert "accepted PG101 patch-not-divisible: only to see whether the queue works" in verified(path.parent).out


# ---------------------------------------------------------------------------------------------------------------------
# What still holds
# ---------------------------------------------------------------------------------------------------------------------


def test_all_holds(left: Path) -> None:
    done = verified(left.parent)
    assert (done.code, done.err) == (0, "")
    assert "all of it holds" in done.out
    assert set(states(left).values()) == {DocumentState.SAME}
    assert list(states(left)) == ["plans", "dataset.json", "fingerprint", "splits", "weights", "data"]


def pickled(case: str, **changes: Any) -> Callable[[Path, str], None]:
    """The properties of a case are others; written without numpy."""

    def edit(workspace: Path, dataset: str) -> None:
        properties = {"spacing": (1.5, 1.2, 1.2), SHAPE: (54, 64, 64), "class_locations": {1: [], 2: []}, **changes}
        place(workspace, dataset, f"preprocessed/{DATA}/{case}.pkl").write_bytes(pickle.dumps(properties))

    return edit


def without_case(case: str) -> Callable[[Path, str], None]:
    def edit(workspace: Path, dataset: str) -> None:
        for path in place(workspace, dataset, f"preprocessed/{DATA}").glob(f"{case}*"):
            path.unlink()

    return edit


def other_weights(workspace: Path, _: str) -> None:
    """As large as before: one byte of a tensor is another, and its checksum."""
    path = workspace / "weights.pth"
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        tensor = next(entry for entry in archive.infolist() if "/data/" in entry.filename)
        content = archive.read(tensor)
    at = raw.index(content, tensor.header_offset)
    raw[at] ^= 1
    crc = zlib.crc32(raw[at : at + len(content)])
    path.write_bytes(raw.replace(tensor.CRC.to_bytes(4, "little"), crc.to_bytes(4, "little")))


CHANGES: dict[str, tuple[Callable[[Path, str], object], dict[str, str]]] = {
    "spacing": (
        put(PLANS, f"{FULLRES}/spacing/0", 2.0),
        {
            "plans": "3d_fullres.spacing was [1.5, 1.2000000476837158, 1.2000000476837158] "
            "and is [2.0, 1.2000000476837158, 1.2000000476837158] (input)"
        },
    ),
    "a mean": (
        put(PLANS, "/foreground_intensity_properties_per_channel/0/mean", 1.0),
        {"plans": "foreground_intensity_properties_per_channel.0.mean was 79.87077331542969 and is 1.0 (input)"},
    ),
    "a field taken out": (
        drop(PLANS, f"{FULLRES}/batch_size"),
        {"plans": "3d_fullres.batch_size was 2 and is not there (training)"},
    ),
    "no plans": (remove(PLANS), {"plans": "nnUNetPlans.json is not there"}),
    "no configuration": (drop(PLANS, FULLRES), {"plans": "nnUNetPlans.json holds something else now"}),
    "plans cut": (rewrite(PLANS, lambda text: text[:-9]), {"plans": "nnUNetPlans.json: "}),
    "another document": (rewrite(PLANS, lambda _: "[]"), {"plans": "nnUNetPlans.json holds something else now"}),
    "a label": (put(DATASET_JSON, "/labels/kidney", 3), {"dataset.json": "labels.kidney was 1 and is 3"}),
    "a new label": (put(DATASET_JSON, "/labels/organ", 2), {"dataset.json": "labels.organ was not there and is 2"}),
    "the order of labels": (
        rewrite(DATASET_JSON, lambda text: _reversed_labels(text)),
        {"dataset.json": "labels were in the order "},
    ),
    "the ending": (
        put(DATASET_JSON, "/file_ending", ".nrrd"),
        {"dataset.json": 'file_ending was ".nii.gz" and is ".nrrd"'},
    ),
    "fingerprint": (put(FINGERPRINT, "/spacings/0/0", 9.0), {"fingerprint": "spacings has changed"}),
    "a key of the fingerprint": (put(FINGERPRINT, "/mine", 1), {"fingerprint": "mine came"}),
    "a case moved to validation": (
        drop(SPLITS, "/0/train/0"),
        {"splits": "it had 4 training and 1 validation cases, and has 3 training and 1 validation cases"},
    ),
    "another case": (put(SPLITS, "/0/val/0", "other"), {"splits": "4 training and 1 validation cases, but other ones"}),
    "splits as text": (put(SPLITS, "/0/train", "all"), {"splits": "and has no cases of this fold"}),
    "no splits": (remove(SPLITS), {"splits": "splits_final.json is not there"}),
    "weights of the same size": (other_weights, {"weights": "weights.pth is another file of the same size"}),
    "weights of another size": (
        lambda workspace, dataset: shutil.copyfile(place(workspace, dataset, SPLITS), workspace / "weights.pth"),
        {"weights": " bytes and has "},
    ),
    "weights cut": (
        lambda workspace, _: os.truncate(workspace / "weights.pth", 9999),
        {"weights": "the file is cut short"},
    ),
    "no weights": (lambda workspace, _: (workspace / "weights.pth").unlink(), {"weights": "weights.pth is not there"}),
    "a case's spacing": (
        pickled("fine_003", spacing=(1.5, 1.0, 1.2)),
        {"data": "of other shapes or properties: fine_003"},
    ),
    "a case's labels": (pickled("fine_003", class_locations={1: []}), {"data": "shapes or properties: fine_003"}),
    "an array cut": (
        lambda workspace, dataset: os.truncate(place(workspace, dataset, f"preprocessed/{DATA}/fine_001.b2nd"), 9),
        {"data": "of other shapes or properties: fine_001"},
    ),
    "a case taken out": (
        without_case("fine_002"),
        {"data": "there were 5 cases, and there are 4; went: fine_002"},
    ),
    "no data": (remove(f"preprocessed/{DATA}"), {"data": f"{DATA} is not there"}),
    "data that are a file": (
        lambda workspace, dataset: _file_for_folder(place(workspace, dataset, f"preprocessed/{DATA}")),
        {"data": "cannot be read"},
    ),
}


def _reversed_labels(text: str) -> str:
    document = json.loads(text)
    document["labels"] = dict(reversed(document["labels"].items()))
    return json.dumps(document)


def _file_for_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"")


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_changed_is_named(
    left: Path, workspace: Path, change: Callable[[Path, str], object], expected: dict[str, str]
) -> None:
    """And nothing else."""
    change(workspace, CT)
    found = told(left)
    assert found.keys() == expected.keys()
    for document, words in expected.items():
        assert words in found[document]
    done = verified(left.parent)
    assert done.code == 1
    assert f"{len(expected)} thing no longer as it was" in done.out


ALIKE: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "another configuration": (put(PLANS, "/configurations/2d/batch_size", 7), "plans"),
    "indentation": (rewrite(PLANS, lambda text: json.dumps(json.loads(text))), "plans"),
    "a field that nnU-Net does not read": (put(DATASET_JSON, "/licence", "hands off!"), "dataset.json"),
    "another fold": (put(SPLITS, "/1/val/0", "other"), "splits"),
}


@pytest.mark.parametrize(("change", "document"), ALIKE.values(), ids=ALIKE)
def test_what_the_training_does_not_use(
    left: Path, workspace: Path, change: Callable[[Path, str], None], document: str
) -> None:
    change(workspace, CT)
    assert {name for name, state in states(left).items() if state is not DocumentState.SAME} == {document}
    assert states(left)[document] is DocumentState.ALIKE
    assert verified(left.parent).code == 0


def test_data_that_were_preprocessed_again(workspace: Path) -> None:
    """Arrays of the same shapes, whose files have another length: Blosc2 does not write the same bytes twice."""
    path = leave(workspace)
    with place(workspace, CT, f"preprocessed/{DATA}/fine_003.b2nd").open("ab") as stream:
        stream.write(b"\0")
    assert states(path)["data"] is DocumentState.ALIKE
    assert "the files were written anew" in verified(path.parent).out


def test_splits_that_nnunet_writes_later(workspace: Path) -> None:
    written = place(workspace, CT, SPLITS)
    kept = written.read_bytes()
    written.unlink()
    path = leave(workspace)
    assert states(path)["splits"] is DocumentState.UNRECORDED
    written.write_bytes(kept)
    done = verified(path.parent)
    assert done.code == 0
    assert "splits                    not recorded: not there when the training started: nnU-Net writes it" in done.out


def test_data_that_nobody_read(workspace: Path) -> None:
    path = leave(workspace, depth="none")
    assert value(path)["starts"][0]["data"] is None
    assert states(path)["data"] is DocumentState.UNRECORDED


def test_the_fold_all_takes_every_case(workspace: Path) -> None:
    path = leave(workspace, fold="all")
    put(SPLITS, "/0/val/0", "other")(workspace, CT)
    assert states(path)["splits"] is DocumentState.ALIKE


def test_nnunets_own_copies_in_the_models_folder(left: Path, workspace: Path) -> None:
    """What is predicted with. Another fold that starts later writes them anew."""
    model = left.parent.parent
    for name, copied in (("plans.json", PLANS), ("dataset.json", DATASET_JSON)):
        shutil.copyfile(place(workspace, CT, copied), model / name)
    assert states(left)["plans.json of the model"] is DocumentState.SAME
    put(f"results/{MODEL}/plans.json", f"{FULLRES}/patch_size/0", 48)(workspace, CT)
    put(f"results/{MODEL}/dataset.json", "/labels/kidney", 3)(workspace, CT)
    assert told(left) == {
        "plans.json of the model": "3d_fullres.patch_size was [56, 64, 64] and is [48, 64, 64] (training)",
        "dataset.json of the model": "labels.kidney was 1 and is 3",
    }


def test_a_class_under_another_path_is_the_same_class(workspace: Path) -> None:
    """As nnU-Net finds it: plans are compared by meaning."""
    path = leave(workspace)
    content = value(path)
    arch = content["starts"][0]["plans"]["used"]["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arch["conv_op"] = "torch.nn.Conv3d"
    content["starts"][0]["plans"]["sha256"] = "0" * 64
    path.write_bytes(json_document.dumps(content))
    assert states(path)["plans"] is DocumentState.ALIKE


# ---------------------------------------------------------------------------------------------------------------------
# Elsewhere
# ---------------------------------------------------------------------------------------------------------------------


def test_a_copy_of_the_workspace_holds(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read beside its own data, though the environment still names the old place."""
    path = leave(workspace)
    copied = workspace.parent / "copied"
    shutil.copytree(workspace, copied, copy_function=shutil.copyfile)
    there = copied / path.relative_to(workspace)
    put(PLANS, f"{FULLRES}/spacing/0", 2.0)(workspace, CT)
    assert set(states(there).values()) == {DocumentState.SAME}
    assert verify(there, Pool()).compared == copied / "nnUNet_preprocessed" / CT
    assert list(told(path)) == ["plans"]
    fresh = ready(workspace.parent / "fresh", monkeypatch)
    starts = [value(one)["starts"][0] for one in (path, leave(fresh))]
    for start in starts:
        del start["started"], start["last"]
    assert starts[0] == starts[1]


def test_results_alone_say_where_they_miss_the_rest(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = left.parents[4] / "elsewhere/fold_0"
    shutil.copytree(left.parent, alone)
    monkeypatch.delenv("nnUNet_preprocessed")
    done = verified(alone)
    assert done.code == 2
    assert "nnUNet_preprocessed is not set" in done.err


# ---------------------------------------------------------------------------------------------------------------------
# Several starts
# ---------------------------------------------------------------------------------------------------------------------


def test_a_continued_training_keeps_its_first_start(workspace: Path) -> None:
    put(PLANS, f"{FULLRES}/patch_size/0", 57)(workspace, CT)
    leave(workspace, [Accepted("PG101", "a test")], weights=workspace / "weights.pth")
    put(PLANS, f"{FULLRES}/patch_size/0", 48)(workspace, CT)
    path = leave(workspace, continues=True)
    assert [start["training"]["continues"] for start in value(path)["starts"]] == [False, True]
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
    assert [start["times"] for start in value(path)["starts"]] == [1, 3]


def test_a_fresh_start_begins_another_training(workspace: Path) -> None:
    leave(workspace)
    put(PLANS, f"{FULLRES}/batch_size", 3)(workspace, CT)
    path = leave(workspace)
    assert len(value(path)["starts"]) == 2
    assert told(path) == {}
    assert len(verify(path, Pool()).starts) == 1


def test_case_names_are_those_of_the_last_reading(workspace: Path) -> None:
    """A start without the data keeps them; data of an earlier start are not named by those of a later one."""
    leave(workspace)
    path = leave(workspace, continues=True, depth="none")
    without_case("fine_002")(workspace, CT)
    assert told(path) == {"data": "there were 5 cases, and there are 4; went: fine_002"}
    leave(workspace, continues=True)
    assert told(path) == {"data": "there were 5 cases, and there are 4"}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=40), st.integers(2, 6))
def test_starts_are_bounded_and_the_first_one_stays(starts: list[tuple[bool, int]], most: int) -> None:
    """Of the training that goes on. None is lost in silence."""

    def one(number: int, continues: bool, what: int) -> dict[str, Any]:
        start = {"started": str(number), "last": str(number), "times": 1, "what": what}
        return {"left_out": 0, "cases": {}, "starts": [{**start, "training": {"continues": continues}}]}

    whole = one(0, *starts[0])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "MOST_STARTS", most)
        for number, start in enumerate(starts[1:], 1):
            whole = training.added(whole, one(number, *start))
    listed = whole["starts"]
    changes = [number for number, start in enumerate(starts) if number == 0 or start != starts[number - 1]]
    assert len(listed) <= most
    assert len(listed) + whole["left_out"] == len(changes)
    first = max((number for number in changes if not starts[number][0]), default=0)
    assert listed[training.beginning(listed)]["started"] == str(first)
    assert listed[-1]["last"] == str(len(starts) - 1)


# ---------------------------------------------------------------------------------------------------------------------
# Folders, formats, exit codes
# ---------------------------------------------------------------------------------------------------------------------


def test_a_models_folder_means_all_its_folds(workspace: Path) -> None:
    first, second = leave(workspace), leave(workspace, fold="1")
    put(SPLITS, "/1/val/0", "other")(workspace, CT)
    done = verified(first.parent.parent)
    assert done.code == 1
    assert [str(one) in done.out for one in (first, second)] == [True, True]
    document = verified(first.parent.parent, "--output", "json").json
    assert [one["holds"] for one in document["receipts"]] == [True, False]
    assert document["holds"] is False
    [row] = [one for one in document["receipts"][1]["documents"] if not one["holds"]]
    assert (row["document"], row["state"]) == ("splits", "changed")


def test_the_receipt_itself_may_be_named(left: Path) -> None:
    assert verified(left).code == 0


def test_no_receipt(tmp_path: Path) -> None:
    done = verified(tmp_path)
    assert (done.code, done.out) == (3, "")
    assert "there is no receipt" in done.err
    assert verified(tmp_path / "nothing").code == 2


def test_an_unknown_format(left: Path) -> None:
    assert verified(left, "--output", "html").code == 2


def test_one_damaged_receipt_does_not_hide_the_others(workspace: Path) -> None:
    first, second = leave(workspace), leave(workspace, fold="1")
    first.write_text("{", encoding="utf-8")
    done = verified(first.parent.parent)
    assert done.code == 2
    assert str(second) in done.out
    assert str(first) in done.err


def test_the_command_loads_neither_nnunet_nor_numpy(left: Path) -> None:
    from tests.test_imports import COMMAND, HEAVY, probe, roots

    seen = probe(COMMAND, "verify-receipt", str(left.parent))
    assert seen["code"] == 0
    assert roots(seen["asked"]) & (HEAVY | {"pydantic"}) == set()


# ---------------------------------------------------------------------------------------------------------------------
# Strangers' receipts
# ---------------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, str]] = {
    "a list": ([], "this is no receipt"),
    "a report": ({"schema": "plansguard/report/1"}, "this is no receipt"),
    "of tomorrow": ({"schema": "plansguard/receipt/2"}, "reads plansguard/receipt/1"),
    "of nobody": ({"schema": "plansguard/receipt/" + "x" * 9999}, "reads plansguard/receipt/1"),
    "empty": ({"schema": "plansguard/receipt/1"}, "starts: "),
    "no start": ({"schema": "plansguard/receipt/1", "starts": [], "left_out": 0, "cases": {}}, "tells of no start"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_receipt(left: Path, content: Any, words: str) -> None:
    left.write_text(json.dumps(content), encoding="utf-8")
    assert_refused(left, words)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"\x80\x02}.", ""),
        (b"[" * 100_000, "nested deeper"),
        (b'{"schema": "plansguard/receipt/1", "starts": ' + b"[" * 300 + b"]" * 300 + b"}", "nested deeper"),
        (b" " * (json_document.MAX_BYTES + 1), "larger than 16 MiB"),
    ],
    ids=["empty", "pickle", "unclosed", "deep", "huge"],
)
def test_what_cannot_be_read(left: Path, raw: bytes, words: str) -> None:
    left.write_bytes(raw)
    assert_refused(left, words)


def assert_refused(path: Path, words: str) -> None:
    done = verified(path.parent)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"plansguard: {path}")
    assert words in done.err
    assert len(done.err.splitlines()) <= 2
    assert max(map(len, done.err.splitlines())) < 500


@pytest.mark.parametrize(
    ("pointer", "odd"),
    [
        ("/starts/0/training/dataset", "../../etc"),
        ("/starts/0/training/plans", "/etc/passwd"),
        ("/starts/0/data/folder", ".."),
        ("/starts/0/training/fold", "9" * 5000),
        ("/starts/0/training/fold", "-1"),
    ],
)
def test_names_that_lead_outside(left: Path, workspace: Path, pointer: str, odd: str) -> None:
    put(f"results/{MODEL}/fold_0/{TRAINING_RECORD_NAME}", pointer, odd)(workspace, CT)
    assert_refused(left, "")


@pytest.mark.parametrize("path", ["", "/", "a\0b", "x" * 9999, "/dev/zero", "~", "\ud800"])
def test_odd_weights(left: Path, workspace: Path, path: str) -> None:
    put(f"results/{MODEL}/fold_0/{TRAINING_RECORD_NAME}", "/starts/0/weights/path", path)(workspace, CT)
    assert states(left)["weights"] in (DocumentState.GONE, DocumentState.UNREADABLE)
    assert verified(left.parent).code == 1


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "2d", "torch.nn.Conv3d"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["0", "a", "n_stages"]), inside),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patched:
        path = leave(ready(tmp_path_factory.mktemp("healthy"), patched))
    return path, value(path)


@given(data=st.data(), odd=ODD)
def test_any_odd_value_gives_an_answer_or_one_message(
    healthy: tuple[Path, dict[str, Any]], data: st.DataObject, odd: Any
) -> None:
    """One value anywhere in a good receipt, in the plans that it holds among others."""
    path, good = healthy
    broken = copy.deepcopy(good)
    container, key = data.draw(st.sampled_from(_places(broken)))
    container[key] = odd
    written = path.with_name("odd.json")
    written.write_text(json.dumps(broken), encoding="utf-8")
    try:
        verdict = verify(written, Pool())
    except (UnreadableDocument, UsageError):
        return
    assert isinstance(verdict, Verification)
    assert [row.document for row in verdict.rows[:3]] == ["plans", "dataset.json", "fingerprint"]


def _places(inside: Any) -> list[tuple[Any, Any]]:
    items = inside.items() if isinstance(inside, dict) else enumerate(inside) if isinstance(inside, list) else ()
    return [one for key, item in items for one in ((inside, key), *_places(item))]


def test_check_knows_receipts(left: Path, workspace: Path) -> None:
    """A receipt under its own name is no plans, and one that is damaged is told; results are passed over."""
    assert [finding.code for finding in check([left]).findings] == []
    put(f"results/{MODEL}/fold_0/{TRAINING_RECORD_NAME}", "/starts/0/times", "1")(workspace, CT)
    [finding] = check([left]).findings
    assert (finding.code, finding.location.pointer) == ("PG005", "/starts/0/times")
    assert check([workspace / "nnUNet_results"]).findings == ()


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


def test_what_is_no_receipt_is_not_replaced(left: Path, workspace: Path) -> None:
    left.write_text("{", encoding="utf-8")
    with pytest.raises(UnreadableDocument):
        leave(workspace, continues=True)
    assert left.read_text(encoding="utf-8") == "{"


def test_the_lock_of_the_training_is_left_alone(workspace: Path) -> None:
    """A file of this name in the folder of the fold says who trains there."""
    note = place(workspace, CT, f"results/{MODEL}/fold_0/.plansguard.lock")
    note.parent.mkdir(parents=True)
    note.write_text('{"run": "a"}', encoding="utf-8")
    path = leave(workspace)
    assert note.read_text(encoding="utf-8") == '{"run": "a"}'
    assert sorted(one.name for one in path.parent.iterdir()) == [".plansguard.lock", TRAINING_RECORD_NAME]


# ---------------------------------------------------------------------------------------------------------------------
# Weights
# ---------------------------------------------------------------------------------------------------------------------


def test_weights_that_are_no_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of old torches: whole, or the beginning of large ones."""
    monkeypatch.setattr(training, "MOST_WEIGHTS", 2**20)
    path = tmp_path / "old.model"
    found = []
    for content in (bytes(100), bytes(99) + b"\1", bytes(2**20) + b"\0", bytes(2**20) + b"\1"):
        path.write_bytes(content)
        found.append(training.of_weights(path))
    assert [one["of"] for one in found] == ["file", "file", "beginning", "beginning"]
    assert found[0] != found[1]
    assert found[2] == found[3]
    assert [one["bytes"] for one in found] == [100, 100, 2**20 + 1, 2**20 + 1]


def test_weights_that_went_away(workspace: Path) -> None:
    with pytest.raises(UnreadableDocument):
        training.of_weights(workspace / "nothing.pth")
    with pytest.raises(UnreadableDocument):
        training.of_weights(workspace)


@pytest.mark.nnunet
def test_the_checksums_are_those_that_torch_writes(tmp_path: Path) -> None:
    """Two checkpoints of one network, alike in all but one number, and the first one saved once more."""
    import torch

    def saved(name: str, number: float) -> dict[str, Any]:
        weights = {f"layer.{index}": torch.zeros(100) for index in range(3)}
        weights["layer.1"][50] = number
        folder = tmp_path / name
        folder.mkdir()
        torch.save({"network_weights": weights}, folder / "checkpoint_final.pth")
        return {**training.of_weights(folder / "checkpoint_final.pth"), "path": ""}

    first, other, again = saved("first", 1.0), saved("other", 1.5), saved("again", 1.0)
    assert first["bytes"] == other["bytes"]
    assert first["sha256"] != other["sha256"]
    assert first == again
