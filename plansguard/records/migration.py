"""The record that a migration leaves beside the plans it wrote: what is read from it, and when it holds.

Its fields are described in models/lineage.py. This is apart from the model so that neither ``migrate`` nor ``check``
needs pydantic for a record that is as it should be.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from plansguard.core.digest import sha256

SCHEMA = "plansguard/lineage/1"
#: How many earlier records of the same name a record holds: a name that is used again and again must not grow for ever.
MEMORY = 5


class ReplacedPlans(NamedTuple):
    """The file that stood under the name before: digest, name of the backup, and its own record if it had one."""

    sha256: str
    backup: str | None
    lineage: dict[str, Any] | None


class MigrationRecord:
    """A record whose fields have the right types.

    The record is written before the plans. The plans file alone decides which state holds: with the bytes named in
    ``to`` (or edited since) this record holds; with the bytes named in ``replaced`` the move never happened, and the
    record in there holds. So a process killed between the two writes leaves no half state.
    """

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        self.created: str = value["created"]
        self.workflow: str = value["workflow"]
        self.giving: str = value["from"]["dataset"]
        self.receiving: str = value["to"]["dataset"]
        self.identifier: str = value["to"]["plans"]
        self.written: str = value["to"]["sha256"]
        self.migrated: dict[str, Any] = value["migrated"]
        self.replaced = ReplacedPlans(**value["replaced"]) if value["replaced"] else None
        self.placed_dataset_json: str | None = value["placed_dataset_json"]

    def in_force(self, plans_content: bytes) -> MigrationRecord | None:
        """The record that is true of plans with these bytes: this one, that of the replaced file, or none."""
        old = self.replaced
        if old is None or old.sha256 == self.written or sha256(plans_content) != old.sha256:
            return self
        return MigrationRecord(old.lineage) if old.lineage else None

    def remembered(self, depth: int = MEMORY) -> dict[str, Any] | None:
        """The record as the next one keeps it, without what lies further back than ``depth`` migrations."""
        if depth == 0:
            return None
        if self.replaced is None or self.replaced.lineage is None:
            return self.value
        older = MigrationRecord(self.replaced.lineage).remembered(depth - 1)
        return {**self.value, "replaced": {**self.value["replaced"], "lineage": older}}

    def matches(self, plans_content: bytes, identifier: str, workflow: str) -> bool:
        """Whether this is the record of moving just these plans for this reason."""
        origin = self.value["from"]
        same_plans = origin["sha256"] == sha256(plans_content) and origin["plans"] == identifier
        return bool(same_plans) and self.workflow == workflow
