"""What a network saw in the training of its weights, or what plans were when they were migrated, beside these plans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isclose
from typing import Any

from plansguard.core.errors import Absent, UnreadableDocument, known
from plansguard.documents import size_limits
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import ClippedRange
from plansguard.records.migration import DERIVE, MigrationRecord
from plansguard.subjects.input_comparison import SAME_SPACING
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.weights import Weights

#: Fields that are compared, and of these the ones that are shown where they are equal as well.
_FIELDS = (
    *("spacing", "patch_size", "normalization_schemes", "use_mask_for_norm", "transpose_forward"),
    *("image_reader_writer", "preprocessor_name", "resampling_fn_data", "resampling_fn_data_kwargs"),
    *("resampling_fn_seg", "resampling_fn_seg_kwargs", "previous_stage"),
)
_ALWAYS = ("spacing", "patch_size", "normalization_schemes")
#: Arguments of networks, one value per stage.
_OF_STAGES = ("strides", "kernel_sizes", "features_per_stage", "n_conv_per_stage", "n_blocks_per_stage")


@dataclass(frozen=True)
class FieldRow:
    """One field, with its value before and now."""

    field: str
    before: Any
    now: Any

    @property
    def differs(self) -> bool:
        """Whether the values are different."""
        return bool(self.before != self.now)


@dataclass(frozen=True)
class ComparisonFigure:
    """Two states of a configuration; ``before`` and ``now`` name them.

    ``factors`` are, per array axis, the ratios of the target spacing before and now: an object has so many times as
    many voxels along the axis. Empty where the numbers of axes differ.
    """

    before: str
    now: str
    rows: tuple[FieldRow, ...]
    factors: tuple[float, ...]


def with_weights(weights: Weights) -> ComparisonFigure:
    """The configuration that the weights were trained with, beside the one that would load them. Absent if unknown."""
    return _compared("the weights saw", weights.theirs, "this run feeds", weights.configuration)


def with_migrated(record: MigrationRecord, configuration: Configuration) -> ComparisonFigure:
    """The configuration as it was migrated, beside the one in the file. Absent if it was not migrated, or is equal."""
    path = configuration.plans.document.path
    try:
        migrated = Plans(size_limits.written(record.migrated, path)).valid
    except UnreadableDocument as error:
        raise Absent(error.reason) from error
    then = next((one for one in migrated.configurations if one.name == configuration.name and one.is_usable), None)
    if then is None:
        raise Absent(f"configuration {configuration.name} was added after the migration")
    origin = record.giving if record.workflow != DERIVE else record.value["from"]["plans"]
    made = "derived" if record.workflow == DERIVE else "migrated"
    figure = _compared(f"{made} from {origin}", then, "in the file now", configuration)
    if not any(row.differs for row in figure.rows):
        raise Absent("nothing was changed since the migration")
    return figure


def _compared(before: str, then: Configuration, now: str, configuration: Configuration) -> ComparisonFigure:
    rows = [row for row in _rows(then, configuration) if row.differs or row.field in _ALWAYS]
    spacings = then.get("spacing") or [], configuration.get("spacing") or []
    positive = all(mm > 0 for spacing in spacings for mm in spacing)
    same_axes = len(spacings[0]) == len(spacings[1])
    factors = tuple(map(_factor, *spacings)) if positive and same_axes else ()
    return ComparisonFigure(before, now, tuple(rows), factors)


def _factor(before: float, now: float) -> float:
    """The ratio; 1 where the spacings give the same arrays, as 0.8 and the float32 that is nearest to it."""
    return 1.0 if isclose(before, now, rel_tol=SAME_SPACING) else before / now


def _rows(then: Configuration, configuration: Configuration) -> Iterator[FieldRow]:
    sides = then, configuration
    values = [{**side.plans.value, **side.resolved} for side in sides]
    for field in _FIELDS:
        yield FieldRow(field, *(value.get(field) for value in values))
    schemes = zip(*(side.get("normalization_schemes") or [] for side in sides), strict=False)
    for channel, pair in enumerate(schemes):
        if constants.CT in pair:
            ranges = (ClippedRange.of(side.plans.value.get(side.plans.intensity_key), channel) for side in sides)
            texts = ("unknown" if one is None else str(one) for one in ranges)
            yield FieldRow(f"CT intensities of channel {channel}", *texts)
    networks = [_network_arguments(side) for side in sides]
    for key in _OF_STAGES:
        yield FieldRow(key, *(arguments.get(key) for arguments in networks))


def _network_arguments(configuration: Configuration) -> dict[str, Any]:
    architecture = known(lambda: configuration.architecture)
    return {} if architecture is None else dict(architecture["arch_kwargs"])
