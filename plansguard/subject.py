"""What is judged together: a dataset's documents, assembled lazily and once, and plans on their way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from plansguard import jsondoc
from plansguard.errors import UnreadableDocument
from plansguard.jsondoc import JsonDocument
from plansguard.models.recognise import recognise
from plansguard.parts import (
    MODEL_PLANS,
    PARTS,
    SIDECAR_ENDING,
    Absent,
    AnyPart,
    DatasetJson,
    Fingerprint,
    Lineage,
    Part,
    Plans,
)
from plansguard.record import Record
from plansguard.workspace import DATASET_NAME, ROOTS, RawImages, TrainedModel, Workspace, is_folder, trained_models


@dataclass(frozen=True)
class Request:
    """What ``-p`` and ``-c`` narrow a check to; None means everything."""

    plans: str | None = None
    configuration: str | None = None


@dataclass
class Dataset:
    """The documents of one folder, judged together.

    ``role`` says what the folder is to nnU-Net: ``preprocessed`` (training reads it), ``model`` (results of a
    training, or a released model), ``raw``, or ``loose`` (files outside nnU-Net's folders, as in a repository).
    """

    folder: Path
    documents: tuple[JsonDocument, ...]
    unreadable: tuple[UnreadableDocument, ...] = ()
    workspace: Workspace = field(default_factory=Workspace)
    request: Request = field(default_factory=Request)

    @property
    def name(self) -> str:
        """The folder's name; for a preprocessed dataset that is what nnU-Net calls it."""
        return self.folder.absolute().name

    @cached_property
    def role(self) -> str:
        """What the folder is to nnU-Net: preprocessed, model, raw or loose."""
        names = {Path(document.path).name for document in self.documents}
        if MODEL_PLANS in names:
            return "model"
        parent = self.folder.absolute().parent
        if parent.name == ROOTS[0] or (self.workspace.raw is not None and parent == self.workspace.raw.absolute()):
            return "raw"
        if is_folder(self.folder / "imagesTr"):
            return "raw"
        return "preprocessed" if DATASET_NAME.fullmatch(self.name) else "loose"

    @cached_property
    def plans(self) -> tuple[Plans, ...]:
        """All plans of the folder, sorted by name."""
        return tuple(part for part in self._parts if isinstance(part, Plans))

    @cached_property
    def judged_plans(self) -> tuple[Plans, ...]:
        """The plans that the request asks for."""
        wanted = self.request.plans
        return tuple(plans for plans in self.plans if wanted in (None, plans.identifier))

    @property
    def dataset_json(self) -> DatasetJson:
        """The dataset.json that training reads; Absent when there is none."""
        return self._one(DatasetJson)

    @property
    def fingerprint(self) -> Fingerprint:
        """The dataset's fingerprint; Absent when there is none."""
        return self._one(Fingerprint)

    def has_record(self, plans: Plans) -> bool:
        """Whether a migration left a record beside ``plans``; whether it holds is another question."""
        return self._sidecar(plans) is not None

    def lineage(self, plans: Plans) -> Record:
        """How ``plans`` came here; Absent when no migration of plansguard wrote them."""
        sidecar = self._sidecar(plans)
        try:
            record = sidecar.record.in_force(plans.document.raw) if sidecar is not None else None
        except (KeyError, TypeError) as error:
            raise Absent(f"the record beside {plans.path.name} holds an earlier one that is damaged") from error
        if record is None:
            raise Absent("no migration of plansguard is on record for these plans")
        if record.identifier != plans.identifier:
            raise Absent(f"the record beside {plans.path.name} tells of {record.identifier}")
        return record

    @cached_property
    def raw_folder(self) -> Path:
        """``nnUNet_raw/<dataset>``; Absent when it cannot be found."""
        root = self.workspace.raw
        if self.role != "preprocessed":
            raise Absent("this is no preprocessed dataset, so it has no raw data to compare")
        if root is None:
            raise Absent("the raw data of this dataset are not known: set nnUNet_raw")
        if not (root / self.name).is_dir():
            raise Absent(f"{root} has no {self.name}")
        return root / self.name

    @cached_property
    def raw_dataset_json(self) -> DatasetJson:
        """``nnUNet_raw/<dataset>/dataset.json``; Absent when it is missing or cannot be read."""
        path = self.raw_folder / "dataset.json"
        try:
            document = jsondoc.read(path)
        except UnreadableDocument as error:
            raise Absent(f"{path}: {error.reason}") from error
        if not isinstance(document.value, dict):
            raise Absent(f"{path} holds no dataset.json")
        return DatasetJson(document)

    @cached_property
    def raw_images(self) -> RawImages:
        """File names of the training images; Absent when the folder is not there."""
        images = RawImages(self.raw_folder)
        if not (self.raw_folder / "imagesTr").is_dir():
            raise Absent(f"{self.raw_folder} has no imagesTr")
        return images

    @cached_property
    def trained(self) -> tuple[TrainedModel, ...]:
        """The models trained for this dataset; Absent when nnUNet_results is not known."""
        if self.role != "preprocessed":
            raise Absent("this is no preprocessed dataset, so it has no trained models to compare")
        if self.workspace.results is None:
            raise Absent("trained models of this dataset are not known: set nnUNet_results")
        return tuple(trained_models(self.workspace.results, self.name))

    def with_documents(self, documents: Iterable[JsonDocument], request: Request) -> Dataset:
        """The dataset as it would be with these documents added or replaced: nothing is written."""
        added = {document.path: document for document in documents}
        kept = {document.path: document for document in self.documents}
        unreadable = tuple(error for error in self.unreadable if error.path not in added)
        return replace(self, documents=tuple({**kept, **added}.values()), unreadable=unreadable, request=request)

    @cached_property
    def _parts(self) -> tuple[Part, ...]:
        return tuple(self._read_parts())

    def _read_parts(self) -> Iterator[Part]:
        for document in sorted(self.documents, key=lambda document: document.path):
            kind = recognise(document.value)
            if kind in PARTS:
                yield PARTS[kind](document)

    def _sidecar(self, plans: Plans) -> Lineage | None:
        name = plans.identifier + SIDECAR_ENDING
        return next((part for part in self._parts if isinstance(part, Lineage) and part.path.name == name), None)

    def _one(self, kind: type[AnyPart]) -> AnyPart:
        """The document of a kind: the one under nnU-Net's own name, else the only one there is."""
        found = [part for part in self._parts if isinstance(part, kind)]
        canonical = [part for part in found if part.path.name == kind.file_name]
        if len(canonical or found) == 1:
            return (canonical or found)[0]
        raise Absent(f"{'several files could be' if found else 'there is no'} {kind.file_name} beside the plans")


@dataclass(frozen=True)
class Pair:
    """Plans on their way: where they come from, where they go, and why.

    ``plans`` are those that move, ``result`` those that would be written; ``receiving`` is the dataset with the
    result in it. ``existing`` is what stands under the new name today, if anything does.
    """

    workflow: str
    giving: Dataset
    plans: Plans
    receiving: Dataset
    result: Plans
    existing: bytes | None
    force: bool = False

    @property
    def pretraining(self) -> Dataset:
        """The dataset on which the weights are, or will be, pretrained."""
        return self.receiving if self.workflow == "pretrain" else self.giving

    @property
    def finetuning(self) -> Dataset:
        """The dataset on which they are fine-tuned."""
        return self.giving if self.workflow == "pretrain" else self.receiving
