"""The configurations that share a folder of preprocessed data, and what each of them would write into it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from plansguard.core.report import Location
from plansguard.records.preprocessing_inputs import FieldDifference, differing, place_in_plans
from plansguard.subjects.plans import Configuration, Plans
from plansguard.subjects.request import Request


class DataUser(NamedTuple):
    """A configuration that reads a folder of preprocessed data; ``judged`` is whether the request includes it."""

    plans: Plans
    configuration: Configuration
    judged: bool

    @property
    def inherits(self) -> bool:
        """Whether the data_identifier is inherited."""
        return self.configuration.origin("data_identifier") != self.configuration.name

    @property
    def identifier_at(self) -> Location:
        """The place of the data_identifier."""
        return self.configuration.at("data_identifier")

    def rank(self, identifier: str) -> tuple[int, bool, bool]:
        """Sort key, lowest for the owner of a folder: planners name it after plans and configuration."""
        plans = self.plans.identifier
        matched = len(plans) if identifier.startswith(plans) else 0
        return -matched, self.inherits, not identifier.endswith(f"_{self.configuration.name}")

    def at(self, field: str) -> Location:
        """The place of a field of the configuration's ``input``."""
        place = place_in_plans(self.plans.value, field)
        return self.configuration.at(field) if place is None else self.plans.at(*place)

    def differs_from(self, other: DataUser) -> list[FieldDifference]:
        """The fields of ``input`` that differ from those of ``other``, whose value comes first."""
        return differing(other.configuration.input, self.configuration.input)


def data_users(files: Iterable[Plans], request: Request) -> dict[str, list[DataUser]]:
    """The configurations that read each data folder, its owner first."""
    users: dict[str, list[DataUser]] = {}
    for plans in files:
        for configuration in plans.usable_configurations if not plans.problems else ():  # PG005 reports problems
            identifier = configuration.get("data_identifier")
            if identifier is not None:
                user = DataUser(plans, configuration, request.includes(plans, configuration))
                users.setdefault(identifier, []).append(user)
    for identifier, group in users.items():
        if len(group) > 1:
            group.sort(key=lambda user: user.rank(identifier))
    return users
