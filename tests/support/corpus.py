"""Real files from public repositories, in a folder beside the checkout."""

from __future__ import annotations

import csv
from typing import Any

import pytest

from tests.conftest import CORPUS

#: Kind in the manifest -> kind that plansguard recognises.
KINDS = {"plans": "plans", "dataset": "dataset.json", "fingerprint": "fingerprint", "splits": "splits", "other": None}


def corpus(*kinds: str) -> list[Any]:
    """Parameters: path and kind of every file of the corpus, or of the files of these kinds in the manifest."""
    if not CORPUS.is_dir():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason="there is no ../shared/corpus"))]
    with (CORPUS / "manifest.tsv").open(encoding="utf-8") as manifest:
        rows = [row for row in csv.DictReader(manifest, delimiter="\t") if not kinds or row["kind"] in kinds]
    return [pytest.param(CORPUS / row["local path"], KINDS[row["kind"]], id=row["local path"]) for row in rows]
