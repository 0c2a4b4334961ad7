"""Names and sizes of the files in a folder of preprocessed cases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from plansguard.core import disk
from plansguard.core.digest import sha256

#: Files of a case: arrays as nnU-Net writes them since 2.6, or in one file as before.
_BLOSC2, _NUMPY = (".b2nd", "_seg.b2nd"), (".npz",)
_PROPERTIES = ".pkl"
_MEMBER_ENDINGS = (".b2nd", ".npz", _PROPERTIES)


@dataclass(frozen=True)
class Listing:
    """The files of a data folder that belong to cases, by name, with their sizes in bytes.

    Other files do not count, nor .npy files, which nnU-Net unpacks from .npz when it trains.
    """

    sizes: Mapping[str, int]

    @cached_property
    def cases(self) -> frozenset[str]:
        """The cases of which every file exists and none is empty."""
        whole = {name for name, size in self.sizes.items() if size}
        names = (name[: -len(_PROPERTIES)] for name in whole if name.endswith(_PROPERTIES))
        return frozenset(
            name for name in names if any(whole.issuperset(name + end for end in ends) for ends in (_BLOSC2, _NUMPY))
        )

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(self.sizes.values())

    @cached_property
    def sha256(self) -> str:
        """SHA-256 over the lines ``<name> <size>``, sorted by name."""
        lines = (f"{name} {size}\n" for name, size in sorted(self.sizes.items()))
        return sha256("".join(lines).encode("utf-8", "surrogateescape"))

    @property
    def document(self) -> dict[str, Any]:
        """Their description in a preprocessing record."""
        return {"cases": len(self.cases), "bytes": self.bytes, "sha256": self.sha256}


def listing(folder: Path) -> Listing:
    """List a data folder; FileNotFoundError when there is none, UnreadableFolder when it cannot be listed."""
    with disk.reading(folder), os.scandir(folder) as entries:
        return Listing({entry.name: _size(entry) for entry in entries if entry.name.endswith(_MEMBER_ENDINGS)})


def _size(entry: os.DirEntry[str]) -> int:
    """Return the size of a file; 0 for a broken or circular link, and for a file that has just been deleted."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError:
        if entry.is_symlink():
            return 0
        raise
