"""PG753 to PG755: the checkpoints and the images of a prediction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.report import Location, Severity
from plansguard.core.text import counted, listed, quoted
from plansguard.nnunet import constants
from plansguard.nnunet.constants import CHECKPOINT_FINAL
from plansguard.nnunet.workspace import by_completeness
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.subjects.documents import DatasetJson

if TYPE_CHECKING:
    from plansguard.subjects.prediction import Prediction

#: Formats in which one file usually contains all channels, the colours.
_PHOTOS = constants.READERS["NaturalImage2DIO"]


@rule(
    "PG753",
    Severity.ERROR,
    message="{model} has no {missing}",
    fix="{remedy}",
)
def prediction_checkpoint_missing(prediction: Prediction) -> Iterator[Found]:
    """A fold that is to predict has no such checkpoint.

    What it checks: `fold_<fold>/<checkpoint>` exists for every fold of `-f` (default 0 1 2 3 4), with the name of
    `-chk` (`checkpoint_final.pth`).

    Why it matters: nnU-Net loads the folds one by one and stops at the first that is missing with a bare
    `FileNotFoundError`. Torch and all of nnU-Net were loaded before. Prediction takes this checkpoint of every
    requested fold.

    How to fix: name the folds that exist with `-f`, or another checkpoint with `-chk`. An unfinished training has
    `checkpoint_best.pth` and `checkpoint_latest.pth`.

    Example: only fold 0 was trained, and `-f 0` is forgotten.

    Evidence: AR-10; initialize_from_trained_model_folder of nnU-Net 2.8.1.
    """
    missing = [path for path in prediction.missing if not disk.is_there(path)]  # PG601 reports what is no file
    if missing:
        folder = prediction.model.folder
        yield found(
            Location(str(folder)),
            model=folder.name,
            missing=listed([path.relative_to(folder).as_posix() for path in missing], shown=2),
            checkpoint=prediction.checkpoint,
            remedy=_alternatives(prediction),
        )


def _alternatives(prediction: Prediction) -> str:
    """The options with which this model can predict."""
    folder = prediction.model.folder
    present = [path for path in disk.matching(folder, "fold_*/checkpoint_*.pth") if disk.is_file(path)]
    folds = [path.parent.name.removeprefix("fold_") for path in present if path.name == prediction.checkpoint]
    if folds:
        numbers = [fold for fold in folds if fold != "all"] or folds  # beside numbered folds, "all" is not meant
        return f"predict with the folds that are trained: -f {' '.join(map(quoted, numbers))}"
    requested = {f"fold_{fold}" for fold in prediction.folds}
    names = sorted({path.name for path in present if path.parent.name in requested}, key=by_completeness)
    if names:
        unfinished = "" if names[0] == CHECKPOINT_FINAL else ", if an unfinished training is enough"
        return f"these folds have {listed(names)}: -chk {quoted(names[0])}{unfinished}"
    if present:
        return f"there is only {listed([path.relative_to(folder).as_posix() for path in present])}: correct -f and -chk"
    return "no fold of this model has a checkpoint: train it first, or name another model"


@rule("PG754", Severity.ERROR, message="{trouble}", fix="{remedy}")
def input_images_do_not_fit(prediction: Prediction, dataset_json: DatasetJson) -> Iterator[Found]:
    """The names of the images are not those that the model needs.

    What it checks: the folder of `-i` contains images with the `file_ending` of the model's dataset.json, each named
    `<case>_<channel as four digits><ending>`, and every case has each channel of dataset.json. Only names are read. If
    every case is a single file although there are several channels, the file may contain all of them: this is a
    warning, and no finding for photographs.

    Why it matters: nnU-Net finds no cases and ends with success, or stops, or gives the network the wrong channels.
    With another ending it finds no cases and writes nothing. A file without a channel number stops it with `IndexError:
    list index out of range`. A missing channel is noticed only when the network is given the wrong number of them, and
    a channel under another's number never.

    How to fix: rename the images; convert them if the format is another.

    Example: `case1.nii.gz` in place of `case1_0000.nii.gz`.

    Evidence: IO-02; create_lists_from_splitted_dataset_folder of nnU-Net 2.8.1.
    """
    ending, channels = str(dataset_json.require("file_ending")), dataset_json.channels
    at = Location(str(prediction.images))
    fitting = [name for name in prediction.files if name.endswith(ending)]
    if not fitting:
        trouble = f"no image in {prediction.images.name} ends in {ending}, as those of the training: "
        yield found(at, trouble=trouble + _endings(prediction), remedy=f"give -i a folder of images in {ending}")
        return
    cases = prediction.cases(ending)
    named = {f"{case}_{channel}{ending}" for case, numbers in cases.items() for channel in numbers}
    if strays := [name for name in fitting if name not in named]:
        yield found(
            at,
            trouble=f"images without a channel's number before {ending}: {listed(strays, shown=2)} "
            f"({len(strays)} of {len(fitting)})",
            remedy=f"rename them to <case>_0000{ending}; move files that are not to be predicted elsewhere",
        )
    yield from _wrong_channels(at, cases, ending, channels)


def _wrong_channels(at: Location, cases: dict[str, list[str]], ending: str, channels: Sequence[str]) -> Iterator[Found]:
    """Report cases that lack a channel, or have one that the model does not know."""
    numbers = [f"{index:04d}" for index in range(len(channels))]
    alone = len(numbers) > 1 and all(present == numbers[:1] for present in cases.values())
    if alone and ending.lower() in _PHOTOS:
        return
    lacking = [f"{case}_{one}{ending}" for case, present in cases.items() for one in numbers if one not in present]
    surplus = [f"{case}_{one}{ending}" for case, present in cases.items() for one in present if one not in numbers]
    model = f"the model has {counted(len(channels), 'channel')} ({listed(channels)})"
    if lacking:
        yield found(
            at,
            severity=Severity.WARNING if alone else None,
            trouble=f"{model}, and images are missing: {listed(lacking, shown=2)} "
            f"({len(lacking)} of {len(cases) * len(numbers)})",
            remedy="nothing, if every file contains all channels; else add the missing ones"
            if alone
            else "add the missing images, or take the cases out",
        )
    if surplus:
        yield found(
            at,
            trouble=f"{model}, and there are images of others: {listed(surplus, shown=2)}",
            remedy=f"number the channels from _0000{ending} in the order of the model's dataset.json",
        )


def _endings(prediction: Prediction) -> str:
    """Describe the content of the folder of images."""
    endings = Counter("".join(Path(name).suffixes[-2:]) or "no ending" for name in prediction.files)
    if endings:
        (usual, count), *_ = endings.most_common(1)
        return f"{count} of {counted(len(prediction.files), 'file')} {'has' if count == 1 else 'have'} {usual}"
    if disk.folder_names(prediction.images):
        return "it contains only folders, and nnU-Net does not look into them"
    return "it is empty"


@rule(
    "PG755",
    Severity.ERROR,
    message="{configuration} is the second stage of a cascade: {trouble}",
    fix="predict with {previous} first, and name its output with -prev_stage_predictions",
)
def previous_stage_not_given(prediction: Prediction, dataset_json: DatasetJson) -> Iterator[Found]:
    """The second stage of a cascade is not given the predictions of the first.

    What it checks: if the model's configuration has a `previous_stage`, `-prev_stage_predictions` names a folder that
    contains `<case><ending>` for every case of the images.

    Why it matters: nnU-Net stops with an `AssertionError` once everything is loaded, or at the first missing file.

    How to fix: predict with the first stage, then with this one.

    Example: `nnUNetv2_predict -c 3d_cascade_fullres` without `-prev_stage_predictions`.

    Evidence: predict_from_files of nnU-Net 2.8.1.
    """
    configuration = prediction.configuration
    previous = None if configuration is None else configuration.get("previous_stage")
    if configuration is None or previous is None:
        return
    ending = str(dataset_json.require("file_ending"))
    names = [case + ending for case in prediction.cases(ending)]
    lacking = [name for name in names if prediction.previous and not disk.is_file(prediction.previous / name)]
    if prediction.previous is None:
        trouble = f"it needs the predictions of {previous}"
    elif lacking:
        trouble = f"{prediction.previous.name} has no {listed(lacking, shown=2)} of {previous}"
    else:
        return
    yield found(
        configuration.at("previous_stage"), configuration=configuration.name, trouble=trouble, previous=previous
    )
