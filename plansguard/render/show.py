"""What ``plansguard show`` says, as text and as JSON. Every text from a file passes through ``printable``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from textwrap import wrap
from typing import Any

from plansguard.core.text import counted
from plansguard.render import plain_json, printable

_WIDTH = 100
_LABEL = 18
#: How many labels, damaged storages or globals are listed before the rest is only counted.
_MOST = 12
_LONGEST = 300
#: Integers from here on are shortened like other numbers.
_LARGE = 10**15
Shown = Mapping[str, Any]


def as_json(shown: Shown) -> str:
    """The same for programs, in ASCII."""
    return plain_json(shown)


def text(shown: Shown) -> str:
    """For people: what it is, how it was trained, what it expects, stage by stage."""
    lines = {"checkpoint": _whole_checkpoint, "models": _models, "plans": _plans_file}[shown["kind"]](shown)
    return "\n".join(lines) + "\n"


def _plans_file(shown: Shown) -> Iterator[str]:
    yield printable(f"{shown['path']}: nnU-Net plans")
    yield from _plans(shown["plans"])


def _models(shown: Shown) -> Iterator[str]:
    for model in shown["models"]:
        if model is not shown["models"][0]:
            yield ""
        yield from _model(model)


def _model(model: Shown) -> Iterator[str]:
    yield printable(f"{model['path']}: a trained model")
    yield from _row("dataset", model["dataset_name"])
    yield from _row("trainer", model["trainer"])
    yield from _row("configuration", model["configuration"])
    if not model["checkpoints"]:
        yield from _row("checkpoints", "none")
    for checkpoint in model["checkpoints"]:
        unread = f": not read: {checkpoint['unread']}" if "unread" in checkpoint else ""
        yield from _row("checkpoint", checkpoint["path"] + unread)
        if not unread:
            yield from _weights(checkpoint)
    yield from _plans(model["plans"])


def _whole_checkpoint(shown: Shown) -> Iterator[str]:
    yield printable(str(shown["path"]))
    yield from _wrapped("  ", shown["sentence"])
    yield from _row("trainer", shown["trainer"])
    fold = "" if shown["fold"] is None else f", fold {shown['fold']}"
    yield from _row("configuration", shown["configuration"] and f"{shown['configuration']}{fold}")
    yield from _weights(shown)
    yield from _adaptation(shown["adaptation_plan"])
    if shown["plans"] is not None:
        yield from _plans(shown["plans"])
        return
    yield ""
    yield from _wrapped("", f"{shown['why_no_plans'][:1].upper()}{shown['why_no_plans'][1:]}.")
    network = shown["network"]
    if network is not None:
        yield "What the shapes of the weights tell:"
        yield from _row("input channels", network["input_channels"])
        yield from _row("outputs", network["outputs"])
        yield from _network(network)
    elif shown["weights"]["tensors"]:
        yield "The shapes of the weights are not those of one of nnU-Net's own U-Nets."


# --- Weights ---------------------------------------------------------------------


def _weights(checkpoint: Shown) -> Iterator[str]:
    weights, training = checkpoint["weights"], checkpoint["training"]
    yield from _row("training", _progress(training))
    last = [("train loss", "train_loss"), ("validation loss", "val_loss"), ("EMA pseudo Dice", "ema_pseudo_dice")]
    measured = [f"{name} {_number(training[key])}" for name, key in last if training[key] is not None]
    yield from _row("last epoch", ", ".join(measured))
    axes = checkpoint["mirroring_axes"]
    if axes is not None:
        yield from _row("mirroring", f"axes {', '.join(map(str, axes))} of the patch" if axes else "none")
    yield from _row("parameters", _stored(weights))
    if weights["prefix"]:
        yield from _row("prefix", f"names began with {weights['prefix']}, which nnU-Net does not take off")
    yield from _several("damage", weights["damage"])
    yield from _several("suspicious", [f"names {one}, which could run commands" for one in checkpoint["suspicious"]])
    yield from _several("unknown", [f"names {one}, which was left alone" for one in checkpoint["unknown"]])


def _progress(training: Shown) -> str:
    unit = "epoch" if training["steps_done"] is None else "step"
    done, planned, rate = training[f"{unit}s_done"], training[f"{unit}s_planned"], training["learning_rate"]
    if done is None:
        return ""
    of = f"{_number(done)} of {planned} {unit}s" if planned is not None else counted(done, unit)
    return f"{of} done" + (f", learning rate {_number(rate)}" if rate is not None else "")


def _stored(weights: Shown) -> str:
    if not weights["tensors"]:
        return "none"
    places = ", ".join(weights["locations"])
    cuda = any(place.startswith("cuda") for place in weights["locations"])
    note = "; nnU-Net cannot load them as pretrained weights on a machine without a GPU" if cuda else ""
    return (
        f"{_thousands(weights['parameters'])} in {counted(weights['tensors'], 'tensor')} "
        f"({', '.join(weights['dtypes'])}), saved from {places}{note}"
    )


def _adaptation(plan: Any) -> Iterator[str]:
    """What an nnssl checkpoint says about how to use it."""
    if not isinstance(plan, Mapping):
        return
    architecture, pretraining = plan.get("architecture_plans"), plan.get("pretrain_plan")
    yield ""
    yield "nnssl adaptation plan"
    yield from _row("architecture", architecture.get("arch_class_name") if isinstance(architecture, Mapping) else None)
    yield from _row("pretrained on", pretraining.get("dataset_name") if isinstance(pretraining, Mapping) else None)
    yield from _row("input channels", plan.get("pretrain_num_input_channels"))
    patch = plan.get("recommended_downstream_patchsize")
    yield from _row("patch", patch and f"{_extent(patch, 'voxels')}, recommended")
    configurations = pretraining.get("configurations") if isinstance(pretraining, Mapping) else None
    for name, one in configurations.items() if isinstance(configurations, Mapping) else ():
        if isinstance(one, Mapping):
            schemes = one.get("normalization_schemes")
            shown = ", ".join(map(str, schemes)) if isinstance(schemes, list) else ""
            yield from _row(str(name), f"{_extent(one.get('spacing'), 'mm')} {shown}")


# --- Plans -----------------------------------------------------------------------


def _plans(plans: Shown) -> Iterator[str]:
    yield ""
    yield printable(f"plans {plans['plans_name']}")
    yield from _row("dataset", plans["dataset_name"])
    yield from _row("planner", plans["experiment_planner_used"])
    yield from _row("image reader", plans["image_reader_writer"])
    yield from _row("channels", ", ".join(plans["channels"] or ()))
    yield from _row("labels", _labels(plans["labels"]))
    if plans["regions_class_order"]:
        yield from _row("regions", f"in the order {_value(plans['regions_class_order'])}")
    told = {one["name"] for one in plans["configurations"]}
    yield from _row("others", ", ".join(name for name in plans["all_configurations"] if name not in told))
    for configuration in plans["configurations"]:
        yield from _configuration(configuration, plans["transpose_forward"])


def _configuration(shown: Shown, transpose: Any) -> Iterator[str]:
    yield ""
    yield printable(f"configuration {shown['name']}")
    if "unresolved" in shown:
        yield from _row("", shown["unresolved"])
        return
    yield from _row("inherits from", shown["inherits_from"])
    yield from _row("data", shown["data_identifier"])
    yield from _row("spacing", f"{_extent(shown['spacing'], 'mm')} {_axes(shown['spacing'], transpose)}")
    yield from _row("patch", f"{_extent(shown['patch_size'], 'voxels')}{_millimetres(shown)}")
    yield from _row("batch size", shown["batch_size"])
    yield from _row("previous stage", shown["previous_stage"])
    for number, channel in enumerate(shown["normalization"]):
        yield from _row("normalization" if not number else "", _scheme(number, channel))
    yield from _network(shown["network"])


def _axes(spacing: Any, transpose: Any) -> str:
    """Which axes the numbers belong to: array axes, in the plans' order after transpose_forward."""
    orders = [[a, b, c] for a in range(3) for b in range(3) for c in range(3) if len({a, b, c}) == 3]
    if transpose not in orders or not all(type(axis) is int for axis in transpose):  # 0.0 equals 0, and is no index
        return "(array axes)"
    names = ["zyx"[axis] for axis in transpose][-len(spacing) if isinstance(spacing, list) else 0 :]
    moved = "" if transpose == [0, 1, 2] else f", after transpose_forward {transpose}"
    return f"(array axes {', '.join(names)}{moved})"


def _millimetres(shown: Shown) -> str:
    patch, spacing = shown["patch_size"], shown["spacing"]
    if not _numbers(patch) or not _numbers(spacing) or len(patch) != len(spacing):
        return ""
    try:
        extent = [voxels * mm for voxels, mm in zip(patch, spacing, strict=True)]
    except OverflowError:  # an integer that no float can hold
        return ""
    return f", {_extent(extent, 'mm')}"


def _scheme(number: int, channel: Shown) -> str:
    name = channel["channel"] if channel["channel"] is not None else f"channel {number}"
    scheme = f"{name}: {_value(channel['scheme'])}"
    if channel["masked"] is True:
        scheme += ", inside the mask of nonzero voxels"
    if channel["ct"] is not None:
        low, high, mean, std = (_number(channel["ct"][key]) for key in ("low", "high", "mean", "std"))
        scheme += f", clipped to [{low}, {high}], mean {mean}, std {std}"
    return scheme


def _labels(labels: Any) -> str:
    if not isinstance(labels, Mapping):
        return ""
    shown = [f"{name} {_value(value)}" for name, value in list(labels.items())[:_MOST]]
    more = f" and {len(labels) - _MOST} more" if len(labels) > _MOST else ""
    return ", ".join(shown) + more


# --- Networks --------------------------------------------------------------------


def _network(network: Shown) -> Iterator[str]:
    name = str(network.get("class", "")).rpartition(".")[2]
    parameters = network.get("parameters")
    yield from _row("network", name + (f", {_thousands(parameters)} parameters" if parameters is not None else ""))
    if "unknown" in network:
        yield from _row("" if name else "network", network["unknown"])
        return
    yield ""
    yield from _table(network)


def _table(network: Shown) -> Iterator[str]:
    units = f"encoder {network['encoder_unit']}", f"decoder {network['decoder_unit']}"
    rows = [("stage", "features", "kernel", "stride", *units, "feature map"), *map(_cells, network["stages"])]
    if all(stage["size"] is None for stage in network["stages"]):
        rows = [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield ("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def _cells(stage: Shown) -> tuple[str, ...]:
    return (
        str(stage["stage"]),
        _number(stage["features"]),
        _by(stage["kernel"]),
        _by(stage["stride"]),
        _number(stage["encoder"]),
        "" if stage["decoder"] is None else _number(stage["decoder"]),
        _by(stage["size"] or ()),
    )


# --- Values and lines ------------------------------------------------------------


def _by(values: Iterable[Any]) -> str:
    return " x ".join(map(_number, values))


def _extent(values: Any, unit: str) -> str:
    if values is None:
        return "-"
    return f"{_by(values)} {unit}" if _numbers(values) else _value(values)


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) in (int, float) for value in values)


def _number(value: Any) -> str:
    """Seven digits, what a float32 holds, of a float and of a very large integer."""
    if isinstance(value, int) and not -_LARGE < value < _LARGE:
        return f"{Decimal(value):.7g}"  # float and str both refuse large ones
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def _thousands(value: int) -> str:
    return f"{value:,}" if value < _LARGE else _number(value)


def _value(value: Any) -> str:
    if type(value) is int:
        return _number(value)
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + "..."


def _several(label: str, values: Sequence[str]) -> Iterator[str]:
    for value in values[:_MOST]:
        yield from _row(label, value)
        label = ""
    if len(values) > _MOST:
        yield from _row(label, f"and {len(values) - _MOST} more")


def _row(label: str, value: Any) -> Iterator[str]:
    """A label and its value, wrapped; nothing where there is no value."""
    if value is None or value == "":
        return
    yield from _wrapped(printable(f"  {label}").ljust(_LABEL), _value(value))


def _wrapped(start: str, value: str) -> Iterator[str]:
    indent = " " * (len(start) or 2)
    lines = wrap(printable(value), _WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False)
    yield from lines or [start.rstrip()]
