"""Output of ``plansguard show`` as text and as JSON. Every text from a file passes through ``printable``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from textwrap import wrap
from typing import Any

from plansguard.core.text import counted
from plansguard.documents.models import show_document
from plansguard.render import plain_json, printable

_WIDTH = 100
_LABEL = 18
#: How many labels, damaged storages or globals are listed before the rest is only counted.
_MOST = 12
_LONGEST = 300
#: Integers from here on are shortened like other numbers.
_LARGE = 10**15


def as_json(description: show_document.Description) -> str:
    """Render a description as JSON, in ASCII."""
    return plain_json(show_document.as_document(description))


def text(description: show_document.Description) -> str:
    """Render a description as text: kind, training, expected input, network by stages."""
    return "\n".join(_lines(description)) + "\n"


def _lines(description: show_document.Description) -> Iterator[str]:
    content = description.content
    if isinstance(content, show_document.CheckpointDescription):
        yield printable(description.path)
        yield from _whole_checkpoint(content)
    elif isinstance(content, show_document.PlansDescription):
        yield printable(f"{description.path}: nnU-Net plans")
        yield from _plans(content)
    else:
        for number, model in enumerate(content):
            yield from [""] if number else []
            yield from _model(model)


def _model(model: show_document.ModelDescription) -> Iterator[str]:
    yield printable(f"{model.path}: a trained model")
    yield from _row("dataset", model.dataset_name)
    yield from _row("trainer", model.trainer)
    yield from _row("configuration", model.configuration)
    if not model.checkpoints:
        yield from _row("checkpoints", "none")
    for checkpoint in model.checkpoints:
        if isinstance(checkpoint, show_document.UnreadCheckpoint):
            yield from _row("checkpoint", f"{checkpoint.path}: not read: {checkpoint.unread}")
        else:
            yield from _row("checkpoint", checkpoint.path)
            yield from _weights(checkpoint)
    yield from _plans(model.plans)


def _whole_checkpoint(checkpoint: show_document.CheckpointDescription) -> Iterator[str]:
    yield from _wrapped("  ", checkpoint.sentence)
    yield from _row("trainer", checkpoint.trainer)
    fold = "" if checkpoint.fold is None else f", fold {checkpoint.fold}"
    yield from _row("configuration", checkpoint.configuration and f"{checkpoint.configuration}{fold}")
    yield from _weights(checkpoint)
    yield from _adaptation(checkpoint.adaptation_plan)
    if checkpoint.plans is not None:
        yield from _plans(checkpoint.plans)
        return
    yield ""
    yield from _wrapped("", f"{checkpoint.why_no_plans[:1].upper()}{checkpoint.why_no_plans[1:]}.")
    network = checkpoint.network
    if network is not None:
        yield "The shapes of the weights show:"
        yield from _row("input channels", network.input_channels)
        yield from _row("outputs", network.outputs)
        yield from _network(network)
    elif checkpoint.weights.tensors:
        yield "The shapes of the weights are not those of one of nnU-Net's own U-Nets."


# --- Weights


def _weights(checkpoint: show_document.CheckpointDescription) -> Iterator[str]:
    weights, training = checkpoint.weights, checkpoint.training
    yield from _row("training", _progress(training))
    losses = [
        ("train loss", training.train_loss),
        ("validation loss", training.val_loss),
        ("EMA pseudo Dice", training.ema_pseudo_dice),
    ]
    yield from _row("last epoch", ", ".join(f"{name} {_number(loss)}" for name, loss in losses if loss is not None))
    axes = checkpoint.mirroring_axes
    if axes is not None:
        yield from _row("mirroring", f"axes {', '.join(map(str, axes))} of the patch" if axes else "none")
    yield from _row("parameters", _stored(weights))
    if weights.prefix:
        yield from _row("prefix", f"names began with {weights.prefix}, which nnU-Net does not remove")
    yield from _several("damage", weights.damage)
    yield from _several("suspicious", [f"names {name}, which could run commands" for name in checkpoint.suspicious])
    yield from _several("unknown", [f"names {name}, which was left alone" for name in checkpoint.unknown])


def _progress(training: show_document.TrainingProgress) -> str:
    unit, done, planned = "epoch", training.epochs_done, training.epochs_planned
    if training.steps_done is not None:
        unit, done, planned = "step", training.steps_done, training.steps_planned
    if done is None:
        return ""
    progress = f"{_number(done)} of {planned} {unit}s" if planned is not None else counted(done, unit)
    rate = "" if training.learning_rate is None else f", learning rate {_number(training.learning_rate)}"
    return f"{progress} done{rate}"


def _stored(weights: show_document.StoredWeights) -> str:
    if not weights.tensors:
        return "none"
    cuda = any(location.startswith("cuda") for location in weights.locations)
    note = "; nnU-Net cannot load them as pretrained weights on a machine without a GPU" if cuda else ""
    return (
        f"{_thousands(weights.parameters)} in {counted(weights.tensors, 'tensor')} "
        f"({', '.join(weights.dtypes)}), saved from {', '.join(weights.locations)}{note}"
    )


def _adaptation(plan: Any) -> Iterator[str]:
    """The adaptation plan of an nnssl checkpoint, which describes how to use it."""
    if not isinstance(plan, Mapping):
        return
    architecture, pretraining = (
        part if isinstance(part, Mapping) else {}
        for part in (plan.get("architecture_plans"), plan.get("pretrain_plan"))
    )
    yield ""
    yield "nnssl adaptation plan"
    yield from _row("architecture", architecture.get("arch_class_name"))
    yield from _row("pretrained on", pretraining.get("dataset_name"))
    yield from _row("input channels", plan.get("pretrain_num_input_channels"))
    patch = plan.get("recommended_downstream_patchsize")
    yield from _row("patch", patch and f"{_extent(patch, 'voxels')}, recommended")
    configurations = pretraining.get("configurations")
    for name, configuration in configurations.items() if isinstance(configurations, Mapping) else ():
        if isinstance(configuration, Mapping):
            schemes = configuration.get("normalization_schemes")
            names = ", ".join(map(str, schemes)) if isinstance(schemes, list) else ""
            yield from _row(str(name), f"{_extent(configuration.get('spacing'), 'mm')} {names}")


# --- Plans


def _plans(plans: show_document.PlansDescription) -> Iterator[str]:
    yield ""
    yield printable(f"plans {plans.plans_name}")
    yield from _row("dataset", plans.dataset_name)
    yield from _row("planner", plans.experiment_planner_used)
    yield from _row("image reader", plans.image_reader_writer)
    yield from _row("channels", ", ".join(plans.channels or ()))
    yield from _row("labels", _labels(plans.labels))
    if plans.regions_class_order:
        yield from _row("regions", f"in the order {_value(plans.regions_class_order)}")
    described = {configuration.name for configuration in plans.configurations}
    yield from _row("others", ", ".join(name for name in plans.all_configurations if name not in described))
    for configuration in plans.configurations:
        yield from _configuration(configuration, plans.transpose_forward)


def _configuration(configuration: show_document.ConfigurationDescription, transpose: Any) -> Iterator[str]:
    yield ""
    yield printable(f"configuration {configuration.name}")
    if configuration.unresolved:
        yield from _row("", configuration.unresolved)
        return
    spacing = configuration.spacing
    yield from _row("inherits from", configuration.inherits_from)
    yield from _row("data", configuration.data_identifier)
    yield from _row("spacing", f"{_extent(spacing, 'mm')} {_axes(spacing, transpose)}")
    yield from _row("patch", f"{_extent(configuration.patch_size, 'voxels')}{_millimetres(configuration)}")
    yield from _row("batch size", configuration.batch_size)
    yield from _row("previous stage", configuration.previous_stage)
    for number, channel in enumerate(configuration.normalization):
        yield from _row("normalization" if not number else "", _scheme(number, channel))
    yield from _network(configuration.network)


def _axes(spacing: Any, transpose: Any) -> str:
    """Which axes the numbers belong to: array axes, in the plans' order after transpose_forward."""
    orders = [[a, b, c] for a in range(3) for b in range(3) for c in range(3) if len({a, b, c}) == 3]
    if transpose not in orders or not all(type(axis) is int for axis in transpose):  # 0.0 equals 0, and is no index
        return "(array axes)"
    names = ["zyx"[axis] for axis in transpose][-len(spacing) if isinstance(spacing, list) else 0 :]
    moved = "" if transpose == [0, 1, 2] else f", after transpose_forward {transpose}"
    return f"(array axes {', '.join(names)}{moved})"


def _millimetres(configuration: show_document.ConfigurationDescription) -> str:
    patch, spacing = configuration.patch_size, configuration.spacing
    if not _numbers(patch) or not _numbers(spacing) or len(patch) != len(spacing):
        return ""
    try:
        extent = [voxels * mm for voxels, mm in zip(patch, spacing, strict=True)]
    except OverflowError:  # an integer that no float can hold
        return ""
    return f", {_extent(extent, 'mm')}"


def _scheme(number: int, channel: show_document.NormalizationDescription) -> str:
    name = channel.channel if channel.channel is not None else f"channel {number}"
    scheme = f"{name}: {_value(channel.scheme)}"
    if channel.masked is True:
        scheme += ", inside the mask of nonzero voxels"
    if channel.ct is not None:
        low, high, mean, std = (_number(channel.ct[key]) for key in ("low", "high", "mean", "std"))
        scheme += f", clipped to [{low}, {high}], mean {mean}, std {std}"
    return scheme


def _labels(labels: Any) -> str:
    if not isinstance(labels, Mapping):
        return ""
    shown = [f"{name} {_value(value)}" for name, value in list(labels.items())[:_MOST]]
    more = f" and {len(labels) - _MOST} more" if len(labels) > _MOST else ""
    return ", ".join(shown) + more


# --- Networks


def _network(network: show_document.NetworkDescription) -> Iterator[str]:
    name = str(network.class_ if network.class_ is not show_document.OMITTED else "").rpartition(".")[2]
    parameters = "" if network.parameters is show_document.OMITTED else f", {_thousands(network.parameters)} parameters"
    yield from _row("network", name + parameters)
    if network.unknown:
        yield from _row("" if name else "network", network.unknown)
        return
    yield ""
    yield from _table(network)


def _table(network: show_document.NetworkDescription) -> Iterator[str]:
    units = f"encoder {network.encoder_unit}", f"decoder {network.decoder_unit}"
    rows = [("stage", "features", "kernel", "stride", *units, "feature map"), *map(_cells, network.stages)]
    if all(stage.size is None for stage in network.stages):
        rows = [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield ("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def _cells(stage: show_document.StageDescription) -> tuple[str, ...]:
    return (
        str(stage.stage),
        _number(stage.features),
        _by(stage.kernel),
        _by(stage.stride),
        _number(stage.encoder),
        "" if stage.decoder is None else _number(stage.decoder),
        _by(stage.size or ()),
    )


# --- Values and lines


def _by(values: Iterable[Any]) -> str:
    return " x ".join(map(_number, values))


def _extent(values: Any, unit: str) -> str:
    if values is None:
        return "-"
    return f"{_by(values)} {unit}" if _numbers(values) else _value(values)


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) in (int, float) for value in values)


def _number(value: Any) -> str:
    """A float or a very large integer with seven digits, as many as a float32 has."""
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
