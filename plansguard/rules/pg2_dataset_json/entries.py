"""PG207 to PG210: keys, labels, channels and file ending of dataset.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plansguard.core.errors import Absent, known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed
from plansguard.documents.recognise import is_v1
from plansguard.nnunet import constants, fields
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import DatasetJson

#: A label, or the labels of a region.
Label = int | list[int]


@rule(
    "PG209",
    Severity.ERROR,
    message="{file} has no {lacking}, which nnU-Net needs for {steps}",
    fix="{remedy}",
    roles=PREPROCESSED,
)
def dataset_key_missing(dataset: Dataset) -> Iterator[Found]:
    """The dataset.json or the fingerprint lacks a key that nnU-Net reads.

    What it checks: `dataset.json` has `labels`, `channel_names` (or `modality`), `numTraining` and `file_ending`; the
    fingerprint has `spacings`, `shapes_after_crop`, the intensity properties and
    `median_relative_size_after_cropping`. A similar key that nnU-Net does not know is named.

    Why it matters: nnU-Net stops with a bare `KeyError`, for some keys only at the next planning or in the final
    validation.

    How to fix: rename or add the key; for the fingerprint, extract it again with `--clean`.

    Example: `"label": {"background": 0, "kidney": 1}`.

    Evidence: PL-08; measured with nnU-Net 2.8.1.
    """
    for document in dataset.documents:
        model = _MODELS.get(document.kind or "")
        value: Any = document.value
        if model is None or not isinstance(value, dict) or is_v1(value):
            continue
        uses, present = fields.FIELDS[model], {*value}
        if "modality" in present:
            present.add("channel_names")
        for key in [key for key in uses if uses[key].needed and key not in present]:
            misspelt, *_ = fields.misspelt([key], value, model) or ("",)
            yield found(
                Location(document.path, f"/{misspelt}" if misspelt else ""),
                file=document.name,
                lacking=key,
                steps=listed([fields.STEPS[step] for step in uses[key].steps], shown=2),
                remedy=f"rename {misspelt} to {key}" if misspelt else f"add {key}",
            )


#: Kind of document -> the model of its fields.
_MODELS = {"dataset.json": "DatasetJson", "fingerprint": "Fingerprint"}


@rule("PG207", Severity.ERROR, message="{what}", fix="{remedy}")
def invalid_labels(dataset_json: DatasetJson) -> Iterator[Found]:
    """The labels are not those that nnU-Net can train.

    What it checks: there is a `background` of 0 and at least one more label; every label has a value; the values are 0,
    1, 2, ... without a gap, unless there are regions; an `ignore` label is one number, one above the highest. Two names
    of one value, and a `regions_class_order` that gives a region the value of another one, are a warning. PG206 reports
    an order that is missing or of another length.

    Why it matters: training stops when it starts or meets a label, or predictions silently carry the values of other
    regions. When it starts, the error is `RuntimeError: Background label not declared`, or an assertion. With a gap the
    network has too few outputs: `index 2 is out of bounds` when the label is met, on a GPU a device-side assert. With a
    `regions_class_order` in another order, predictions silently carry the values of other regions.

    How to fix: number the labels 0, 1, 2, ... here, in nnUNet_raw and in the segmentations, and preprocess again.

    Example: `"labels": {"background": 0, "kidney": 1, "tumor": 3}`.

    Evidence: LB-03, LB-06; utilities/label_handling/label_handling.py, measured with nnU-Net 2.8.1.
    """
    labels: Mapping[str, Label] | None = dataset_json.value.get("labels")
    if labels is None or is_v1(dataset_json.value):
        raise Absent("dataset.json has no labels of nnU-Net v2 (see PG204, PG209)")
    faults = [*_of_background(labels), *_of_values(labels), *_of_ignore(labels)]
    if any(isinstance(label, list) and len(label) > 1 for label in labels.values()):
        faults += _of_order(labels, dataset_json.value.get("regions_class_order"))
    for tokens, what, remedy, severity in faults:
        yield found(dataset_json.at(*tokens), severity=severity, what=what, remedy=remedy)


@rule("PG208", Severity.ERROR, message="{key} is {value}: {trouble}", fix="{remedy}")
def invalid_channels(dataset_json: DatasetJson) -> Iterator[Found]:
    """The channels are empty, or names and numbers are exchanged.

    What it checks: `channel_names` is not empty, and maps numbers to names, not names to numbers. Numbers other than 0,
    1, 2, ... are information: nnU-Net uses the order of the entries.

    Why it matters: the network cannot be built, or a CT image is silently normalized by its z-score. A network without
    input channels cannot be built. With names and numbers exchanged, the channel is called `0`.

    How to fix: write `{"0": "CT"}`, with one entry for each image file `_0000`, `_0001`, ... of a case.

    Example: `"channel_names": {"CT": "0"}`.

    Evidence: NO-05, NO-06; measured with nnU-Net 2.8.1.
    """
    key = dataset_json.channels_key
    names = dataset_json.value.get(key)
    if names is None:
        raise Absent("dataset.json names no channels (see PG209)")
    numbers = [str(index) for index in range(len(names))]
    severity, trouble, remedy = None, "", 'write {"0": "NAME"}, with one entry per channel'
    if not names:
        trouble = "there is no channel"
    elif sorted(names) != numbers and sorted(map(str, names.values())) == numbers:
        trouble, remedy = (
            "names and numbers are exchanged",
            "write the number first: " + brief(dict(map(reversed, names.items()))),
        )
    elif list(names) != numbers:
        severity = Severity.INFO
        trouble, remedy = "nnU-Net ignores the numbers, and uses this order", f"number them {listed(numbers, shown=6)}"
    if trouble:
        yield found(
            dataset_json.at(key), severity=severity, key=key, value=brief(names), trouble=trouble, remedy=remedy
        )


@rule(
    "PG210",
    Severity.ERROR,
    message="file_ending is {ending}, which no reader of nnU-Net {version} opens",
    fix="{remedy}",
    roles=PREPROCESSED,
)
def unknown_file_ending(dataset: Dataset, dataset_json: DatasetJson) -> Iterator[Found]:
    """No reader of nnU-Net opens files with this ending.

    What it checks: where the raw images are not on this machine, `file_ending` is an ending of nnU-Net's readers, in
    any case, or `overwrite_image_reader_writer` names one of the readers. A misspelt ending, or one without a dot, is
    an error. Any other is a warning: forks of nnU-Net add readers of their own. PG205 compares it with raw images.

    Why it matters: planning finds no image, and stops with a bare `IndexError` or `StopIteration`. No file ends with
    it. Another error is `Unable to determine a reader for file ending`.

    How to fix: write the ending of the files in `imagesTr`, with its dot.

    Example: `"file_ending": "nii.gz"`.

    Evidence: IO-02; measured with nnU-Net 2.8.1.
    """
    ending = dataset_json.require("file_ending").lower()
    endings = list(dict.fromkeys(ending for every in constants.READERS.values() for ending in every))
    named = dataset_json.value.get("overwrite_image_reader_writer") in constants.READERS
    if named or ending in endings or known(lambda: dataset.raw_images) is not None:
        return
    meant = next((other for other in endings if _is_misspelt(ending.strip(), other)), None)
    yield found(
        dataset_json.at("file_ending"),
        severity=Severity.ERROR if meant or not ending.startswith(".") else Severity.WARNING,
        ending=brief(ending),
        version=constants.NNUNET_VERSION,
        remedy=f"write {meant}" if meant else f"write the ending of the images, one of {listed(endings, shown=9)}",
    )


def _is_misspelt(word: str, ending: str) -> bool:
    """Return whether a word has the characters of an ending in another order, or one more or less."""
    shorter, longer = sorted((word, ending), key=len)
    one_more = len(longer) == len(shorter) + 1 and any(
        longer[:index] + longer[index + 1 :] == shorter for index in range(len(longer))
    )
    return one_more or sorted(word) == sorted(ending)


_Fault = tuple[tuple[str | int, ...], str, str, Severity | None]


def _of_background(labels: Mapping[str, Label]) -> Iterator[_Fault]:
    if "background" not in labels:
        misspelt = next((name for name in labels if fields.near(name, ["background"])), None)
        place = ("labels", misspelt) if misspelt else ("labels",)
        remedy = f"rename {misspelt} to background" if misspelt else 'add "background": 0'
        yield place, "there is no label called background", remedy, None
    elif labels["background"] != 0:
        at = ("labels", "background")
        yield at, f"background is {brief(labels['background'])}, and must be 0", 'write "background": 0', None


def _of_values(labels: Mapping[str, Label]) -> Iterator[_Fault]:
    """Yield labels without a value, with one below zero, twice, or after a gap."""
    values = {name: label if isinstance(label, list) else [label] for name, label in labels.items() if name != "ignore"}
    every = sorted({value for ours in values.values() for value in ours})
    regions = any(len(ours) > 1 for ours in values.values())
    for name in [name for name, ours in values.items() if not ours]:
        yield ("labels", name), f"label {name} has no value", "write its value, or delete it", None
    for name, ours in values.items():
        if ours and min(ours) < 0:
            yield ("labels", name), f"label {name} is {brief(labels[name])}", "number labels from 0", None
    if not [value for value in every if value != 0]:
        yield ("labels",), "there is no label besides background", "add the labels of the segmentations", None
    elif not regions and min(every) >= 0 and 0 in every and every != list(range(len(every))):
        missing = next(value for value in range(len(every)) if value not in every)
        name = next(name for name, ours in values.items() if every[-1] in ours)
        what = f"label {name} is {every[-1]}, but no label is {missing}"
        yield ("labels", name), what, f"number the labels 0 to {len(every) - 1}, in the segmentations too", None
    seen: dict[int, str] = {}
    for name, ours in () if regions else values.items():
        for value in ours:
            if value in seen and value != 0:
                what = f"labels {seen[value]} and {name} are both {value}"
                yield ("labels", name), what, "give each label a value of its own", Severity.WARNING
            seen.setdefault(value, name)


def _of_ignore(labels: Mapping[str, Label]) -> Iterator[_Fault]:
    ignore = labels.get("ignore")
    if ignore is None:
        return
    others = [value for name, label in labels.items() if name != "ignore" for value in _listed(label)]
    highest = max(others, default=0)
    if not isinstance(ignore, int):
        yield ("labels", "ignore"), f"the ignore label is {brief(ignore)}, and must be one number", "write it", None
    elif ignore != highest + 1:
        what = f"the ignore label is {ignore}, and must be {highest + 1}: one above the highest label"
        yield ("labels", "ignore"), what, f"write {highest + 1}, in the segmentations too", None


def _of_order(labels: Mapping[str, Label], order: list[int] | None) -> Iterator[_Fault]:
    """Yield what is wrong with regions_class_order: one value for each region besides background and ignore."""
    regions = {name: _listed(label) for name, label in labels.items() if name != "ignore" and {*_listed(label)} - {0}}
    names = listed(list(regions), shown=6)
    if len(order or ()) != len(regions):
        return  # PG206 reports it
    for index, (value, (name, ours)) in enumerate(zip(order or (), regions.items(), strict=True)):
        if value not in ours:
            what = f"regions_class_order gives {value} to {name}, whose labels are {brief(ours)}"
            remedy = f"write a value of each region, in this order: {names}"
            yield ("regions_class_order", index), what, remedy, Severity.WARNING


def _listed(label: Label) -> list[int]:
    return label if isinstance(label, list) else [label]
