"""Validation cases of a fold, and images that are also in another folder, whatever they are called there."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from plansguard.core import disk
from plansguard.core.digest import sha256
from plansguard.core.errors import known
from plansguard.subjects.dataset import Dataset

#: Files of one length that are compared. Compressed images of one length are rare.
_MOST = 20


def validation_cases(dataset: Dataset, fold: str) -> list[str]:
    """Return the cases that a fold validates on; none for the fold ``all``, and for one that the splits lack."""
    splits = known(lambda: dataset.splits.valid)
    folds = [] if splits is None or not fold.isdecimal() else splits.value
    return [*folds[int(fold)]["val"]] if folds and int(fold) < len(folds) else []


def same_file(image: Path, folder: Path) -> str | None:
    """Return the name of a file in a folder that has the content of an image; None where there is none."""
    size = disk.size(image)
    candidates = _by_size(folder).get(size or 0, [])[:_MOST]
    if not candidates:
        return None
    digest = _digest(image)
    return next((name for name in candidates if _digest(folder / name) == digest), None)


@lru_cache(maxsize=1)
def _by_size(folder: Path) -> dict[int, list[str]]:
    """The names of the files in a folder, by their length in bytes."""
    names: dict[int, list[str]] = {}
    for name in sorted(disk.file_names(folder)):
        names.setdefault(disk.size(folder / name) or 0, []).append(name)
    return names


def _digest(path: Path) -> str:
    try:
        return sha256(disk.content(path))
    except OSError:
        return str(path)  # equal to no other
