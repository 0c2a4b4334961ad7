"""`verify-receipt`: what it reports of every change since a training started, and which records it refuses."""

from __future__ import annotations

import copy
import json
import os
import pickle
import shlex
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data.workers import Pool
from plansguard.core.errors import UnreadableDocument, UsageError
from plansguard.documents import json_document
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.records.verify import DocumentState, Verification, verify
from tests.rules.pg7_run.trainings import CT, FULLRES, READY
from tests.support.command import Done, run
from tests.support.data_folders import DATA, SPLITS
from tests.support.training_records import MODEL, differences, leave, states, value_of, without_case
from tests.support.variants import DATASET_JSON, PLANS, drop, lay_out, place, point_to, put, remove, rewrite

#: Each writes a record of a dataset with its data, and verifies it.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(CT, edits=READY, folder="home")]

FINGERPRINT = "preprocessed/dataset_fingerprint.json"
SHAPE = "shape_after_cropping_and_before_resampling"


def ready(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another workspace as the fixture has it."""
    lay_out(root, CT)
    point_to(root, monkeypatch)
    for edit in READY:
        edit(root, CT)
    return root


def verified(folder: Path, *options: str) -> Done:
    return run("verify-receipt", folder, *options)


# ---------------------------------------------------------------------------------------------------------------------
# Changes
# ---------------------------------------------------------------------------------------------------------------------


def test_nothing_changed(record: Path) -> None:
    done = verified(record.parent)
    assert (done.code, done.err) == (0, "")
    assert "everything is unchanged" in done.out
    assert set(states(record).values()) == {DocumentState.SAME}
    assert list(states(record)) == ["plans", "dataset.json", "fingerprint", "splits", "weights", "data"]


def pickled(case: str, **changes: Any) -> Callable[[Path, str], None]:
    """Other properties of a case, written without numpy."""

    def edit(workspace: Path, dataset: str) -> None:
        properties = {"spacing": (1.5, 1.2, 1.2), SHAPE: (54, 64, 64), "class_locations": {1: [], 2: []}, **changes}
        place(workspace, dataset, f"preprocessed/{DATA}/{case}.pkl").write_bytes(pickle.dumps(properties))

    return edit


def _replaced(path: Path, content: bytes | bytearray) -> None:
    """Put another file in the place of one that tests share."""
    path.unlink()
    path.write_bytes(content)


def other_weights(workspace: Path, _: str) -> None:
    """Weights of the same size that differ in one byte of a tensor and in its checksum."""
    path = workspace / "weights.pth"
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        tensor = next(entry for entry in archive.infolist() if "/data/" in entry.filename)
        content = archive.read(tensor)
    at = raw.index(content, tensor.header_offset)
    raw[at] ^= 1
    crc = zlib.crc32(raw[at : at + len(content)])
    _replaced(path, raw.replace(tensor.CRC.to_bytes(4, "little"), crc.to_bytes(4, "little")))


CHANGES: dict[str, tuple[Callable[[Path, str], object], dict[str, str]]] = {
    "spacing": (
        put(PLANS, f"{FULLRES}/spacing/0", 2.0),
        {"plans": "3d_fullres.spacing was [1.5, 1.2, 1.2] and is [2.0, 1.2, 1.2] (input)"},
    ),
    "a mean": (
        put(PLANS, "/foreground_intensity_properties_per_channel/0/mean", 1.0),
        {"plans": "foreground_intensity_properties_per_channel.0.mean was 79.87077 and is 1.0 (input)"},
    ),
    "a field taken out": (
        drop(PLANS, f"{FULLRES}/batch_size"),
        {"plans": "3d_fullres.batch_size was 2 and is absent (training)"},
    ),
    "no plans": (remove(PLANS), {"plans": "nnUNetPlans.json is not there"}),
    "no configuration": (drop(PLANS, FULLRES), {"plans": "nnUNetPlans.json contains something else now"}),
    "plans cut": (rewrite(PLANS, lambda text: text[:-9]), {"plans": "nnUNetPlans.json: "}),
    "another document": (rewrite(PLANS, lambda _: "[]"), {"plans": "nnUNetPlans.json contains something else now"}),
    "a label": (put(DATASET_JSON, "/labels/kidney", 3), {"dataset.json": "labels.kidney was 1 and is 3"}),
    "a new label": (put(DATASET_JSON, "/labels/organ", 2), {"dataset.json": "labels.organ was absent and is 2"}),
    "the order of labels": (
        rewrite(DATASET_JSON, lambda text: _reversed_labels(text)),
        {"dataset.json": "labels were in the order "},
    ),
    "the ending": (
        put(DATASET_JSON, "/file_ending", ".nrrd"),
        {"dataset.json": 'file_ending was ".nii.gz" and is ".nrrd"'},
    ),
    "fingerprint": (put(FINGERPRINT, "/spacings/0/0", 9.0), {"fingerprint": "spacings has changed"}),
    "a key of the fingerprint": (put(FINGERPRINT, "/mine", 1), {"fingerprint": "mine was added"}),
    "a case moved to validation": (
        drop(SPLITS, "/0/train/0"),
        {"splits": "it had 4 training and 1 validation cases, and has 3 training and 1 validation cases"},
    ),
    "another case": (put(SPLITS, "/0/val/0", "other"), {"splits": "4 training and 1 validation cases, but other ones"}),
    "splits as text": (put(SPLITS, "/0/train", "all"), {"splits": "and has no cases of this fold"}),
    "no splits": (remove(SPLITS), {"splits": "splits_final.json is not there"}),
    "weights of the same size": (other_weights, {"weights": "weights.pth is another file of the same size"}),
    "weights of another size": (
        lambda workspace, dataset: _replaced(workspace / "weights.pth", place(workspace, dataset, SPLITS).read_bytes()),
        {"weights": " bytes and has "},
    ),
    "weights cut": (
        lambda workspace, _: _replaced(workspace / "weights.pth", (workspace / "weights.pth").read_bytes()[:9999]),
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
        {"data": "there were 5 cases, and there are 4; removed: fine_002"},
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
def test_changes_are_reported(
    record: Path, workspace: Path, change: Callable[[Path, str], object], expected: dict[str, str]
) -> None:
    """Every change is reported, and nothing else."""
    change(workspace, CT)
    found = differences(record)
    assert found.keys() == expected.keys()
    for document, words in expected.items():
        assert words in found[document]
    done = verified(record.parent)
    assert done.code == 1
    assert f"{len(expected)} document changed or missing" in done.out


ALIKE: dict[str, tuple[Callable[[Path, str], None], str]] = {
    "another configuration": (put(PLANS, "/configurations/2d/batch_size", 7), "plans"),
    "a field that nnU-Net does not read": (put(DATASET_JSON, "/licence", "hands off!"), "dataset.json"),
    "another fold": (put(SPLITS, "/1/val/0", "other"), "splits"),
}


@pytest.mark.parametrize(("change", "document"), ALIKE.values(), ids=ALIKE)
def test_changes_that_the_training_does_not_use(
    record: Path, workspace: Path, change: Callable[[Path, str], None], document: str
) -> None:
    change(workspace, CT)
    assert {name for name, state in states(record).items() if state is not DocumentState.SAME} == {document}
    assert states(record)[document] is DocumentState.ALIKE
    assert verified(record.parent).code == 0


LAYOUTS: dict[str, Callable[[str], str]] = {
    "one line": lambda text: json.dumps(json.loads(text)),
    "two blanks": lambda text: json.dumps(json.loads(text), indent=2) + "\n",
    "other separators": lambda text: json.dumps(json.loads(text), separators=(" , ", " : ")),
    "Windows": lambda text: text.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("file", [PLANS, DATASET_JSON, FINGERPRINT, SPLITS])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layout_is_no_difference(record: Path, workspace: Path, file: str, layout: Callable[[str], str]) -> None:
    rewrite(file, layout)(workspace, CT)
    assert set(states(record).values()) == {DocumentState.SAME}
    assert "elsewhere" not in verified(record.parent).out


@pytest.mark.parametrize("file", [PLANS, DATASET_JSON])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_nnunets_copies_in_another_layout_than_the_originals(
    workspace: Path, file: str, layout: Callable[[str], str]
) -> None:
    """nnU-Net writes its copies with an indentation of its own, whatever that of the original is."""
    rewrite(file, layout)(workspace, CT)
    record = leave(workspace)
    value = json.loads(place(workspace, CT, file).read_bytes())
    name = "plans.json" if file == PLANS else "dataset.json"
    (record.parent.parent / name).write_text(json.dumps(value, indent=4))
    assert set(states(record).values()) == {DocumentState.SAME}
    assert f"{name} of the model" in states(record)


def test_data_that_were_preprocessed_again(workspace: Path) -> None:
    """Arrays of the same shapes, whose files have another length: Blosc2 does not write the same bytes twice."""
    path = leave(workspace)
    with place(workspace, CT, f"preprocessed/{DATA}/fine_003.b2nd").open("ab") as stream:
        stream.write(b"\0")
    assert states(path)["data"] is DocumentState.ALIKE
    assert "the files were written again" in verified(path.parent).out


def test_splits_that_nnunet_writes_later(workspace: Path) -> None:
    written = place(workspace, CT, SPLITS)
    kept = written.read_bytes()
    written.unlink()
    path = leave(workspace)
    assert states(path)["splits"] is DocumentState.UNRECORDED
    written.write_bytes(kept)
    done = verified(path.parent)
    assert done.code == 0
    assert (
        "splits                    not recorded: did not exist when the training started: nnU-Net writes it" in done.out
    )


def test_data_that_were_not_read(workspace: Path) -> None:
    path = leave(workspace, depth="none")
    assert value_of(path)["starts"][0]["data"] is None
    assert states(path)["data"] is DocumentState.UNRECORDED


def test_the_fold_all_takes_every_case(workspace: Path) -> None:
    path = leave(workspace, fold="all")
    put(SPLITS, "/0/val/0", "other")(workspace, CT)
    assert states(path)["splits"] is DocumentState.ALIKE


def test_splits_that_the_fold_all_does_not_read(workspace: Path) -> None:
    """nnU-Net writes none for it, and does not miss those that are gone."""
    path = leave(workspace, fold="all")
    place(workspace, CT, SPLITS).unlink()
    assert states(path)["splits"] is DocumentState.ALIKE
    path.unlink()
    done = verified(leave(workspace, fold="all").parent)
    assert done.code == 0
    assert "splits                    not recorded: the fold all takes every case" in done.out


def test_nnunets_copies_in_the_folder_of_the_model(record: Path, workspace: Path) -> None:
    """Predictions use them. Another fold that starts later writes them again."""
    model = record.parent.parent
    for name, copied in (("plans.json", PLANS), ("dataset.json", DATASET_JSON)):
        shutil.copyfile(place(workspace, CT, copied), model / name)
    assert states(record)["plans.json of the model"] is DocumentState.SAME
    put(f"results/{MODEL}/plans.json", f"{FULLRES}/patch_size/0", 48)(workspace, CT)
    put(f"results/{MODEL}/dataset.json", "/labels/kidney", 3)(workspace, CT)
    assert differences(record) == {
        "plans.json of the model": "3d_fullres.patch_size was [56, 64, 64] and is [48, 64, 64] (training)",
        "dataset.json of the model": "labels.kidney was 1 and is 3",
    }


def test_a_class_under_another_path_is_the_same_class(workspace: Path) -> None:
    """nnU-Net finds it under both: plans are compared by meaning."""
    path = leave(workspace)
    content = value_of(path)
    arch = content["starts"][0]["plans"]["used"]["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arch["conv_op"] = "torch.nn.Conv3d"
    content["starts"][0]["plans"]["sha256"] = "0" * 64
    path.write_bytes(json_document.dumps(content))
    assert states(path)["plans"] is DocumentState.ALIKE


# ---------------------------------------------------------------------------------------------------------------------
# Other folders
# ---------------------------------------------------------------------------------------------------------------------


def test_a_copy_of_the_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compared with its own data, although the environment names the original workspace."""
    path = leave(workspace)
    copied = workspace.parent / "copied"
    shutil.copytree(workspace, copied, copy_function=shutil.copyfile)
    copied_record = copied / path.relative_to(workspace)
    put(PLANS, f"{FULLRES}/spacing/0", 2.0)(workspace, CT)
    assert set(states(copied_record).values()) == {DocumentState.SAME}
    assert verify(copied_record, Pool()).compared == copied / "nnUNet_preprocessed" / CT
    assert list(differences(path)) == ["plans"]
    fresh = ready(workspace.parent / "fresh", monkeypatch)
    starts = [value_of(one)["starts"][0] for one in (path, leave(fresh))]
    for start in starts:
        del start["started"], start["last"]
    assert starts[0] == starts[1]


def test_results_without_preprocessed_data(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = record.parents[4] / "elsewhere/fold_0"
    shutil.copytree(record.parent, alone)
    monkeypatch.delenv("nnUNet_preprocessed")
    done = verified(alone)
    assert done.code == 2
    assert "nnUNet_preprocessed is not set" in done.err


# ---------------------------------------------------------------------------------------------------------------------
# Folders, formats, exit codes
# ---------------------------------------------------------------------------------------------------------------------


def test_the_folder_of_a_model_means_all_its_folds(workspace: Path) -> None:
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


def test_the_file_itself_may_be_named(record: Path) -> None:
    assert verified(record).code == 0


def test_no_record(tmp_path: Path) -> None:
    done = verified(tmp_path)
    assert (done.code, done.out) == (3, "")
    assert "there is no training record" in done.err
    assert verified(tmp_path / "nothing").code == 2


def test_an_unknown_format(record: Path) -> None:
    assert verified(record, "--output", "xml").code == 2


def test_a_damaged_record_does_not_hide_the_others(workspace: Path) -> None:
    first, second = leave(workspace), leave(workspace, fold="1")
    first.write_text("{", encoding="utf-8")
    done = verified(first.parent.parent)
    assert done.code == 2
    assert str(second) in done.out
    assert str(first) in done.err


def test_the_command_loads_neither_nnunet_nor_numpy(record: Path) -> None:
    from tests.test_imports import COMMAND, HEAVY, probe, roots

    loaded = probe(COMMAND, "verify-receipt", str(record.parent))
    assert loaded["code"] == 0
    assert roots(loaded["asked"]) & (HEAVY | {"pydantic"}) == set()


# ---------------------------------------------------------------------------------------------------------------------
# Untrusted records
# ---------------------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, str]] = {
    "a list": ([], "this is not a training record"),
    "a report": ({"schema": "plansguard/report/1"}, "this is not a training record"),
    "of a later version": ({"schema": "plansguard/receipt/2"}, "reads plansguard/receipt/1"),
    "of an unknown schema": ({"schema": "plansguard/receipt/" + "x" * 9999}, "reads plansguard/receipt/1"),
    "empty": ({"schema": "plansguard/receipt/1"}, "starts: "),
    "no start": ({"schema": "plansguard/receipt/1", "starts": [], "left_out": 0, "cases": {}}, "has no start"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_other_documents_are_refused(record: Path, content: Any, words: str) -> None:
    record.write_text(json.dumps(content), encoding="utf-8")
    assert_refused(record, words)


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
def test_unreadable_records(record: Path, raw: bytes, words: str) -> None:
    record.write_bytes(raw)
    assert_refused(record, words)


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
def test_names_that_lead_outside(record: Path, workspace: Path, pointer: str, odd: str) -> None:
    put(f"results/{MODEL}/fold_0/{TRAINING_RECORD_NAME}", pointer, odd)(workspace, CT)
    assert_refused(record, "")


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 9999, "~", "\ud800"])
def test_odd_weights(record: Path, workspace: Path, path: str) -> None:
    name_weights(workspace, path)
    assert states(record)["weights"] in (DocumentState.GONE, DocumentState.UNREADABLE)
    assert verified(record.parent).code == 1


def name_weights(workspace: Path, path: str | Path) -> None:
    """Let the record name other weights."""
    put(f"results/{MODEL}/fold_0/{TRAINING_RECORD_NAME}", "/starts/0/weights/path", str(path))(workspace, CT)


def linked(workspace: Path, outside: Path) -> Path:
    link = workspace / "linked.pth"
    link.symlink_to(outside)
    return link


OUTSIDE: dict[str, Callable[[Path, Path], str | Path]] = {
    "a folder": lambda workspace, outside: outside.parent,
    "the root": lambda workspace, outside: "/",
    "a device": lambda workspace, outside: "/dev/zero",
    "an absolute path": lambda workspace, outside: outside,
    "a relative path": lambda workspace, outside: f"../{outside.name}",
    "a way through a folder of its own": lambda workspace, outside: workspace / "nnUNet_raw/../.." / outside.name,
    "a link": linked,
}


@pytest.mark.parametrize("path_of", OUTSIDE.values(), ids=OUTSIDE)
def test_weights_outside_are_not_opened(
    record: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, path_of: Callable[[Path, Path], str | Path]
) -> None:
    outside = workspace.parent / "secret.pth"
    shutil.copyfile(workspace / "weights.pth", outside)
    path = path_of(workspace, outside)
    name_weights(workspace, path)
    opened: list[str] = []

    def noted(name: Any, *rest: Any, **options: Any) -> int:
        opened.append(str(name))
        return really(name, *rest, **options)

    really = os.open
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", noted)
        done = verified(record.parent)
    assert (done.code, done.err) == (0, "")
    assert f"not compared: {path} is outside of nnU-Net's folders; to compare it: plansguard verify-rec" in done.out
    assert "everything that was compared is unchanged" in done.out
    assert not {name for name in opened if name in (str(path), str(outside))}


def test_weights_outside_are_compared_where_they_are_named(record: Path, workspace: Path) -> None:
    """By the command that is printed."""
    outside = workspace.parent / "moved.pth"
    shutil.copyfile(workspace / "weights.pth", outside)
    (workspace / "weights.pth").unlink()
    name_weights(workspace, outside)
    [line] = [line for line in verified(record.parent).out.splitlines() if "not compared" in line]
    command = shlex.split(line.partition("plansguard ")[2])
    done = run(*command)
    assert (done.code, "weights                   unchanged\n" in done.out) == (0, True), done.out
    with outside.open("ab") as stream:
        stream.write(b"x")
    assert run(*command).code == 1
    outside.unlink()
    assert run(*command).code == 1


def test_weights_that_were_moved_may_be_named(record: Path, workspace: Path) -> None:
    shutil.move(workspace / "weights.pth", workspace.parent / "moved.pth")
    assert verified(record.parent).code == 1
    assert verified(record.parent, "-pretrained_weights", str(workspace.parent / "moved.pth")).code == 0


@pytest.mark.parametrize("root", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_weights_in_nnunets_folders_are_compared(
    record: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    (workspace / root).mkdir(exist_ok=True)
    moved = workspace / root / "weights.pth"
    shutil.move(workspace / "weights.pth", moved)
    name_weights(workspace, moved)
    monkeypatch.chdir(workspace / "nnUNet_preprocessed" / CT)
    assert states(record)["weights"] is DocumentState.SAME


@pytest.mark.parametrize("typed", ["nnUNet_results", "/of/before/results"])
def test_weights_in_a_workspace_that_was_moved(
    record: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """They are compared from any folder, and are gone only where this workspace lacks them too."""
    below = "Dataset001_PretrainCT/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/checkpoint_final.pth"
    present = workspace / "nnUNet_results" / below
    present.parent.mkdir(parents=True)
    shutil.copyfile(workspace / "weights.pth", present)
    (workspace / "weights.pth").unlink()
    name_weights(workspace, f"{typed}/{below}")
    monkeypatch.chdir(workspace / "nnUNet_preprocessed")
    assert states(record)["weights"] is DocumentState.SAME
    with present.open("ab") as stream:
        stream.write(b"x")
    assert states(record)["weights"] in (DocumentState.CHANGED, DocumentState.UNREADABLE)
    present.unlink()
    assert states(record)["weights"] is DocumentState.GONE


def test_a_pipe_is_not_opened(record: Path, workspace: Path) -> None:
    os.mkfifo(workspace / "pipe.pth")
    name_weights(workspace, "pipe.pth")
    assert states(record)["weights"] is DocumentState.UNREADABLE


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "2d", "torch.nn.Conv3d"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["0", "a", "n_stages"]), inside),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patched:
        path = leave(ready(tmp_path_factory.mktemp("healthy"), patched))
    return path, value_of(path)


@given(data=st.data(), odd=ODD)
def test_an_odd_value_gives_a_verification_or_one_error(
    healthy: tuple[Path, dict[str, Any]], data: st.DataObject, odd: Any
) -> None:
    """One value anywhere in a healthy record, including the recorded plans."""
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
