"""The training record: what a training was started with. It is ``plansguard_receipt.json`` beside the results.

documents/models/training_record.py describes its fields. nnU-Net ignores the file. Every start is added to it, so that
a finding accepted at the first start is still reported after the tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import plansguard
from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.core.text import brief
from plansguard.documents import json_document
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.documents.recognise import recognise
from plansguard.documents.validation import problems

SCHEMA = "plansguard/receipt/1"
#: How many starts are listed. The first one of the training that was continued last is always among them.
MOST_STARTS = 100
#: Fields in which starts that are otherwise the same differ.
_TIMES = ("started", "last", "times")
Start = dict[str, Any]


def read_record(path: Path) -> dict[str, Any]:
    """A training record whose fields have the right types; UnreadableDocument for anything else."""
    document = json_document.read(path)
    value = document.value
    if recognise(value) != "receipt":
        raise UnreadableDocument(
            str(path), "this is not a training record", hint="move it away: plansguard train writes one"
        )
    if value["schema"] != SCHEMA:
        raise UnreadableDocument(
            str(path),
            f"this training record is a {brief(value['schema'])}, "
            f"and this plansguard {plansguard.__version__} reads {SCHEMA}",
            hint="pip install --upgrade plansguard",
        )
    for problem in problems("TrainingRecord", value)[:1]:
        field = ".".join(map(str, problem.tokens)) or "the document"
        place = document.position(json_document.pointer(*problem.tokens))
        line, column = (None, None) if place is None else (place.line, place.column)
        shown = "missing" if problem.missing else brief(problem.value)
        reason = f"{field}: {problem.expected}, but it is {shown}"
        raise UnreadableDocument(str(path), reason, hint="it was edited or damaged", line=line, column=column)
    if not value["starts"]:
        raise UnreadableDocument(str(path), "this training record has no start", hint="it was edited or damaged")
    return value  # type: ignore[no-any-return]


def recorded_weights(model_folder: Path) -> list[str] | None:
    """Paths of the weights, as typed, with which trainings of the folds of a model began; None without a record."""
    paths, is_recorded = [], False
    for path in disk.matching(model_folder, f"fold_*/{TRAINING_RECORD_NAME}"):
        is_recorded = True
        with suppress(UnreadableDocument):
            paths += [start["weights"]["path"] for start in read_record(path)["starts"] if start["weights"] is not None]
    return paths if is_recorded else None


def merged(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Both records in one. A start that differs from the last one only in its time is counted, not listed."""
    starts, left_out = [*earlier["starts"]], int(earlier["left_out"])
    for start in later["starts"]:
        before = starts[-1]
        if all(before[key] == start[key] for key in start if key not in _TIMES):
            starts[-1] = {**before, "last": start["last"], "times": before["times"] + start["times"]}
            continue
        starts.append(start)
        if len(starts) > MOST_STARTS:
            del starts[0 if first_start(starts) else 1]
            left_out += 1
    return {**later, "starts": starts, "left_out": left_out, "cases": later["cases"] or earlier["cases"]}


def first_start(starts: Sequence[Start]) -> int:
    """Index of the start that began the latest training: the last one that did not continue another."""
    return max((number for number, start in enumerate(starts) if not start["training"]["continues"]), default=0)


def accepted_in(starts: Iterable[Start]) -> list[tuple[str, str]]:
    """Code and name of every accepted finding, and the reason; each once, in the order of the starts."""
    findings = (finding for start in starts for finding in start["findings"] if finding["accepted"] is not None)
    return [*dict.fromkeys((f"{finding['code']} {finding['name']}", finding["accepted"]) for finding in findings)]
