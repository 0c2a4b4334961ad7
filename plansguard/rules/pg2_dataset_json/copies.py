"""PG201 to PG205: the dataset.json that training reads, compared with the raw data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, counted, listed, quoted
from plansguard.documents import size_limits
from plansguard.documents.recognise import is_v1
from plansguard.nnunet import printed_commands
from plansguard.nnunet.printed_commands import FOLDER
from plansguard.nnunet.workspace import RawImages
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import lacks, preprocess_commands, raw_file, yielded
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson

#: Fields that determine how nnU-Net reads, labels and writes images; ``channels`` is channel_names or modality.
_DECIDING = ("labels", "regions_class_order", "channels", "file_ending", "overwrite_image_reader_writer")
_DESCRIBING = ("numTraining", "dataset")
#: Numbers of channels in one image file: skimage reads colours, with or without transparency, as channels.
_COLOURS = (3, 4)
_PHOTO_ENDINGS = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")


@rule(
    "PG201",
    Severity.ERROR,
    message="{dataset} has plans but no dataset.json in its preprocessed folder",
    fix="copy the dataset's own one: cp {raw} {here}",
    roles=PREPROCESSED,
)
def dataset_json_missing(dataset: Dataset) -> Iterator[Found]:
    """There is no dataset.json beside the plans.

    What it checks: a folder of `nnUNet_preprocessed` with plans also has a `dataset.json`. Where neither the variable
    `nnUNet_preprocessed` nor preprocessed data or raw images show that nnU-Net uses it, as in a repository that holds
    only plans, the file is not expected.

    Why it matters: preprocessing and training read this copy, and stop with `FileNotFoundError: .../dataset.json`. Only
    the planner makes that copy; extracting the fingerprint and moving plans do not, so nnU-Net's own pretraining recipe
    fails on a dataset that was never planned.

    How to fix: copy `nnUNet_raw/<dataset>/dataset.json` of the same dataset. The other dataset of the pair has other
    labels: see PG203. `plansguard migrate` makes the copy.

    Example: `nnUNetv2_extract_fingerprint -d 1` and a move of plans to Dataset001, but no planning of Dataset001.

    Evidence: MV-08; nnU-Net issues 1477, 2560.
    """
    if dataset.is_trained_on and dataset.plans and lacks(dataset, "dataset.json"):
        yield found(
            Location(str(dataset.folder)),
            raw=raw_file(dataset, "dataset.json"),
            here=quoted(dataset.folder / "dataset.json"),
        )


@rule(
    "PG202",
    Severity.ERROR,
    message="{field} is {here} here and {raw} in nnUNet_raw",
    fix="if nnUNet_raw is right: cp {raw_path} {path}{then}; if this file is right: cp {path} {raw_path}",
)
def dataset_json_differs_from_raw(
    dataset: Dataset, dataset_json: DatasetJson, raw_dataset_json: DatasetJson
) -> Iterator[Found]:
    """The dataset.json that training reads differs from the raw one.

    What it checks: labels, `regions_class_order`, channels, `file_ending` and `overwrite_image_reader_writer` are the
    same in `nnUNet_preprocessed` and in `nnUNet_raw`; for `numTraining` and `dataset` it is a warning. Order matters
    for channels and regions.

    Why it matters: training reads this copy, and the next planning replaces it with that in nnUNet_raw. Label handling
    and validation read the preprocessed copy as well; the planner reads the raw one. An edit in `nnUNet_raw` has no
    effect until then; an edit here is lost then. A missing label ends in `index 2 is out of bounds`, on a GPU in a
    device-side assert; an extra label trains silently.

    How to fix: decide which file is right and copy it over the other. If labels changed, preprocess again: the
    positions of each label are stored with the preprocessed cases.

    Example: a label was added to `nnUNet_raw/Dataset002_X/dataset.json` after planning.

    Evidence: DS-01; nnU-Net issues 188, 1097, 1477, 1821, 2560, 2567.
    """
    if _real_owner(dataset, dataset_json, raw_dataset_json) is not None:
        return  # PG203 reports this
    again = preprocess_commands(dataset, dataset.judged_plans)
    for field, key, raw_key in _differences(dataset_json, raw_dataset_json):
        then = f", then {again}" if again and field in _DECIDING else ""
        yield found(
            _place(dataset_json, key),
            severity=None if field in _DECIDING else Severity.WARNING,
            related=[(_place(raw_dataset_json, raw_key), "the raw dataset's")],
            changed=[dataset_json.at(key)],
            field=key,
            here=_value_text(dataset_json, key),
            raw=_value_text(raw_dataset_json, raw_key),
            raw_path=quoted(raw_dataset_json.path),
            path=quoted(dataset_json.path),
            then=then,
        )


@rule(
    "PG203",
    Severity.ERROR,
    message="this is {owner}'s dataset.json, not that of {dataset}",
    fix="put the dataset's own one here: cp {raw} {here}",
)
def foreign_dataset_json(dataset: Dataset, dataset_json: DatasetJson, raw_dataset_json: DatasetJson) -> Iterator[Found]:
    """The dataset.json is another dataset's.

    What it checks: a preprocessed `dataset.json` that differs from its raw one (PG202) is no copy of another dataset's.

    Why it matters: the network gets the other dataset's labels and outputs, and the ground truth is searched under its
    file ending. This is the usual wrong repair of a missing `dataset.json` (PG201). Labels, regions, file ending and
    cases are then the other dataset's, or everything runs with another meaning.

    How to fix: copy the raw `dataset.json` of the same dataset.

    Example: `cp Dataset112_A/dataset.json Dataset111_B/dataset.json` inside `nnUNet_preprocessed`.

    Evidence: MV-09; nnU-Net issue 2560.
    """
    owner = _real_owner(dataset, dataset_json, raw_dataset_json)
    if owner is not None:
        yield found(
            dataset_json.at(),
            related=[(Location(str(owner)), "the same content"), (raw_dataset_json.at(), "the dataset's own")],
            owner=owner.parent.name,
            raw=quoted(raw_dataset_json.path),
            here=quoted(dataset_json.path),
        )


@rule(
    "PG204",
    Severity.ERROR,
    message="labels map numbers to names ({before}), as in nnU-Net v1; v2 needs {after}",
    fix="swap names and numbers of all labels, rename modality to channel_names and add file_ending; or convert the "
    "whole old task: "
    + printed_commands.convert_old_dataset(FOLDER, yielded("dataset"))
    + " (nnUNetv2_convert_MSD_dataset for the Decathlon)",
)
def v1_dataset_json(dataset: Dataset) -> Iterator[Found]:
    """The dataset.json is one of nnU-Net v1.

    What it checks: `labels` maps names to numbers, not numbers to names. Other keys of v1 (`modality`,
    `tensorImageSize`, `training`) are no evidence: converted files keep them, and nnU-Net ignores them.

    Why it matters: nnU-Net v2 stops with `RuntimeError: Background label not declared`. It needs a label `background`.

    How to fix: `nnUNetv2_convert_old_nnUNet_dataset` converts a task of v1 with its images;
    `nnUNetv2_convert_MSD_dataset -i FOLDER` one of the Medical Segmentation Decathlon. By hand: swap names and numbers
    of the labels, rename `modality` to `channel_names`, add `file_ending`.

    Example: `"labels": {"0": "background", "1": "heart"}`.

    Evidence: LB-02, VR-08; nnU-Net issues 1787, 2594, 2762.
    """
    dataset_json = dataset.dataset_json
    if is_v1(dataset_json.value):
        value, name = next(iter(dataset_json.value["labels"].items()))
        yield found(
            dataset_json.at("labels"),
            before=f"{brief(value)}: {brief(name)}",
            after=f"{brief(name)}: {int(value)}",
            dataset=quoted(dataset.name) if dataset.name.startswith("Dataset") else "DatasetNNN_NAME",
        )


@rule("PG205", Severity.ERROR, message="{trouble}", fix="{remedy}")
def file_ending_mismatch(dataset_json: DatasetJson, raw_images: RawImages) -> Iterator[Found]:
    """The raw files are not those that dataset.json describes.

    What it checks: files in `imagesTr` end with `file_ending` and are called `<case>_0000<ending>`, `_0001` and so on;
    every case has the same channels and a segmentation `labelsTr/<case><ending>`. Where `dataset.json` lists the files
    under `dataset`, those must exist instead. Only names are checked. Colour images may have one file per case.

    Why it matters: nnU-Net derives the cases from file names: it finds none, or stops in the middle of preprocessing.
    With a wrong ending it finds no case at all and stops with a bare `IndexError: list index out of range` or
    `StopIteration`; a missing channel or label stops the fingerprint or the preprocessing in the middle.

    How to fix: correct `file_ending`, or rename the files. Each finding names the first few.

    Example: `"file_ending": ".nii"` beside files that end with `.nii.gz`.

    Evidence: IO-02; nnU-Net issues 1358, 1607, 2662.
    """
    if dataset_json.value.get("dataset"):
        yield from _missing_listed_files(dataset_json, raw_images)
        return
    ending = dataset_json.require("file_ending")
    if not ending or not any(name.endswith(ending) for name in raw_images.images):
        yield _wrong_ending(dataset_json, raw_images, ending)
        return
    cases = raw_images.cases(ending)
    yield from _unnumbered_images(raw_images, cases, ending)
    yield from _channel_files(dataset_json, raw_images, cases, ending)
    yield from _files(
        Location(str(raw_images.folder / "labelsTr")),
        [case + ending for case in cases if case + ending not in raw_images.labels],
        "cases have no segmentation in labelsTr: {examples} ({count} of {total})",
        "add the segmentations, or take the cases out of imagesTr",
        total=len(cases),
    )


@rule(
    "PG206",
    Severity.ERROR,
    message="labels define {count}, but regions_class_order {has}",
    fix="{remedy}",
)
def regions_without_order(dataset: Dataset, dataset_json: DatasetJson) -> Iterator[Found]:
    """There are regions, but no value for each of them in a predicted segmentation.

    What it checks: where a label is a list of two or more values, `regions_class_order` has one value for every label
    except the background and `ignore`.

    Why it matters: nnU-Net then trains on regions, and stops before the first step with an `AssertionError`. It is `if
    region-based training is requested then you need to define regions_class_order!` or `regions_class_order must have
    as many entries as there are regions`.

    How to fix: write the value that each region gets, in the order of the labels; later regions overwrite earlier ones,
    so smaller regions come after those that contain them. For a single region any of its values is right: `plansguard
    check --fix` writes the first.

    Example: `"labels": {"background": 0, "tumor": [1, 2]}` without `regions_class_order`.

    Evidence: LB-04; utilities/label_handling/label_handling.py.
    """
    key = "regions_class_order"
    labels, order = dataset_json.require("labels"), dataset_json.value.get(key)
    regions = [value for name, value in labels.items() if name != "ignore" and not _is_background(value)]
    has_regions = any(isinstance(value, list) and len(value) > 1 for value in labels.values())
    if not has_regions or len(order or ()) == len(regions):
        return
    right = [value[0] for value in regions if isinstance(value, list)] if len(regions) == 1 else None
    yield found(
        dataset_json.at("labels" if order is None else key),
        corrections=[] if right is None else _in_both(dataset, dataset_json, key, right),
        count=counted(len(regions), "region"),
        has="is missing" if order is None else f"has {counted(len(order), 'value')}",
        remedy=f"write {brief(key)}: " + (brief(right) if right else "a list with one value of each region"),
    )


def _is_background(value: Any) -> bool:
    return {*value} == {0} if isinstance(value, list) else value == 0


def _in_both(dataset: Dataset, here: DatasetJson, key: str, value: Any) -> list[tuple[Location, Any]]:
    """Return the corrections that set a field in this file and in the raw one: they must not differ (PG202).

    None where the preprocessed copy of a raw file is not known.
    """
    if dataset.role == "raw":
        root = dataset.workspace.preprocessed
        return [] if root is None or disk.is_folder(root / dataset.name) else [(here.at(key), value)]
    raw = known(lambda: dataset.raw_dataset_json)
    if raw is None or raw.problems or any(field != key for field, *_ in _differences(here, raw)):
        return [(here.at(key), value)]
    return [(here.at(key), value), (raw.at(key), value)]


def _wrong_ending(dataset_json: DatasetJson, raw_images: RawImages, ending: str) -> Found:
    endings = Counter(_ending(name) for name in raw_images.images)
    if not endings:
        at = Location(str(raw_images.folder / "imagesTr"))
        return found(at, trouble="imagesTr is empty", remedy="put the training images there")
    (usual, count), *_ = endings.most_common(1)
    trouble = f"no file in imagesTr ends with {brief(ending)}" if ending else "file_ending is empty"
    return found(
        dataset_json.at("file_ending"),
        trouble=f"{trouble}; {count} of {len(raw_images.images)} end with {usual}",
        remedy=f'write "file_ending": "{usual}" in nnUNet_raw\'s dataset.json and in this one',
    )


def _ending(name: str) -> str:
    suffixes = Path(name).suffixes
    return "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:]) or "no ending"


def _unnumbered_images(raw_images: RawImages, cases: Mapping[str, Sequence[str]], ending: str) -> Iterator[Found]:
    images = [name for name in raw_images.images if name.endswith(ending)]
    numbered = {f"{case}_{channel}{ending}" for case, channels in cases.items() for channel in channels}
    yield from _files(
        Location(str(raw_images.folder / "imagesTr")),
        [name for name in images if name not in numbered],
        "images in imagesTr do not end with a channel's number such as _0000{ending}: {examples} ({count} of {total})",
        "rename them to <case>_<channel as four digits>{ending}",
        total=len(images),
        ending=ending,
    )


def _channel_files(
    dataset_json: DatasetJson, raw_images: RawImages, cases: Mapping[str, Sequence[str]], ending: str
) -> Iterator[Found]:
    """Report channel files that other cases have, and a number of channel files that is not that of the channels."""
    everywhere = sorted({channel for channels in cases.values() for channel in channels})
    absent = [
        f"{case}_{channel}{ending}"
        for case, channels in cases.items()
        for channel in everywhere
        if channel not in channels
    ]
    yield from _files(
        Location(str(raw_images.folder / "imagesTr")),
        absent,
        "channel files are missing that other cases have: {examples} ({count} of {total})",
        "add the files, or take the cases out of imagesTr and labelsTr",
        total=len(cases) * len(everywhere),
    )
    names = dataset_json.channels
    in_one_file = len(everywhere) == 1 and len(names) in _COLOURS and ending.lower() in _PHOTO_ENDINGS
    if everywhere and not absent and not in_one_file and len(everywhere) != len(names):
        # A file of any format can have several channels, so one file per case is only a warning.
        yield found(
            dataset_json.at(dataset_json.channels_key),
            severity=Severity.WARNING if len(everywhere) == 1 else None,
            trouble=f"dataset.json names {len(names)} channels ({listed(names)}), but every case in imagesTr has "
            + counted(len(everywhere), "image file"),
            remedy="name one channel per file _0000, _0001, ... in that order, or add the missing files",
        )


def _missing_listed_files(dataset_json: DatasetJson, raw_images: RawImages) -> Iterator[Found]:
    """Report files under ``dataset`` that do not exist; like nnU-Net, expand variables and start at the raw folder."""
    names = [
        name
        for files in dataset_json.value["dataset"].values()
        for name in [*files.get("images", ()), *([files["label"]] if "label" in files else ())]
    ]
    yield from _files(
        dataset_json.at("dataset"),
        [name for name in names if not disk.is_there(raw_images.folder / os.path.expandvars(name))],
        "files listed under dataset do not exist: {examples} ({count} of {total})",
        "correct the paths: they are absolute or relative to the dataset's folder in nnUNet_raw",
        total=len(names),
    )


def _files(at: Location, names: Sequence[str], trouble: str, remedy: str, **values: Any) -> Iterator[Found]:
    """Yield one finding for all ``names``, if there are any."""
    if names:
        values = {**values, "count": len(names), "examples": listed(names)}
        yield found(at, **values, trouble=trouble.format(**values), remedy=remedy.format(**values))


def _differences(here: DatasetJson, raw: DatasetJson) -> Iterator[tuple[str, str, str]]:
    """Yield the fields in which two dataset.json differ, with their keys in both: channels have two possible keys."""
    for field in _DECIDING + _DESCRIBING:
        key, raw_key = (document.channels_key if field == "channels" else field for document in (here, raw))
        if _meaning(field, here.value.get(key)) != _meaning(field, raw.value.get(raw_key)):
            yield field, key, raw_key


def _meaning(field: str, value: Any) -> Any:
    """Return the part of a field's value that nnU-Net uses."""
    if field == "channels" and isinstance(value, dict):
        return list(value.values())  # nnU-Net uses the order and ignores the keys
    if field == "labels" and isinstance(value, dict) and any(isinstance(label, list) for label in value.values()):
        return list(value.items())  # regions_class_order refers to the order of the regions
    return None if field == "overwrite_image_reader_writer" and value == "None" else value


def _value_text(dataset_json: DatasetJson, key: str) -> str:
    return brief(dataset_json.value[key]) if key in dataset_json.value else "absent"


def _place(dataset_json: DatasetJson, key: str) -> Location:
    return dataset_json.at(key) if key in dataset_json.value else dataset_json.at()


def _real_owner(dataset: Dataset, here: DatasetJson, raw: DatasetJson) -> Path | None:
    """Return the raw dataset.json of another dataset that ``here`` is a copy of; None where it equals its own."""
    if not any(_differences(here, raw)):
        return None
    for path in disk.matching(raw.path.parents[1], "Dataset*/dataset.json"):
        try:
            if path.parent.name != dataset.name and size_limits.read(path).value == here.value:
                return path
        except UnreadableDocument:
            continue  # reported when that dataset is checked
    return None
