"""The datasets of a road as they will be after the steps before, and what these steps are still to make."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from plansguard.commands.finetune.request import RoadRequest
from plansguard.commands.gate import GateRequest
from plansguard.commands.gate import judge as judge_command
from plansguard.core.errors import known
from plansguard.core.report import Report
from plansguard.core.text import listed
from plansguard.migration.plan import FIXED_LATER, OF_DATA
from plansguard.nnunet.command_line import command_line, parse
from plansguard.nnunet.workspace import Workspace
from plansguard.rules import RULES
from plansguard.rules.engine.declare import Rule
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.request import Reading

#: Rules about what a step of the road makes before this one: the weights, and the data.
_OF_WEIGHTS = {"weights-forgotten", "no-head-to-keep"}
_OF_MISSING_DATA = {"nothing-to-train-on", "no-room-to-unpack"}


@dataclass
class Side:
    """A dataset of the road.

    ``dataset`` contains the documents that the steps before write. ``plans`` is the identifier of the plans that train
    here. ``unplanned`` is the step that makes the plans from which these come: before it, nothing about them can be
    judged. ``lacks_data`` and ``lacks_weights`` are whether a step before makes the data or the weights,
    and ``replaces_plans`` whether one replaces the plans.
    """

    dataset: Dataset
    plans: str
    unplanned: str = ""
    lacks_data: bool = False
    lacks_weights: bool = False
    replaces_plans: bool = False

    def rules(self) -> list[Rule]:
        """The rules that can judge a training here now: not those about what a step is still to make."""
        needs = OF_DATA if self.lacks_data else frozenset()
        return [rule for rule in RULES if rule.info.name not in self._made and not needs & set(rule.needs)]

    def without_made(self, report: Report) -> Report:
        """The report without findings about what a step is still to make."""
        return replace(report, findings=tuple(one for one in report.findings if one.name not in self._made))

    @property
    def _made(self) -> set[str]:
        """Names of the rules about what a step is still to make."""
        lacks_fingerprint = known(lambda: self.dataset.fingerprint) is None
        names = set(FIXED_LATER) if lacks_fingerprint or self.lacks_data else set()
        names |= _OF_MISSING_DATA if self.lacks_data else set()
        return names | _OF_WEIGHTS if self.lacks_weights else names


def blocked_by(report: Report) -> str:
    """The codes of the findings that block a step, as the reason for its state; empty without any."""
    fail_on = report.fail_on.rank
    codes = dict.fromkeys(finding.code for finding in report.active if finding.severity.rank >= fail_on)
    return f"{listed(list(codes))}, see below" if codes else ""


@dataclass
class Context:
    """What all steps are made with; ``reports`` collects what the rules found for each of them."""

    workspace: Workspace
    request: RoadRequest
    reports: list[Report] = field(default_factory=list)

    def judge(self, words: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
        """Judge a command of nnU-Net as the gate does, and keep the report."""
        line = command_line(words)
        parsed = parse(line.name, line.arguments)
        assert parsed is not None  # the commands have no --help
        self.add(
            judge_command(
                GateRequest(
                    line=line,
                    parsed=parsed,
                    workspace=self.workspace,
                    environment=environment,
                    settings=self.request.settings,
                    reading=Reading("none"),
                    gpu_memory=self.request.gpu_memory,
                    accepted=tuple(self.request.accepted),
                )
            ).report
        )

    def add(self, report: Report) -> Report:
        """Keep a report as one of this road, and return it."""
        self.reports.append(replace(report, command="finetune"))
        return report

    @property
    def judging(self) -> list[str]:
        """The words by which commands of steps judge as the road does: accepted findings, and settings by name."""
        accepted = [word for one in self.request.accepted for word in ("--accept", one.code, "--because", one.because)]
        return [*accepted, *self.option(self.request.settings_file, "--settings")]

    def option(self, value: object, name: str) -> Iterable[str]:
        """The words of an option, none where it has no value."""
        return () if value is None else (name, str(value))
