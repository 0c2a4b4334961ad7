"""A dataset: the documents of one folder, and the data, weights and models that belong to it, read lazily and once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plansguard.artefacts.data.listing import Listing, listing
from plansguard.core import disk
from plansguard.core.errors import Absent, NotWrittenYet, UnreadableDocument, UnreadableFolder, known
from plansguard.core.lazy import cached_property
from plansguard.documents import size_limits
from plansguard.documents.file_names import CANONICAL_NAMES, MIGRATION_RECORD_ENDING, MODEL_PLANS
from plansguard.documents.json_document import JsonDocument
from plansguard.documents.validation import FieldProblem, problems
from plansguard.nnunet import plans_diff
from plansguard.nnunet.workspace import (
    DATASET_NAME,
    GROUND_TRUTH,
    ROOTS,
    RawImages,
    TrainedModel,
    Workspace,
    is_folder_name,
    is_named_preprocessed,
    trained_models,
)
from plansguard.records.migration import DERIVE, MigrationRecord
from plansguard.records.preprocessing import DataState, PreprocessingRecord
from plansguard.subjects.data_users import DataUser, data_users
from plansguard.subjects.documents import (
    AnyDocument,
    DatasetJson,
    Document,
    Fingerprint,
    MigrationRecordFile,
    PreprocessingRecordFile,
    Splits,
)
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Request

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.artefacts.data.audit import Audit
    from plansguard.artefacts.data.expectation import Expectation
    from plansguard.subjects.weights import Weights


class PreprocessedFolder(NamedTuple):
    """A folder of preprocessed data that has a preprocessing record.

    ``record`` describes the present files: the record in the file, or the one before it while an unfinished run has not
    touched the data.
    """

    record_file: PreprocessingRecordFile
    listing: Listing
    state: DataState
    record: PreprocessingRecord


#: Why there are no data to judge.
NOTHING_PREPROCESSED = "nothing is preprocessed here yet: preprocess first"


@dataclass
class Dataset:
    """The documents of one folder, checked together."""

    folder: Path
    documents: tuple[JsonDocument, ...]
    unreadable: tuple[UnreadableDocument, ...] = ()
    workspace: Workspace = field(default_factory=Workspace)
    request: Request = field(default_factory=Request)
    #: Plans that share data do not read them twice; None where reading failed.
    _audits: dict[tuple[Path, Expectation], Audit | None] = field(default_factory=dict, init=False, compare=False)
    #: By plans file and configuration.
    _weights: dict[tuple[str, str], Weights] = field(default_factory=dict, init=False, compare=False)

    @cached_property
    def name(self) -> str:
        """The folder's name; for a preprocessed dataset, the name of the dataset."""
        return self._absolute.name

    @cached_property
    def _absolute(self) -> Path:
        return self.folder.absolute()

    @cached_property
    def role(self) -> str:
        """The folder's role in nnU-Net.

        ``preprocessed`` (a dataset in nnUNet_preprocessed, or one with its preprocessed data), ``model`` (results of a
        training, or a released model), ``raw``, or ``loose`` (files outside nnU-Net's folders, as in a repository,
        whatever their folder is called).
        """
        if any(document.name == MODEL_PLANS for document in self.documents):
            return "model"
        parent = self._absolute.parent
        if parent.name == ROOTS[0] or (self.workspace.raw is not None and parent == self.workspace.raw.absolute()):
            return "raw"
        if "imagesTr" in self.entries.folders:
            return "raw"
        inside = (parent.name == ROOTS[1] and DATASET_NAME.fullmatch(self.name)) or self.is_trained_on
        return "preprocessed" if inside else "loose"

    @cached_property
    def is_trained_on(self) -> bool:
        """Whether nnU-Net trains on this folder, as far as other things than names show.

        It is a dataset's folder, and nnUNet_preprocessed names the folder around it, or preprocessed data are in it, or
        its raw images are known.
        """
        if not DATASET_NAME.fullmatch(self.name):
            return False
        raw = self.workspace.raw
        return (
            is_named_preprocessed(self._absolute.parent)
            or GROUND_TRUTH in self.entries.folders
            or self._has_data_folder
            or (raw is not None and disk.is_folder(raw / self.name / "imagesTr"))
        )

    @cached_property
    def entries(self) -> disk.Entries:
        """What was in the folder when it was read; nothing where it cannot be listed."""
        try:
            return disk.entries(self.folder)
        except OSError:
            return disk.Entries()

    @cached_property
    def plans(self) -> tuple[Plans, ...]:
        """All plans of the folder, sorted by name."""
        return tuple(self._all(Plans))

    @cached_property
    def judged_plans(self) -> tuple[Plans, ...]:
        """The plans that the request asks for."""
        wanted = self.request.plans
        return tuple(plans for plans in self.plans if wanted in (None, plans.identifier))

    @cached_property
    def dataset_json(self) -> DatasetJson:
        """The dataset.json that training reads; Absent when there is none."""
        return self._one(DatasetJson)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The dataset's fingerprint; Absent when there is none."""
        return self._one(Fingerprint)

    def has_record(self, plans: Plans) -> bool:
        """Whether there is a migration record beside ``plans``; it need not apply to them."""
        return self._record_file(plans) is not None

    def migration_record_beside(self, plans: Plans) -> MigrationRecord | None:
        """The migration record beside ``plans``, whether it applies to them or not; None where it is damaged."""
        file = self._record_file(plans)
        return None if file is None else known(lambda: file.record)

    def migration_record(self, plans: Plans) -> MigrationRecord:
        """The record of the migration that wrote ``plans``; Absent when no migration of plansguard did."""
        file = self._record_file(plans)
        record = file.record.in_force(plans.document.raw) if file is not None else None
        if record is None:
            raise Absent("no migration of plansguard is recorded for these plans")
        if record.identifier != plans.identifier:
            raise Absent(f"the migration record of {plans.path.name} describes {record.identifier}")
        return record

    def brought_by(self, plans: Plans) -> MigrationRecord | None:
        """The record of the migration that brought ``plans`` from another dataset, also if they were derived since.

        None when no migration of plansguard did.
        """
        if not self.has_record(plans):
            return None
        record = known(lambda: self.migration_record(plans))
        return None if record is None else known(lambda: record.between_datasets)

    def migrated_with(self, plans: Plans) -> str | None:
        """The workflow of the migration that brought ``plans``; None when no migration of plansguard did."""
        record = self.brought_by(plans)
        return None if record is None else record.workflow

    def promised_input(self, plans: Plans) -> str | None:
        """The workflow by which the input of ``plans`` is compared with that of weights.

        None where no migration brought them, or where they were derived with another input on purpose.
        """
        record = self.brought_by(plans)
        if record is None or self.migration_record(plans).workflow != DERIVE or record.workflow == "graft":
            return None if record is None else record.workflow
        changes = plans_diff.edited_since_migration(record.migrated, plans.value)
        return None if any(change.field.facet == "input" for change in changes) else record.workflow

    @cached_property
    def data_users(self) -> dict[str, list[DataUser]]:
        """The configurations that read each data folder, its owner first."""
        return data_users(self.plans, self.request)

    @property
    def splits(self) -> Splits:
        """The dataset's splits_final.json; NotWrittenYet when there is none, Absent when it cannot be read."""
        if not self._all(Splits) and not any(Path(error.path).name == Splits.file_name for error in self.unreadable):
            raise NotWrittenYet(f"there is no {Splits.file_name} beside the plans")
        return self._one(Splits)

    def data(self, configuration: Configuration) -> Audit:
        """The comparison of every preprocessed case of ``configuration`` with what its plans imply.

        Absent when there are no data, or when the request is not to read them. UnreadableFolder when they cannot be
        listed.
        """
        if self.request.reading.depth == "none":
            raise Absent("preprocessed data are not read with --data none")
        folder = self.data_folder(configuration)
        from plansguard.artefacts.data.audit import audit
        from plansguard.artefacts.data.workers import Pool
        from plansguard.subjects.expected_data import expected_data

        configuration.plans.valid  # noqa: B018 - raises Absent with the reason
        key = folder, expected_data(configuration, self.dataset_json.valid)
        reading = self.request.reading
        if key not in self._audits:
            if any(result is None or result.interrupted for result in self._audits.values()):
                raise Absent("reading the data was stopped")
            self._audits[key] = None  # if reading fails, one rule reports it, and the others do not try again
            try:
                self._audits[key] = audit(*key, depth=reading.depth, pool=reading.pool or Pool(), seed=reading.seed)
            except UnreadableFolder:
                raise
            except UnreadableDocument as error:
                raise Absent(error.reason) from error
        result = self._audits[key]
        if result is None:
            raise Absent(f"reading {folder.name} failed")
        return result

    def data_folder(self, configuration: Configuration) -> Path:
        """The folder of the preprocessed data of ``configuration``; Absent when it does not exist."""
        identifier = configuration.usable.require("data_identifier")
        if not is_folder_name(identifier):
            raise Absent(f"the data_identifier {identifier!r} is no name of a folder (see PG526)")
        if not self.holds_data:
            raise Absent(NOTHING_PREPROCESSED)
        folder = self.folder / str(identifier)
        if not disk.is_folder(folder):
            raise Absent(f"{identifier} is not there yet: preprocess for it")
        return folder

    @cached_property
    def preprocessing_records(self) -> tuple[PreprocessedFolder, ...]:
        """The data folders that have a preprocessing record, by name; PG005 reports damaged records.

        Absent when the request is not to read data. UnreadableFolder when a folder cannot be listed.
        """
        files = [file for file in self._all(PreprocessingRecordFile) if not file.problems]
        if files and self.request.reading.depth == "none":
            raise Absent("preprocessed data are not read with --data none")
        if self.role != "preprocessed":
            return ()
        return tuple(self._preprocessed_folder(file) for file in files if disk.is_folder(self.folder / file.identifier))

    def _preprocessed_folder(self, file: PreprocessingRecordFile) -> PreprocessedFolder:
        try:
            files = listing(self.folder / file.identifier)
        except OSError as error:
            raise Absent(f"{file.identifier} cannot be listed: {error.strerror}") from error
        return PreprocessedFolder(file, files, *file.record.state_of(files))

    @cached_property
    def holds_data(self) -> bool:
        """Whether any configuration of any plans here has preprocessed data."""
        return self.role == "preprocessed" and self._has_data_folder

    @cached_property
    def _has_data_folder(self) -> bool:
        if not self.entries.folders:
            return False
        entries = [entry for plans in self.plans for entry in plans.written.values()]
        names = {entry["data_identifier"] for entry in entries if isinstance(entry.get("data_identifier"), str)}
        return any(is_folder_name(name) for name in names & self.entries.folders)

    @cached_property
    def checkpoints(self) -> tuple[Checkpoint | UnreadableDocument, ...]:
        """The checkpoints of a model folder, or why one, or the folder of a fold, cannot be read."""
        if self.role != "model":
            return ()
        from plansguard.artefacts.checkpoint.checkpoint import read_checkpoints

        read: list[Checkpoint | UnreadableDocument] = []
        for fold in disk.matching(self.folder, "fold_*"):
            try:
                read += read_checkpoints(disk.matching(fold, "checkpoint_*.pth"))
            except UnreadableFolder as closed:
                read.append(closed)
        return tuple(read)

    def weights(self, configuration: Configuration) -> Weights:
        """The requested weights as ``configuration`` would load them; Absent when none were named."""
        if self.request.weights is None:
            raise Absent("no weights were named")
        key = configuration.plans.document.path, configuration.name
        if key not in self._weights:
            from plansguard.subjects.weights import Weights

            trainer = self.request.base_trainer
            self._weights[key] = Weights(self.request.weights, configuration, self.dataset_json, trainer)
        return self._weights[key]

    @cached_property
    def raw_folder(self) -> Path:
        """``nnUNet_raw/<dataset>``; Absent when it cannot be found, UnreadableFolder when permissions hide it."""
        root = self.workspace.raw
        if self.role != "preprocessed":
            raise Absent("this is not a preprocessed dataset, so it has no raw data to compare")
        if root is None:
            raise Absent("the raw data of this dataset are not known: set nnUNet_raw")
        disk.assert_not_hidden(root / self.name / "imagesTr")
        if not disk.is_folder(root):
            raise Absent(f"nnUNet_raw names a folder that does not exist: {root}")
        if not disk.is_folder(root / self.name):
            raise Absent("nnUNet_raw does not have this dataset: put it there")
        return root / self.name

    @cached_property
    def raw_dataset_json(self) -> DatasetJson:
        """``nnUNet_raw/<dataset>/dataset.json``; Absent when it is missing or cannot be read."""
        path = self.raw_folder / "dataset.json"
        try:
            document = size_limits.read(path)
        except UnreadableDocument as error:
            raise Absent(f"dataset.json in nnUNet_raw cannot be read: {error.reason}") from error
        if not isinstance(document.value, dict):
            raise Absent("dataset.json in nnUNet_raw is no object: put the right one there")
        return DatasetJson(document)

    @property
    def raw_images(self) -> RawImages:
        """File names of training images and labels; Absent when there is no folder of images."""
        if not disk.is_folder(self.raw_folder / "imagesTr"):
            raise Absent("nnUNet_raw has no imagesTr of this dataset: put the images there")
        return self.raw_files

    @cached_property
    def raw_files(self) -> RawImages:
        """File names of training images and labels, if there are any; Absent when there is no raw dataset."""
        return RawImages(self.raw_folder)

    @cached_property
    def ground_truth(self) -> frozenset[str]:
        """Names of the files in gt_segmentations."""
        return disk.file_names(self.folder / GROUND_TRUTH)

    @cached_property
    def trained(self) -> tuple[TrainedModel, ...]:
        """The models trained for this dataset; Absent when nnUNet_results is not known."""
        if self.role != "preprocessed":
            raise Absent("this is not a preprocessed dataset, so it has no trained models to compare")
        if self.workspace.results is None:
            raise Absent("trained models of this dataset are not known: set nnUNet_results")
        return tuple(trained_models(self.workspace.results, self.name))

    def with_documents(self, documents: Iterable[JsonDocument], request: Request) -> Dataset:
        """The dataset with these documents added or replaced; nothing is written."""
        added = {document.path: document for document in documents}
        kept = {document.path: document for document in self.documents}
        unreadable = tuple(error for error in self.unreadable if error.path not in added)
        return replace(self, documents=tuple({**kept, **added}.values()), unreadable=unreadable, request=request)

    def release(self) -> None:
        """Let the memory of the plans be freed with the dataset, without a collection of garbage.

        Plans and their configurations refer to each other. What is asked for again is computed again.
        """
        for plans in self.plans:
            vars(plans).pop("configurations", None)
            vars(plans).pop("usable_configurations", None)

    @cached_property
    def _recognised(self) -> dict[type[Document], list[Any]]:
        """The documents of each kind, sorted by name."""
        recognised: dict[type[Document], list[Any]] = {kind: [] for kind in CLASSES.values()}
        for document in sorted(self.documents, key=lambda document: document.path):
            kind = CLASSES.get(kind_of(document) or "")
            if kind is not None:
                recognised[kind].append(kind(document))
        return recognised

    def problems_of(self, document: JsonDocument, model: str) -> tuple[FieldProblem, ...]:
        """The fields of a document that a model refuses, computed once."""
        file = self._by_path.get(document.path)
        is_known = file is not None and file.document is document and file.model_name == model
        return file.problems if file is not None and is_known else problems(model, document.value)

    @cached_property
    def _by_path(self) -> dict[str, Document]:
        """The recognised documents by path."""
        return {file.document.path: file for files in self._recognised.values() for file in files}

    def _all(self, kind: type[AnyDocument]) -> list[AnyDocument]:
        return self._recognised[kind]

    def _one(self, kind: type[AnyDocument]) -> AnyDocument:
        """The document of a kind: the one with nnU-Net's own file name, else the only one."""
        documents = self._all(kind)
        canonical = [one for one in documents if one.document.name == kind.file_name]
        if len(canonical or documents) == 1:
            return (canonical or documents)[0]
        if documents:
            raise Absent(f"several files could be {kind.file_name}: keep one beside the plans")
        is_unplanned = self.role == "preprocessed" and not self._all(Plans) and not self.unreadable
        where = "yet: nnU-Net's planning writes it" if is_unplanned else "beside the plans: put it there"
        raise Absent(f"there is no {kind.file_name} {where}")

    @cached_property
    def _migration_records(self) -> dict[str, MigrationRecordFile]:
        """The migration records by file name."""
        return {file.document.name: file for file in self._all(MigrationRecordFile)}

    def _record_file(self, plans: Plans) -> MigrationRecordFile | None:
        return self._migration_records.get(plans.identifier + MIGRATION_RECORD_ENDING)


def kind_of(document: JsonDocument) -> str | None:
    """The kind of a document by its content; an empty list has the kind of its name: splits without a fold."""
    return "splits" if document.value == [] and document.name == CANONICAL_NAMES["splits"] else document.kind


#: The class of each kind of document that rules check, as `recognise` names the kind.
CLASSES: dict[str, type[Document]] = {
    "plans": Plans,
    "dataset.json": DatasetJson,
    "fingerprint": Fingerprint,
    "splits": Splits,
    "lineage": MigrationRecordFile,
    "stamp": PreprocessingRecordFile,
}
