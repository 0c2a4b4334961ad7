"""Differences between plans by meaning, each with its facet."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plansguard.nnunet import constants
from plansguard.nnunet.inheritance import modern_architecture, origins
from plansguard.nnunet.plans_diff import ABSENT, FACETS, Part, compare
from tests.support.command import run
from tests.support.plans_files import CASCADE, CT, FILES, Document, edited, fullres, load, save


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plans() -> Document:
    """Healthy plans of a CT dataset: 2d and 3d_fullres."""
    return load(CT / "nnUNetPlans.json")


def differing(before: Document, after: Document) -> dict[str, str]:
    """The fields that differ, with their facets."""
    return {str(change.field): change.field.facet for change in compare(before, after)}


# --- facets and consequences ---


@pytest.mark.parametrize(
    ("key", "value", "facet"),
    [
        ("spacing", [3.0, 0.8, 0.8], "input"),
        ("normalization_schemes", ["ZScoreNormalization"], "input"),
        ("use_mask_for_norm", [True], "input"),
        ("resampling_fn_data_kwargs", {"order": 1}, "input"),
        ("preprocessor_name", "Other", "input"),
        ("patch_size", [32, 96, 112], "training"),
        ("batch_size", 3, "training"),
        ("batch_dice", True, "training"),
        ("previous_stage", "3d_lowres", "weights"),
        ("data_identifier", "elsewhere", "bookkeeping"),
        ("median_image_size_in_voxels", [1.0, 2.0, 3.0], "bookkeeping"),
        ("my_own_key", 1, "bookkeeping"),
    ],
)
def test_facet_of_a_field(plans: Document, key: str, value: Any, facet: str) -> None:
    other = edited(plans, lambda copied: fullres(copied).update({key: value}))
    assert differing(plans, other) == {f"3d_fullres.{key}": facet}
    assert differing(other, plans) == {f"3d_fullres.{key}": facet}


@pytest.mark.parametrize(
    ("key", "value", "facet"),
    [
        ("dataset_name", "Dataset009_Other", "bookkeeping"),
        ("plans_name", "Other", "bookkeeping"),
        ("image_reader_writer", "NibabelIO", "input"),
        ("transpose_forward", [2, 0, 1], "input"),
        ("label_manager", "Other", "input"),
        ("foreground_intensity_properties_per_channel", {}, "input"),
        ("pretrain_info", {"checkpoint": "x"}, "weights"),
        ("original_median_spacing_after_transp", [1.0, 1.0, 1.0], "bookkeeping"),
    ],
)
def test_facet_at_the_top(plans: Document, key: str, value: Any, facet: str) -> None:
    assert differing(plans, {**plans, key: value}) == {key: facet}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_stages", 6),
        ("strides", [[1, 1, 1]]),
        ("conv_op", "torch.nn.modules.conv.Conv2d"),
        ("norm_op_kwargs", {"eps": 1e-06, "affine": True}),
        ("nonlin_first", True),
    ],
)
def test_arguments_of_the_network_are_of_the_facet_weights(plans: Document, key: str, value: Any) -> None:
    other = edited(plans, lambda copied: fullres(copied)["architecture"]["arch_kwargs"].update({key: value}))
    assert differing(plans, other) == {f"3d_fullres.architecture.arch_kwargs.{key}": "weights"}


def test_deep_supervision_is_of_the_facet_training(plans: Document) -> None:
    """The trainer replaces it."""
    other = edited(plans, lambda copied: fullres(copied)["architecture"]["arch_kwargs"].update(deep_supervision=True))
    assert set(differing(plans, other).values()) == {"training"}


def test_a_configuration_in_one_of_them(plans: Document) -> None:
    other = edited(plans, lambda copied: copied["configurations"].pop("2d"))
    a, b = save("A.json", plans), save("B.json", other)
    assert run("diff", a, b).out.startswith("2d\n  only in the first plans\n\ndifferences: ")
    assert run("diff", b, a).out.startswith("2d\n  only in the second plans\n\ndifferences: ")
    assert run("diff", a, b, "--fail-on", "weights").code == 1
    assert {str(change.field).partition(".")[0] for change in compare(plans, other)} == {"2d"}


@pytest.mark.parametrize("one", FILES, ids=lambda file: f"{file.parent.name[:10]}-{file.stem}")
def test_any_two_plans_can_be_compared(one: Path) -> None:
    """Plans with almost nothing in common too, which deepdiff reports as one change by default."""
    for other in FILES:
        found = compare(load(one), load(other))
        assert bool(found) is (one != other)
        assert all(change.parts for change in found)


# --- by meaning ---


@pytest.mark.parametrize("file", [CASCADE / "nnUNetPlans.json", CASCADE / "nnUNetResEncUNetMPlans.json"])
def test_inheritance_is_resolved(file: Path) -> None:
    """A child that inherits equals one that defines every field itself."""
    short = load(file)
    child = short["configurations"]["3d_cascade_fullres"]
    parent = short["configurations"][child["inherits_from"]]
    full = edited(
        short,
        lambda copied: copied["configurations"].update(
            {"3d_cascade_fullres": {**parent, **{key: child[key] for key in child if key != "inherits_from"}}}
        ),
    )
    assert compare(short, full) == []
    assert run("diff", file, save("full.json", full)) == (0, "no differences in meaning\n", "")


def test_a_change_of_the_parent_is_one_of_the_child() -> None:
    before = load(CASCADE / "nnUNetPlans.json")
    after = edited(before, lambda copied: fullres(copied).update(spacing=[2.0, 2.0, 2.0]))
    assert differing(before, after) == {"3d_fullres.spacing": "input", "3d_cascade_fullres.spacing": "input"}


def test_another_parent_with_the_same_values(plans: Document) -> None:
    plans["configurations"]["a"] = {"inherits_from": "3d_fullres", "batch_size": 5}
    plans["configurations"]["b"] = {"inherits_from": "3d_fullres"}
    other = edited(plans, lambda copied: copied["configurations"]["a"].update(inherits_from="b"))
    assert compare(plans, other) == []


@pytest.mark.parametrize("broken", [{"inherits_from": "nothing"}, {"inherits_from": "a"}, {"inherits_from": 5}])
def test_broken_inheritance_is_compared_as_written(plans: Document, broken: Document) -> None:
    before = edited(plans, lambda copied: copied["configurations"].update(a={**broken, "batch_size": 2}))
    after = edited(plans, lambda copied: copied["configurations"].update(a={**broken, "batch_size": 3}))
    assert differing(before, after) == {"a.batch_size": "training"}


@pytest.mark.parametrize("configurations", [None, [], 5, "2d", {"2d": 5}, {"2d": None}, {"2d": {"architecture": 3}}])
def test_plans_of_wrong_types(plans: Document, configurations: Any) -> None:
    """A diff shows what broke them."""
    broken = {**plans, "configurations": configurations}
    assert compare(broken, broken) == []
    good, bad = save("A.json", plans), save("B.json", broken)
    for sides in ((good, bad), (bad, good)):
        done = run("diff", *sides, "--fail-on", ",".join(FACETS))
        assert done.code == 1
        assert "differences: " in done.out


def in_the_old_format(plans: Document) -> Document:
    """The same plans in the format of nnU-Net up to version 2.4: no `architecture`, other names for some keys."""
    old = copy.deepcopy(plans)
    old["foreground_intensity_properties_by_modality"] = old.pop("foreground_intensity_properties_per_channel")
    for configuration in old["configurations"].values():
        network = configuration.pop("architecture")
        kwargs = network["arch_kwargs"]
        residual = "n_blocks_per_stage" in kwargs
        configuration |= {
            "UNet_class_name": "ResidualEncoderUNet" if residual else "PlainConvUNet",
            "UNet_base_num_features": kwargs["features_per_stage"][0],
            "unet_max_num_features": max(kwargs["features_per_stage"]),
            "n_conv_per_stage_encoder": kwargs["n_blocks_per_stage" if residual else "n_conv_per_stage"],
            "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
            "num_pool_per_axis": [4] * len(configuration["patch_size"]),
            "pool_op_kernel_sizes": kwargs["strides"],
            "conv_kernel_sizes": kwargs["kernel_sizes"],
        }
    return old


@pytest.mark.parametrize("name", ["nnUNetPlans", "nnUNetResEncUNetMPlans"])
def test_old_and_new_format_are_the_same(name: str) -> None:
    new = load(CT / f"{name}.json")
    old = in_the_old_format(new)
    assert compare(old, new) == compare(new, old) == []
    assert run("diff", save("old.json", old), CT / f"{name}.json").out == "no differences in meaning\n"


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("UNet_base_num_features", 16, "architecture.arch_kwargs.features_per_stage"),
        ("n_conv_per_stage_encoder", [2, 2, 2, 2, 3], "architecture.arch_kwargs.n_conv_per_stage"),
        ("pool_op_kernel_sizes", [[1, 1, 1]] * 5, "architecture.arch_kwargs.strides"),
        ("UNet_class_name", "ResidualEncoderUNet", "architecture.network_class_name"),
    ],
)
def test_a_difference_in_the_old_format(plans: Document, key: str, value: Any, field: str) -> None:
    """It has the name of the new format."""
    old = in_the_old_format(plans)
    other = edited(old, lambda copied: fullres(copied).update({key: value}))
    found = differing(old, other)
    assert f"3d_fullres.{field}" in found
    assert set(found.values()) == {"weights"}
    assert differing(plans, other) == found


def test_old_plans_that_cannot_be_translated(plans: Document) -> None:
    """Plans with networks of forks or missing keys are compared as written."""
    before = in_the_old_format(plans)
    fullres(before)["UNet_class_name"] = "ForkedUNet"
    after = edited(before, lambda copied: fullres(copied).update(UNet_base_num_features=16))
    assert differing(before, after) == {"3d_fullres.UNet_base_num_features": "weights"}


def test_class_paths(plans: Document) -> None:
    """Different paths of the same class are no difference."""

    def change(copied: Document) -> None:
        network = fullres(copied)["architecture"]
        network["network_class_name"] = "dynamic_network_architectures.architectures.another_module.PlainConvUNet"
        network["arch_kwargs"] |= {
            "conv_op": "torch.nn.Conv3d",
            "norm_op": "torch.nn.InstanceNorm3d",
            "nonlin": "torch.nn.modules.activation.LeakyReLU",
        }

    assert compare(plans, edited(plans, change)) == []


def test_numbers(plans: Document) -> None:
    """1 and 1.0 are equal; numbers that differ slightly are not."""

    def change(copied: Document) -> None:
        fullres(copied).update(batch_size=2.0, patch_size=[32.0, 96, 96.0], batch_dice=0)

    assert compare(plans, edited(plans, change)) == []
    assert differing({**plans, "eps": 1e-13}, {**plans, "eps": 2e-13}) == {"eps": "bookkeeping"}
    assert differing({**plans, "n": 10**17}, {**plans, "n": 10**17 + 1}) == {"n": "bookkeeping"}
    assert differing({**plans, "n": 2.5}, {**plans, "n": 2.5 + 1e-15}) == {"n": "bookkeeping"}


def test_nan_equals_nan(plans: Document) -> None:
    plans["foreground_intensity_properties_per_channel"]["0"]["std"] = float("nan")
    file = save("A.json", plans)
    assert run("diff", file, shutil.copy(file, "B.json")).out == "no differences in meaning\n"


def test_every_key_counts(plans: Document) -> None:
    other = edited(plans, lambda copied: fullres(copied)["resampling_fn_data_kwargs"].update(__order=1))
    (change,) = compare(plans, other)
    assert change.parts == (Part(("__order",), ABSENT, 1),)


# --- any edit of any field ---


class Place(NamedTuple):
    """A field in one of the fixtures: file, path of keys, and facet."""

    file: Path
    keys: tuple[str, ...]
    facet: str


def places() -> list[Place]:
    """All fields, each where it is written."""
    found = []
    for file in FILES:
        plans = load(file)
        found += [Place(file, (key,), constants.facet(key)) for key in plans if key != "configurations"]
        for name, configuration in plans["configurations"].items():
            here = ("configurations", name)
            network = configuration.get("architecture", {})
            found += [
                Place(file, (*here, key), constants.facet(key))
                for key in configuration
                if key not in ("architecture", "inherits_from")
            ]
            found += [
                Place(
                    file,
                    (*here, "architecture", "arch_kwargs", key),
                    constants.facet(f"architecture.arch_kwargs.{key}"),
                )
                for key in network.get("arch_kwargs", ())
            ]
    return found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def mutated(value: Any) -> st.SearchStrategy[Any]:
    """A different value: any value, or one that differs in a single item or number."""
    choices = [VALUES]
    if isinstance(value, (int, float)):
        choices.append(st.sampled_from([value + 1, value * 2 + 1, -value - 1]))
    if isinstance(value, list) and value:
        items = st.integers(0, len(value) - 1)
        choices += [
            items.flatmap(lambda at: mutated(value[at]).map(lambda new: [*value[:at], new, *value[at + 1 :]])),
            items.map(lambda at: [*value[:at], *value[at + 1 :]]),
            items.map(lambda at: [*value, value[at]]),
        ]
    return st.one_of(choices).filter(lambda new: new != value)


@given(st.sampled_from(places()), st.data())
def test_a_single_edit_is_reported_in_its_facet(place: Place, data: st.DataObject) -> None:
    before = load(place.file)
    *parents, key = place.keys
    after = copy.deepcopy(before)
    owner = after
    for parent in parents:
        owner = owner[parent]
    new = data.draw(mutated(owner[key]))
    if isinstance(new, str) and isinstance(owner[key], str):
        assume(new.rpartition(".")[2] != owner[key].rpartition(".")[2])
    owner[key] = new
    found = compare(before, after)
    assert {change.field.facet for change in found} == {place.facet}
    assert {change.field.key.rpartition(".")[2] for change in found} == {key}
    configurations = {change.field.configuration for change in found}
    if parents:
        affected = {
            name
            for name in before["configurations"]
            if origins(before["configurations"], name).get(parents[2] if parents[2:] else key) == parents[1]
        }
        assert configurations == affected >= {parents[1]}
    else:
        assert configurations == {None}
    assert compare(after, after) == []


@given(st.sampled_from(FILES), VALUES)
def test_plans_do_not_differ_from_themselves(file: Path, value: Any) -> None:
    plans = {**load(file), "any": value}
    assert compare(plans, copy.deepcopy(plans)) == []


def test_the_old_format_in_these_tests_is_translated(plans: Document) -> None:
    """The tests of the old format depend on its translation."""
    assert modern_architecture(fullres(in_the_old_format(plans))) == fullres(plans)["architecture"]
