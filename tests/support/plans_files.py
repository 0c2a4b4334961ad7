"""Plans files of the fixtures, and edits of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.variants import FIXTURES, ROOTS

PREPROCESSED = FIXTURES / "workspace" / ROOTS["preprocessed"]
FILES = sorted(PREPROCESSED.glob("*/*Plans.json"))
CT, CASCADE = PREPROCESSED / "Dataset001_PretrainCT", PREPROCESSED / "Dataset005_CascadeCT"

Document = dict[str, Any]


def load(file: Path) -> Document:
    document: Document = json.loads(file.read_bytes())
    return document


def fullres(plans: Document) -> Document:
    configuration: Document = plans["configurations"]["3d_fullres"]
    return configuration


def edited(plans: Document, change: Callable[[Document], object]) -> Document:
    """An edited copy."""
    result = copy.deepcopy(plans)
    change(result)
    return result


def save(place: str | Path, document: Document) -> Path:
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).write_text(json.dumps(document, indent=4))
    return Path(place)
