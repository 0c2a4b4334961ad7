"""PG504 to PG509, PG511, PG519, PG525, PG526, PG529: folders of preprocessed data, judged by names and headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import Absent, known
from plansguard.core.report import Severity
from plansguard.core.text import brief, listed
from plansguard.nnunet import constants
from plansguard.nnunet.install import packages
from plansguard.nnunet.workspace import GROUND_TRUTH, is_folder_name
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import preprocess_commands
from plansguard.rules.engine.needs import PREPROCESSED
from plansguard.rules.pg5_data.helpers import case_faults, folder_finding
from plansguard.subjects.dataset import NOTHING_PREPROCESSED, Dataset
from plansguard.subjects.documents import DatasetJson
from plansguard.subjects.plans import Configuration, Plans

if TYPE_CHECKING:
    from plansguard.artefacts.data.audit import Audit

#: The first version of nnU-Net that reads .b2nd.
_FIRST_WITH_B2ND = (2, 6)
_NEVER = "not preprocessed with these plans"


@rule(
    "PG504",
    Severity.ERROR,
    message="{identifier} does not exist: {configuration} was {how}",
    fix="{preprocess}",
    roles=PREPROCESSED,
    follows=("PG530", "PG624"),
)
def data_missing(dataset: Dataset, plans: Plans, configuration: Configuration) -> Iterator[Found]:
    """The folder of preprocessed data that a configuration reads does not exist.

    What it checks: where any data of the dataset exist, the folder `data_identifier` of the requested configuration:
    that of `-c`, or the one that the weights of `-pretrained_weights` were trained as. Otherwise for information, and
    only where no configuration of these plans has data: a training of 3d_fullres needs none for 2d. Several plans
    without data are reported once.

    Why it matters: training stops with `FileNotFoundError`. The folder is usually missing after a move without
    preprocessing, or after `-c` with a name that the plans lack: nnU-Net prints `INFO: Configuration ... not found ...
    Skipping.` and succeeds.

    How to fix: preprocess.

    Example: `PretrainPlans_3d_fullres` after the plans were migrated.

    Evidence: PP-01; nnU-Net issues 1541, 1970, 2013.
    """
    identifier, requested = configuration.require("data_identifier"), dataset.request.asks_for(configuration)
    any_data = dataset.holds_data or (requested and disk.is_there(dataset.folder / GROUND_TRUTH))
    if not any_data:
        raise Absent(NOTHING_PREPROCESSED)
    if not is_folder_name(identifier) or disk.is_there(dataset.folder / identifier):
        return  # an identifier that names no folder is reported by PG526
    without = [one for one in dataset.judged_plans if _lacks_data(dataset, one)] if not requested else []
    if requested or (without[:1] == [plans] and configuration.name == _typical(plans).name):
        yield found(
            configuration.at("data_identifier"),
            severity=None if requested else Severity.INFO,
            changed=[configuration.at("data_identifier")],
            identifier=brief(identifier),
            how=_NEVER
            if not without[1:]
            else f"preprocessed with none of {listed([one.identifier for one in without])}",
        )


@rule(
    "PG526",
    Severity.ERROR,
    message="the data_identifier {identifier} is {trouble}",
    fix='give {configuration} a folder of its own: "data_identifier": "{own}"',
)
def no_folder_of_its_own(dataset: Dataset, plans: Plans, configuration: Configuration) -> Iterator[Found]:
    """A data_identifier does not name a folder inside the dataset's.

    What it checks: `data_identifier` is neither a path nor `.` or `..`, nor `gt_segmentations`, nor the name of a file.

    Why it matters: preprocessing begins by deleting what the identifier names. With `.` that is the preprocessed
    dataset with all its plans; with `/` or a path it is a folder elsewhere.

    How to fix: use a name such as `<plans>_<configuration>`, as the planner does.

    Example: `"data_identifier": "../Dataset001_PretrainCT/nnUNetPlans_3d_fullres"`, to share another dataset's data.

    Evidence: MV-06; preprocessing/preprocessors/default_preprocessor.py, run.
    """
    identifier = configuration.require("data_identifier")
    if configuration.origin("data_identifier") != configuration.name:
        return  # inherited: reported where it is written
    trouble = ""
    if not is_folder_name(identifier):
        trouble = "no name of a folder inside the dataset"
    elif dataset.role == "preprocessed" and identifier in dataset.entries.files:
        trouble = "the name of a file in the dataset's folder"
    if trouble:
        yield found(
            configuration.at("data_identifier"),
            trouble=trouble,
            own=f"{plans.identifier}_{configuration.name}",
            identifier=brief(identifier),
        )


@rule(
    "PG505",
    Severity.ERROR,
    message="{folder} holds {there} of {due} cases: {missing} {are} missing ({witness})",
    fix="{preprocess}",
)
def cases_missing(dataset: Dataset, configuration: Configuration, data: Audit) -> Iterator[Found]:
    """Preprocessed data lack cases that the dataset has.

    What it checks: the cases in the data folder against `nnUNet_raw`, or `gt_segmentations` without raw data.

    Why it matters: nnU-Net trains on the cases that are there, without a warning; where there are none, it stops. The
    first training divides them and keeps these splits in `splits_final.json`, so the others are never validated either.
    Preprocessing that was interrupted leaves some cases.

    How to fix: preprocess again; delete a `splits_final.json` that was made from the incomplete folder.

    Example: the job was killed after 40 of 120 cases.

    Evidence: PP-01, PP-07; nnU-Net issues 2298, 2729.
    """
    due, witness = _cases_due(dataset)
    missing = sorted(due - set(data.folder.names))
    if missing:
        yield folder_finding(
            configuration,
            data,
            there=len(due) - len(missing),
            due=len(due),
            missing=listed(missing),
            are="is" if len(missing) == 1 else "are",
            witness=witness,
        )


def _cases_due(dataset: Dataset) -> tuple[set[str], str]:
    """Return all cases of the dataset, and the source of this list; Absent where there is none."""
    images, raw = known(lambda: dataset.raw_images), known(lambda: dataset.raw_dataset_json)
    if raw is not None and isinstance(raw.value.get("dataset"), dict):
        return set(raw.value["dataset"]), "dataset.json in nnUNet_raw lists them"
    ending = dataset.dataset_json.valid.require("file_ending")
    if images is not None:
        return set(images.cases(ending)), "nnUNet_raw has them"
    labels = {name.removesuffix(ending) for name in dataset.ground_truth if name.endswith(ending)}
    if not labels:
        raise Absent("neither nnUNet_raw nor gt_segmentations show which cases there are: set nnUNet_raw")
    return labels, "gt_segmentations has them"


@rule("PG506", Severity.ERROR, message="{folder}/{example}", fix="preprocess again: {preprocess}")
def incomplete_case(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """A preprocessed case is incomplete.

    What it checks: every case has its image, its segmentation and its `.pkl`; none is empty; arrays have the length in
    their header; segmentation and image have one size; each `.pkl`, with `--data all` each array, can be read.

    Why it matters: the loader fails when the case is drawn, perhaps after hours, with an error that hides the cause. It
    is `One or more background workers are no longer alive`.

    How to fix: preprocess again.

    Example: `blosc2_schunk_open_offset(...) returned NULL` in the log of a worker.

    Evidence: PP-07, PP-10; nnU-Net issues 2186, 2298, 2729, 2747.
    """
    yield from case_faults(configuration, data, "incomplete", "segmentation")


@rule(
    "PG507",
    Severity.ERROR,
    message="{folder}/{example}",
    fix="undo the edit of the plans, or preprocess with them: {preprocess}",
    follows=("PG402", "PG540"),
)
def data_from_other_plans(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The arrays on disk were made with other plans.

    What it checks: the shape of every case, from its header, against round(spacing / target spacing x shape) per axis,
    after `transpose_forward`. Changes of the spacing of less than half a voxel, and of `transpose_forward` between axes
    of equal spacing, cannot be seen; a preprocessing record of `plansguard preprocess` shows those too (PG540).

    Why it matters: training takes any array, and prediction with the present plans gets images unlike those of the
    training. Neither warns. nnssl names folders by spacing with two decimals and reuses them.

    How to fix: preprocess again, or undo the edit.

    Example: spacing edited from 1.5 to 1.0; ResEnc plans of another dataset preprocessed into the default folder.

    Evidence: PP-02, PP-11; nnU-Net issues 1707, 1949, 2592, 2701, 2878.
    """
    yield from case_faults(configuration, data, "shape", changed=[configuration.at("spacing")])


@rule(
    "PG508",
    Severity.ERROR,
    message="{folder}/{example}",
    fix="if dataset.json is right, preprocess again: {preprocess}",
    follows=("PG202", "PG540", "PG508"),
)
def array_channels_differ(
    dataset: Dataset, dataset_json: DatasetJson, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """The arrays have another number of channels than dataset.json names.

    What it checks: the first axis of every stored image against `channel_names`.

    Why it matters: the network is built for the channels of dataset.json and stops at the first batch.

    How to fix: correct dataset.json, or preprocess again.

    Example: a channel was added to dataset.json after preprocessing.

    Evidence: PP-02, MV-15; nnU-Net issue 2252.
    """
    changed, again = [dataset_json.at(dataset_json.channels_key)], preprocess_commands(dataset, dataset.judged_plans)
    yield from case_faults(configuration, data, "channels", changed=changed, preprocess=again)


@rule(
    "PG509",
    Severity.ERROR,
    message="{folder}/{example}",
    fix="preprocess again, so that the labels of dataset.json are sampled: {preprocess}",
    follows=("PG202", "PG540", "PG509"),
)
def class_locations_differ(
    dataset: Dataset, dataset_json: DatasetJson, configuration: Configuration, data: Audit
) -> Iterator[Found]:
    """The labels have changed since preprocessing.

    What it checks: the classes for which each case's `.pkl` stores locations against those that dataset.json asks for:
    foreground labels, regions, and one for the ignore label where it is declared.

    Why it matters: a class without locations is a `KeyError` in a worker, or is never oversampled, without a warning.
    The loader looks the classes up when it draws foreground.

    How to fix: preprocess again.

    Example: labels were merged into regions, or an ignore label was added, in `nnUNet_preprocessed/.../dataset.json`.

    Evidence: PP-06, LB-01; nnU-Net issues 1821, 2567.
    """
    changed, again = [dataset_json.at("labels")], preprocess_commands(dataset, dataset.judged_plans)
    yield from case_faults(configuration, data, "class-locations", changed=changed, preprocess=again)


@rule(
    "PG525",
    Severity.ERROR,
    message="{folder}/{example}",
    fix="set image_reader_writer back, or preprocess with {reader}: {preprocess}",
    follows=("PG402", "PG540"),
)
def data_from_another_reader(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The images were read by another reader than the plans name.

    What it checks: each case's `.pkl` holds what the plans' reader needs to write a prediction: `sitk_stuff` for
    SimpleITKIO, `nibabel_stuff` for the readers of nibabel.

    Why it matters: the final validation ends in a `KeyError` after the last epoch, when it exports the first
    prediction. Readers store axes and orientation differently, and training does not notice.

    How to fix: name the reader that made the data, or preprocess again.

    Example: `image_reader_writer` was changed from SimpleITKIO to NibabelIO after preprocessing.

    Evidence: IO-01, PP-02; nnU-Net issues 1951, 2163, 2768.
    """
    reader = str(configuration.plans.value.get("image_reader_writer"))
    changed = [configuration.plans.at("image_reader_writer")]
    yield from case_faults(configuration, data, "reader", changed=changed, reader=reader)


@rule(
    "PG511",
    Severity.ERROR,
    message="{folder} holds {offenders} besides its arrays",
    fix="delete what does not belong there; where .npz and .b2nd mix, preprocess again: {preprocess}",
)
def mixed_data_formats(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """A data folder holds files of several formats, or files that are no data.

    What it checks: besides `.pkl` and `.npy` every file in the folder ends in `.b2nd`, or every one in `.npz`.

    Why it matters: nnU-Net stops: `Found more than one file ending in the folder ... Unable to infer nnUNetDataset
    variant!`. It infers the format from the only ending in the folder.

    How to fix: remove files such as `.DS_Store`; preprocess again where two versions of nnU-Net wrote.

    Example: notes.txt beside the arrays.

    Evidence: PP-09; training/dataloading/nnunet_dataset.py.
    """
    folder = data.folder
    if folder.refused and (folder.names or folder.strays):
        formats = [f"*.{ending}" for ending in folder.formats] if len(folder.formats) > 1 else []
        offenders = listed([*formats, *folder.strays]) or "no arrays"
        yield folder_finding(configuration, data, offenders=offenders)


@rule(
    "PG519",
    Severity.INFO,
    message="{folder} holds {ending} files, which nnU-Net {version} {trouble}",
    fix="preprocess again with the nnU-Net that will train: {preprocess}",
)
def data_of_another_version(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The data were written by another version of nnU-Net.

    What it checks: the format of the arrays against the nnU-Net installed here, or 2.8.1 where there is none: `.b2nd`
    is read from 2.6 on (an error below), `.npz` is what older versions wrote.

    Why it matters: `.npy` data take several times the disk space of `.npz`; nnU-Net 2.5 cannot read `.b2nd`.

    How to fix: preprocess again, or train with the version that wrote them.

    Example: a dataset preprocessed in 2023.

    Evidence: VR-06; training/dataloading/nnunet_dataset.py.
    """
    version = packages.nnunet_version() or tuple(map(int, constants.NNUNET_VERSION.split(".")))
    reads_b2nd, formats = version >= _FIRST_WITH_B2ND, data.folder.formats
    if formats == (("npz",) if reads_b2nd else ("b2nd",)):
        yield folder_finding(
            configuration,
            data,
            severity=None if reads_b2nd else Severity.ERROR,
            ending=f".{formats[0]}",
            trouble="unpacks to .npy first" if reads_b2nd else "cannot read",
            version=packages.dotted(version),
        )


@rule(
    "PG529",
    Severity.WARNING,
    message="reading {folder} was stopped after {read} of {cases} cases: its findings are incomplete",
    fix="run the check again, with --data headers or none if it takes too long",
    incomplete=True,
)
def reading_stopped(configuration: Configuration, data: Audit) -> Iterator[Found]:
    """The reading of preprocessed data was stopped.

    What it checks: whether Ctrl-C ended the reading before the last case.

    Why it matters: the report holds what was found until then. The exit code 2 shows that it is incomplete.

    How to fix: let the check end; `--data headers` reads a tenth of a millisecond per case.

    Example: Ctrl-C during `plansguard check -d 2 --data all`.

    Evidence: none is needed.
    """
    if data.interrupted:
        cases = len(data.folder.names) + len(data.folder.orphans)
        at = configuration.at("data_identifier")
        yield found(at, folder=data.folder.path.name, read=data.read, cases=cases)


def _usable(plans: Plans) -> list[Configuration]:
    return [configuration for configuration in plans.configurations if configuration.is_usable]


def _typical(plans: Plans) -> Configuration:
    """Return the configuration that is preprocessed first: 3d_fullres, or the first that is usable."""
    usable = _usable(plans)
    return next((one for one in usable if one.name == "3d_fullres"), usable[0])


def _lacks_data(dataset: Dataset, plans: Plans) -> bool:
    """Return whether no configuration of these plans was preprocessed."""
    usable = _usable(plans)
    return bool(usable) and not any(disk.is_there(dataset.folder / str(one.get("data_identifier"))) for one in usable)
