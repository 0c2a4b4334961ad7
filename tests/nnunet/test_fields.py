"""The table of fields: complete, and in step with the models and with the keys that nnU-Net requires."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from plansguard.documents.validation import model_class
from plansguard.nnunet import constants, fields, signatures

INTENSITY_KEY = constants.INTENSITY_KEY
MODELS = {
    "IntensityProperties": "plansguard.documents.models.intensity",
    "Fold": "plansguard.documents.models.splits",
    "Architecture": "plansguard.documents.models.plans",
}


@pytest.mark.parametrize("model", fields.FIELDS)
def test_the_table_has_every_field_of_the_models(model: str) -> None:
    from importlib import import_module

    found = getattr(import_module(MODELS[model]), model) if model in MODELS else model_class(model)
    assert {field.alias or name for name, field in found.model_fields.items()} == set(fields.FIELDS[model])


def test_steps_have_names() -> None:
    used = {step for table in fields.FIELDS.values() for field in table.values() for step in field.steps}
    assert used <= set(get_args(fields.Step)) == set(fields.STEPS)


def test_names_are_those_of_the_signatures() -> None:
    kinds = {field.names for table in fields.FIELDS.values() for field in table.values()} - {""}
    assert all(signatures.names(kind) for kind in kinds)  # type: ignore[arg-type]


def test_needed_keys_are_those_that_nnunet_requires() -> None:
    required = {key for keys in constants.CONFIGURATION_KEYS.values() for key in keys}
    needed = {key for key, field in fields.FIELDS["Configuration"].items() if field.needed}
    assert needed == required | set(constants.OLD_CONFIGURATION_KEYS)
    required = {key for keys in constants.PLANS_KEYS.values() for key in keys}
    assert {key for key, field in fields.FIELDS["Plans"].items() if field.needed} == required
    assert {key for key, field in fields.FIELDS["Architecture"].items() if field.needed} == {
        *constants.ARCHITECTURE_KEYS
    }


@pytest.mark.parametrize(
    ("model", "tokens", "steps"),
    [
        ("Plans", ("foreground_intensity_properties_per_channel", "0"), ("preprocess",)),
        ("Plans", ("foreground_intensity_properties_per_channel", "0", "mean"), ("preprocess",)),
        ("Plans", ("foreground_intensity_properties_per_channel", "1", "mean"), ()),
        ("Plans", ("foreground_intensity_properties_per_channel", "0", "median"), ()),
        ("Configuration", ("median_image_size_in_voxels", 0), ()),
        ("Configuration", ("architecture", "_kw_requires_import", 1), ("network",)),
        ("Configuration", ("architecture", "arch_kwargs", "strides", 0, 1), ("network", "training")),
        ("DatasetJson", ("labels", "kidney"), ("labels", "planner", "preprocess", "training", "prediction")),
        ("DatasetJson", ("name",), ()),
        ("Splits", (0, "train", 3), ("training",)),
    ],
)
def test_steps_of_a_place(model: str, tokens: tuple[str | int, ...], steps: tuple[str, ...]) -> None:
    assert fields.field_at(model, tokens, ["0"]).steps == steps


@pytest.mark.parametrize(
    ("model", "tokens", "value", "matters", "clause"),
    [
        ("Configuration", ("batch_dice",), 1, False, "; nnU-Net takes it as true"),
        ("Configuration", ("batch_dice",), None, False, "; nnU-Net takes it as false"),
        ("Configuration", ("batch_dice",), "true", False, "; nnU-Net takes it as true"),
        ("Configuration", ("batch_dice",), [True], False, "; nnU-Net takes it as true"),
        ("Configuration", ("batch_dice",), [False], True, "; it is read by training"),
        ("Configuration", ("batch_dice",), "False", True, "; it is read by training"),
        ("Configuration", ("batch_size",), 2.0, True, "; it is read by training"),
        ("Configuration", ("median_image_size_in_voxels",), "x", False, "; nnU-Net does not read it"),
        ("Configuration", ("use_mask_for_norm", 0), None, False, "; nnU-Net takes it as false"),
        ("Configuration", ("use_mask_for_norm", 0), 0, True, "; it is read by preprocessing, training"),
        ("Plans", ("transpose_forward", 1), True, False, "; nnU-Net takes it as 1"),
        ("Plans", ("transpose_backward", 1), True, True, "; it is read by prediction"),
        ("Plans", (INTENSITY_KEY, "0", "mean"), [3.5], False, "; nnU-Net takes it as 3.5"),
        ("Plans", (INTENSITY_KEY, "0", "std"), [3.5], True, "; it is read by preprocessing"),
        ("Fingerprint", ("shapes_after_crop", 3, 1), 64.5, False, "; nnU-Net takes it as a number"),
        ("Fingerprint", ("shapes_after_crop", 3), 64, True, "; it is read by planning"),
        ("DatasetJson", ("labels", "kidney"), "6", False, "; nnU-Net takes it as 6"),
        ("DatasetJson", ("labels", "kidney"), 6.0, False, "; nnU-Net takes it as 6"),
        ("DatasetJson", ("labels", "kidney"), 6.5, False, "; nnU-Net takes it as 6"),
        ("DatasetJson", ("labels", "kidney"), True, False, "; nnU-Net takes it as 1"),
        ("DatasetJson", ("numTraining",), True, False, "; nnU-Net takes it as a number"),
    ],
)
def test_values_of_a_wrong_type(
    model: str, tokens: tuple[str | int, ...], value: Any, matters: bool, clause: str
) -> None:
    assert fields.effect(model, tokens, value) == (matters, clause)


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        (0.5, {"background": 0}),
        (True, {"one": 1}),
        ("six", {"background": 0}),
        (None, {"background": 0}),
        ("6", {"all": [1, 2]}),
    ],
)
def test_labels_that_are_not_taken(label: Any, labels: dict[str, Any]) -> None:
    assert fields.effect("DatasetJson", ("labels", "kidney"), label, document={"labels": {**labels, "kidney": label}})[
        0
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("batchsize", "batch_size"),
        ("batch_szie", "batch_size"),
        ("BATCH_SIZE", "batch_size"),
        ("patch_sizes", "patch_size"),
        ("batch", None),
        ("stem", None),
        ("n_stagess", "n_stages"),
        ("relase", None),
    ],
)
def test_the_nearest_word(word: str, expected: str | None) -> None:
    assert fields.near(word, ["batch_size", "patch_size", "n_stages", "std"]) == expected
