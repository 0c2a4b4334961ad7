"""Interpret the object in a checkpoint: which program wrote it, the network's parameters, plans and progress."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from plansguard.artefacts.checkpoint.pickle_values import BrokenPickle, Call, JsonConverter
from plansguard.artefacts.checkpoint.tensors import Tensor
from plansguard.core.text import counted

Beside = Callable[[str], Any]
"""Return the value of the pickle beside the file, with this suffix added to its name; None when there is none."""

STEPS = "plansguard_steps"
"""The key of ``init_args`` under which the step trainer stores its schedule and progress."""

ADAPTATION = "plansguard_adaptation"
"""The key of the adaptation record, in weights that ``plansguard adapt`` wrote."""

MAX_LOGGED = 1_000_000
"""Numbers of all lists of the log together."""

_PREFIX = re.compile(r"(?:module\.|_orig_mod\.)+")
_WEIGHT_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights", "params")
_LABEL = 80  # characters of a name in a sentence
_WHOLE = 2**63  # larger integers count nothing, and beyond 2**1024 they are no floats


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Contents of the object in a checkpoint. They are untrusted: escape every text when showing it.

    ``plans``, ``dataset_json`` and ``adaptation_plan`` have JSON's types. Shapes are those of torch: (out, in, z, y, x)
    for convolutions and (in, out, z, y, x) for transposed ones; in 2D without z.
    """

    kind: str
    """``nnunet-v2``, ``nnunet-v1``, ``nnssl``, ``state-dict``, ``monai`` or ``foreign``."""
    sentence: str
    """Description of the file in one sentence."""
    parameters: dict[str, Tensor] = field(default_factory=dict)
    """Of the network, in the order of the file; the names without ``prefix``."""
    prefix: str = ""
    """Removed from every name: ``module.`` of DistributedDataParallel, ``_orig_mod.`` of torch.compile."""
    plans: dict[str, Any] | None = None
    dataset_json: dict[str, Any] | None = None
    configuration: str | None = None
    fold: int | str | None = None
    trainer: str | None = None
    current_epoch: int | None = None
    """Epochs done."""
    learning_rate: float | None = None
    """Of the first group of the optimizer."""
    mirroring_axes: tuple[int, ...] | None = None
    """``inference_allowed_mirroring_axes``: empty for None in the file, None where the key is missing."""
    adaptation_plan: dict[str, Any] | None = None
    """``nnssl_adaptation_plan``."""
    logging: dict[str, list[float]] = field(default_factory=dict)
    """One number per epoch under each name; lists of anything else are left out."""
    steps: dict[str, Any] | None = None
    """Schedule and progress of plansguard's step trainer (plansguard/training)."""
    adaptation: dict[str, Any] | None = None
    """The adaptation record of weights that ``plansguard adapt`` wrote."""


def understand(value: Any, beside: Beside) -> Contents:
    """Interpret this object. BrokenPickle where a part of it contains itself or is far too large."""
    if type(value) is Call:
        return Contents(
            kind="foreign", sentence=f"This is an object of {_label(value.function)}, saved whole by PyTorch."
        )
    if type(value) is not dict:
        kinds = {list: "a list", tuple: "a tuple", str: "text", int: "a number", float: "a number"}
        what = kinds.get(type(value), "something else")
        return Contents(kind="foreign", sentence=f"This is a pickle of {what}, and no checkpoint.")
    if _is_weights(value.get("network_weights")):
        return _nnunet(value)
    if _is_weights(value.get("state_dict")) and ("plot_stuff" in value or "best_stuff" in value):
        return _version1(value, beside)
    if _is_weights(value):
        return _bare(value, "")
    keys = [key for key in (*_WEIGHT_KEYS, *value) if type(key) is str and _is_weights(value.get(key))]
    return _bare(value[keys[0]], keys[0]) if keys else _no_weights(value)


def _is_weights(value: Any) -> bool:
    """Whether this is a state_dict: a dictionary of mostly tensors."""
    if type(value) is not dict or not value:
        return False
    tensors = sum(type(part) is Tensor for part in value.values())
    return tensors * 2 > len(value)


def _nnunet(value: dict[Any, Any]) -> Contents:
    """Interpret what nnUNetTrainer.save_checkpoint writes, or nnssl: the same weights and its adaptation plan."""
    arguments = _part(value, "init_args")
    converter = JsonConverter()
    plans, dataset_json = _document(converter, arguments, "plans"), _document(converter, arguments, "dataset_json")
    configuration, trainer = _text(arguments.get("configuration")), _text(value.get("trainer_name"))
    fold, epoch = _fold(arguments.get("fold")), _whole(value.get("current_epoch"))
    adaptation = _document(converter, value, "nnssl_adaptation_plan")
    parameters, prefix = _parameters(value["network_weights"])
    owner = "nnssl" if adaptation is not None else "nnU-Net v2"
    details = [
        _label(trainer) if trainer else "",
        f"plans {_label(plans.get('plans_name'))}" if plans else "",
        f"configuration {_label(configuration)}" if configuration else "",
        f"fold {_label(fold)}" if fold is not None else "",
        f"after {counted(epoch, 'epoch')}" if epoch is not None else "",
    ]
    description = ", ".join(filter(None, details))
    if not description:
        description = "an adaptation plan and weights" if adaptation else "weights alone, without plans or trainer"
    wrapped = f" The names of its parameters begin with {prefix}, which nnU-Net does not take off." if prefix else ""
    return Contents(
        kind="nnssl" if adaptation is not None else "nnunet-v2",
        sentence=f"This is a checkpoint of {owner}: {description}.{wrapped}",
        parameters=parameters,
        prefix=prefix,
        plans=plans,
        dataset_json=dataset_json,
        configuration=configuration,
        fold=fold,
        trainer=trainer,
        current_epoch=epoch,
        learning_rate=_learning_rate(value.get("optimizer_state")),
        mirroring_axes=_axes(value),
        adaptation_plan=adaptation,
        logging=_logging(_part(value, "logging")),
        steps=_document(converter, arguments, STEPS),
        adaptation=_document(converter, value, ADAPTATION),
    )


def _version1(value: dict[Any, Any], beside: Beside) -> Contents:
    """Interpret what NetworkTrainer.save_checkpoint of nnU-Net v1 writes; the plans are in a pickle beside the file."""
    pickled = beside(".pkl")
    described = pickled if type(pickled) is dict else {}
    plans = _document(JsonConverter(), described, "plans")
    arguments = _sequence(described.get("init"))
    trainer, fold, epoch = _text(described.get("name")), None, _whole(value.get("epoch"))
    configuration = None
    if len(arguments) > 2:  # nnUNetTrainer(plans_file, fold, output_folder, ...)
        fold = _fold(arguments[1])
        folders = re.split(r"[/\\]", arguments[2]) if type(arguments[2]) is str else []
        configuration = next((part for part in folders if re.fullmatch(r"2d|3d_\w{1,40}", part)), None)
    parameters, prefix = _parameters(value["state_dict"])
    details = ", ".join(filter(None, [_label(trainer) if trainer else "", configuration]))
    where = "with plans of version 1 beside it" if plans else "and the .model.pkl with its plans is not beside it"
    names = ("train_losses", "val_losses", "val_losses_train_mode", "val_eval_metrics")
    return Contents(
        kind="nnunet-v1",
        sentence=f"This is a checkpoint of nnU-Net v1{': ' * bool(details)}{details}, {where}; v2 cannot load it.",
        parameters=parameters,
        prefix=prefix,
        plans=plans,
        configuration=configuration,
        fold=fold,
        trainer=trainer,
        current_epoch=epoch,
        learning_rate=_learning_rate(value.get("optimizer_state_dict")),
        logging=_logging(dict(zip(names, _sequence(value.get("plot_stuff")), strict=False))),
    )


def _bare(weights: dict[Any, Any], key: str) -> Contents:
    """Interpret weights of another PyTorch program."""
    return bare_weights(weights, f"under {_label(key)}" if key else "")


def bare_weights(weights: dict[Any, Any], where: str) -> Contents:
    """Interpret tensors by name, without anything else; ``where`` they are is a clause."""
    parameters, prefix = _parameters(weights)
    details = ", ".join(filter(None, [counted(len(parameters), "tensor"), where]))
    sentence = f"These are the weights of a PyTorch network ({details}), and no checkpoint of nnU-Net v2."
    return Contents(kind="state-dict", sentence=sentence, parameters=parameters, prefix=prefix)


def _no_weights(value: dict[Any, Any]) -> Contents:
    """Interpret a dictionary without a network."""
    if "class_locations" in value:
        what = "the properties of a preprocessed case"
    elif "plans_per_stage" in value:
        what = "plans of nnU-Net v1"
    else:
        names = ", ".join(_label(key) for key in list(value)[:4]) or "nothing"
        what = f"a dictionary with {names}{' and more' * (len(value) > 4)}"
    return Contents(kind="foreign", sentence=f"This is a pickle of {what}, and no checkpoint.")


# --- Parts


def _parameters(weights: dict[Any, Any]) -> tuple[dict[str, Tensor], str]:
    """Return the tensors by name without the prefix that all names share, and this prefix."""
    tensors = {name: tensor for name, tensor in weights.items() if type(name) is str and type(tensor) is Tensor}
    found = {match.group() if (match := _PREFIX.match(name)) else "" for name in tensors}
    prefix = found.pop() if len(found) == 1 else ""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items()} if prefix else tensors, prefix


def _part(value: dict[Any, Any], key: str) -> dict[Any, Any]:
    part = value.get(key)
    return part if type(part) is dict else {}


def _document(converter: JsonConverter, value: dict[Any, Any], key: str) -> dict[str, Any] | None:
    document = value.get(key)
    if type(document) is not dict:
        return None
    try:
        return converter.convert(document)  # type: ignore[no-any-return]
    except BrokenPickle as error:
        raise BrokenPickle(f"its {key} cannot be read: {error}") from error


def _sequence(value: Any) -> tuple[Any, ...]:
    return tuple(value) if type(value) in (list, tuple) else ()


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int and -_WHOLE < value < _WHOLE else None


def _fold(value: Any) -> int | str | None:
    return value if type(value) is str else _whole(value)


def _axes(value: dict[Any, Any]) -> tuple[int, ...] | None:
    """Return the axes; none for None, which nnUNetTrainerNoMirroring stores, and None where the key is missing."""
    key = "inference_allowed_mirroring_axes"
    axes = value.get(key, False)
    if axes is None:
        return ()
    if type(axes) in (list, tuple) and len(axes) <= 3 and all(_whole(axis) is not None for axis in axes):
        return tuple(axes)
    return None


def _learning_rate(optimizer: Any) -> float | None:
    groups = optimizer.get("param_groups") if type(optimizer) is dict else None
    first = groups[0] if type(groups) is list and groups else None
    rate = first.get("lr") if type(first) is dict else None
    return rate if isinstance(rate, float) else None


def _logging(lists: dict[Any, Any]) -> dict[str, list[float]]:
    """Keep the lists of numbers."""
    kept: dict[str, list[float]] = {}
    total = 0
    for name, values in lists.items():
        if type(name) is not str or type(values) is not list:
            continue
        total += len(values)
        if total > MAX_LOGGED:
            raise BrokenPickle("its log is far longer than any training")
        if all(type(number) is float or _whole(number) is not None for number in values):
            kept[name] = [float(number) for number in values]
    return kept


def _label(value: Any) -> str:
    """Cut a name from the file to the length of a sentence."""
    text = str(value)
    return text if len(text) <= _LABEL else text[: _LABEL - 3] + "..."
