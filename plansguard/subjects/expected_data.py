"""The expected properties of preprocessed arrays, from plans and dataset.json."""

from __future__ import annotations

from collections.abc import Collection
from math import inf, isfinite, prod
from sys import float_info
from typing import Any

from plansguard.artefacts.data.expectation import Expectation, class_keys
from plansguard.core.errors import Absent
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import ClippedRange
from plansguard.subjects.documents import DatasetJson, Fingerprint
from plansguard.subjects.plans import Configuration

_AXES_2D = 2
#: Bytes of a voxel.
_FLOAT32, _SEGMENTATION = 4, 2
#: Bytes of a voxel in ``class_locations``, four int64, and of what else the .pkl of a case has (rounded up).
_LOCATION, _PROPERTIES = 32, 4096
#: nnU-Net records so many voxels of each class, all where there are fewer, or this share of them where that is more.
_LOCATIONS, _SHARE = 10_000, 0.01


def expected_data(configuration: Configuration, dataset_json: DatasetJson) -> Expectation:
    """What nnU-Net's DefaultPreprocessor writes for any case; Absent where plans or dataset.json lack a field.

    Source: preprocessing/preprocessors/default_preprocessor.py.
    """
    plans, labels = configuration.plans.value, dataset_json.require("labels")
    statistics = plans.get(configuration.plans.intensity_key)
    stock = configuration.get("preprocessor_name") in constants.PREPROCESSORS
    resampling = configuration.get("resampling_fn_data")
    # The output of other preprocessors is not known, nor are the values after other resampling functions.
    named = stock and resampling in constants.RESAMPLING_FUNCTIONS
    schemes = tuple(configuration.require("normalization_schemes")) if named else ()
    return Expectation(
        channels=len(dataset_json.channels),
        spacing=tuple(_numbers(configuration.require("spacing"), configuration)) if stock else None,
        transpose_forward=tuple(configuration.plans.require("transpose_forward")),
        resampled=resampling != constants.NO_RESAMPLING,
        class_keys=class_keys(labels, dataset_json.value.get("regions_class_order")),
        schemes=schemes,
        masked=tuple(configuration.get("use_mask_for_norm") or ()),
        intensities=tuple(
            ClippedRange.of(statistics, channel) if scheme == constants.CT else None
            for channel, scheme in enumerate(schemes)
        ),
        labels=_label_values(labels),
        stuff=constants.STUFF_OF_READERS.get(str(plans.get("image_reader_writer"))),
    )


def expected_bytes(configuration: Configuration, dataset_json: DatasetJson, fingerprint: Fingerprint) -> int:
    """The bytes of all preprocessed cases of a configuration before compression, at most what nnU-Net writes.

    For each voxel a float32 per channel, and an int8 or int16 of the segmentation; for each case its .pkl. Absent where
    the fingerprint does not list shapes (voxels) and spacings (mm) of the cases, in the axis order of the images, or
    where they are those of no image.
    """
    spacing = _numbers(configuration.require("spacing"), configuration)
    # A 2d configuration does not resample along the first axis of its arrays.
    kept = configuration.plans.require("transpose_forward")[0] if len(spacing) == _AXES_2D else None
    keys = class_keys(dataset_json.require("labels"), dataset_json.value.get("regions_class_order")) or frozenset()
    of_voxel = _FLOAT32 * len(dataset_json.channels) + _SEGMENTATION
    shapes, extents = fingerprint.valid.shapes, fingerprint.extents
    sizes = [shapes[axis] if axis == kept else extent for axis, extent in enumerate(extents)]
    total = 0.0
    for case in zip(*sizes, strict=True):
        voxels = prod(map(float, case)) / (prod(spacing) or inf)
        total += voxels * of_voxel + listed_locations(voxels, keys) * _LOCATION + _PROPERTIES
    if not isfinite(total):
        raise Absent(f"{fingerprint.path.name} has no usable shapes_after_crop")
    return round(total)


def listed_locations(voxels: float, keys: Collection[Any]) -> float:
    """How many voxels the ``class_locations`` of a case with so many voxels list at most.

    Source: DefaultPreprocessor._sample_foreground_locations. Labels have no voxel in common, regions may.
    """
    regions = sum(isinstance(key, tuple) for key in keys)
    of_labels = min(voxels, (len(keys) - regions) * _LOCATIONS + voxels * _SHARE) if len(keys) > regions else 0
    return of_labels + regions * min(voxels, max(_LOCATIONS, voxels * _SHARE))


def _numbers(spacing: list[Any], configuration: Configuration) -> list[float]:
    if not all(isinstance(mm, (int, float)) and 0 < mm <= float_info.max for mm in spacing):
        raise Absent(f"configuration {configuration.name} has no spacing to compare with (see PG109)")
    return [float(mm) for mm in spacing]


def _label_values(labels: dict[str, Any]) -> frozenset[int]:
    """Every label value that dataset.json declares, the ignore label included."""
    lists = (value if isinstance(value, list) else [value] for value in labels.values())
    return frozenset(int(value) for values in lists for value in values if isinstance(value, (int, float)))
