"""The models, against the corpus, against nnU-Net's own resolution, and against documents that only look like some."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Literal

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
from plansguard.nnunet.inheritance import InheritanceError, modern_architecture, origins, resolve_configuration

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
KINDS = {"plans": "plans", "dataset": "dataset.json", "fingerprint": "fingerprint", "splits": "splits", "other": None}
MODELS: dict[str, type[BaseModel]] = {
    "plans": Plans,
    "dataset.json": DatasetJson,
    "fingerprint": Fingerprint,
    "splits": Splits,
}
DOCUMENT_MODELS = (*MODELS.values(), Configuration, Architecture, ArchKwargs)


def corpus(*kinds: str) -> list[Any]:
    """Parameters: path and kind of every file of the corpus, of these manifest kinds only if any are given."""
    if not CORPUS.is_dir():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason="there is no ../shared/corpus"))]
    with (CORPUS / "manifest.tsv").open(encoding="utf-8") as manifest:
        rows = [row for row in csv.DictReader(manifest, delimiter="\t") if not kinds or row["kind"] in kinds]
    return [pytest.param(CORPUS / row["local path"], KINDS[row["kind"]], id=row["local path"]) for row in rows]


def pointers(model: type[BaseModel], value: Any) -> list[str]:
    """Where the model finds fault with a value, as JSON pointers."""
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


def test_a_scalar_that_may_be_a_list_is_refused_in_plain_words() -> None:
    with pytest.raises(ValidationError, match="Input should be a valid integer or a list of integers"):
        ArchKwargs.model_validate({"n_conv_per_stage": "2"})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def documents(draw: Callable[[Any], Any]) -> tuple[type[BaseModel], Any]:
    """A model and an object with some of its keys, holding anything."""
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
def test_v1_files_are_told_by_their_labels(value: Any, expected: bool) -> None:
    assert is_v1(value) is expected


# ---------------------------------------------------------------------------------------------------------------------
# Inheritance
# ---------------------------------------------------------------------------------------------------------------------

FAMILY = {
    "grandchild": {"inherits_from": "child", "architecture": {"n": 3}},
    "child": {"batch_size": 3, "inherits_from": "3d_fullres", "extra": [1]},
    "3d_fullres": {"batch_size": 2, "patch_size": [32, 32], "architecture": {"n": 1, "m": 2}},
}


def test_a_child_replaces_whole_keys() -> None:
    resolved = resolve_configuration(FAMILY, "grandchild")
    assert resolved == {
        "batch_size": 3,
        "patch_size": [32, 32],
        "architecture": {"n": 3},
        "inherits_from": "child",
        "extra": [1],
    }
    assert origins(FAMILY, "grandchild") == {
        "batch_size": "child",
        "patch_size": "3d_fullres",
        "architecture": "grandchild",
        "inherits_from": "grandchild",
        "extra": "child",
    }


def test_resolving_changes_nothing() -> None:
    before = deepcopy(FAMILY)
    resolve_configuration(FAMILY, "grandchild")
    assert before == FAMILY


@pytest.mark.parametrize(
    ("configurations", "kind", "chain"),
    [
        ({}, "missing", ("a",)),
        ({"a": {"inherits_from": "b"}}, "missing", ("a", "b")),
        ({"a": {"inherits_from": None}, "None": {}}, "missing", ("a", "None")),
        ({"a": {"inherits_from": ["b"]}, "b": {}}, "missing", ("a", "['b']")),
        ({"a": {"inherits_from": "a"}}, "cycle", ("a", "a")),
        ({"a": {"inherits_from": "b"}, "b": {"inherits_from": "b"}}, "cycle", ("a", "b", "b")),
    ],
)
def test_broken_inheritance(configurations: dict[str, Any], kind: str, chain: tuple[str, ...]) -> None:
    for function in (resolve_configuration, origins):
        with pytest.raises(InheritanceError) as caught:
            function(configurations, "a")
        assert (caught.value.kind, caught.value.chain) == (kind, chain)
        assert " -> ".join(chain) in caught.value.reason


NAMES = ("a", "b", "c", "d")
CONFIGURATIONS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(NAMES),
    st.fixed_dictionaries(
        {"architecture": st.just({})},
        optional={"inherits_from": st.sampled_from(NAMES) | st.none(), "x": JSON_VALUES, "y": JSON_VALUES},
    ),
)


def ours(configurations: dict[str, Any], name: str) -> dict[str, Any] | Literal["missing", "cycle"]:
    try:
        return resolve_configuration(configurations, name)
    except InheritanceError as error:
        return error.kind


@given(CONFIGURATIONS, st.sampled_from(NAMES))
def test_origins_name_who_wrote_what(configurations: dict[str, Any], name: str) -> None:
    resolved = ours(configurations, name)
    if isinstance(resolved, dict):
        found = {key: configurations[origin][key] for key, origin in origins(configurations, name).items()}
        assert repr(found) == repr(resolved)  # NaN equals itself here, and the order counts


@pytest.fixture(scope="session")
def nnunet() -> Any:
    """nnU-Net's plans handler."""
    return pytest.importorskip(
        "nnunetv2.utilities.plans_handling.plans_handler", reason="needs nnunetv2 (plansguard[train])"
    )


def theirs(nnunet: Any, configurations: dict[str, Any], name: str) -> dict[str, Any] | Literal["missing", "cycle"]:
    manager = nnunet.PlansManager({"configurations": configurations})
    try:
        return manager._internal_resolve_configuration_inheritance(name)  # type: ignore[no-any-return]
    except ValueError:
        return "missing"
    except RuntimeError:
        return "cycle"


@pytest.mark.nnunet
@given(configurations=CONFIGURATIONS, name=st.sampled_from(NAMES))
@settings(deadline=None, max_examples=500)
def test_inheritance_is_nnunets(nnunet: Any, configurations: dict[str, Any], name: str) -> None:
    assert repr(ours(configurations, name)) == repr(theirs(nnunet, configurations, name))


def plans_of_fixtures() -> Iterator[Any]:
    """Parameters: all readable plans among the project's fixtures, healthy and broken."""
    for path in sorted((ROOT / "fixtures").rglob("*.json")) + sorted((ROOT / "tests").rglob("*.json")):
        try:
            value = json.loads(path.read_bytes())
        except ValueError:
            continue
        if recognise(value) == "plans":
            yield pytest.param(path, "plans", id=path.relative_to(ROOT).as_posix())


@pytest.mark.nnunet
@pytest.mark.parametrize(("path", "kind"), [*corpus("plans"), *plans_of_fixtures()])
def test_real_plans_resolve_as_nnunet_does(nnunet: Any, path: Path, kind: str) -> None:
    configurations = json.loads(path.read_bytes()).get("configurations")
    try:
        Plans.model_validate({"configurations": configurations})
    except ValidationError:
        pytest.skip("its configurations are no objects")
    for name in configurations:
        resolved = ours(configurations, name)
        assert repr(resolved) == repr(theirs(nnunet, configurations, name))
        if isinstance(resolved, dict):
            assert our_architecture(resolved) == their_architecture(nnunet, resolved)


# ---------------------------------------------------------------------------------------------------------------------
# The old format
# ---------------------------------------------------------------------------------------------------------------------

OLD: dict[str, Any] = {
    "patch_size": [64, 64, 32],
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 32,
    "unet_max_num_features": 100,
    "n_conv_per_stage_encoder": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "num_pool_per_axis": [2, 2, 1],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 1]],
    "conv_kernel_sizes": [[3, 3, 3]] * 3,
}


def our_architecture(resolved: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return modern_architecture(resolved)
    except (KeyError, ValueError):
        return None


def their_architecture(nnunet: Any, resolved: dict[str, Any]) -> dict[str, Any] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            manager = nnunet.ConfigurationManager(deepcopy(resolved))
        except (KeyError, ValueError, RuntimeError):
            return None
    return manager.configuration["architecture"]  # type: ignore[no-any-return]


def old_variants() -> Iterator[Any]:
    """Parameters: configurations of the old format, and whether nnU-Net can translate them."""
    yield pytest.param(OLD, True, id="plain")
    yield pytest.param({**OLD, "UNet_class_name": "ResidualEncoderUNet"}, True, id="residual")
    yield pytest.param({**OLD, "patch_size": [64, 64]}, True, id="2d")
    yield pytest.param({**OLD, "patch_size": [64] * 4}, False, id="4d")
    yield pytest.param({**OLD, "UNet_class_name": "Forked"}, False, id="fork")
    for missing in OLD:
        yield pytest.param({key: OLD[key] for key in OLD if key != missing}, False, id=f"no {missing}")


@pytest.mark.parametrize(("resolved", "translatable"), [*old_variants()])
def test_old_plans_are_translated(resolved: dict[str, Any], translatable: bool) -> None:
    assert (our_architecture(resolved) is not None) is translatable


@pytest.mark.nnunet
@pytest.mark.parametrize(("resolved", "translatable"), [*old_variants()])
def test_old_plans_are_translated_as_nnunet_does(nnunet: Any, resolved: dict[str, Any], translatable: bool) -> None:
    assert our_architecture(resolved) == their_architecture(nnunet, resolved)


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
