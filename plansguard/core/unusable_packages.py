"""What to say of installed packages that cannot be imported."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

from plansguard.core.errors import AT_A_LIMIT, UsageError
from plansguard.core.text import quoted

#: Variables that numexpr reads in this order, each as one number.
_NUMEXPR_VARIABLES = ("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS")

#: Characters of an ImportError that are shown; numpy's have many lines, one of which begins with these words.
_LONGEST_REASON = 300
_ORIGINAL = "Original error was: "

#: What the dynamic linker says where a library finds no memory: to install it again helps nothing.
_NO_MEMORY = ("failed to map segment", "cannot map zero-fill pages", "MemoryError")
#: What it adds on a file system that permits no programs.
_NOT_EXECUTABLE = "Operation not permitted"


def unusable_package(error: ImportError) -> UsageError:
    """The error to show where an installed package cannot be imported, such as one that was built for another glibc.

    What plansguard itself lacks is a fault of plansguard: then ``error`` is raised.
    """
    if (error.name or "").partition(".")[0] == "plansguard":
        raise error
    name = (_module_at(error.path) or error.name or _raising_module(error)).partition(".")[0]
    lines = [*filter(None, map(str.strip, str(error).splitlines())), type(error).__name__]
    originals = (line.removeprefix(_ORIGINAL) for line in lines if line.startswith(_ORIGINAL))
    reason = next(originals, lines[0])
    package = f"the package {name}" if name else "a package"
    return UsageError(f"{package} cannot be imported: {reason[:_LONGEST_REASON]}", hint=_hint(name, reason))


def lacks_memory(reason: str) -> bool:
    """Whether the text of an error of an import means that there was no memory for it."""
    return any(sign in reason for sign in _NO_MEMORY) and _NOT_EXECUTABLE not in reason


def assert_numexpr_loads() -> None:
    """Raise UsageError or RuntimeError (of a thread that cannot be started) where numexpr cannot be imported.

    blosc2 and nnU-Net import it. It raises ValueError for a list of numbers, which OpenMP takes, and it ends the
    process where it can start no thread.
    """
    if "numexpr" in sys.modules or find_spec("numexpr") is None:
        return
    variable = next((name for name in _NUMEXPR_VARIABLES if os.environ.get(name)), _NUMEXPR_VARIABLES[0])
    value = os.environ.get(variable, "")
    if value and not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", value):
        number = re.match(r"[1-9][0-9]{0,2}(?![0-9])", value)
        raise UsageError(
            f"{variable} is {quoted(value)}, and numexpr takes one number; blosc2 and nnU-Net import it",
            hint=f"export {variable}={number.group() if number else 1}",
        )
    Thread(target=int).start()


def _hint(name: str, reason: str) -> str:
    if lacks_memory(reason):
        return AT_A_LIMIT
    if name in sys.stdlib_module_names:
        return f"it belongs to Python itself: install {sys.executable} again, with the library that is named"
    return f"install it again for {sys.executable}: pip install --force-reinstall {_distribution(name)}"


def _module_at(path: str | None) -> str:
    """The dotted name of the module in a file; empty where it is unknown.

    An error of a shared library has only the last part of its module's name.
    """
    file = Path(path or "")
    names = [".".join(file.relative_to(folder).parts) for folder in sys.path if file.is_relative_to(folder)]
    return min(names, key=len, default="")  # a folder of packages lies within that of the standard library


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
