"""SHA-256 digests of bytes and of JSON values, in hexadecimal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sha256(content: bytes) -> str:
    """The digest of these bytes."""
    import hashlib

    return hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> bytes:
    """The canonical JSON of a value: sorted keys, no blanks."""
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest_of(headers: Mapping[str, str]) -> str:
    """One digest over the digests of all cases' headers, by case name."""
    return sha256(canonical(headers))
