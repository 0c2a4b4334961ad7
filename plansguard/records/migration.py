"""The migration record: it is ``<identifier>.plansguard.json`` beside plans that were migrated or derived.

documents/models/migration_record.py describes its fields; this module needs no pydantic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from plansguard.core.digest import sha256
from plansguard.core.errors import Absent, known
from plansguard.documents.validation import problems

SCHEMA = "plansguard/lineage/1"
#: The workflow of plans that were changed in their own dataset. All others bring plans from another one.
DERIVE = "derive"
#: How many earlier records of the same name a record contains: the file must not grow with every migration.
MEMORY = 5


class ReplacedPlans(NamedTuple):
    """The file that had the name before: its digest, the name of the backup, and its own record if it had one."""

    sha256: str
    backup: str | None
    lineage: dict[str, Any] | None


class MigrationRecord:
    """A migration record whose fields have the right types, as `migration_record` returns it.

    The record is written before the plans. The bytes of the plans file decide which record is in force: the one in
    ``replaced`` where they are those named there, since the migration was not carried out then; this one otherwise,
    also where the plans were edited. So a process killed between the two writes leaves a consistent state.
    """

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        self.created: str = value["created"]
        self.workflow: str = value["workflow"]
        self.giving: str = value["from"]["dataset"] or ""  # of a derivation in no dataset's folder
        self.receiving: str = value["to"]["dataset"] or ""
        self.identifier: str = value["to"]["plans"]
        self.written: str = value["to"]["sha256"]
        self.migrated: dict[str, Any] = value["migrated"]
        self.replaced = ReplacedPlans(**value["replaced"]) if value["replaced"] else None
        self.placed_dataset_json: str | None = value["placed_dataset_json"]

    @property
    def between_datasets(self) -> MigrationRecord | None:
        """The migration that brought the plans: this one, or the one before they were derived; None for own plans.

        Absent where the record in this one is damaged.
        """
        if self.workflow != DERIVE:
            return self
        brought_by = (self.value.get("derivation") or {}).get("brought_by")
        return None if brought_by is None else migration_record(brought_by)

    def sets(self, configuration: str, key: str) -> bool:
        """Whether a field of a configuration, or a part of it, was set by the derivation, or by one before it."""
        paths = (self.value.get("derivation") or {}).get("set") or {}
        field = f"{configuration}.{key}"
        return any(path == field or path.startswith(f"{field}.") for path in paths)

    def in_force(self, plans_content: bytes) -> MigrationRecord | None:
        """The record that applies to plans with these bytes: this one, that of the replaced file, or none.

        Absent where the record in this one is damaged.
        """
        old = self.replaced
        if old is None or old.sha256 == self.written or sha256(plans_content) != old.sha256:
            return self
        return migration_record(old.lineage) if old.lineage else None

    def restores(self, plans_content: bytes, identifier: str, path: Sequence[str], value: Any) -> bool:
        """Whether a value at a place in plans with these bytes is what this migration wrote there.

        False for plans that another record describes: an edit would bring this one into force.
        """
        if self.identifier != identifier or known(lambda: self.in_force(plans_content)) is not self:
            return False
        part: Any = self.migrated
        for key in path:
            if not isinstance(part, dict) or key not in part:
                return False
            part = part[key]
        return bool(part == value)

    def truncated(self, depth: int = MEMORY) -> dict[str, Any] | None:
        """The record with at most ``depth`` migrations in it, as the next record keeps it."""
        if depth == 0:
            return None
        if self.replaced is None or self.replaced.lineage is None:
            return self.value
        older = self.replaced.lineage
        if (record := known(lambda: migration_record(older))) is None:
            return self.value  # a damaged one is kept as it is
        return {**self.value, "replaced": {**self.value["replaced"], "lineage": record.truncated(depth - 1)}}

    def matches(self, plans_content: bytes, identifier: str, workflow: str) -> bool:
        """Whether this records a migration of these plans with this workflow."""
        origin = self.value["from"]
        same_plans = origin["sha256"] == sha256(plans_content) and origin["plans"] == identifier
        return bool(same_plans) and self.workflow == workflow


def migration_record(value: Any) -> MigrationRecord:
    """Return the record with this value; Absent unless its fields, and those of its plans, have the right types."""
    if problems("MigrationRecord", value) or not isinstance(value["migrated"].get("configurations"), dict):
        raise Absent("a migration record is damaged: a field has a wrong type")
    return MigrationRecord(value)
