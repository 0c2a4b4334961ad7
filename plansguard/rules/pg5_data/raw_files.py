"""PG510, PG512, PG513, PG524: raw images and labels, and the copies of labels that validation uses."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import Absent, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import listed, quoted
from plansguard.nnunet.workspace import GROUND_TRUTH
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import preprocess_commands, raw_file
from plansguard.rules.pg5_data.helpers import data_judged_before, folder_finding
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.plans import Configuration

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit


@rule(
    "PG510",
    Severity.ERROR,
    message="gt_segmentations lacks {missing}",
    fix="copy the labels: mkdir -p {target} && cp {source}/* {target}/",
)
def ground_truth_missing(
    dataset: Dataset, configuration: Configuration, dataset_json: DatasetJson, data: Audit
) -> Iterator[Found]:
    """Labels for the final validation are missing.

    What it checks: `gt_segmentations/<case><file_ending>` exists for every validation case (every case without splits).

    Why it matters: the final validation opens these labels: the training ends with `FileNotFoundError` after its last
    epoch. Every case has been predicted then, days later. The weights are safe, and `--val` repeats the rest.

    How to fix: copy `labelsTr` of the raw dataset.

    Example: preprocessing stopped after the last case, before it copied the labels.

    Evidence: PP-08; nnU-Net issues 2298, 2727.
    """
    ending = dataset_json.require("file_ending")
    needed = _validation_labels(dataset, data, ending)
    missing = needed - dataset.ground_truth
    for earlier in data_judged_before(dataset, configuration) if missing else ():
        missing -= _validation_labels(dataset, earlier, ending)
    if missing:
        yield found(
            Location(str(dataset.folder / GROUND_TRUTH)),
            missing="everything" if len(missing) == len(needed) else listed(sorted(missing)),
            source=raw_file(dataset, "labelsTr"),
            target=quoted(dataset.folder / GROUND_TRUTH),
        )


def _validation_labels(dataset: Dataset, data: Audit, ending: str) -> set[str]:
    """Return the files in gt_segmentations that the final validation opens."""
    splits = known(lambda: dataset.splits.valid)
    cases = {case for fold in splits.value for case in fold["val"]} if splits else set(data.folder.names)
    return {f"{case}{ending}" for case in cases}


@rule(
    "PG512",
    Severity.WARNING,
    message="{raw} in nnUNet_raw is newer than {folder}",
    fix="if images or labels were changed, preprocess again: {preprocess}",
    follows=("PG202", "PG540", "PG509", "PG513"),
)
def raw_files_newer_than_data(
    dataset: Dataset, dataset_json: DatasetJson, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """Raw images or labels were changed after preprocessing.

    What it checks: the newest file in `imagesTr` and `labelsTr` against the oldest one of the preprocessed cases. Where
    every raw file is newer, they were copied, and their times are no evidence.

    Why it matters: corrections do not reach the training until the data are preprocessed again.

    How to fix: preprocess again, or accept this where copying changed the times.

    Example: labels corrected after a first training.

    Evidence: PP-05; nnU-Net issues 309, 331, 1097, 1821.
    """
    times = dataset.raw_files.times
    if not times or data.oldest is None or not times[0][0] <= data.oldest < times[-1][0]:
        return
    if all(earlier.folder.path != data.folder.path for earlier in data_judged_before(dataset, configuration)):
        newest = times[-1][1]
        changed = [dataset_json.at("labels")] if newest.parent.name == "labelsTr" else []
        yield folder_finding(configuration, data, changed=changed, raw=f"{newest.parent.name}/{newest.name}")


@rule(
    "PG513",
    Severity.ERROR,
    message="gt_segmentations differs from labelsTr: {cases}",
    fix="copy the labels and preprocess again: {preprocess}",
    follows=("PG202", "PG540", "PG509"),
)
def ground_truth_differs_from_raw(
    dataset: Dataset, dataset_json: DatasetJson, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """The labels that validation uses are not the raw ones.

    What it checks: the sizes, with `--data all` the bytes, of the files in `gt_segmentations` and in `labelsTr`.

    Why it matters: arrays and validation use these copies, not the labels that were corrected in nnUNet_raw.
    Preprocessing copied them before.

    How to fix: preprocess again.

    Example: a wrong label value was corrected in `nnUNet_raw` only.

    Evidence: PP-05; nnU-Net issues 1097, 1821.
    """
    reported = any(earlier.folder.names for earlier in data_judged_before(dataset, configuration))
    if reported or not data.folder.names:
        return
    copies, originals = dataset.folder / GROUND_TRUTH, dataset.raw_folder / "labelsTr"
    whole = dataset.request.reading.depth == "all"
    names = sorted(dataset.ground_truth & dataset.raw_files.labels)
    differing = [name for name in names if not _same_file(copies / name, originals / name, whole=whole)]
    if differing:
        yield found(
            Location(str(copies)),
            changed=[dataset_json.at("labels")],
            preprocess=preprocess_commands(dataset, dataset.judged_plans),
            cases=listed(differing),
        )


def _same_file(one: Path, other: Path, *, whole: bool) -> bool:
    """Tell whether two files are equal: in size, and if ``whole`` in every byte. Unreadable files count as equal."""
    if not whole:
        return disk.size(one) == disk.size(other)
    from filecmp import cmp

    try:
        return cmp(one, other, shallow=False)
    except OSError:
        return True


@rule(
    "PG524",
    Severity.ERROR,
    message="{label} is not on the grid of its image: {clauses}",
    fix="resample the label to its image, or correct the header, then plan and preprocess again",
)
def label_geometry_differs(dataset: Dataset, dataset_json: DatasetJson) -> Iterator[Found]:
    """A raw label is not on the grid of its image.

    What it checks: with `--data sample` or `all`, where SimpleITK is installed, size, spacing, origin and direction in
    the headers of images and labels in `nnUNet_raw`. Another size is an error, the rest a warning.

    Why it matters: preprocessing fails, or takes the voxels as they are: labels are next to the structures that they
    mark. The error is `operands could not be broadcast together`.

    How to fix: correct the label.

    Example: labels drawn on a resampled image.

    Evidence: SP-04; nnU-Net issues 622, 1913, 2218.
    """
    reading = dataset.request.reading
    if reading.depth not in ("sample", "all"):
        return  # not requested, like the values of the arrays
    if importlib.util.find_spec("SimpleITK") is None:
        raise Absent("SimpleITK is not installed here: pip install 'plansguard[data]'")
    from plansguard.artefacts.data.values import geometry

    ending = dataset_json.require("file_ending")
    cases = sorted(dataset.raw_images.cases(ending).items())
    for case, channels in cases if reading.depth == "all" else reading.sample(cases):
        image = dataset.raw_folder / "imagesTr" / f"{case}_{channels[0]}{ending}"
        label = dataset.raw_folder / "labelsTr" / f"{case}{ending}"
        clauses = geometry(image, label) if disk.is_file(label) else []
        if clauses:
            severity = None if any("size" in clause for clause in clauses) else Severity.WARNING
            yield found(Location(str(label)), severity=severity, label=label.name, clauses="; ".join(clauses))
