"""SHA-256 digests of bytes and of JSON values, in hexadecimal."""

from __future__ import annotations

from typing import Any


def sha256(content: bytes) -> str:
    """The digest of these bytes."""
    import hashlib

    return hashlib.sha256(content).hexdigest()


def digest_of(value: Any) -> str:
    """The digest of a value's canonical JSON: sorted keys, no blanks."""
    import json

    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
