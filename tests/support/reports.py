"""Plans with faults, for reports about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.variants import FIXTURES, ROOTS

DATASET = FIXTURES / "workspace" / ROOTS["preprocessed"] / "Dataset002_FinetuneCT"
RULE_PAGES = "https://github.com/plansguard/plansguard/blob/main/docs/rules"
BROKEN = ("3d_fullres", [56, 70, 64])
EVIL = "x\n::error::owned\x1b[31m\u202e\x07"


def plans(*patches: tuple[str, list[int]], **top: Any) -> dict[str, Any]:
    """Good plans with other patch sizes in some configurations, and other fields at the top."""
    document: dict[str, Any] = json.loads((DATASET / "nnUNetPlans.json").read_bytes())
    for name, patch in patches:
        document["configurations"][name]["patch_size"] = patch
    return {**document, **top}


def save(place: str | Path, document: dict[str, Any]) -> None:
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).write_text(json.dumps(document, indent=4))


def evil_plans() -> dict[str, Any]:
    """Plans whose names try to clear the screen, to begin a line and to write from right to left."""
    document = plans(BROKEN)
    document["configurations"][EVIL] = {**document["configurations"].pop("3d_fullres")}
    document["configurations"]["2d"]["normalization_schemes"] = [EVIL]
    document["configurations"]["2d"]["inherits_from"] = f"{EVIL}\ud800"
    return document
