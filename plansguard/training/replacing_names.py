"""Temporary replacements of names in a module of nnU-Net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(names: dict[str, Any], by: Mapping[str, Any]) -> Iterator[None]:
    """Replace these names of a module's namespace, and restore them on exit."""
    before = {name: names[name] for name in by}
    names.update(by)
    try:
        yield
    finally:
        names.update(before)
