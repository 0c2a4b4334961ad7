"""Output of ``plansguard show`` as text and as JSON. Every text from a file passes through ``printable``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from textwrap import wrap
from typing import Any

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.pickle_values import Global
from plansguard.artefacts.description import (
    OMITTED,
    CheckpointDescription,
    ConfigurationDescription,
    Description,
    ModelDescription,
    NetworkDescription,
    NormalizationDescription,
    PlansDescription,
)
from plansguard.core.text import counted
from plansguard.nnunet.constants import READERS_OF_2D_IMAGES, planned_epochs
from plansguard.nnunet.network.parameters import number_of_parameters
from plansguard.nnunet.network.unet import Stage
from plansguard.render import Screen, plain_json, printable
from plansguard.render.columns import wrapped
from plansguard.training.trainer_name import planned_steps

SCHEMA = "plansguard/show/1"
_WIDTH = 100
_LABEL = 18
#: How many labels, damaged storages or globals are listed before the rest is only counted.
_MOST = 12
_LONGEST = 300
#: Integers from here on are shortened like other numbers.
_LARGE = 10**15


def as_json(description: Description) -> str:
    """Render a description as JSON, in ASCII."""
    return plain_json(_document(description))


def _document(description: Description) -> dict[str, Any]:
    head, content = {"schema": SCHEMA, "path": description.path}, description.content
    if isinstance(content, PlansDescription):
        return {**head, "kind": "plans", "plans": _plain(content)}
    if not isinstance(content, CheckpointDescription):
        return {**head, "kind": "models", "models": [_model_entry(model) for model in content]}
    document = {**head, "kind": "checkpoint", **_checkpoint_entry(content.checkpoint), "plans": _plain(content.plans)}
    if content.plans is None:
        document |= {"why_no_plans": content.why_no_plans, "network": _plain(content.network)}
    return document


def _model_entry(description: ModelDescription) -> dict[str, Any]:
    model = description.model
    return {
        "name": model.name,
        "path": str(model.folder),
        "dataset_name": model.dataset_name,
        "trainer": description.trainer,
        "configuration": description.configuration,
        "checkpoints": [
            {"path": name, "unread": read} if isinstance(read, str) else {**_checkpoint_entry(read), "path": name}
            for name, read in description.checkpoints.items()
        ],
        "plans": _plain(description.plans),
    }


def _checkpoint_entry(checkpoint: Checkpoint) -> dict[str, Any]:
    last = {name: values[-1] for name, values in checkpoint.logging.items() if values}
    return {
        "sentence": checkpoint.sentence,
        "kind_of_checkpoint": checkpoint.kind,
        "trainer": checkpoint.trainer,
        "configuration": checkpoint.configuration,
        "fold": checkpoint.fold,
        "training": {
            "epochs_done": checkpoint.current_epoch,
            "epochs_planned": _planned_epochs(checkpoint),
            "steps_done": checkpoint.step,
            "steps_planned": planned_steps(checkpoint.trainer_of_steps),
            "learning_rate": checkpoint.learning_rate,
            "train_loss": last.get("train_losses"),
            "val_loss": last.get("val_losses"),
            "ema_pseudo_dice": last.get("ema_fg_dice"),
        },
        "mirroring_axes": checkpoint.mirroring_axes,
        "weights": {
            "tensors": len(checkpoint.parameters),
            "parameters": number_of_parameters(checkpoint.shapes),
            "dtypes": Counter(tensor.dtype for tensor in checkpoint.parameters.values()),
            "locations": checkpoint.locations,
            "prefix": checkpoint.prefix,
            "damage": checkpoint.damage,
        },
        "globals": [str(name) for name in checkpoint.globals],
        "suspicious": [str(name) for name in checkpoint.suspicious],
        "unknown": [str(name) for name in _unknown(checkpoint)],
        "adaptation_plan": checkpoint.adaptation_plan,
        "adapted_from": checkpoint.adapted_from,
        "adapted_to": checkpoint.adapted_to,
    }


def _plain(value: Any) -> Any:
    """``value`` with dictionaries in place of descriptions."""
    if is_dataclass(value):
        members = {field.name.rstrip("_"): getattr(value, field.name) for field in fields(value)}
        return {name: _plain(member) for name, member in members.items() if member is not OMITTED}
    if hasattr(value, "_asdict"):
        return value._asdict()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def text(description: Description, screen: Screen) -> str:
    """Render a description as text: kind, training, expected input, network by stages."""
    parts = (wrapped(line, screen.width, hanging=" " * _LABEL) for line in _lines(description))
    return "".join(f"{part}\n" for line in parts for part in line)


def _lines(description: Description) -> Iterator[str]:
    content = description.content
    if isinstance(content, CheckpointDescription):
        yield printable(description.path)
        yield from _whole_checkpoint(content)
    elif isinstance(content, PlansDescription):
        yield printable(f"{description.path}: nnU-Net plans")
        yield from _plans(content)
    else:
        for number, model in enumerate(content):
            yield from [""] if number else []
            yield from _model(model)


def _model(model: ModelDescription) -> Iterator[str]:
    yield printable(f"{model.model.folder}: a trained model")
    yield from _row("dataset", model.model.dataset_name)
    yield from _row("trainer", model.trainer)
    yield from _row("configuration", model.configuration)
    if not model.checkpoints:
        yield from _row("checkpoints", "none")
    for name, checkpoint in model.checkpoints.items():
        if isinstance(checkpoint, str):
            yield from _row("checkpoint", f"{name}: not read: {checkpoint}")
        else:
            yield from _row("checkpoint", name)
            yield from _weights(checkpoint)
    yield from _plans(model.plans)


def _whole_checkpoint(description: CheckpointDescription) -> Iterator[str]:
    checkpoint, network = description.checkpoint, description.network
    yield from _wrapped("  ", checkpoint.sentence)
    yield from _row("trainer", checkpoint.trainer)
    fold = "" if checkpoint.fold is None else f", fold {checkpoint.fold}"
    of = ", of the training" if checkpoint.adapted_to else ""
    yield from _row("configuration", checkpoint.configuration and f"{checkpoint.configuration}{fold}{of}")
    to = f" to {checkpoint.adapted_to}" if checkpoint.adapted_to else ""
    yield from _row("adapted", checkpoint.adapted_from and f"from {checkpoint.adapted_from} by plansguard{to}")
    yield from _weights(checkpoint)
    yield from _adaptation(checkpoint.adaptation_plan)
    if description.plans is not None:
        yield from _plans(description.plans)
        return
    yield ""
    yield from _wrapped("", f"{description.why_no_plans[:1].upper()}{description.why_no_plans[1:]}.")
    if network is not None:
        yield "The shapes of the weights show:"
        yield from _row("input channels", network.input_channels)
        yield from _row("outputs", network.outputs)
        yield from _network(network)
    elif checkpoint.parameters:
        yield "The shapes of the weights are not those of one of nnU-Net's own U-Nets."


# --- Weights


def _weights(checkpoint: Checkpoint) -> Iterator[str]:
    yield from _row("training", _progress(checkpoint))
    losses = [("train loss", "train_losses"), ("validation loss", "val_losses"), ("EMA pseudo Dice", "ema_fg_dice")]
    last = [
        f"{label} {_number(checkpoint.logging[name][-1])}" for label, name in losses if checkpoint.logging.get(name)
    ]
    yield from _row("last epoch", ", ".join(last))
    axes = checkpoint.mirroring_axes
    if axes is not None:
        yield from _row("mirroring", f"axes {', '.join(map(str, axes))} of the patch" if axes else "none")
    yield from _row("parameters", _stored(checkpoint))
    if checkpoint.prefix:
        yield from _row("prefix", f"names began with {checkpoint.prefix}, which nnU-Net does not remove")
    yield from _several("damage", checkpoint.damage)
    yield from _several("suspicious", [f"names {name}, which could run commands" for name in checkpoint.suspicious])
    yield from _several("unknown", [f"names {name}, which was left alone" for name in _unknown(checkpoint)])


def _unknown(checkpoint: Checkpoint) -> list[Global]:
    """What checkpoints do not consist of: neither torch's types, nor functions that rebuild values."""
    return [
        name
        for name in checkpoint.globals
        if name.build is None
        and not (name.module == "torch" and name.name.endswith("Storage"))
        and name not in checkpoint.suspicious
    ]


def _progress(checkpoint: Checkpoint) -> str:
    unit, done, planned = "epoch", checkpoint.current_epoch, _planned_epochs(checkpoint)
    if checkpoint.step is not None:
        unit, done, planned = "step", checkpoint.step, planned_steps(checkpoint.trainer_of_steps)
    if done is None:
        return ""
    progress = f"{_number(done)} of {planned} {unit}s" if planned is not None else counted(done, unit)
    rate = "" if checkpoint.learning_rate is None else f", learning rate {_number(checkpoint.learning_rate)}"
    return f"{progress} done{rate}"


def _planned_epochs(checkpoint: Checkpoint) -> int | None:
    return planned_epochs(checkpoint.trainer_of_steps or checkpoint.trainer)


def _stored(checkpoint: Checkpoint) -> str:
    if not checkpoint.parameters:
        return "none"
    note = "; nnU-Net cannot load them as pretrained weights on a machine without a GPU" if checkpoint.on_cuda else ""
    saved_from = f", saved from {', '.join(checkpoint.locations)}" if checkpoint.locations else ""
    dtypes = dict.fromkeys(tensor.dtype for tensor in checkpoint.parameters.values())
    return (
        f"{_thousands(number_of_parameters(checkpoint.shapes))} in {counted(len(checkpoint.parameters), 'tensor')} "
        f"({', '.join(dtypes)}){saved_from}{note}"
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


def _plans(plans: PlansDescription) -> Iterator[str]:
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
        yield from _configuration(configuration, plans)


def _configuration(configuration: ConfigurationDescription, plans: PlansDescription) -> Iterator[str]:
    yield ""
    yield printable(f"configuration {configuration.name}")
    if configuration.unresolved:
        yield from _row("", configuration.unresolved)
        return
    spacing, has_spacing = configuration.spacing, str(plans.image_reader_writer) not in READERS_OF_2D_IMAGES
    extent, axes = _extent(spacing, "mm" if has_spacing else "pixels"), _axes(spacing, plans.transpose_forward)
    yield from _row("inherits from", configuration.inherits_from)
    yield from _row("data", configuration.data_identifier)
    yield from _row("spacing", f"{extent} {axes}")
    millimetres = _millimetres(configuration) if has_spacing else ""
    yield from _row("patch", f"{_extent(configuration.patch_size, 'voxels')}{millimetres}")
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


def _millimetres(configuration: ConfigurationDescription) -> str:
    patch, spacing = configuration.patch_size, configuration.spacing
    if not _numbers(patch) or not _numbers(spacing) or len(patch) != len(spacing):
        return ""
    try:
        extent = [voxels * mm for voxels, mm in zip(patch, spacing, strict=True)]
    except OverflowError:  # an integer that no float can hold
        return ""
    return f", {_extent(extent, 'mm')}"


def _scheme(number: int, channel: NormalizationDescription) -> str:
    name = channel.channel if channel.channel is not None else f"channel {number}"
    scheme = f"{name}: {_value(channel.scheme)}"
    if channel.masked is True:
        scheme += ", inside the mask of nonzero voxels"
    if channel.ct is not None:
        low, high, mean, std = map(_number, channel.ct)
        scheme += f", clipped to [{low}, {high}], mean {mean}, std {std}"
    return scheme


def _labels(labels: Any) -> str:
    if not isinstance(labels, Mapping):
        return ""
    shown = [f"{name} {_value(value)}" for name, value in list(labels.items())[:_MOST]]
    more = f" and {len(labels) - _MOST} more" if len(labels) > _MOST else ""
    return ", ".join(shown) + more


# --- Networks


def _network(network: NetworkDescription) -> Iterator[str]:
    name = str(network.class_ if network.class_ is not OMITTED else "").rpartition(".")[2]
    parameters = "" if network.parameters is OMITTED else f", {_thousands(network.parameters)} parameters"
    yield from _row("network", name + parameters + _units(network))
    if network.unknown:
        yield from _row("" if name else "network", network.unknown)
        return
    yield ""
    yield from _table(network)


def _units(network: NetworkDescription) -> str:
    """What the table of the stages counts."""
    if not network.stages:
        return ""
    if network.encoder_unit == network.decoder_unit:
        return f"; encoder and decoder in {network.encoder_unit}"
    return f"; encoder in {network.encoder_unit}, decoder in {network.decoder_unit}"


def _table(network: NetworkDescription) -> Iterator[str]:
    head = ("stage", "features", "kernel", "stride", "encoder", "decoder", "feature map")
    rows = [head, *map(_cells, network.stages)]
    if all(stage.size is None for stage in network.stages):
        rows = [row[:-1] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield ("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def _cells(stage: Stage) -> tuple[str, ...]:
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
