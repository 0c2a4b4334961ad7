"""What to say of installed packages that cannot be imported."""

from __future__ import annotations

import sys

from plansguard.core.errors import UsageError

#: Characters of an ImportError that are shown; numpy's have many lines.
_LONGEST_REASON = 300


def unusable_package(error: ImportError) -> UsageError:
    """The error to show where an installed package cannot be imported, such as one that was built for another glibc.

    What plansguard itself lacks is a fault of plansguard: then ``error`` is raised.
    """
    if (error.name or "").partition(".")[0] == "plansguard":
        raise error
    name = (error.name or _raising_module(error)).partition(".")[0]
    reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
    package = f"the package {name}" if name else "a package"
    hint = f"install it again for {sys.executable}: pip install --force-reinstall {_distribution(name)}"
    return UsageError(f"{package} cannot be imported: {reason[:_LONGEST_REASON]}", hint=hint)


def _raising_module(error: ImportError) -> str:
    """The module that raised an error; empty where the traceback does not lead to it, as from another process."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return "" if name.partition(".")[0] in {"plansguard", *sys.stdlib_module_names} else name


def _distribution(module: str) -> str:
    """The name under which pip knows a module."""
    from importlib.metadata import packages_distributions  # slow, and needed for this message only

    return packages_distributions().get(module, [module or "PACKAGE"])[0]
