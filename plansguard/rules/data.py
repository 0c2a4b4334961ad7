"""PG504 to PG529: the preprocessed arrays themselves, against plans, dataset.json, splits and raw files."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plansguard import facts, machine
from plansguard.parts import Absent, Configuration, DatasetJson, Plans, Splits
from plansguard.report import Location, Severity
from plansguard.rules.common import brief, is_there, known, listed, number, quoted, usable
from plansguard.rules.declare import Found, found, rule
from plansguard.subject import Dataset
from plansguard.words import counted

if TYPE_CHECKING:
    from plansguard.artefacts.audit import Audit

_PREPROCESS = "nnUNetv2_preprocess -d {number} -plans_name {plans} -c {configuration}"
_GT = "gt_segmentations"


@rule(
    "PG504",
    "data-missing",
    Severity.ERROR,
    message="{identifier} is not there: {configuration} was not preprocessed with these plans",
    fix=_PREPROCESS,
    modes=("PP-01",),
)
def data_missing(dataset: Dataset, plans: Plans, configuration: Configuration) -> Iterator[Found]:
    """The folder of preprocessed data that a configuration reads does not exist.

    What it checks: where anything of the dataset has been preprocessed, the folder `data_identifier` of the
    configuration that is asked for with `-c`. Without `-c` it is for information, and only where no configuration of
    these plans has data: who trains 3d_fullres needs none for 2d.

    Why it matters: training stops with `FileNotFoundError`. It is the usual end of a move without preprocessing, or of
    `-c` with a name that the plans lack: nnU-Net then prints `INFO: Configuration ... not found ... Skipping.` and
    says that all is well.

    How to fix: preprocess.

    Example: `PretrainPlans_3d_fullres` after the plans were migrated.

    Evidence: PP-01; nnU-Net issues 1541, 1970, 2013.
    """
    identifier, asked = configuration.require("data_identifier"), dataset.request.configuration == configuration.name
    if dataset.role != "preprocessed" or not (dataset.holds_data or (asked and is_there(dataset.folder / _GT))):
        raise Absent("no preprocessed data lie here yet")
    folders = [dataset.folder / str(one.get("data_identifier")) for one in plans.configurations if usable(one)]
    first = configuration.name == next(one.name for one in plans.configurations if usable(one))
    if not is_there(dataset.folder / identifier) and (asked or (first and not any(map(is_there, folders)))):
        yield found(
            configuration.at("data_identifier"),
            severity=None if asked else Severity.INFO,
            identifier=brief(identifier),
            **_command(dataset, plans, configuration),
        )


@rule(
    "PG505",
    "cases-missing",
    Severity.ERROR,
    message="{folder} holds {there} of {due} cases: {missing} {are} missing ({witness})",
    fix=_PREPROCESS,
    modes=("PP-01", "PP-07"),
)
def cases_missing(dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """Preprocessed data lack cases that the dataset has.

    What it checks: the cases in the data folder against those in `nnUNet_raw`, or, where the raw data are not here,
    against `gt_segmentations`.

    Why it matters: preprocessing that was interrupted leaves some cases. If there is no `splits_final.json` yet, the
    first training makes one from what it finds and keeps it for ever: the other cases are never trained on and never
    validated, and nothing says so.

    How to fix: preprocess again; delete a `splits_final.json` that was made from the incomplete folder.

    Example: the job was killed after 40 of 120 cases.

    Evidence: PP-01, PP-07; nnU-Net issues 2298, 2729.
    """
    due, witness = _cases_of(dataset)
    missing = sorted(due - set(data.folder.names))
    if missing:
        yield found(
            configuration.at("data_identifier"),
            folder=_folder(configuration),
            there=len(due) - len(missing),
            due=len(due),
            missing=listed(missing),
            are="is" if len(missing) == 1 else "are",
            witness=witness,
            **_command(dataset, plans, configuration),
        )


@rule(
    "PG506",
    "incomplete-case",
    Severity.ERROR,
    message="{folder}: {cases}",
    fix="preprocess again: " + _PREPROCESS,
    modes=("PP-07", "PP-10"),
)
def incomplete_case(dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """A preprocessed case is half written.

    What it checks: every case has its image, its segmentation and its `.pkl`; none is empty; each array is as long as
    its header says; segmentation and image have the same size; each `.pkl` can be read. With `--data all` also that
    every array can be decompressed.

    Why it matters: the loader fails when the case is drawn, perhaps hours later, and says `One or more background
    workers are no longer alive`, which hides the cause.

    How to fix: preprocess again.

    Example: `blosc2_schunk_open_offset(...) returned NULL` in the log of a worker.

    Evidence: PP-07, PP-10; nnU-Net issues 2186, 2298, 2729, 2747.
    """
    yield from _told(dataset, plans, configuration, data, "incomplete", "segmentation")


@rule(
    "PG507",
    "data-from-other-plans",
    Severity.ERROR,
    message="{folder} was not made with these plans: {cases}",
    fix="preprocess with these plans: " + _PREPROCESS + "; or take back what was changed in them",
    modes=("PP-02", "PP-11"),
)
def data_from_other_plans(dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The arrays on disk were made with other plans.

    What it checks: the stored shape of every case against the one that the plans give: round(spacing / target spacing
    x shape) per axis, after `transpose_forward`. Headers suffice, no array is read. Changes of the spacing of less
    than half a voxel in every case cannot be seen; a stamp of `plansguard preprocess` sees those too (PG540).

    Why it matters: training takes any array and says nothing. Prediction preprocesses with the plans as they are now,
    so the network is given images as it never saw them. nnssl's folders are named by spacing with two decimals and are
    taken as they are when the name exists.

    How to fix: preprocess again, or undo the edit.

    Example: the spacing was edited from 1.5 to 1.0 after preprocessing; ResEnc plans of another dataset were
    preprocessed into the folder that the default plans use.

    Evidence: PP-02, PP-11; nnU-Net issues 1707, 1949, 2592, 2701, 2878.
    """
    yield from _told(dataset, plans, configuration, data, "shape")


@rule(
    "PG508",
    "array-channels-differ",
    Severity.ERROR,
    message="{folder}: {cases}",
    fix="if dataset.json is right, preprocess again: " + _PREPROCESS,
    modes=("PP-02", "MV-15"),
)
def array_channels_differ(dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The arrays have another number of channels than dataset.json names.

    What it checks: the first axis of every stored image against `channel_names`.

    Why it matters: the network is built for the channels of dataset.json and stops at the first batch.

    How to fix: correct dataset.json, or preprocess again.

    Example: a channel was added to dataset.json after preprocessing.

    Evidence: PP-02, MV-15; nnU-Net issue 2252.
    """
    yield from _told(dataset, plans, configuration, data, "channels")


@rule(
    "PG509",
    "class-locations-differ",
    Severity.ERROR,
    message="{folder}: {cases}",
    fix="preprocess again, so that the labels of dataset.json are sampled: " + _PREPROCESS,
    modes=("PP-06", "LB-01"),
)
def class_locations_differ(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """The labels have changed since preprocessing.

    What it checks: the classes for which each case's `.pkl` stores locations against those that dataset.json asks for:
    foreground labels, regions, and one for the ignore label where it is declared.

    Why it matters: the loader looks the classes up when it draws foreground. A missing one is a `KeyError` in a
    worker, or the class is never oversampled, silently.

    How to fix: preprocess again.

    Example: labels were merged into regions, or an ignore label was added, in `nnUNet_preprocessed/.../dataset.json`.

    Evidence: PP-06, LB-01; nnU-Net issues 1821, 2567.
    """
    yield from _told(dataset, plans, configuration, data, "class-locations")


@rule(
    "PG510",
    "ground-truth-missing",
    Severity.ERROR,
    message="gt_segmentations lacks {missing}: the validation at the end of the training will fail",
    fix="copy the labels: cp {source}/* {target}/",
    modes=("PP-08",),
)
def ground_truth_missing(dataset: Dataset, plans: Plans, dataset_json: DatasetJson, data: Audit) -> Iterator[Found]:
    """Labels for the final validation are missing.

    What it checks: for every validation case (every case, where there are no splits yet) a file
    `gt_segmentations/<case><file_ending>`; for Tiff3DIO also the `<case>.json` with its spacing.

    Why it matters: nnU-Net looks there only after the last epoch, when every case has been predicted: days later it
    ends with `FileNotFoundError`. The weights are safe, and `--val` repeats the rest.

    How to fix: copy `labelsTr` of the raw dataset.

    Example: preprocessing stopped after the last case, before it copied the labels.

    Evidence: PP-08; nnU-Net issues 2298, 2727.
    """
    ending = dataset_json.require("file_ending")
    splits = known(lambda: dataset.splits)
    validated = {case for fold in splits.value for case in fold["val"]} if splits else set(data.folder.names)
    names = {f"{case}{ending}" for case in validated}
    if plans.value.get("image_reader_writer") == "Tiff3DIO":
        names |= {f"{case}.json" for case in validated}
    missing = sorted(names - _names_in(dataset.folder / _GT))
    if missing:
        yield found(
            Location(str(dataset.folder / _GT)),
            missing="everything" if len(missing) == len(names) else listed(missing),
            source=f"{_raw(dataset)}/labelsTr",
            target=quoted(dataset.folder / _GT),
        )


@rule(
    "PG511",
    "mixed-data-formats",
    Severity.ERROR,
    message="{folder} holds {offenders} besides its arrays: nnU-Net refuses the folder",
    fix="delete what does not belong there; where .npz and .b2nd mix, preprocess again: " + _PREPROCESS,
    modes=("PP-09",),
)
def mixed_data_formats(dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """A data folder holds files of several formats, or something that is no data.

    What it checks: besides `.pkl` and `.npy` every file in the folder ends in `.b2nd`, or every one in `.npz`.

    Why it matters: nnU-Net tells the format by the only ending there is: `Found more than one file ending in the
    folder ... Unable to infer nnUNetDataset variant!`.

    How to fix: remove strays such as `.DS_Store`; preprocess again where two versions of nnU-Net wrote.

    Example: notes.txt beside the arrays.

    Evidence: PP-09; training/dataloading/nnunet_dataset.py.
    """
    folder = data.folder
    if folder.refused and (folder.names or folder.strays):
        formats = [f"*.{ending}" for ending in folder.formats] if len(folder.formats) > 1 else []
        yield found(
            configuration.at("data_identifier"),
            folder=_folder(configuration),
            offenders=listed([*formats, *folder.strays]) or "no arrays",
            **_command(dataset, plans, configuration),
        )


@rule(
    "PG512",
    "raw-files-newer-than-data",
    Severity.WARNING,
    message="{raw} was changed after {folder} had been preprocessed",
    fix="if images or labels were changed, preprocess again: " + _PREPROCESS,
    modes=("PP-05",),
)
def raw_files_newer_than_data(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """Raw images or labels were changed after preprocessing.

    What it checks: the newest file in `imagesTr` and `labelsTr` against the oldest one of the preprocessed cases.

    Why it matters: corrections do not reach the training until the data are preprocessed again.

    How to fix: preprocess again, or accept this where copying changed the times.

    Example: labels corrected after a first training.

    Evidence: PP-05; nnU-Net issues 309, 331, 1097, 1821.
    """
    newest = max(_changed(dataset.raw_folder), default=None)
    if newest is not None and data.oldest is not None and newest[0] > data.oldest:
        yield found(
            configuration.at("data_identifier"),
            raw=quoted(newest[1]),
            folder=_folder(configuration),
            **_command(dataset, plans, configuration),
        )


@rule(
    "PG513",
    "ground-truth-differs-from-raw",
    Severity.ERROR,
    message="gt_segmentations is not labelsTr: {cases} {differ}",
    fix="nnUNetv2_preprocess -d {number} -plans_name {plans} copies the labels and makes the data anew",
    modes=("PP-05",),
)
def ground_truth_differs_from_raw(dataset: Dataset, plans: Plans, data: Audit) -> Iterator[Found]:
    """The labels that validation uses are not the raw ones.

    What it checks: the sizes of the files in `gt_segmentations` against those of the same name in `labelsTr`; with
    `--data all` their bytes.

    Why it matters: preprocessing copies the labels. Where the copies differ, the raw labels were corrected since, and
    arrays and validation both use the old ones.

    How to fix: preprocess again.

    Example: a wrong label value was repaired in `nnUNet_raw` only.

    Evidence: PP-05; nnU-Net issues 1097, 1821.
    """
    copies, originals = dataset.folder / _GT, dataset.raw_folder / "labelsTr"
    whole = dataset.request.reading.depth == "all"
    names = sorted(_names_in(copies) & _names_in(originals))
    differing = [name for name in names if not _same_file(copies / name, originals / name, whole=whole)]
    if differing and data.folder.names:
        yield found(
            Location(str(copies)),
            cases=listed(differing),
            differ="differs" if len(differing) == 1 else "differ",
            number=number(dataset),
            plans=plans.identifier,
        )


@rule(
    "PG514",
    "split-names-missing-case",
    Severity.ERROR,
    message="{missing} {stand} in splits_final.json and not in {folder}",
    fix="preprocess these cases, or take them out of the splits; without the file nnU-Net makes new splits",
    modes=("SL-01",),
)
def split_names_missing_case(splits: Splits, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The splits name cases that are not preprocessed.

    What it checks: every case of every fold is in the data folder.

    Why it matters: training fails when the case is drawn; through the workers all that is said is `One or more
    background workers are no longer alive`.

    How to fix: preprocess the cases or correct the splits.

    Example: a case was removed from the dataset, or splits were copied from another one.

    Evidence: SL-01; nnU-Net issues 102, 1504.
    """
    missing = sorted(_split_cases(splits) - set(data.folder.names))
    if missing:
        stand = "stands" if len(missing) == 1 else "stand"
        yield found(splits.at(), missing=listed(missing), stand=stand, folder=_folder(configuration))


@rule(
    "PG515",
    "cases-in-no-split",
    Severity.WARNING,
    message="{cases} of {folder} {stand} in no fold: never trained on, never validated",
    fix="add them to the folds, or delete splits_final.json so that nnU-Net makes new ones; folds that were trained "
    "then no longer match",
    modes=("SL-02",),
)
def cases_in_no_split(splits: Splits, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """Preprocessed cases take part in nothing.

    What it checks: every case of the data folder is in some fold of `splits_final.json`.

    Why it matters: nnU-Net makes the file once, at the first training, and keeps it. Cases that are added later are
    preprocessed and then ignored.

    How to fix: add the cases to the folds, or let nnU-Net make new splits.

    Example: twenty new cases after the first training.

    Evidence: SL-02; nnU-Net issues 102, 2415, 2721.
    """
    idle = sorted(set(data.folder.names) - _split_cases(splits))
    if idle:
        stand = "stands" if len(idle) == 1 else "stand"
        yield found(splits.at(), cases=listed(idle), folder=_folder(configuration), stand=stand)


@rule(
    "PG516",
    "split-overlaps",
    Severity.WARNING,
    message="fold {fold}: {trouble}",
    fix="correct the fold in splits_final.json; results of this fold do not count",
    modes=("SL-02",),
)
def split_overlaps(splits: Splits) -> Iterator[Found]:
    """A fold validates on cases that it trains on, or has none to train or validate on.

    What it checks: in each fold no case stands twice, none in both lists, and neither list is empty.

    Why it matters: the validation of such a fold measures memory; nnU-Net prints one warning and goes on. An empty list
    stops the training at its first epoch.

    How to fix: correct the fold.

    Example: splits written by a script that counted patients, not cases.

    Evidence: SL-02; nnU-Net issue 2415; training/nnUNetTrainer/nnUNetTrainer.py, do_split.
    """
    for index, fold in enumerate(splits.value):
        both = sorted(set(fold["train"]) & set(fold["val"]))
        empty = [name for name in ("train", "val") if not fold[name]]
        twice = [name for name in ("train", "val") if len(set(fold[name])) < len(fold[name])]
        troubles = [
            *([f"{listed(both)} in train and in val"] if both else []),
            *(f"{name} is empty" for name in empty),
            *(f"{name} names a case twice" for name in twice),
        ]
        if troubles:
            yield found(
                splits.at(index), severity=Severity.ERROR if empty else None, fold=index, trouble="; ".join(troubles)
            )


@rule(
    "PG517",
    "next-stage-data-missing",
    Severity.ERROR,
    message="{configuration} predicts for {stage} at its end, and {identifier} {trouble}",
    fix="nnUNetv2_preprocess -d {number} -plans_name {plans} -c {stage}",
    modes=("CA-02",),
)
def next_stage_data_missing(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """The second stage of a cascade has no data to predict for.

    What it checks: where a configuration has a `next_stage`, the data folder of that stage exists and holds the same
    cases.

    Why it matters: when the first stage has been trained, it writes its predictions case by case for the next one; for
    every missing case there is one line in the log, and the cascade fails after the first stage has cost its days.

    How to fix: preprocess the next stage before training the first.

    Example: only `3d_lowres` was preprocessed.

    Evidence: CA-02; nnU-Net issue 2186.
    """
    stages = configuration.get("next_stage") or ()
    for name in [stages] if isinstance(stages, str) else stages:
        stage = next((one for one in plans.configurations if one.name == name and usable(one)), None)
        if stage is None:
            continue  # PG107 and PG106 tell
        folder = dataset.folder / str(stage.get("data_identifier"))
        missing = sorted(set(data.folder.names) - {path.removesuffix(".pkl") for path in _names_in(folder)})
        if missing:
            yield found(
                configuration.at("next_stage"),
                configuration=configuration.name,
                stage=name,
                identifier=brief(stage.get("data_identifier")),
                trouble=f"lacks {listed(missing)}" if is_there(folder) else "is not there",
                number=number(dataset),
                plans=plans.identifier,
            )


@rule(
    "PG518",
    "previous-stage-predictions-missing",
    Severity.ERROR,
    message="{configuration} starts from the predictions of {stage}, and {trouble}",
    fix="train {stage} first; if it is trained: nnUNetv2_train {number} {stage} FOLD -p {plans} --val",
    modes=("CA-01",),
)
def previous_stage_predictions_missing(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """The predictions of the first stage, which a cascade starts from, are missing.

    What it checks: for a configuration with a `previous_stage`, the file of every case in
    `predicted_next_stage/<configuration>` of a model of that stage, in `nnUNet_results`. Judged where such a model was
    trained, or where this configuration is asked for with `-c`.

    Why it matters: the loader fails when the case is drawn.

    How to fix: train the first stage on every fold, or repeat its validation.

    Example: `predicted_next_stage` was deleted to save space.

    Evidence: CA-01; nnU-Net issues 1959, 2371.
    """
    stage = configuration.get("previous_stage")
    if not stage:
        return
    models = [one for one in dataset.trained if (one.plans_name, one.configuration) == (plans.identifier, stage)]
    finished = [model for model in models if model.checkpoints]
    if not finished:
        if dataset.request.configuration == configuration.name:
            trouble = f"there is no trained model of {stage} with these plans"
            yield _previous_stage(dataset, plans, configuration, trouble)
        return
    for model in finished:
        folder = model.folder / "predicted_next_stage" / configuration.name
        there = {name.rpartition(".")[0] for name in _names_in(folder)}
        missing = sorted(set(data.folder.names) - there)
        if missing:
            yield _previous_stage(dataset, plans, configuration, f"{quoted(folder)} lacks {listed(missing)}")


@rule(
    "PG519",
    "data-of-another-version",
    Severity.INFO,
    message="{folder} holds {ending} files, which nnU-Net {version} {trouble}",
    fix="preprocess again with the nnU-Net that will train: " + _PREPROCESS,
    modes=("VR-06",),
)
def data_of_another_version(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """The data were written by another version of nnU-Net.

    What it checks: the format of the arrays against the nnU-Net installed here, or 2.8.1 where there is none: `.b2nd`
    is read from 2.6 on (an error below), `.npz` is what older versions wrote.

    Why it matters: `.npz` data still train, but are unpacked to `.npy` beside themselves, which takes several times
    their space. `.b2nd` cannot be read by 2.5.

    How to fix: preprocess again, or train with the version that wrote them.

    Example: a dataset preprocessed in 2023.

    Evidence: VR-06; training/dataloading/nnunet_dataset.py.
    """
    version = machine.nnunet_version() or tuple(map(int, facts.NNUNET_VERSION.split(".")))
    command = {**_command(dataset, plans, configuration), "folder": _folder(configuration)}
    command["version"] = machine.dotted(version)
    if data.folder.formats == ("npz",) and version >= _FIRST_WITH_B2ND:
        trouble = "unpacks to .npy first: mind the disk"
        yield found(configuration.at("data_identifier"), ending=".npz", trouble=trouble, **command)
    elif data.folder.formats == ("b2nd",) and version < _FIRST_WITH_B2ND:
        at = configuration.at("data_identifier")
        yield found(at, severity=Severity.ERROR, ending=".b2nd", trouble="cannot read", **command)


_FIRST_WITH_B2ND = (2, 6)


@rule(
    "PG520",
    "values-outside-normalization",
    Severity.ERROR,
    message="{folder}: values that these plans cannot give: {cases}",
    fix="preprocess with these plans: " + _PREPROCESS,
    modes=("PP-02",),
)
def values_outside_normalization(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """Preprocessed values lie outside of what the normalisation can give.

    What it checks: with `--data sample` or `all`, that no value of a CT channel lies beyond the clip bounds
    (percentile - mean) / std of the plans; that channels rescaled to 0..1 lie there, and reach both ends where they
    were not resampled; that all values are finite. nnU-Net's resampling never leaves the range of what it resamples.

    Why it matters: the arrays were normalised with another plans' statistics or scheme. Training takes them as they
    are, and prediction normalises with the plans as they are now.

    How to fix: preprocess again.

    Example: CT statistics were edited, or came with a move, after preprocessing.

    Evidence: PP-02, NO-01; nnU-Net issues 1383, 2878. Calibrated on data that nnU-Net made
    (docs/calibration.md).
    """
    yield from _told(dataset, plans, configuration, data, "range")


@rule(
    "PG521",
    "values-unlike-normalization",
    Severity.WARNING,
    message="{folder}: values that these plans hardly give: {cases}",
    fix="if the plans were edited since, preprocess with them: " + _PREPROCESS,
    modes=("PP-02",),
)
def values_unlike_normalization(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """Preprocessed values are unlike what the normalisation gives.

    What it checks: with `--data sample` or `all`, that the mean of z-scored channels is near 0 and their standard
    deviation near 1, inside the mask where the plans normalise in it. Resampling moves both a little; the thresholds
    leave room.

    Why it matters: as PG520, with weaker evidence.

    How to fix: preprocess again, if the plans were changed.

    Example: data that were never normalised, under plans that say z-score.

    Evidence: PP-02; nnU-Net issue 2878. Calibrated on data that nnU-Net made
    (docs/calibration.md).
    """
    yield from _told(dataset, plans, configuration, data, "moments")


@rule(
    "PG523",
    "values-of-other-statistics",
    Severity.WARNING,
    message="{folder}: {clue}",
    fix="if the plans were edited since, preprocess with them: " + _PREPROCESS,
    modes=("PP-02", "NO-01"),
)
def values_of_other_statistics(
    dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """All cases together look as if they had been normalised with other statistics.

    What it checks: with `--data sample` or `all` and four cases or more, whether most cases of a CT channel begin and
    end at one and the same pair of values that is not the plans' pair of clip bounds, or all of them look z-scored.

    Why it matters: values that lie within the plans' bounds may still have been clipped to narrower ones.

    How to fix: preprocess again, if the plans were changed. This is evidence and no proof.

    Example: CT statistics of a wider range were moved in after preprocessing.

    Evidence: PP-02, NO-01; nnU-Net issue 1383. Calibrated on data that nnU-Net made (docs/calibration.md).
    """
    for _, clue in data.suspicions:
        at = configuration.at("data_identifier")
        yield found(at, folder=_folder(configuration), clue=clue, **_command(dataset, plans, configuration))


@rule(
    "PG522",
    "undeclared-labels",
    Severity.ERROR,
    message="{folder}: {cases}",
    fix="correct the labels in nnUNet_raw or declare them in dataset.json, then preprocess again: " + _PREPROCESS,
    modes=("LB-01", "LB-06"),
)
def undeclared_labels(dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """Preprocessed segmentations hold label values that dataset.json does not declare.

    What it checks: with `--data sample` or `all`, the values of each segmentation are declared labels, the ignore
    label, or -1 for what lies outside of the mask.

    Why it matters: on a GPU training ends in `CUDA error: device-side assert triggered`, perhaps after many epochs,
    when a case with the rare value is drawn.

    How to fix: correct the labels and preprocess.

    Example: a label 255 for what an annotator left open.

    Evidence: LB-01, LB-06; nnU-Net issues 309, 1419, 1674, 2145, 2439, 2484, 2500.
    """
    yield from _told(dataset, plans, configuration, data, "labels")


@rule(
    "PG524",
    "label-geometry-differs",
    Severity.ERROR,
    message="{label} does not lie on its image: {clauses}",
    fix="resample the label to its image, or repair the header, then plan and preprocess again",
    modes=("SP-04",),
)
def label_geometry_differs(dataset: Dataset, dataset_json: DatasetJson) -> Iterator[Found]:
    """A raw label does not lie on the grid of its image.

    What it checks: with `--data sample` or `all`, where SimpleITK is installed, size, spacing, origin and direction in
    the headers of images and labels in `nnUNet_raw`. Another size is an error, the rest a warning.

    Why it matters: preprocessing fails with `operands could not be broadcast together`, or it takes the voxels as they
    are and the labels sit beside what they mean.

    How to fix: repair the label.

    Example: labels drawn on a resampled image.

    Evidence: SP-04; nnU-Net issues 622, 1913, 2218.
    """
    reading = dataset.request.reading
    if reading.depth not in ("sample", "all"):
        return  # as with the values of the arrays, nobody asked
    from plansguard.artefacts.values import geometry

    ending = dataset_json.require("file_ending")
    cases = sorted(dataset.raw_images.cases(ending).items())
    for case, channels in cases if reading.depth == "all" else reading.sample(cases):
        image = dataset.raw_folder / "imagesTr" / f"{case}_{channels[0]}{ending}"
        label = dataset.raw_folder / "labelsTr" / f"{case}{ending}"
        clauses = geometry(image, label) if label.is_file() else []
        if clauses:
            softer = not any("size" in clause for clause in clauses)
            yield found(
                Location(str(label)),
                severity=Severity.WARNING if softer else None,
                label=label.name,
                clauses="; ".join(clauses),
            )


@rule(
    "PG529",
    "reading-stopped",
    Severity.WARNING,
    message="reading {folder} was stopped after {read} of {cases} cases: what is said of it is incomplete",
    fix="run the check again, with --data headers or none if it takes too long",
)
def reading_stopped(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The reading of preprocessed data was stopped.

    What it checks: whether Ctrl-C ended the reading before the last case.

    Why it matters: the report holds what was found until then. The exit code is 2, so that nobody takes it for
    complete.

    How to fix: let the check end; `--data headers` reads a tenth of a millisecond per case.

    Example: Ctrl-C during `plansguard check -d 2 --data all`.

    Evidence: none is needed.
    """
    if data.interrupted:
        at = configuration.at("data_identifier")
        cases = len(data.folder.names) + len(data.folder.orphans)
        yield found(at, folder=_folder(configuration), read=data.read, cases=cases)


def _told(dataset: Dataset, plans: Plans, configuration: Configuration, data: Audit, *kinds: str) -> Iterator[Found]:
    """One finding for all cases with faults of these kinds: how many, and the first few with what is wrong."""
    for kind in kinds:
        faults = data.faults.get(kind)
        if faults is None:
            continue
        shown = [f"{example.case}: {example.what}" for example in faults.examples[:2]]
        of = data.valued if kind in ("range", "moments", "labels") else data.read
        many = f"{counted(faults.count, 'fault')} in {counted(of, 'case')}, such as " if faults.count > 1 else ""
        yield found(
            configuration.at("data_identifier"),
            related=[(Location(str(data.folder.path)), "the data")],
            folder=_folder(configuration),
            cases=many + "; ".join(shown),
            faults=faults.count,
            **_command(dataset, plans, configuration),
        )


def _command(dataset: Dataset, plans: Plans, configuration: Configuration) -> dict[str, Any]:
    """What fills the command for preprocessing."""
    return {"number": number(dataset), "plans": plans.identifier, "configuration": configuration.name}


def _folder(configuration: Configuration) -> str:
    return str(configuration.get("data_identifier"))


def _previous_stage(dataset: Dataset, plans: Plans, configuration: Configuration, trouble: str) -> Found:
    return found(
        configuration.at("previous_stage"),
        stage=configuration.get("previous_stage"),
        trouble=trouble,
        **_command(dataset, plans, configuration),
    )


def _split_cases(splits: Splits) -> set[str]:
    return {case for fold in splits.value for side in ("train", "val") for case in fold[side]}


def _cases_of(dataset: Dataset) -> tuple[set[str], str]:
    """All cases that the dataset has, and who says so; Absent where nobody does."""
    images, raw = known(lambda: dataset.raw_images), known(lambda: dataset.raw_dataset_json)
    if raw is not None and isinstance(raw.value.get("dataset"), dict):
        return set(raw.value["dataset"]), "dataset.json in nnUNet_raw lists them"
    ending = dataset.dataset_json.require("file_ending")
    if images is not None:
        return set(images.cases(ending)), "nnUNet_raw has them"
    labels = {name.removesuffix(ending) for name in _names_in(dataset.folder / _GT) if name.endswith(ending)}
    if not labels:
        raise Absent("neither raw images nor gt_segmentations say which cases there are")
    return labels, "gt_segmentations has them"


def _raw(dataset: Dataset) -> str:
    raw = known(lambda: dataset.raw_folder)
    return quoted(raw) if raw is not None else f'"$nnUNet_raw"/{quoted(dataset.name)}'


def _names_in(folder: Path) -> set[str]:
    """Names of the entries of a folder; none where it cannot be listed."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _changed(raw_folder: Path) -> Iterable[tuple[float, Path]]:
    """When each raw image and label was changed last, in seconds since 1970."""
    for part in ("imagesTr", "labelsTr"):
        for name in _names_in(raw_folder / part):
            path = raw_folder / part / name
            try:
                yield path.stat().st_mtime, path
            except OSError:
                continue


def _same_file(one: Path, other: Path, *, whole: bool) -> bool:
    """Whether two files are equal: in size, and if ``whole`` in every byte. What cannot be read is no difference."""
    try:
        return filecmp.cmp(one, other, shallow=False) if whole else one.stat().st_size == other.stat().st_size
    except OSError:
        return True
