"""Temporary replacements of names in a module or an object of nnU-Net."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(names: dict[str, Any], by: Mapping[str, Any]) -> Iterator[None]:
    """Replace these names of a namespace, the ``vars`` of a module or an object, and restore them on exit."""
    before = {name: names[name] for name in by}
    names.update(by)
    try:
        yield
    finally:
        names.update(before)
