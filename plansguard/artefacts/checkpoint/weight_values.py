"""The first values of the parameters in a checkpoint: are they numbers?"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from math import isfinite

from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
from plansguard.artefacts.checkpoint.storage_bytes import StorageBytes, storage_bytes
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument

#: Bytes of each parameter that are read: a diverged training leaves no number in any of them.
_READ = 1024
#: Parameters that are read. The largest preset has 600; a file that was made to be slow may claim any number.
_MOST = 2000
#: torch's name of a type of numbers -> struct's. bfloat16 is the upper half of a float32.
_FORMATS = {"float64": "d", "float32": "f", "float16": "e", "bfloat16": "f"}


def not_finite(checkpoint: Checkpoint) -> list[str]:
    """Return the parameters of which one of the first values is NaN or infinite.

    Parts that cannot be read are skipped; `Checkpoint.damage` names them.
    """
    if not disk.is_file(checkpoint.path):
        return []  # a checkpoint in an archive, or an unpacked one
    try:
        with storage_bytes(checkpoint) as storages:
            return [*_not_finite(checkpoint, storages)]
    except UnreadableDocument:
        return []


def _not_finite(checkpoint: Checkpoint, storages: StorageBytes) -> Iterator[str]:
    judged: dict[tuple[str, str], bool] = {}
    for name, tensor in islice(checkpoint.parameters.items(), _MOST):
        key = tensor.key, tensor.dtype
        if tensor.dtype in _FORMATS and tensor.key and tensor.key in storages:
            if key not in judged:
                judged[key] = all(map(isfinite, _numbers(storages.head(tensor.key, _READ), tensor.dtype)))
            if not judged[key]:
                yield name


def _numbers(raw: bytes, dtype: str) -> Iterator[float]:
    if dtype == "bfloat16":
        raw = b"".join(b"\0\0" + raw[at : at + 2] for at in range(0, len(raw) - 1, 2))
    form = struct.Struct(f"<{_FORMATS[dtype]}")
    whole = len(raw) - len(raw) % form.size
    return (number for (number,) in form.iter_unpack(raw[:whole]))
