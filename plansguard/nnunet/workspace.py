"""The three nnU-Net folders and their contents: datasets by id or name, raw images, trained models."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.nnunet.constants import CHECKPOINT_BEST, CHECKPOINT_FINAL, CHECKPOINT_LATEST

DATASET_NAME = re.compile(r"Dataset\d{3,}_.+")
_LONGEST_ID = 9
_FOLD = re.compile(r"fold_(\d+|all)")
#: Name of a log of nnU-Net, with the local time of the start. Source: nnUNetTrainer.__init__.
_LOG = "training_log_%Y_%m_%d_%H_%M_%S.txt"
#: Checkpoints in the order in which their weights are used: the end of a training, then the best on its validation.
_BY_COMPLETENESS = (CHECKPOINT_FINAL, CHECKPOINT_BEST, CHECKPOINT_LATEST)
ROOTS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
#: The folder to which preprocessing copies the labels, and from which the final validation reads them.
GROUND_TRUTH = "gt_segmentations"
#: What is between trainer, plans and configuration in the name of a folder of results.
BETWEEN_NAMES = "__"


@dataclass(frozen=True)
class Workspace:
    """The folders of raw images, preprocessed data and results. An unknown folder is None."""

    raw: Path | None = None
    preprocessed: Path | None = None
    results: Path | None = None

    @classmethod
    def from_environment(cls) -> Workspace:
        """The folders in nnU-Net's environment variables. They need not exist: nnU-Net creates them."""
        return cls(*map(_root_from_environment, ROOTS))

    @classmethod
    def around(cls, folder: Path) -> Workspace:
        """The workspace of a preprocessed dataset folder.

        The environment variables count only if the folder is in the one that they name, because another workspace has
        other raw data. Otherwise the usual sibling folders are used.
        """
        root = folder.absolute().parent
        if is_named_preprocessed(root):
            return cls.from_environment()
        siblings = [root.parent / name for name in ROOTS]
        if root.name != "nnUNet_preprocessed":
            return cls(preprocessed=root)
        raw, _, results = (sibling if disk.is_folder(sibling) else None for sibling in siblings)
        return cls(raw, root, results)

    def dataset_name(self, id_or_name: str) -> str:
        """The dataset's name for ``2``, ``002`` or ``Dataset002_Name``, as nnU-Net resolves it.

        Raises UsageError when no dataset has the id, when several have it in any of the three folders, or when the
        text is neither an id nor a name.
        """
        if id_or_name.startswith("Dataset") and not set(id_or_name) & set("/\\\0"):
            return id_or_name
        if not id_or_name.isascii() or not id_or_name.isdigit() or len(id_or_name) > _LONGEST_ID:
            raise UsageError(
                f"{id_or_name!r} is neither a dataset id (2) nor a dataset name (Dataset002_Name)",
                hint=f"datasets here: {', '.join(self.dataset_names()) or 'none'}",
            )
        names = [name for name in self.dataset_names() if name.startswith(f"Dataset{int(id_or_name):03d}")]
        if len(names) == 1:
            return names[0]
        if names:
            raise UsageError(
                f"more than one dataset has the id {int(id_or_name)}: {', '.join(names)}",
                hint="nnU-Net refuses this too: rename or remove all but one, in all three nnU-Net folders",
            )
        raise UsageError(f"no dataset has the id {int(id_or_name)}", hint=self._searched_folders())

    def dataset_names(self) -> list[str]:
        """Names of all datasets in the three folders, sorted."""
        names = set()
        for root in (self.raw, self.preprocessed, self.results):
            if root is not None:
                names |= {name for name in disk.folder_names(root) if name.startswith("Dataset")}
        return sorted(names)

    def preprocessed_folder(self, dataset_name: str) -> Path:
        """``nnUNet_preprocessed/<dataset>``; UsageError if the variable is not set. The folder need not exist.

        UnreadableFolder if permissions hide whether it does.
        """
        if self.preprocessed is None:
            raise UsageError(
                "the environment variable nnUNet_preprocessed is not set",
                hint="export nnUNet_preprocessed=FOLDER, as for nnU-Net itself",
            )
        disk.assert_not_hidden(self.preprocessed / dataset_name)
        return self.preprocessed / dataset_name

    def results_folder(self) -> Path:
        """``nnUNet_results``, for a command that writes there; UsageError if the variable is not set."""
        if self.results is None:
            raise UsageError(
                "the environment variable nnUNet_results is not set, so nnU-Net could not write what it trains",
                hint="export nnUNet_results=FOLDER",
            )
        return self.results

    def _searched_folders(self) -> str:
        roots = zip(ROOTS, (self.raw, self.preprocessed, self.results), strict=True)
        states = [
            f"{name}=(not set)" if root is None else f"{name}={root}{'' if disk.is_folder(root) else ' (not there)'}"
            for name, root in roots
        ]
        here = f"datasets here: {', '.join(self.dataset_names()) or 'none'}; looked in {', '.join(states)}"
        unset = self.preprocessed is None
        return f"{here}; export nnUNet_preprocessed=FOLDER, as for nnU-Net" if unset else here


@dataclass(frozen=True)
class RawImages:
    """The training images of ``nnUNet_raw/<dataset>`` by file name; no image is opened."""

    folder: Path

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Names of the files in imagesTr, sorted."""
        return tuple(sorted(disk.file_names(self.folder / "imagesTr")))

    @cached_property
    def labels(self) -> frozenset[str]:
        """Names of the files in labelsTr."""
        return disk.file_names(self.folder / "labelsTr")

    @cached_property
    def times(self) -> list[tuple[float, Path]]:
        """Modification time (seconds since 1970) and path of each image and label, oldest first."""
        times = []
        for part, names in (("imagesTr", self.images), ("labelsTr", self.labels)):
            for name in names:
                path = self.folder / part / name
                if (time := disk.modified(path)) is not None:
                    times.append((time, path))
        return sorted(times)

    def cases(self, ending: str) -> dict[str, list[str]]:
        """Channel numbers (``0000``, ...) by case, of the images ``<case>_<channel><ending>``."""
        return cases_among(self.images, ending)


@dataclass(frozen=True)
class TrainedModel:
    """A folder ``nnUNet_results/<dataset>/<trainer>__<plans>__<configuration>``."""

    folder: Path
    trainer: str
    plans_name: str
    configuration: str

    @cached_property
    def checkpoints(self) -> tuple[Path, ...]:
        """Every ``fold_*/checkpoint_*.pth``, the most complete first."""
        paths = [
            path for path in disk.matching(self.folder, "fold_*/checkpoint_*.pth") if _FOLD.fullmatch(path.parent.name)
        ]
        return tuple(sorted(paths, key=lambda path: by_completeness(path.as_posix())))

    @property
    def fold_folders(self) -> list[Path]:
        """The folders of its folds, sorted by name."""
        folders = disk.matching(self.folder, "fold_*")
        return [path for path in folders if _FOLD.fullmatch(path.name) and disk.is_folder(path)]

    @property
    def started(self) -> float | None:
        """The start of the first training of a fold (seconds since 1970), by the names of nnU-Net's logs.

        Times of files are no evidence: a copy has new ones.
        """
        names = (path.name for path in disk.matching(self.folder, "fold_*/training_log_*.txt"))
        times = []
        for name in names:
            with suppress(ValueError):
                times.append(datetime.strptime(name, _LOG).timestamp())
        return min(times, default=None)


def by_completeness(checkpoint: str) -> tuple[int, str]:
    """Sort key of the paths of checkpoints, for a choice of weights: final ones first, then the best, then the latest.

    Others follow. Those of one kind are in alphabetical order.
    """
    names, name = _BY_COMPLETENESS, checkpoint.rpartition("/")[2]
    return (names.index(name) if name in names else len(names)), checkpoint


def trained_models(results: Path, dataset_name: str) -> Iterator[TrainedModel]:
    """The trained models of a dataset, sorted by folder name."""
    for folder in disk.matching(results / dataset_name, "*__*__*"):
        parts = folder.name.split("__")
        if len(parts) == 3 and disk.is_folder(folder):
            yield TrainedModel(folder, *parts)


def is_named_preprocessed(root: Path) -> bool:
    """Whether the environment variable nnUNet_preprocessed names this folder."""
    named = os.environ.get(ROOTS[1])
    return bool(named) and disk.real(str(named)) == disk.real(root)


def displayed(path: str) -> str:
    """A path as people read it: below the current folder or a folder of nnU-Net's variables, relative to that.

    Only absolute paths change; ``$nnUNet_preprocessed/Dataset002_Name`` can be pasted into a shell.
    """
    if not Path(path).is_absolute():
        return path
    roots = [(str(Path.cwd()), ""), *((os.environ.get(name, "").rstrip("/"), f"${name}/") for name in ROOTS)]
    for root, shown in roots:
        if Path(root).is_absolute() and path.startswith(f"{root}/"):
            return shown + path[len(root) + 1 :]
    return path


def cases_among(names: Iterable[str], ending: str) -> dict[str, list[str]]:
    """Channel numbers (``0000``, ...) by case, of the names ``<case>_<channel><ending>``."""
    cases: dict[str, list[str]] = {}
    for name in names:
        if match := re.fullmatch(r"(.+)_(\d{4})" + re.escape(ending), name):
            cases.setdefault(match[1], []).append(match[2])
    return cases


def _root_from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if value and value[0] in "\"'" and not disk.is_there(value):
        raise UsageError(f"{variable} names a folder that does not exist: {value}", hint="remove the quotes")
    return Path(value) if value else None


def dataset_id(name: str) -> str | None:
    """``2`` for ``Dataset002_Name``; None for a name without an id."""
    match = re.match(r"Dataset([0-9]+)(_|$)", name)
    return str(int(match[1])) if match else None


_RESERVED_ON_WINDOWS = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def checked_identifier(identifier: str) -> str:
    """``identifier`` if it can be the name of a plans file on every system; UsageError otherwise.

    Plans identifiers become file names and parts of folder names, so separators, parent folders, control characters and
    names that Windows reserves are refused.
    """
    odd_ends = identifier != identifier.strip().strip(".") or identifier.startswith("-")
    if (
        not identifier
        or odd_ends
        or re.search(r'[\x00-\x1f\x7f/\\:*?"<>|]', identifier)
        or _RESERVED_ON_WINDOWS.fullmatch(identifier)
    ):
        raise UsageError(
            f"{identifier!r} cannot be the name of plans",
            hint="use letters, digits, '_', '-' and '.': the name becomes a file and a folder name",
        )
    if identifier.endswith((".json", ".plansguard", ".stamp")):
        raise UsageError(
            f"{identifier!r} is a file name, not a plans identifier",
            hint=f"omit the ending: {identifier.partition('.')[0]}",
        )
    return identifier


@lru_cache(maxsize=1024)  # thousands of datasets have the same identifiers
def is_folder_name(identifier: str) -> bool:
    """Whether a data_identifier names a separate folder in that of the dataset: preprocessing deletes it."""
    is_taken = identifier.strip() in ("", ".", "..", GROUND_TRUTH)
    return not is_taken and identifier.isprintable() and "/" not in identifier and "\\" not in identifier


#: The number of folds that nnU-Net creates where there is no splits_final.json. Source: nnUNetTrainer.do_split.
FOLDS = 5
ALL = "all"


def checked_fold(fold: str) -> str:
    """``fold`` if nnU-Net accepts it: a number, or all; UsageError otherwise."""
    if fold != ALL and not (fold.isascii() and fold.isdigit() and len(fold) < 5):
        raise UsageError(f"{fold!r} is no fold", hint="a number such as 0, or all")
    return fold if fold == ALL else str(int(fold))
