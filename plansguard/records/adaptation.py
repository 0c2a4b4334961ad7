"""The adaptation record: where the parameters of adapted weights come from. ``plansguard adapt`` writes it.

It is in the checkpoint, under a key of its own that nnU-Net ignores, and beside it as ``<name>.adaptation.json``.
documents/models/adaptation_record.py describes its fields.
"""

from __future__ import annotations

from pathlib import Path

SCHEMA = "plansguard/adaptation/1"
#: The ending of the record's name beside it.
ENDING = ".adaptation.json"


def record_path(checkpoint: Path) -> Path:
    """The path of the record beside adapted weights."""
    return checkpoint.with_name(checkpoint.stem + ENDING)
