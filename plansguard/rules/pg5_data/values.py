"""PG520 to PG523: the values of preprocessed arrays, where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard.core.report import Severity
from plansguard.rules.engine.declare import Found, rule
from plansguard.rules.pg5_data.helpers import case_faults, folder_finding
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit


@rule(
    "PG520",
    Severity.ERROR,
    message="{folder}/{example}",
    fix="preprocess with these plans: {preprocess}",
)
def values_outside_normalization(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """Preprocessed values are outside of what the normalization can give.

    What it checks: with `--data sample` or `all`, that no value of a CT channel is beyond the clip bounds (percentile -
    mean) / std of the plans; that channels rescaled to 0..1 are in that range, and reach both ends where they were not
    resampled; that all values are finite. nnU-Net's resampling never leaves the range of its input.

    Why it matters: training takes the arrays as they are; prediction normalizes with the present statistics and scheme.

    How to fix: preprocess again.

    Example: CT statistics were edited, or came with a move, after preprocessing.

    Evidence: PP-02; NO-01; nnU-Net issues 1383, 2878. Calibrated on data that nnU-Net made (docs/calibration.md).
    """
    yield from case_faults(configuration, data, "range")


@rule(
    "PG521",
    Severity.WARNING,
    message="{folder}/{example}",
    fix="if the plans were edited since, preprocess with them: {preprocess}",
)
def values_unlike_normalization(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """Preprocessed values are unlike what the normalization gives.

    What it checks: with `--data sample` or `all`, that z-scored channels have a mean near 0 and a standard deviation
    near 1, inside the mask where the plans normalize in it. The thresholds allow for the small changes of resampling.

    Why it matters: if these data were made with other plans, prediction normalizes unlike training. The evidence is
    weaker than that of PG520.

    How to fix: preprocess again, if the plans were changed.

    Example: data that were never normalized, under plans with z-score.

    Evidence: PP-02; nnU-Net issue 2878. Calibrated on data that nnU-Net made (docs/calibration.md).
    """
    yield from case_faults(configuration, data, "moments")


@rule(
    "PG522",
    Severity.ERROR,
    message="{folder}/{example}",
    fix="correct the labels in nnUNet_raw or declare them in dataset.json, then preprocess again: {preprocess}",
)
def undeclared_labels(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """Preprocessed segmentations hold label values that dataset.json does not declare.

    What it checks: with `--data sample` or `all`, values are declared labels, the ignore label, or -1 outside the mask.

    Why it matters: on a GPU training ends in `CUDA error: device-side assert triggered`, perhaps after many epochs.

    How to fix: correct the labels and preprocess.

    Example: a label 255 for regions that an annotator left open.

    Evidence: LB-01, LB-06; nnU-Net issues 309, 1419, 1674, 2145, 2439, 2484, 2500.
    """
    yield from case_faults(configuration, data, "labels")


@rule(
    "PG523",
    Severity.WARNING,
    message="{folder}: {clue}",
    fix="if the plans were edited since, preprocess with them: {preprocess}",
)
def values_of_other_statistics(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """All cases together look as if they had been normalized with other statistics.

    What it checks: with `--data sample` or `all` and four cases or more, whether most cases of a CT channel begin and
    end at one and the same pair of values, neither of which is a clip bound of the plans, or all of them look z-scored.

    Why it matters: values within the bounds of the plans may still have been clipped to narrower ones.

    How to fix: preprocess again, if the plans were changed. This is evidence and no proof.

    Example: CT statistics of a wider range were moved in after preprocessing.

    Evidence: PP-02, NO-01; nnU-Net issue 1383. Calibrated on data that nnU-Net made (docs/calibration.md).
    """
    for _, clue in data.suspicions:
        yield folder_finding(configuration, data, clue=clue)
