"""Model folders and model zips: what is found where, and what is refused."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint, read_checkpoint
from plansguard.artefacts.checkpoint.trained_model import (
    MAX_MODELS,
    MAX_PACKED,
    embedded_dataset_json,
    embedded_plans,
    read_artefact,
    read_models,
)
from plansguard.core.errors import UnreadableDocument
from plansguard.documents.json_document import JsonDocument
from plansguard.nnunet.workspace import trained_models
from tests.support.models import CHECKPOINT, CT, FIXTURE, MODEL, copy_of_model, edit, pack, stored

PLANS = (FIXTURE / "plans.json").read_bytes()
DATASET_JSON = (FIXTURE / "dataset.json").read_bytes()


# --- Where models are found ---


@pytest.mark.parametrize("place", [FIXTURE, FIXTURE.parent, FIXTURE.parent.parent])
def test_a_folder_and_the_folders_above(place: Path) -> None:
    (model,) = read_models(place)
    assert (model.path, model.folder, model.zipped) == (FIXTURE, FIXTURE, False)
    assert (model.name, model.dataset_name) == (MODEL, CT)
    assert (model.trainer, model.configuration) == ("nnUNetTrainer", "3d_fullres")
    assert model.plans.raw == PLANS
    assert model.dataset_json is not None
    assert model.fingerprint is not None
    assert model.checkpoints == ("fold_0/checkpoint_final.pth",)


def test_a_path_of_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURE)
    (model,) = read_models(Path())
    assert (model.name, model.dataset_name, model.trainer) == (MODEL, CT, "nnUNetTrainer")


@pytest.mark.parametrize(
    ("present", "named"),
    [
        (("0/final", "0/best", "0/latest"), "0/final"),
        (("0/best", "0/latest"), "0/best"),
        (("0/best", "1/final", "1/best"), "1/final"),
        (("0/latest", "1/best"), "1/best"),
        (("0/latest", "0/ep50"), "0/latest"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_the_most_complete_checkpoint_is_chosen_and_named(
    tmp_path: Path, present: tuple[str, ...], named: str, zipped: bool
) -> None:
    """Where weights are chosen, and where a message names some: never an unfinished training beside a finished one."""
    model = copy_of_model(tmp_path)
    (model / "fold_0/checkpoint_final.pth").unlink()
    paths = [f"fold_{one.replace('/', '/checkpoint_')}.pth" for one in present]
    for path in paths:
        (model / path).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKPOINT, model / path)
    first = f"fold_{named.replace('/', '/checkpoint_')}.pth"
    given = pack(tmp_path / "model.zip", model) if zipped else model
    (read,) = read_models(given)
    assert (read.checkpoints[0], sorted(read.checkpoints)) == (first, sorted(paths))
    assert next(trained_models(tmp_path.parent, tmp_path.name)).checkpoints[0] == model / first
    with pytest.raises(UnreadableDocument) as refused:
        read_checkpoint(given)
    assert refused.value.hint.endswith(first)


def test_an_exported_zip(tmp_path: Path) -> None:
    path = pack(tmp_path / "model.zip", FIXTURE)
    (model,) = read_models(path)
    assert (model.path, model.folder, model.zipped) == (path, path / CT / MODEL, True)
    assert (model.name, model.dataset_name) == (MODEL, CT)
    assert (model.trainer, model.configuration) == ("nnUNetTrainer", "3d_fullres")
    assert model.plans.raw == PLANS
    assert model.plans.path == str(path / CT / MODEL / "plans.json")
    assert model.checkpoints == ("fold_0/checkpoint_final.pth",)


def test_several_configurations_in_one_zip(tmp_path: Path) -> None:
    flat = copy_of_model(tmp_path, "nnUNetTrainer__nnUNetPlans__2d")
    models = read_models(pack(tmp_path / "model.zip", FIXTURE, flat))
    assert [model.configuration for model in models] == ["2d", "3d_fullres"]


@pytest.mark.parametrize("inside", ["", "weights", "a/b/c"])
def test_other_layouts(tmp_path: Path, inside: str) -> None:
    """Authors pack the folder itself, or lay it somewhere else, under a name of their own."""
    prefix = f"{inside}/" if inside else ""
    path = stored(
        tmp_path / "Liver.zip",
        {
            f"{prefix}plans.json": PLANS,
            f"{prefix}fold_all/checkpoint_final.pth": b"",
            f"{prefix}fold_0/checkpoint_best.pth": b"",
            "__MACOSX/plans.json": b"junk",
        },
    )
    (model,) = read_models(path)
    assert model.name == (inside.rpartition("/")[2] or "Liver")
    assert (model.dataset_name, model.trainer, model.configuration) == (CT, "", "")
    assert (model.dataset_json, model.fingerprint) == (None, None)
    assert model.checkpoints == ("fold_all/checkpoint_final.pth", "fold_0/checkpoint_best.pth")


def test_plans_beside_predictions_are_no_model(tmp_path: Path) -> None:
    """nnU-Net copies plans.json into the folders of predictions and of the cross-validation."""
    model = copy_of_model(tmp_path / CT)
    for place in (model / "crossval_results_folds_0", tmp_path / CT / "predictions"):
        place.mkdir()
        (place / "plans.json").write_bytes(PLANS)
    assert [one.folder for one in read_models(tmp_path)] == [model]
    assert [one.folder for one in read_models(tmp_path / CT / "predictions")] == [tmp_path / CT / "predictions"]
    zipped = pack(tmp_path / "model.zip", model, tmp_path / CT / "predictions")
    assert [one.name for one in read_models(zipped)] == [MODEL]


def test_names_prove_nothing_about_documents(tmp_path: Path) -> None:
    model = copy_of_model(tmp_path)
    (model / "dataset.json").write_text("{}")
    assert read_models(model)[0].dataset_json is None


# --- Checkpoints inside ---


def test_a_checkpoint_in_a_zip_is_that_of_the_folder(tmp_path: Path) -> None:
    (model,), (zipped,) = read_models(FIXTURE), read_models(pack(tmp_path / "model.zip", FIXTURE))
    one, other = (each.checkpoint("fold_0/checkpoint_final.pth") for each in (model, zipped))
    assert one.parameters == other.parameters
    assert (one.plans, one.trainer, one.damage) == (other.plans, other.trainer, other.damage)
    assert other.path == str(tmp_path / "model.zip" / CT / MODEL / "fold_0" / "checkpoint_final.pth")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "model.zip"]


def test_what_a_checkpoint_carries() -> None:
    checkpoint = read_artefact(CHECKPOINT)
    assert isinstance(checkpoint, Checkpoint)
    assert embedded_plans(checkpoint).raw == PLANS
    dataset_json = embedded_dataset_json(checkpoint)
    assert dataset_json is not None
    assert dataset_json.value == json.loads(DATASET_JSON)


# --- What a path is ---


def test_kinds(tmp_path: Path) -> None:
    assert isinstance(read_artefact(FIXTURE / "plans.json"), JsonDocument)
    assert isinstance(read_artefact(FIXTURE), tuple)
    assert isinstance(read_artefact(pack(tmp_path / "model.pth", FIXTURE)), tuple)
    unnamed = tmp_path / "downloaded"
    unnamed.write_bytes(PLANS)
    assert isinstance(read_artefact(unnamed), JsonDocument)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pth", None, "does not exist"),
        ("plans.json", b"{", "ends"),
        ("plans.json", DATASET_JSON, "this is a dataset.json, and no plans"),
        ("plans.json", b"[1]", "these are no nnU-Net plans"),
        ("page.json", b"<!DOCTYPE html><html>", "JSON"),
    ],
)
def test_what_is_no_artefact(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableDocument) as caught:
        read_artefact(tmp_path / name)
    assert message in caught.value.reason
    assert caught.value.hint


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match="there is no model here"):
        read_artefact(tmp_path)


def test_a_fold_and_the_folder_of_a_dataset(tmp_path: Path) -> None:
    """Both are near a model: the message names the path that is meant."""
    model = copy_of_model(tmp_path)
    with pytest.raises(UnreadableDocument) as caught:
        read_artefact(model / "fold_0")
    assert caught.value.hint == f"this is a fold: name the model's folder, {model}, or a checkpoint in it"
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/nnUNetPlans.json").write_bytes(PLANS)
    with pytest.raises(UnreadableDocument) as caught:
        read_artefact(tmp_path / "dataset")
    assert caught.value.hint == f"name one of the plans in this folder, such as {tmp_path}/dataset/nnUNetPlans.json"


def test_broken_plans_in_a_model(tmp_path: Path) -> None:
    model = copy_of_model(tmp_path)
    (model / "plans.json").write_bytes(PLANS[:1000])
    with pytest.raises(UnreadableDocument) as caught:
        read_models(model)
    assert caught.value.path == str(model / "plans.json")
    assert caught.value.line is not None


# --- Hostile zips ---


def _link(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("m/fold_0/checkpoint_final.pth")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../outside.json", "leads outside"),
        ("m/../../outside.json", "leads outside"),
        ("/etc/cron.d/x", "an absolute path"),
        ("C:/x", "an absolute path"),
        ("m\\..\\..\\x", "with a backslash"),
        ("m/plans.json", "two files named"),
    ],
)
def test_members_that_point_outside(tmp_path: Path, name: str, message: str) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/plans.json", PLANS)
        archive.writestr(name, b"x")
    with pytest.raises(UnreadableDocument, match=message):
        read_artefact(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    path = stored(tmp_path / "model.zip", {"m/plans.json": PLANS})
    _link(path)
    with pytest.raises(UnreadableDocument, match="a link"):
        read_artefact(path)


def test_a_bomb_for_plans(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/plans.json", b" " * (MAX_PACKED + 1))
    with pytest.raises(UnreadableDocument, match="claims"):
        read_artefact(path)


def test_documents_of_a_zip_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "model.zip", FIXTURE, copy_of_model(tmp_path, "a__b__c"))
    names = ("plans.json", "dataset.json", "dataset_fingerprint.json")
    total = 2 * sum((FIXTURE / name).stat().st_size for name in names)
    monkeypatch.setattr("plansguard.artefacts.checkpoint.trained_model.MAX_ALL_PACKED", total)
    assert len(read_models(path)) == 2
    monkeypatch.setattr("plansguard.artefacts.checkpoint.trained_model.MAX_ALL_PACKED", total - 1)
    with pytest.raises(UnreadableDocument, match=f"documents of the 2 models in it have {total:,} bytes") as caught:
        read_models(path)
    assert "unpack the zip" in caught.value.hint


def test_a_checkpoint_that_is_too_large_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plansguard.artefacts.checkpoint.trained_model.MAX_UNPACKED", 1000)
    (model,) = read_models(pack(tmp_path / "model.zip", FIXTURE))
    with pytest.raises(UnreadableDocument, match="too many to read inside a zip"):
        model.checkpoint("fold_0/checkpoint_final.pth")


def test_a_zip_in_a_zip_is_not_entered(tmp_path: Path) -> None:
    inner = pack(tmp_path / "inner.zip", FIXTURE)
    outer = stored(tmp_path / "outer.zip", {"inner.zip": inner.read_bytes()})
    with pytest.raises(UnreadableDocument):
        read_artefact(outer)


def test_too_many_models(tmp_path: Path) -> None:
    many = {f"m{number}/plans.json": PLANS for number in range(MAX_MODELS + 1)}
    with pytest.raises(UnreadableDocument, match=f"more than {MAX_MODELS}"):
        read_models(stored(tmp_path / "model.zip", many))


def test_plans_deep_down_are_not_looked_for(tmp_path: Path) -> None:
    path = stored(tmp_path / "model.zip", {"a/" * 5000 + "plans.json": PLANS})
    with pytest.raises(UnreadableDocument):
        read_artefact(path)


def test_a_cut_zip(tmp_path: Path) -> None:
    path = pack(tmp_path / "model.zip", FIXTURE)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UnreadableDocument, match="cut short"):
        read_artefact(path)


def test_a_damaged_member(tmp_path: Path) -> None:
    path = stored(tmp_path / "model.zip", {"m/plans.json": PLANS})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"nnUNetPlans")] ^= 1
    path.write_bytes(raw)
    with pytest.raises(UnreadableDocument, match=r"m/plans\.json in it cannot be read"):
        read_artefact(path)


def test_an_odd_dataset_name_stays_text(tmp_path: Path) -> None:
    model = copy_of_model(tmp_path, "model")
    edit(model / "plans.json", lambda plans: plans.update(dataset_name="../../etc\x1b[31m"))
    assert read_models(model)[0].dataset_name == "../../etc\x1b[31m"
