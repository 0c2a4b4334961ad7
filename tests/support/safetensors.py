"""Small safetensors files, written without their library."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

_BYTES = {"F32": 4, "F16": 2, "I64": 8}


def entry(kind: str, shape: tuple[int, ...], start: int) -> dict[str, Any]:
    """Return the entry of a tensor that begins there."""
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, start + prod(shape) * _BYTES[kind]]}


def write(path: Path, header: Mapping[str, Any], content: bytes) -> Path:
    """Write a header and what follows it."""
    raw = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + content)
    return path


def save(path: Path, tensors: Mapping[str, Any]) -> Path:
    """Write tensors of float32."""
    header, content = {}, b""
    for name, tensor in tensors.items():
        header[name] = entry("F32", tuple(tensor.shape), len(content))
        content += tensor.contiguous().numpy().tobytes()
    return write(path, header, content)
