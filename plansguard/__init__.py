"""Check the plans files of nnU-Net v2: report what does not fit before a GPU hour is spent on it.

    from plansguard import check

    report = check(["nnUNet_preprocessed/Dataset002_MyTarget"])
    for finding in report.findings:
        print(finding.severity, finding.code, finding.message)

The names below are imported on first use, so that the command line starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plansguard.commands.check import check as check
    from plansguard.core.report import Finding as Finding
    from plansguard.core.report import Report as Report
    from plansguard.core.report import Severity as Severity

__version__ = "0.1.0"

__all__ = ["Finding", "Report", "Severity", "__version__", "check"]

#: Public name -> the module that defines it.
_MODULES = {
    "check": "plansguard.commands.check",
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
