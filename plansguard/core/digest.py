"""SHA-256 of bytes and of JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def digest_of(headers: Mapping[str, str]) -> str:
    """One digest of those of all cases, by name."""
    return sha256(canonical(headers))


def canonical(value: Any) -> bytes:
    """One way to write a JSON value."""
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sha256(content: bytes) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    import hashlib

    return hashlib.sha256(content).hexdigest()
