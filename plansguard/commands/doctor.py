"""Judge the machine on which nnU-Net is to run: variables, packages, trainers, ids of datasets, disk."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import replace

import plansguard
from plansguard.commands.check import nearest_settings
from plansguard.core.report import Report
from plansguard.nnunet.install import packages
from plansguard.rules import RULES
from plansguard.rules.engine.needs import Level
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
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
    for folder in Setup.here().folders:
        yield f"{folder.variable}={folder.value}" if folder.value else f"{folder.variable} is not set"
