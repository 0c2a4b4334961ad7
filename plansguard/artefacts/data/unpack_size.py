"""Estimate what nnU-Net unpacks before a training: ``.npz`` of nnU-Net up to 2.5 become ``.npy`` beside them.

Source: unpack_dataset in training/dataloading/utils.py, which nnU-Net 2.8.1 still calls for such folders.
"""

from __future__ import annotations

import math
from pathlib import Path

from plansguard.artefacts.data.array_headers import BrokenArray, read_members
from plansguard.artefacts.data.cases import DataFolder

#: Archives that are read; the others are assumed to be like them.
SAMPLED = 64
#: Length in bytes of the header of a .npy.
_HEADER = 128
_ENDINGS = {"data": ".npy", "seg": "_seg.npy"}


def bytes_to_unpack(folder: DataFolder) -> int:
    """Return the bytes of the ``.npy`` that do not exist yet: exact up to 64 cases, an estimate above.

    0 for folders of another format. Archives that cannot be read count as empty: PG506 reports them.
    """
    names = folder.names if folder.format == "npz" else ()
    if not names:
        return 0
    step = max(1, len(names) / SAMPLED)
    sample = [names[int(index * step)] for index in range(min(len(names), SAMPLED))]
    return round(sum(_missing(folder.path, name) for name in sample) / len(sample) * len(names))


def _missing(folder: Path, name: str) -> int:
    try:
        members = read_members(str(folder / f"{name}.npz"))
    except BrokenArray:
        return 0
    return sum(
        _HEADER + math.prod(header.shape) * int(header.dtype[2:])
        for member, header in members.items()
        if not (folder / f"{name}{_ENDINGS[member]}").exists()
    )
