"""Judge the machine on which nnU-Net is to run: variables, packages, trainers, ids of datasets, disk."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import replace

import plansguard
from plansguard.commands.check import nearest_settings
from plansguard.core.report import Report
from plansguard.core.text import counted, in_bytes
from plansguard.nnunet.install import packages
from plansguard.rules import RULES
from plansguard.rules.engine.needs import Level
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects import machine
from plansguard.subjects.setup import Setup

#: The packages whose versions are named first in every report of a fault.
_NAMED = ("nnunetv2", "torch", "torchvision", "dynamic_network_architectures", "numpy")


def doctor(settings: ActiveSettings | None = None) -> Report:
    """Judge the environment of this process. Nothing is written, and torch is loaded in another process only.

    ``settings`` defaults to those nearest to the current folder.
    """
    checks = [rule for rule in RULES if rule.level in (Level.INSTALLATION, Level.SETUP)]
    rules = [*checks, *(rule for rule in RULES if rule.level is Level.RUN_END)]
    settings = settings or nearest_settings([])
    report = run_rules("doctor", [], [], setup=Setup.here(), settings=settings, rules=rules)
    return replace(report, documents=len(checks) - len({skipped.code for skipped in report.not_checked}))


def described() -> Iterator[str]:
    """The environment in a few lines: versions and folders."""
    present = [f"{name} {version}" for name in _NAMED if (version := packages.version(name)) is not None]
    yield f"plansguard {plansguard.__version__}, Python {platform.python_version()} ({sys.executable})"
    yield ", ".join(present) or "nnU-Net is not installed here"
    yield from _described_machine()
    for folder in Setup.here().folders:
        yield f"{folder.variable}={folder.value}" if folder.value else f"{folder.variable} is not set"


def _described_machine() -> Iterator[str]:
    """What a process may use, and what limits it to less than the machine has."""
    of = machine.here()
    if of.cores is not None:
        memory = "" if of.memory is None else f", {in_bytes(int(of.memory.amount))} of memory{_by(of.memory)}"
        yield f"{machine.in_cores(of.cores.amount)}{_by(of.cores)}{memory}"
    if of.shared is not None:
        yield f"{in_bytes(of.shared.total)} of shared memory in /dev/shm"
    if of.open_files is not None:
        yield f"{counted(of.open_files, 'open file')} of a process"


def _by(limit: machine.Limit) -> str:
    return "" if limit.source == machine.WHOLE else f" ({limit.source})"
