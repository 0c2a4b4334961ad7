"""Where each parameter of adapted weights comes from, by names and shapes alone."""

from __future__ import annotations

import pytest

from plansguard.nnunet.network.adaptation import ParameterSource, PartSource, matched, rows
from plansguard.nnunet.network.inference import Stored
from plansguard.nnunet.network.parameters import (
    Shapes,
    counted_once,
    expected_parameters,
    head_names,
    previous_stage_names,
)
from plansguard.nnunet.network.renaming import is_v1, sources, stems
from tests.nnunet.test_parameters import PLAIN

FIRST, HEAD = "encoder.stages.0.0.convs.0.conv.weight", "decoder.seg_layers.0."
RESIDUAL = {
    **PLAIN,
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {
        **{key: value for key, value in PLAIN["arch_kwargs"].items() if key != "n_conv_per_stage"},
        "n_blocks_per_stage": 1,
    },
}


def network(channels: int = 1, heads: int = 2, *, residual: bool = False) -> Shapes:
    return expected_parameters(RESIDUAL if residual else PLAIN, channels, heads)


def planned(
    expected: Stored,
    stored: Stored,
    *parts: list[PartSource],
    decoder: bool = True,
    before_v2: bool = False,
) -> dict[str, ParameterSource]:
    """The rows by name; every parameter of the network has one."""
    channels, classes = parts
    found, misfits = rows(expected, stored, sources(stored), channels, classes, decoder=decoder, before_v2=before_v2)
    assert misfits == []
    assert [row.name for row in found] == [name for name, _ in counted_once(expected)]
    return {row.name: row for row in found}


def same(*names: str) -> list[PartSource]:
    return [PartSource(name, "kept", place, name) for place, name in enumerate(names)]


def test_weights_that_fit_are_kept_whole() -> None:
    table = planned(network(), network(), same("CT"), same("background", "tumour"))
    assert {row.action for row in table.values()} == {"kept"}


@pytest.mark.parametrize(
    ("names", "old", "renamed", "places"),
    [
        (["CT", "PET"], ["ct"], {}, [0, None]),
        (["PET", "CT"], ["CT", "PET"], {}, [1, 0]),
        (["T1"], ["T2", "T1"], {}, [1]),
        (["noNorm", "noNorm", "noNorm"], ["noNorm", "noNorm"], {}, [0, 1, None]),
        (["MR"], ["CT"], {"MR": "CT"}, [0]),
        (["T1", "T2"], ["MR"], {"T1": "MR", "T2": "MR"}, [0, 0]),
        (["tumour", "kidney"], ["kidney", "lesion"], {"tumour": "lesion"}, [1, 0]),
    ],
    ids=["one-more", "permuted", "one-less", "same-names", "renamed", "repeated", "labels"],
)
def test_channels_and_classes_are_matched_by_name(
    names: list[str], old: list[str], renamed: dict[str, str], places: list[int | None]
) -> None:
    parts = matched(names, old, renamed, "zero")
    assert [part.source for part in parts] == places
    assert [part.filling for part in parts] == ["zero" if place is None else "kept" for place in places]


def test_channels_concern_the_first_convolution_alone() -> None:
    channels = [PartSource("CT", "kept", 0, "CT"), PartSource("PET", "zero")]
    table = planned(network(channels=2), network(), channels, same("background", "tumour"))
    changed = {name: row for name, row in table.items() if row.action != "kept"}
    assert changed == {
        FIRST: ParameterSource(FIRST, (4, 2, 1, 3, 3), "channels", FIRST, (4, 1, 1, 3, 3), tuple(channels))
    }


def test_channels_in_another_order_have_the_same_shape() -> None:
    channels = [PartSource("PET", "kept", 1, "PET"), PartSource("CT", "kept", 0, "CT")]
    assert planned(network(2), network(2), channels, same("a", "b"))[FIRST].action == "channels"


def test_classes_concern_the_segmentation_layers_alone() -> None:
    classes = [PartSource("background", "kept", 0), PartSource("new", "initialised"), PartSource("tumour", "kept", 1)]
    table = planned(network(heads=3), network(), same("CT"), classes)
    changed = {name: row.action for name, row in table.items() if row.action != "kept"}
    assert changed == {f"{HEAD}weight": "classes", f"{HEAD}bias": "classes"}
    none = [PartSource("a", "initialised"), PartSource("b", "initialised")]
    assert planned(network(), network(), same("CT"), none)[f"{HEAD}weight"].action == "initialised"


def test_another_network_does_not_fit() -> None:
    other = expected_parameters({**PLAIN, "arch_kwargs": {**PLAIN["arch_kwargs"], "features_per_stage": [4, 6]}}, 1, 2)
    _, misfits = rows(network(), other, sources(other), same("CT"), same("a", "b"))
    deeper = "encoder.stages.1.0.convs.0.conv.weight"
    assert str(misfits[0]) == f"{deeper} is 8 x 4 x 3 x 3 x 3 here and 6 x 4 x 3 x 3 x 3 in the weights"
    lacking = {name: shape for name, shape in network().items() if not name.endswith("convs.0.norm.bias")}
    lacking = {name: shape for name, shape in lacking.items() if not name.endswith("all_modules.1.bias")}
    _, misfits = rows(network(), lacking, sources(lacking), same("CT"), same("a", "b"))
    assert str(misfits[0]).endswith("convs.0.norm.bias is 4 here and missing in the weights")


@pytest.mark.parametrize("residual", [False, True])
def test_each_parameter_needs_one_name_only(residual: bool) -> None:
    """Safetensors files, and encoders alone, do not have every name."""
    whole = network(residual=residual)
    once = dict(counted_once(whole))
    by_position = {name: shape for name, shape in whole.items() if ".conv." not in name and ".norm." not in name}
    for stored in (once, by_position):
        table = planned(whole, stored, same("CT"), same("a", "b"))
        assert {row.action for row in table.values()} == {"kept"}


@pytest.mark.parametrize("prefix", ["encoder.", ""])
def test_an_encoder_alone(prefix: str) -> None:
    whole = network(residual=True)
    stored = {
        prefix + name.removeprefix("encoder."): shape for name, shape in whole.items() if name.startswith("encoder.")
    }
    table = planned(whole, stored, same("CT"), same("a", "b"), decoder=False)
    assert {name.partition(".")[0]: row.action for name, row in table.items()} == {
        "encoder": "kept",
        "decoder": "initialised",
    }


def test_the_places_of_nnssl() -> None:
    whole = network(residual=True)
    there = {"encoder.stages": "student.body", "encoder.stem": "student.entry"}
    stored = {
        there[start] + name.removeprefix(start): shape
        for name, shape in whole.items()
        for start in there
        if name.startswith(f"{start}.")
    }
    plan = {"key_to_encoder": "student.body", "key_to_stem": "student.entry", "key_to_lpe": None}
    found = sources(stored, plan)
    assert found["encoder.stem.convs.0.conv.weight"] == "student.entry.convs.0.conv.weight"
    assert set(found) == {name for name, _ in counted_once(whole) if name.startswith("encoder.")}


def test_a_stem_of_multitalent() -> None:
    whole = network(residual=True)
    stored = {
        name.replace("encoder.stem.", f"encoder.stem.{dataset}."): (shape[0], channels, *shape[2:])
        if name.endswith("convs.0.conv.weight") and ".stem." in name
        else shape
        for name, shape in whole.items()
        for dataset, channels in (("035", 1), ("351_5", 4))
    }
    assert stems(stored) == ["035", "351_5"]
    for stem, channels in (("035", 1), ("351_5", 4)):
        found = sources(stored, stem=stem)
        first = found["encoder.stem.convs.0.conv.weight"]
        assert (first, stored[first][1]) == (f"encoder.stem.{stem}.convs.0.conv.weight", channels)
        assert set(found) == {name for name, _ in counted_once(whole)}
    assert stems(whole) == []


def version1(stages: int = 3) -> Shapes:
    """Parameters of v1's Generic_UNet with two convolutions a stage: conv, instnorm, no bias above the encoder."""
    features = [4 * 2**stage for stage in range(stages)]

    def layer(start: str, out: int, into: int) -> Shapes:
        return {
            f"{start}.conv.weight": (out, into, 3, 3, 3),
            f"{start}.conv.bias": (out,),
            f"{start}.instnorm.weight": (out,),
            f"{start}.instnorm.bias": (out,),
        }

    found: Shapes = {}
    for step, stage in enumerate(range(stages - 2, -1, -1)):
        out, start = features[stage], f"conv_blocks_localization.{step}"
        found |= layer(f"{start}.0.blocks.0", out, 2 * out) | layer(f"{start}.1.blocks.0", out, out)
    for stage, out in enumerate(features):
        into, start = features[stage - 1] if stage else 1, f"conv_blocks_context.{stage}"
        last = stage == stages - 1
        found |= layer(f"{start}.0.blocks.0" if last else f"{start}.blocks.0", out, into)
        found |= layer(f"{start}.1.blocks.0" if last else f"{start}.blocks.1", out, out)
    for step, stage in enumerate(range(stages - 2, -1, -1)):
        found[f"tu.{step}.weight"] = (features[stage + 1], features[stage], 2, 2, 2)
        found[f"seg_outputs.{step}.weight"] = (2, features[stage], 1, 1, 1)
    return found


def test_names_of_version_1() -> None:
    kwargs = {
        **PLAIN["arch_kwargs"],
        "n_stages": 3,
        "features_per_stage": [4, 8, 16],
        "kernel_sizes": [3, 3, 3],
        "strides": [1, 2, 2],
        "n_conv_per_stage": 2,
        "n_conv_per_stage_decoder": 2,
    }
    whole = expected_parameters({**PLAIN, "arch_kwargs": kwargs}, 1, 3)
    stored = version1()
    assert is_v1(stored)
    assert not is_v1(whole)
    classes = [*same("background", "tumour"), PartSource("new", "initialised")]
    table = planned(whole, stored, same("CT"), classes, before_v2=True)
    assert table["encoder.stages.2.0.convs.1.norm.bias"].source == "conv_blocks_context.2.1.blocks.0.instnorm.bias"
    assert table["decoder.stages.0.convs.1.conv.weight"].source == "conv_blocks_localization.0.1.blocks.0.conv.weight"
    assert table["decoder.transpconvs.1.weight"].source == "tu.1.weight"
    assert {name for name, row in table.items() if row.action == "zero"} == {
        "decoder.transpconvs.0.bias",
        "decoder.transpconvs.1.bias",
    }
    fillings = [part.filling for part in table["decoder.seg_layers.1.bias"].parts]
    assert fillings == ["zero", "zero", "initialised"]
    taken = {row.source for row in table.values()} - {None}
    assert taken == set(stored)


def test_names_of_outputs_and_of_a_previous_stage() -> None:
    labels = {"labels": {"tumour": 2, "background": 0, "liver": 1, "ignore": 3}}
    assert head_names(labels) == ["background", "liver", "tumour"]
    regions = {"labels": {"background": 0, "whole": [1, 2], "core": 2}}
    assert head_names(regions) == ["whole", "core"]
    cascade = {"previous_stage": "3d_lowres"}
    assert previous_stage_names({}, labels) == []
    assert previous_stage_names(cascade, labels) == ["previous stage: liver", "previous stage: tumour"]
    assert previous_stage_names(cascade, regions) == ["previous stage: 1", "previous stage: 2"]
