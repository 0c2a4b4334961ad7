"""The models and the recognition of documents: real files, wrong types, and files that only look like documents."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from plansguard.documents.models.dataset_json import DatasetJson
from plansguard.documents.models.fingerprint import Fingerprint
from plansguard.documents.models.plans import Architecture, ArchKwargs, Configuration, Plans
from plansguard.documents.models.splits import Splits
from plansguard.documents.recognise import is_v1, may_be_document, recognise
from plansguard.documents.validation import _SOURCES, model_class
from plansguard.nnunet.inheritance import modern_architecture, resolve_configuration
from tests.conftest import ROOT
from tests.support.corpus import corpus

MODELS: dict[str, type[BaseModel]] = {
    "plans": Plans,
    "dataset.json": DatasetJson,
    "fingerprint": Fingerprint,
    "splits": Splits,
}
DOCUMENT_MODELS = (*MODELS.values(), Configuration, Architecture, ArchKwargs)


def pointers(model: type[BaseModel], value: Any) -> list[str]:
    """The places that the model refuses in a value, as JSON pointers."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return ["".join(f"/{token}" for token in error["loc"]) for error in caught.value.errors()]


# ---------------------------------------------------------------------------------------------------------------------
# The corpus
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "kind"), corpus())
def test_real_files_are_recognised(path: Path, kind: str | None) -> None:
    raw = path.read_bytes()
    assert recognise(json.loads(raw)) == kind
    assert kind is None or may_be_document(raw)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("path", "kind"), corpus("plans", "dataset", "fingerprint", "splits"))
def test_real_files_validate_and_lose_nothing(path: Path, kind: str) -> None:
    value = json.loads(path.read_bytes())
    if is_v1(value):
        assert path.name.startswith("Task05_Prostate")
        return
    document = MODELS[kind].model_validate(value)
    assert document.model_dump(by_alias=True, exclude_unset=True) == value


@pytest.mark.slow
@pytest.mark.parametrize(("path", "kind"), corpus("plans", "dataset", "fingerprint", "splits"))
def test_real_files_fit_the_json_schema(path: Path, kind: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
    value = json.loads(path.read_bytes())
    if not is_v1(value):
        jsonschema.validate(value, MODELS[kind].model_json_schema())


@pytest.mark.parametrize(("path", "kind"), corpus("plans"))
def test_real_configurations_validate(path: Path, kind: str) -> None:
    configurations = json.loads(path.read_bytes())["configurations"]
    for name in configurations:
        resolved = resolve_configuration(configurations, name)
        configuration = Configuration.model_validate(resolved)
        assert configuration.model_dump(by_alias=True, exclude_unset=True) == resolved
        if resolved.get("UNet_class_name", "PlainConvUNet") in ("PlainConvUNet", "ResidualEncoderUNet"):
            ArchKwargs.model_validate(modern_architecture(resolved)["arch_kwargs"])


# ---------------------------------------------------------------------------------------------------------------------
# Types
# ---------------------------------------------------------------------------------------------------------------------

WRONG_TYPES: list[tuple[type[BaseModel], Any, list[str]]] = [
    (Plans, [], [""]),
    (Plans, {}, ["/configurations"]),
    (Plans, {"configurations": []}, ["/configurations"]),
    (Plans, {"configurations": {"2d": None, "3d": {}}}, ["/configurations/2d"]),
    (Plans, {"configurations": {}, "plans_name": 5}, ["/plans_name"]),
    (Plans, {"configurations": {}, "label_manager": None}, ["/label_manager"]),
    (
        Plans,
        {"configurations": {}, "transpose_forward": [0, "1", 2.0]},
        [f"/transpose_forward/{i}" for i in (1, 2)],
    ),
    (
        Plans,
        {"configurations": {}, "foreground_intensity_properties_per_channel": {"0": {"mean": "1"}, "1": 3}},
        [f"/foreground_intensity_properties_per_channel/{where}" for where in ("0/mean", "1")],
    ),
    (Configuration, {"batch_size": 2.0}, ["/batch_size"]),
    (Configuration, {"batch_size": "2"}, ["/batch_size"]),
    (Configuration, {"batch_size": True}, ["/batch_size"]),
    (Configuration, {"batch_size": None}, ["/batch_size"]),
    (Configuration, {"patch_size": 128}, ["/patch_size"]),
    (Configuration, {"patch_size": [128, 128.0, None]}, ["/patch_size/1", "/patch_size/2"]),
    (Configuration, {"spacing": [1, None, "1"]}, ["/spacing/2"]),
    (Configuration, {"spacing": [True, 1]}, ["/spacing/0"]),
    (Configuration, {"use_mask_for_norm": [False, 0]}, ["/use_mask_for_norm/1"]),
    (Configuration, {"normalization_schemes": [None]}, ["/normalization_schemes/0"]),
    (Configuration, {"batch_dice": "true"}, ["/batch_dice"]),
    (Configuration, {"resampling_fn_data_kwargs": []}, ["/resampling_fn_data_kwargs"]),
    (Configuration, {"architecture": None}, ["/architecture"]),
    (Configuration, {"architecture": {"arch_kwargs": 1}}, ["/architecture/arch_kwargs"]),
    (Configuration, {"architecture": {"_kw_requires_import": [1]}}, ["/architecture/_kw_requires_import/0"]),
    (Configuration, {"next_stage": ["3d", 3]}, ["/next_stage/1"]),
    (Configuration, {"next_stage": 3}, ["/next_stage"]),
    (Configuration, {"previous_stage": ["2d"]}, ["/previous_stage"]),
    (Configuration, {"pool_op_kernel_sizes": [[1, 1], [2, 2.0]]}, ["/pool_op_kernel_sizes/1/1"]),
    (ArchKwargs, {"n_stages": 6.0}, ["/n_stages"]),
    (ArchKwargs, {"features_per_stage": [32, "64"]}, ["/features_per_stage/1"]),
    (ArchKwargs, {"features_per_stage": True}, ["/features_per_stage"]),
    (ArchKwargs, {"strides": [[1, 1], 2, [2, 2.0]]}, ["/strides/2/1"]),
    (ArchKwargs, {"strides": [[1, 1], None]}, ["/strides/1"]),
    (ArchKwargs, {"kernel_sizes": "3"}, ["/kernel_sizes"]),
    (ArchKwargs, {"conv_op": None}, ["/conv_op"]),
    (ArchKwargs, {"norm_op_kwargs": "eps"}, ["/norm_op_kwargs"]),
    (Fingerprint, {"spacings": [[1, 1, 1], [1, 1, "1"]]}, ["/spacings/1/2"]),
    (Fingerprint, {"shapes_after_crop": [[10, 10.0]]}, ["/shapes_after_crop/0/1"]),
    (Fingerprint, {"median_relative_size_after_cropping": [1.0]}, ["/median_relative_size_after_cropping"]),
    (DatasetJson, {"labels": ["background"]}, ["/labels"]),
    (DatasetJson, {"labels": {"background": 0, "a": 1.0, "b": "2"}}, ["/labels/a", "/labels/b"]),
    (DatasetJson, {"labels": {"a": [1, "2"]}}, ["/labels/a/1"]),
    (DatasetJson, {"channel_names": {"R": 0}}, ["/channel_names/R"]),
    (DatasetJson, {"channel_names": ["CT"]}, ["/channel_names"]),
    (DatasetJson, {"numTraining": "12"}, ["/numTraining"]),
    (DatasetJson, {"overwrite_image_reader_writer": None}, ["/overwrite_image_reader_writer"]),
    (
        DatasetJson,
        {"dataset": {"a": {"images": "a.png", "label": 1}}},
        ["/dataset/a/images", "/dataset/a/label"],
    ),
    (Splits, {}, [""]),
    (Splits, [{"train": ["a"], "val": ["b", 3]}, {"train": []}], ["/0/val/1", "/1/val"]),
]


@pytest.mark.parametrize(("model", "value", "expected"), WRONG_TYPES, ids=lambda value: json.dumps(value, default=str))
def test_wrong_types_are_found_where_they_are(model: type[BaseModel], value: Any, expected: list[str]) -> None:
    assert pointers(model, value) == expected


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("model", "value"),
    [
        (Configuration, {"spacing": [1, 0.5, None], "median_image_size_in_voxels": [40, 40.5]}),
        (Configuration, {"previous_stage": None, "next_stage": None}),
        (Configuration, {"next_stage": ["a", "b"]}),
        (Configuration, {"architecture": {"network_class_name": "ResEncL", "arch_kwargs": None}}),
        (ArchKwargs, {"features_per_stage": 32, "strides": 2, "kernel_sizes": [3, [3, 3]]}),
        (ArchKwargs, {"norm_op": None, "dropout_op": None, "dropout_op_kwargs": None, "stem_channels": None}),
        (DatasetJson, {"labels": {"background": 0, "region": [1]}, "regions_class_order": None, "release": 1.0}),
    ],
    ids=lambda value: json.dumps(value, default=str),
)
def test_unusual_types_that_nnunet_takes(model: type[BaseModel], value: Any) -> None:
    assert model.model_validate(value).model_dump(exclude_unset=True) == value


def test_the_message_about_a_scalar_that_may_be_a_list() -> None:
    with pytest.raises(ValidationError, match="Input should be a valid integer or a list of integers"):
        ArchKwargs.model_validate({"n_conv_per_stage": "2"})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def documents(draw: Callable[[Any], Any]) -> tuple[type[BaseModel], Any]:
    """A model and an object with some of its keys and any values."""
    model = draw(st.sampled_from([model for model in DOCUMENT_MODELS if model is not Splits]))
    keys = [field.alias or name for name, field in model.model_fields.items()]
    return model, {"configurations": {}, **draw(st.dictionaries(st.sampled_from(keys), JSON_VALUES, max_size=5))}


@given(documents())
@settings(deadline=None, max_examples=300)
def test_every_complaint_points_into_the_document(case: tuple[type[BaseModel], Any]) -> None:
    model, value = case
    try:
        model.model_validate(value)
    except ValidationError as error:
        for complaint in error.errors():
            found = value
            for token in complaint["loc"]:
                found = found[token]
            assert found is complaint["input"] or found == complaint["input"]


@pytest.mark.parametrize("model", DOCUMENT_MODELS, ids=lambda model: model.__name__)
def test_every_field_is_described(model: type[BaseModel]) -> None:
    schema = model.model_json_schema()
    assert schema["description"]
    for part in (schema, *schema.get("$defs", {}).values()):
        for name, field in part.get("properties", {}).items():
            assert field.get("description", "").endswith("."), name


# ---------------------------------------------------------------------------------------------------------------------
# Recognition
# ---------------------------------------------------------------------------------------------------------------------

FAULTY: list[tuple[str, Any]] = [
    ("plans", {"plans_name": "nnUNetPlans", "image_reader_writer": "SimpleITKIO"}),
    ("plans", {"configurations": [], "transpose_forward": [0, 1, 2]}),
    ("plans", {"configurations": {}, "plans_name": None}),
    ("fingerprint", {"spacings": [], "shapes_after_crop": []}),
    ("fingerprint", {"spacings": None, "foreground_intensity_properties_per_channel": {}}),
    ("dataset.json", {"labels": ["background"], "channel_names": ["CT"], "numTraining": "3"}),
    ("dataset.json", {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz"}),
    ("splits", [{"train": ["a"], "val": ["b"]}, {"train": ["a"]}]),
    ("lineage", {"schema": "plansguard/lineage/1"}),
    ("stamp", {"schema": "plansguard/stamp/1"}),
    ("receipt", {"schema": "plansguard/receipt/1"}),
]

LOOK_ALIKES: dict[str, Any] = {
    "package.json": {"name": "x", "version": "1.0.0", "scripts": {}, "dependencies": {}},
    "tsconfig": {"compilerOptions": {"target": "es6"}, "include": ["src"]},
    "launch.json": {"version": "0.2.0", "configurations": [{"name": "Python", "type": "debugpy"}]},
    "angular": {"projects": {}, "configurations": {"production": {}}, "version": 1},
    "an experiment": {"dataset_name": "cifar", "configurations": {"a": {"batch_size": 2}}},
    "COCO": {"images": [], "annotations": [], "categories": [], "labels": {"1": "cat"}},
    "a GitHub issue": {"labels": [{"name": "bug"}], "title": "x", "number": 1},
    "Hugging Face config": {"architectures": [], "id2label": {"0": "a"}, "label2id": {"a": 0}},
    "EEG": {"channel_names": ["Fz", "Cz"], "labels": {"0": "rest"}},
    "a case's annotation": {"modality": "CT", "labels": {"liver": 1}},
    "nnDetection dataset": {"task": "Task000", "labels": {"0": "nodule"}, "modalities": {"0": "CT"}, "dim": 3},
    "index folds": [{"train": [0, 1], "val": [2]}],
    "one fold, no list": {"train": ["a"], "val": ["b"]},
    "file lists": [{"train": [{"image": "a.nii.gz"}], "val": [{"image": "b.nii.gz"}]}],
    "nnU-Net's debug.json": {"label_manager": "<...>", "plans_manager": "{...}", "dataset_json": "{...}"},
    "nnU-Net's summary.json": {"foreground_mean": {"Dice": 0.9}, "mean": {}, "metric_per_case": []},
    "geometry": {"spacings": [1, 1, 1], "origin": [0, 0, 0]},
    "our report": {"schema": "plansguard/report/1", "findings": []},
    "empty list": [],
    "empty object": {},
    "text": "configurations",
    "null": None,
}


@pytest.mark.parametrize(("kind", "value"), FAULTY)
def test_faults_do_not_hide_a_document(kind: str, value: Any) -> None:
    assert recognise(value) == kind
    assert may_be_document(json.dumps(value).encode())


@pytest.mark.parametrize("value", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
def test_look_alikes_are_left_alone(value: Any) -> None:
    assert recognise(value) is None


@pytest.mark.parametrize("name", ["package.json", "tsconfig", "COCO", "a GitHub issue", "Hugging Face config"])
def test_look_alikes_need_not_be_parsed(name: str) -> None:
    assert not may_be_document(json.dumps(LOOK_ALIKES[name]).encode())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_documents_in_a_wrong_encoding_are_not_skipped(encoding: str) -> None:
    raw = json.dumps({"configurations": {}, "plans_name": "nnUNetPlans"}).encode(encoding)
    assert may_be_document(raw) is (encoding != "utf-16-le")  # without a byte order mark it could be anything


KEYS = sorted({key for _, value in FAULTY if isinstance(value, dict) for key in value} | {"train", "val", "other"})
OBJECTS = st.dictionaries(
    st.sampled_from(KEYS),
    st.sampled_from(["plansguard/lineage/1", "plansguard/stamp/1", "plansguard/receipt/1"]) | JSON_VALUES,
    max_size=4,
)


@given(OBJECTS | st.lists(OBJECTS, max_size=2) | JSON_VALUES)
def test_whatever_is_recognised_may_be_a_document(value: Any) -> None:
    assert recognise(value) is None or may_be_document(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"labels": {"0": "background", "1": "PZ"}, "modality": {"0": "T2"}}, True),
        ({"labels": {"background": 0, "PZ": 1}, "modality": {"0": "T2"}, "tensorImageSize": "3D"}, False),
        ({"labels": {"0": 0, "1": 1}}, False),
        ({"labels": {"background": "0"}}, False),
        ({"labels": {}}, False),
        ({"labels": ["background"]}, False),
        ({"training": [], "tensorImageSize": "3D"}, False),
        ([], False),
    ],
)
def test_v1_files_are_recognised_by_their_labels(value: Any, expected: bool) -> None:
    assert is_v1(value) is expected


# ---------------------------------------------------------------------------------------------------------------------
# Imports
# ---------------------------------------------------------------------------------------------------------------------


@cache
def loaded_by(statement: str) -> frozenset[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return frozenset(output.stdout.split())


def test_a_model_does_not_bring_the_others() -> None:
    loaded = loaded_by("import plansguard.documents.models.plans")
    home = "plansguard.documents.models."
    assert {name.removeprefix(home) for name in loaded if name.startswith(home)} == {"document", "intensity", "plans"}


@pytest.mark.parametrize("module", ["plansguard.documents.models", "plansguard.documents.recognise"])
def test_recognition_needs_no_pydantic(module: str) -> None:
    assert "pydantic" not in loaded_by(f"import {module}")


def test_models_are_found_by_name() -> None:
    assert model_class("Plans").__module__ == "plansguard.documents.models.plans"
    for name in _SOURCES:
        assert model_class(name).__name__ == name
    with pytest.raises(KeyError, match="Plan"):
        model_class("Plan")
