"""Inputs of preprocessing: the fields of plans and dataset.json that decide it, and how two versions differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any, NamedTuple

from plansguard.core.report import Severity
from plansguard.nnunet import constants, signatures

#: Relative difference below which numbers give the same arrays; nnU-Net writes 0.800000011920929 for a float32 of 0.8.
_SAME_NUMBER = 1e-6
#: The intensity properties that CTNormalization uses; other schemes use none.
_USED_STATISTICS = ("mean", "std", "percentile_00_5", "percentile_99_5")
_INTENSITIES = {constants.INTENSITY_KEY, constants.OLD_INTENSITY_KEY}
_OF_CHANNEL = " of channel "
_DECISIVE = sorted(constants.PRE_FIELDS - _INTENSITIES)
#: The fields of dataset.json that the data depend on: label values, number of channels, and what is reported with them.
_DATASET_KEYS = ("labels", "channel_names", "modality", "file_ending")


class FieldDifference(NamedTuple):
    """A field, its earlier value and its present one."""

    field: str
    then: Any
    now: Any


class DatasetChange(NamedTuple):
    """A difference of dataset.json, and how much it matters for data that were made with the earlier value."""

    difference: FieldDifference
    severity: Severity


def input_fields(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that decide the arrays which preprocessing writes, of the plans and of a resolved configuration.

    Of the intensity properties only those that are used count, under names such as ``mean of channel 0``. Source:
    preprocessing/preprocessors/default_preprocessor.py and normalization/default_normalization_schemes.py.
    """
    decisive = {}
    for key in _DECISIVE:
        value = configuration[key] if key in configuration else plans.get(key)
        if value is not None:
            decisive[key] = value
    statistics = plans.get(constants.intensity_key(plans))
    for channel, scheme in enumerate(configuration.get("normalization_schemes") or ()):
        own = statistics.get(str(channel)) if isinstance(statistics, dict) and scheme == constants.CT else None
        if isinstance(own, dict):
            decisive.update({f"{key}{_OF_CHANNEL}{channel}": own[key] for key in _USED_STATISTICS if key in own})
    return decisive


def place_in_plans(plans: Mapping[str, Any], field: str) -> tuple[str, ...] | None:
    """The keys that lead to a field of ``input_fields`` in the plans; None if it is the configuration's."""
    key, _, channel = field.partition(_OF_CHANNEL)
    if channel:
        return constants.intensity_key(plans), channel, key
    return (key,) if key in plans else None


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[FieldDifference]:
    """Fields that both have and that differ; nnU-Net cannot preprocess where one is missing (PG006)."""
    unequal = [key for key in now if key in then and then[key] != now[key]]
    return [
        FieldDifference(key, then[key], now[key])
        for key in unequal
        if not _same(then[key], now[key]) and not _same(_complete(then, key), _complete(now, key))
    ]


def _complete(fields: Mapping[str, Any], key: str) -> Any:
    """A field; for the arguments of nnU-Net's resampling functions, with the defaults of those that are left out."""
    function = fields.get(key.removesuffix("_kwargs"))
    if not key.startswith("resampling_fn_") or not isinstance(function, str) or not isinstance(fields[key], dict):
        return fields[key]
    arguments = signatures.resampling(function) or {}
    return {**{name: entry[1] for name, entry in arguments.items() if len(entry) > 1}, **fields[key]}


def dataset_fields(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataset.json that the data depend on, unchanged."""
    return {key: dataset_json[key] for key in _DATASET_KEYS if key in dataset_json}


def dataset_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[DatasetChange]:
    """The differences between the ``dataset_fields`` that data were made with and those of today, with their severity.

    Other label values or another number of channels are an error: the .pkl files list the voxels of each label, and
    the arrays have one channel per image. The same names in another order are a warning, since images or labels may
    have been swapped with them. New names and endings are information: the content of the arrays may be the same.
    """
    return [*_labels(then, now), *_channels(then, now), *_ending(then, now)]


def _labels(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[DatasetChange]:
    old, new = then.get("labels"), now.get("labels")
    if isinstance(old, dict) and isinstance(new, dict) and old != new:
        same_names = Severity.WARNING if {*old} == {*new} else Severity.INFO
        severity = Severity.ERROR if _label_values(old) != _label_values(new) else same_names
        yield DatasetChange(FieldDifference("labels", old, new), severity)


def _label_values(labels: Mapping[str, Any]) -> list[str]:
    """The labels without their names; only the name ``ignore`` has a meaning for preprocessing."""
    return sorted(json.dumps([name == "ignore", value]) for name, value in labels.items())


def _channels(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[DatasetChange]:
    old, new = _channel_names(then), _channel_names(now)
    if old and new and old != new:
        same_names = Severity.WARNING if sorted(old) == sorted(new) else Severity.INFO
        severity = Severity.ERROR if len(old) != len(new) else same_names
        yield DatasetChange(FieldDifference("channel_names", old, new), severity)


def _channel_names(fields: Mapping[str, Any]) -> list[str]:
    """In file order: nnU-Net ignores the keys."""
    names = fields.get("channel_names", fields.get("modality"))
    return [str(name) for name in names.values()] if isinstance(names, dict) else []


def _ending(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[DatasetChange]:
    old, new = then.get("file_ending"), now.get("file_ending")
    if old != new:
        yield DatasetChange(FieldDifference("file_ending", old, new), Severity.INFO)


def _same(first: Any, second: Any) -> bool:
    if first == second:
        return True
    if isinstance(first, dict) and isinstance(second, dict):
        # null and a missing key are the same to the functions that take these as keyword arguments
        return all(_same(first.get(key), second.get(key)) for key in {*first, *second})
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return isclose(first, second, rel_tol=_SAME_NUMBER)
    return False
