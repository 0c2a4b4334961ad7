"""Which corrections of a finding may be written: never those of files that others rely on as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plansguard.core import disk
from plansguard.core.report import Correction
from plansguard.documents.json_document import tokens
from plansguard.subjects.dataset import Dataset


def permitted(dataset: Dataset, corrections: Sequence[Correction]) -> tuple[Correction, ...]:
    """Return the corrections of a finding if all of them may be written, and none otherwise.

    The plans of a trained model describe its weights. A file behind a symbolic link, or in a folder behind one, may
    belong to another dataset. Migrated plans are described by the record beside them: only what the migration itself
    wrote may be restored.
    """
    if dataset.role == "model" or not all(_may_be_written(dataset, each) for each in corrections):
        return ()
    return tuple(corrections)


def _may_be_written(dataset: Dataset, correction: Correction) -> bool:
    path = Path(correction.location.path)
    if disk.is_link(path) or disk.is_link(path.parent.absolute()):
        return False
    plans = next((plans for plans in dataset.plans if plans.path == path), None)
    if plans is None or not dataset.has_record(plans):
        return True
    record = dataset.migration_record_beside(plans)
    return record is not None and record.restores(
        plans.document.raw, plans.identifier, tokens(correction.location.pointer), correction.value
    )
