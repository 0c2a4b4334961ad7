"""What preprocessed cases must be like, according to plans and dataset.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from plansguard.nnunet.intensity import ClippedRange


@dataclass(frozen=True)
class Expectation:
    """What DefaultPreprocessor makes of any case. Fields that are None are not checked.

    ``spacing`` is the configuration's, in mm, transposed, of two values for 2D. ``transpose_forward`` permutes the
    reader's axes. ``resampled`` is False for plans whose resampling function keeps shapes. ``class_keys`` are those of
    `class_keys`; ``labels`` all values that a segmentation may have. ``schemes``, ``masked`` and ``intensities`` are
    per channel: ``normalization_schemes``, ``use_mask_for_norm``, and the range that CTNormalization clips to, in the
    image's own intensities. ``stuff`` is the key in each ``.pkl`` without which the plans' reader cannot write a
    prediction.
    """

    channels: int | None
    spacing: tuple[float, ...] | None
    transpose_forward: tuple[int, ...]
    class_keys: frozenset[Any] | None
    resampled: bool = True
    schemes: tuple[str, ...] = ()
    masked: tuple[bool, ...] = ()
    intensities: tuple[ClippedRange | None, ...] = ()
    labels: frozenset[int] | None = None
    stuff: str | None = None


def class_keys(labels: Mapping[str, Any], regions_class_order: Sequence[Any] | None) -> frozenset[Any] | None:
    """Return the keys of ``class_locations`` that nnU-Net writes for these labels of a dataset.json.

    An int per foreground label; with regions also a tuple per region of several labels; with an ignore label also
    the tuple (-1, every label, background included). None where nnU-Net refuses the labels.
    Source: LabelManager, DefaultPreprocessor.run_case_npy.
    """
    ignore = labels.get("ignore")
    declared = {name: value for name, value in labels.items() if name != "ignore"}
    try:
        values = {name: _values(value) for name, value in declared.items()}
    except (TypeError, ValueError):
        return None
    every = sorted({label for region in values.values() for label in region})
    if 0 not in every:
        return None
    keys: list[Any]
    if any(isinstance(value, (list, tuple)) and len(value) > 1 for value in labels.values()):
        foreground = [name for name, region in values.items() if set(region) != {0}]
        if not isinstance(regions_class_order, (list, tuple)) or len(regions_class_order) != len(foreground):
            return None
        keys = [values[name] if isinstance(declared[name], (list, tuple)) else values[name][0] for name in foreground]
    else:
        keys = [label for label in every if label]
    if ignore is not None:
        keys.append((-1, *every))
    return frozenset(keys)


def _values(value: Any) -> tuple[int, ...]:
    """Return the label values of one entry of dataset.json's ``labels``."""
    return tuple(map(int, value)) if isinstance(value, (list, tuple)) else (int(value),)


class CaseFault(NamedTuple):
    """A fault of one case, in one clause."""

    case: str
    what: str
