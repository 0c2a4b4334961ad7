"""Parts of a page that are no findings and no figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A part of a page: lines, a table, and text that keeps its lines. ``folded`` is shown on request."""

    title: str
    lines: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    text: str = ""
    folded: bool = False
