"""What preprocessing depends on: the fields of plans and dataset.json, and how two versions differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any, NamedTuple

from plansguard.core.report import Severity
from plansguard.nnunet import constants

#: Spacings this near each other give the same arrays; nnU-Net itself writes 0.800000011920929 for a float32 of 0.8.
_SAME_NUMBER = 1e-6
#: What CTNormalization takes from the intensity properties; other schemes take nothing.
_USED_STATISTICS = ("mean", "std", "percentile_00_5", "percentile_99_5")
_INTENSITIES = {constants.INTENSITY_KEY, constants.OLD_INTENSITY_KEY}
_OF_CHANNEL = " of channel "
#: What of dataset.json shows in the data: values of the labels, number of channels; and what is told with them.
_DATASET_KEYS = ("labels", "channel_names", "modality", "file_ending")


# ---------------------------------------------------------------------------------------------------------------------
# What preprocessing writes with
# ---------------------------------------------------------------------------------------------------------------------


class FieldDifference(NamedTuple):
    """A field, its value there or then, and its value here or now."""

    field: str
    then: Any
    now: Any


class DatasetChange(NamedTuple):
    """A difference of dataset.json, and what it means for data that were made with the other value."""

    difference: FieldDifference
    severity: Severity


def input_fields(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the arrays that preprocessing writes, by field: of a resolved configuration and of the whole plans.

    Of the intensity properties only what is used counts, as ``mean of channel 0``. Source:
    preprocessing/preprocessors/default_preprocessor.py and normalization/default_normalization_schemes.py.
    """
    fields = {**plans, **configuration}
    decisive = {key: fields[key] for key in sorted(constants.PRE_FIELDS - _INTENSITIES) if fields.get(key) is not None}
    statistics = plans.get(constants.intensity_key(plans)) or {}
    for channel, scheme in enumerate(configuration.get("normalization_schemes") or ()):
        own = statistics.get(str(channel), {}) if scheme == constants.CT else {}
        decisive.update({f"{key}{_OF_CHANNEL}{channel}": own[key] for key in _USED_STATISTICS if key in own})
    return decisive


def place_in_plans(plans: Mapping[str, Any], field: str) -> tuple[str, ...] | None:
    """Where a field of ``input_fields`` stands at the top level of the plans; None if it is the configuration's."""
    key, _, channel = field.partition(_OF_CHANNEL)
    if channel:
        return constants.intensity_key(plans), channel, key
    return (key,) if key in plans else None


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[FieldDifference]:
    """Fields that both have and that differ; what one lacks, nnU-Net cannot preprocess with (PG006)."""
    return [
        FieldDifference(key, then[key], now[key])
        for key in now
        if key in then and then[key] != now[key] and not _same(then[key], now[key])
    ]


def dataset_fields(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """What of a dataset.json the data depend on, as it is written there."""
    return {key: dataset_json[key] for key in _DATASET_KEYS if key in dataset_json}


def dataset_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[DatasetChange]:
    """What differs between the ``dataset_fields`` that data were made with and those of today, with its weight.

    Other label values or another number of channels are an error: the .pkl files list the voxels of each label, the
    arrays have one channel per image. The same names in another order are a warning, since images or labels may have
    been swapped with them; new names and endings are for information: what is in the arrays may well have stayed.
    """
    return [*_labels(then, now), *_channels(then, now), *_ending(then, now)]


def _labels(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[DatasetChange]:
    old, new = then.get("labels"), now.get("labels")
    if isinstance(old, dict) and isinstance(new, dict) and old != new:
        values = _label_values(old) != _label_values(new)
        weight = Severity.ERROR if values else Severity.WARNING if {*old} == {*new} else Severity.INFO
        yield DatasetChange(FieldDifference("labels", old, new), weight)


def _label_values(labels: Mapping[str, Any]) -> list[str]:
    """The labels without their names; only ``ignore`` means something to preprocessing."""
    return sorted(json.dumps([name == "ignore", value]) for name, value in labels.items())


def _channels(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[DatasetChange]:
    old, new = _channel_names(then), _channel_names(now)
    if old and new and old != new:
        weight = Severity.WARNING if sorted(old) == sorted(new) else Severity.INFO
        yield DatasetChange(
            FieldDifference("channel_names", old, new), Severity.ERROR if len(old) != len(new) else weight
        )


def _channel_names(fields: Mapping[str, Any]) -> list[str]:
    """In file order: nnU-Net ignores the keys."""
    names = fields.get("channel_names", fields.get("modality"))
    return [str(name) for name in names.values()] if isinstance(names, dict) else []


def _ending(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[DatasetChange]:
    old, new = then.get("file_ending"), now.get("file_ending")
    if old != new:
        yield DatasetChange(FieldDifference("file_ending", old, new), Severity.INFO)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        # null and absent are the same to the functions that take these as keyword arguments
        return all(_same(one.get(key), other.get(key)) for key in {*one, *other})
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=_SAME_NUMBER)
    return bool(one == other)
