"""PG301 to PG303: the fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from plansguard.core.errors import Absent, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief
from plansguard.nnunet import printed_commands
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import NUMBER, lacks, plan_commands
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Fingerprint, columns

# Thresholds are those of the failure modes named, or nnU-Net's own where it has one. No healthy file in the corpus of
# real plans comes near them.

#: SP-01. Healthy datasets mix slices of 0.5 and 10 mm; a factor of 50 is a header without a unit, or in metres.
WIDEST_SPACING_RANGE = 50


@rule(
    "PG301",
    Severity.ERROR,
    message="{trouble}",
    fix="correct the spacing in the headers of these images, then "
    + printed_commands.extract_fingerprint(NUMBER, clean=True),
)
def invalid_fingerprint_spacing(fingerprint: Fingerprint, *, factor: float = WIDEST_SPACING_RANGE) -> Iterator[Found]:
    """The fingerprint contains spacings that no image can have.

    What it checks: every spacing is above zero (error), and along no axis the coarsest case is more than 50 times
    coarser than the finest (warning; the option `factor`). PG003 reports NaN and infinity. Cases are counted from 0,
    sorted by name.

    Why it matters: the planner stops with `Spacing must be > 0!`, or uses a median that is far from some images. Those
    are resampled to almost nothing, or to arrays that exhaust the memory.

    How to fix: correct the image headers, and extract the fingerprint again with `--clean`, which replaces the old one.

    Example: one image of a hundred was saved with a spacing in metres, 0.001.

    Evidence: SP-01; nnU-Net issues 538, 2809.
    """
    rows = fingerprint.require("spacings")
    bad = [(case, axis) for case, row in enumerate(rows) for axis, value in enumerate(row) if value <= 0]
    if bad:
        case, axis = bad[0]
        trouble = f"case {case} has a spacing of {brief(rows[case])} mm"
        more = len({case for case, _ in bad}) - 1
        also = f", and {more} more cases have one that is not above zero" if more else ": it must be above zero"
        yield found(fingerprint.at("spacings", case, axis), trouble=trouble + also)
        return
    for axis, column in enumerate(columns(rows)):
        if isfinite(sum(column)) and max(column) > factor * min(column):
            worst = column.index(max(column))
            yield found(
                fingerprint.at("spacings", worst, axis),
                severity=Severity.WARNING,
                trouble=f"along axis {axis} spacings range from {min(column):g} to {max(column):g} mm (case {worst})",
            )


@rule(
    "PG302",
    Severity.ERROR,
    message="{dataset} has plans but no dataset_fingerprint.json in its preprocessed folder",
    fix=printed_commands.extract_fingerprint(NUMBER),
    roles=PREPROCESSED,
)
def fingerprint_missing(dataset: Dataset) -> Iterator[Found]:
    """There is no fingerprint beside the plans.

    What it checks: a folder of `nnUNet_preprocessed` with plans also has a `dataset_fingerprint.json`. Where neither
    the variable `nnUNet_preprocessed` nor preprocessed data or raw images show that nnU-Net uses it, as in a
    repository that holds only plans and dataset.json, the file is not expected.

    Why it matters: training stops with `FileNotFoundError` when it copies the file into the results folder. That is
    when it starts, after the data loaders. Without the file plansguard cannot check whether plans fit the data.

    How to fix: `nnUNetv2_extract_fingerprint` writes it; this needs the raw images. If only the preprocessed data were
    copied to another machine, copy this file as well.

    Example: plans and data folders were copied to a cluster, the small files beside them were not.

    Evidence: MV-10; measured with nnU-Net 2.8.1.
    """
    if dataset.is_trained_on and dataset.plans and lacks(dataset, "dataset_fingerprint.json"):
        yield found(Location(str(dataset.folder)))


@rule("PG303", Severity.ERROR, message="{one}, but {other}", fix="{remedy}")
def fingerprint_count(dataset: Dataset, fingerprint: Fingerprint) -> Iterator[Found]:
    """The fingerprint describes another number of cases than there are.

    What it checks: `spacings` and `shapes_after_crop` have one entry per case; their number is that of the raw cases.
    Without raw images, `numTraining` of dataset.json is used; with them, a wrong `numTraining` alone is a warning. So
    are lists of different lengths: the planner takes the medians of each.

    Why it matters: plans made from it describe the old cases: spacing, patch size and the CT statistics are stale.
    `nnUNetv2_plan_and_preprocess` uses an existing fingerprint without a question, also after cases were added or
    removed.

    How to fix: extract the fingerprint again with `--clean`, then plan and preprocess again.

    Example: a dataset.json with `"numTraining": 9630` beside a fingerprint of 6900 cases.

    Evidence: DS-02, MV-10, DS-05; nnU-Net issues 331, 1874, 2415, 2580, 2721.
    """
    spacings, shapes = (len(fingerprint.require(key)) for key in ("spacings", "shapes_after_crop"))
    cases, declared = known(lambda: _raw_cases(dataset)), known(lambda: _declared_cases(dataset))
    if {shapes, cases, declared} <= {spacings, None}:
        return
    extract = printed_commands.extract_fingerprint(dataset.name, clean=True)
    again = printed_commands.chain(extract, plan_commands(dataset, dataset.plans))
    described = f"the fingerprint describes {spacings} cases"
    if spacings != shapes:
        one, other = f"the fingerprint has {spacings} spacings", f"{shapes} shapes"
        # the planner reads the two lists separately
        at, severity = fingerprint.at("shapes_after_crop"), Severity.WARNING
        yield found(at, severity=severity, one=one, other=other, remedy=again)
    elif cases is not None and cases != spacings:
        yield found(fingerprint.at("spacings"), one=described, other=f"nnUNet_raw has {cases}", remedy=again)
    else:
        at = dataset.dataset_json.at("numTraining")
        if cases is None:
            other = f"numTraining in dataset.json is {declared}"
            remedy = f"if dataset.json is right: {again}; else correct numTraining"
            yield found(fingerprint.at("spacings"), related=[(at, other)], one=described, other=other, remedy=remedy)
        else:
            other = f"nnUNet_raw and the fingerprint have {cases} cases"
            remedy = f'write "numTraining": {cases} here and in nnUNet_raw'
            yield found(at, severity=Severity.WARNING, one=f"numTraining is {declared}", other=other, remedy=remedy)


def _raw_cases(dataset: Dataset) -> int:
    """Return the number of training cases in nnUNet_raw."""
    dataset_json = dataset.dataset_json.valid
    files = dataset_json.value.get("dataset") or dataset.raw_images.cases(dataset_json.require("file_ending"))
    if not files:
        raise Absent("no raw image has the right name (see PG205)")
    return len(files)


def _declared_cases(dataset: Dataset) -> int:
    """Return numTraining, of the raw dataset.json if there is one: PG202 reports that the other copy differs."""
    raw = known(lambda: dataset.raw_dataset_json.valid)
    declared: int = (raw or dataset.dataset_json.valid).require("numTraining")
    return declared
