"""Check the plans files of nnU-Net v2: report what does not fit before a GPU hour is spent on it.

    from plansguard import check

    report = check(["nnUNet_preprocessed/Dataset002_MyTarget"])
    for finding in report.findings:
        print(finding.severity, finding.code, finding.message)

The names below are imported on first use, so that the command line starts fast. docs/python.md has examples of all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint as read_checkpoint
    from plansguard.cli.html_page import in_notebook as in_notebook
    from plansguard.commands.check import check as check
    from plansguard.commands.diff import diff as diff
    from plansguard.commands.fit import fit as fit
    from plansguard.commands.show import show as show
    from plansguard.core.errors import PlansguardError as PlansguardError
    from plansguard.core.report import Finding as Finding
    from plansguard.core.report import Report as Report
    from plansguard.core.report import Severity as Severity

__version__ = "0.2.0"

__all__ = [
    "Finding",
    "PlansguardError",
    "Report",
    "Severity",
    "__version__",
    "check",
    "diff",
    "fit",
    "read_checkpoint",
    "show",
]

#: Name -> the module that defines it; ``in_notebook`` is what ``Report`` shows in a notebook.
_MODULES = {
    "check": "plansguard.commands.check",
    "in_notebook": "plansguard.cli.html_page",
    "diff": "plansguard.commands.diff",
    "fit": "plansguard.commands.fit",
    "show": "plansguard.commands.show",
    "read_checkpoint": "plansguard.artefacts.checkpoint.checkpoint",
    "PlansguardError": "plansguard.core.errors",
    "Finding": "plansguard.core.report",
    "Report": "plansguard.core.report",
    "Severity": "plansguard.core.report",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
