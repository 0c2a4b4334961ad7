"""Installed packages: the nnU-Nets that may run, versions, requirements, edited files.

No package is imported in this process. The sources are pip's metadata, ``sys.path`` and the files on disk.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plansguard.core import disk
from plansguard.core.errors import Absent
from plansguard.core.programs import find_program
from plansguard.core.unusable_packages import lacks_memory
from plansguard.nnunet.constants import NNUNET_PACKAGE
from plansguard.nnunet.install.python_sources import folder_of

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_COMMAND = "nnUNetv2_train"
#: A script of pip begins with its interpreter; where that path is too long, with a shell that starts it.
_SHEBANG = re.compile(
    r"#!\s*(?P<program>\S+)(?:[ \t]+(?P<argument>\S+))?[^\n]*\n(?:'''exec' \"?(?P<long>[^\"\n]+?)\"? \"\$0\")?"
)
_LONGEST_HEAD = 4096
#: Seconds for the import of a module: torch takes twenty on a slow network drive.
_LONGEST_IMPORT = 120
_COMPARISONS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


class Installations(NamedTuple):
    """The nnU-Nets that may be meant.

    ``imported`` is the folder of the package that this Python imports, ``shadowed`` are those behind it in
    ``sys.path``. ``command`` is the nnUNetv2_train on PATH, ``interpreter`` the Python that runs it, and
    ``is_ours`` states whether that is the Python of this environment. None where there is none, or it is unknown.
    """

    imported: Path | None
    shadowed: tuple[Path, ...]
    command: Path | None
    interpreter: Path | None
    is_ours: bool | None


def nnunet_installations() -> Installations:
    """The nnU-Nets in ``sys.path`` and on PATH."""
    imported = folder_of(NNUNET_PACKAGE)
    folders = [Path(entry or ".").absolute() / NNUNET_PACKAGE for entry in sys.path]
    packages = dict.fromkeys(disk.real(folder) for folder in folders if disk.is_file(folder / "__init__.py"))
    shadowed = tuple(folder for folder in packages if imported is not None and folder != disk.real(imported))
    command = find_program(_COMMAND)
    if command is None:
        return Installations(imported, shadowed, None, None, None)
    interpreter = _interpreter(Path(command))
    if interpreter is None:
        return Installations(imported, shadowed, Path(command), None, None)
    ours = Path(sys.executable)  # the Pythons of virtual environments link to the same program
    same = disk.real(interpreter) == disk.real(ours) and _environment(interpreter) == _environment(ours)
    return Installations(imported, shadowed, Path(command), interpreter, same)


def edited_since_installed(path: Path, package: str = NNUNET_PACKAGE) -> bool | None:
    """Whether a file of an installed package differs from the one that was installed.

    None where that is unknown: an installation from a clone, or a file that did not come with the package.
    """
    distribution = _distribution(package)
    for line in ((distribution and distribution.read_text("RECORD")) or "").splitlines():
        name, _, rest = line.rpartition(",")[0].rpartition(",")
        if Path(name).name == path.name and rest.startswith("sha256="):
            with suppress(OSError):
                if distribution is not None and disk.are_same(str(distribution.locate_file(name)), path):
                    return _sha256(path) != rest.removeprefix("sha256=")
    return None


# --- Versions


def version(package: str) -> str | None:
    """The version of an installed package, as it is written; None where it is not installed."""
    distribution = _distribution(package)
    return None if distribution is None else distribution.version


def nnunet_version() -> tuple[int, ...] | None:
    """The version of the installed nnunetv2, as numbers; None where none is installed."""
    return _numbers(NNUNET_PACKAGE)


def torch_version() -> tuple[int, ...] | None:
    """The version of the installed torch, as numbers; None where none is installed."""
    return _numbers("torch")


def _numbers(package: str) -> tuple[int, ...] | None:
    return _numbers_along(package, tuple((folder or ".", disk.modified(folder or ".")) for folder in sys.path))


#: pip's folder of metadata: the name of the package, in which pip may write _ for - and another case, and its version.
_METADATA = re.compile(r"(.+)-([^-]+)\.dist-info")


def _plain(package: str) -> str:
    """The name of a package as packages are compared: without case, and with one character for ``-_.``."""
    return re.sub(r"[-_.]+", "-", package).lower()


@lru_cache(maxsize=16)
def _numbers_along(package: str, folders: tuple[tuple[str, float | None], ...]) -> tuple[int, ...] | None:
    """The version in the name of pip's folder of metadata, such as nnunetv2-2.8.1.dist-info.

    importlib.metadata, which takes longer to load than a check, reads the metadata that have no such folder. The times
    of the folders are part of the key: a package may be installed meanwhile.
    """
    text = None
    for folder, _ in folders:
        with suppress(OSError):
            entries = disk.entries(folder)
            first = package[:1].lower()
            names = sorted(name for name in entries.files | entries.folders if name[:1].lower() == first)
            matches = (_METADATA.fullmatch(name) for name in names)
            text = next((match[2] for match in matches if match and _plain(match[1]) == _plain(package)), None)
            eggs = any(".egg" in name and _plain(name).startswith(_plain(package)) for name in names)
            text = text or (version(package) if eggs else None)
        if text is not None:
            return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
    return None


def dotted(version: tuple[int, ...]) -> str:
    """``2.8.1``."""
    return ".".join(map(str, version))


def requirement(package: str, of: str = NNUNET_PACKAGE) -> str | None:
    """The versions of a package that another one requires: ``!=2.9.*,>=2.1.2``; None where it requires none."""
    distribution = _distribution(of)
    for line in (distribution and distribution.requires) or ():
        match = re.fullmatch(rf"{re.escape(package)}\s*\(?([<>=!~][^;()\[\]]*)?\)?", line.strip())
        if match:
            return match[1] and match[1].strip()
    return None


class Requirement(NamedTuple):
    """A package that another one asks for, as in ``pip install``, and its installed version in words."""

    asked: str
    present: str


def python_required(package: str) -> str | None:
    """The versions of Python that an installed package supports; None where it does not say."""
    distribution = _distribution(package)
    if distribution is None or "Requires-Python" not in distribution.metadata:
        return None
    return str(distribution.metadata["Requires-Python"])


def unfulfilled(package: str, besides: Sequence[str] = ()) -> Iterator[Requirement]:
    """The requirements of an installed package, other than extras and those ``besides``, that are not fulfilled."""
    distribution = _distribution(package)
    for line in (distribution and distribution.requires) or ():
        match = re.fullmatch(r"([\w.-]+)\s*\(?([<>=!~][^;()\[\]]*)?\)?", line.strip())
        if match is None or match[1] in besides:
            continue
        name, asked, present = match[1], (match[2] or "").strip(), version(match[1])
        if present is None or (asked and not fulfils(_numbers(name) or (), asked)):
            yield Requirement(name + asked, "not installed" if present is None else f"{present} is installed")


def import_error(module: str) -> str | None:
    """Why another process of this Python cannot import a module: the last line of its error.

    None where it can, or where that takes too long. Absent where no other process can be started, or has no memory.
    """
    import json
    import subprocess

    program = "import json, sys; sys.path[:] = json.loads(sys.argv[1]) + sys.path[1:]; __import__(sys.argv[2])"
    command = [sys.executable, "-c", program, json.dumps([entry for entry in sys.path if entry]), module]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_LONGEST_IMPORT
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:  # a limit of processes or memory
        raise Absent(f"no other process of {sys.executable} can be started: {error.strerror}") from error
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode and lines and lacks_memory(lines[-1]):
        raise Absent(f"there is no memory to import {module}: {lines[-1]}")
    return (lines[-1] if lines else f"exit code {done.returncode}") if done.returncode else None


def fulfils(version: Sequence[int], specifiers: str) -> bool:
    """Whether a version meets specifiers: ``>=2.1.2,!=2.9.*``. Those that cannot be read exclude nothing."""
    return all(_fulfils(tuple(version), specifier.strip()) for specifier in specifiers.split(","))


def _fulfils(version: tuple[int, ...], specifier: str) -> bool:
    match = re.fullmatch(r"(==|!=|<=|>=|<|>|~=)\s*([0-9]+(?:\.[0-9]+)*)(\.\*)?", specifier)
    if match is None:
        return True
    named = tuple(map(int, match[2].split(".")))
    length = len(named) if match[3] else max(len(named), len(version))
    padded, other = ((*numbers, *[0] * length)[:length] for numbers in (version, named))
    if match[1] == "~=":
        return padded >= other and padded[: len(named) - 1] == other[: len(named) - 1]
    return _COMPARISONS[match[1]](padded, other)


def _distribution(package: str) -> Distribution | None:
    from importlib.metadata import PackageNotFoundError, distribution  # slow to load, and rarely needed

    try:
        return distribution(package)
    except PackageNotFoundError:
        return None


# --- Files


def _sha256(path: Path) -> str:
    """In the form that RECORD uses."""
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    return urlsafe_b64encode(sha256(disk.content(path)).digest()).rstrip(b"=").decode()


def _interpreter(script: Path) -> Path | None:
    """The Python that runs a script; None for a program of another kind."""
    with suppress(OSError), disk.open_file(script) as stream:
        match = _SHEBANG.match(stream.read(_LONGEST_HEAD).decode(errors="replace"))
        if match is None:
            return None
        program = match["long"] or match["program"]
        if Path(program).name == "env" and match["argument"]:
            program = find_program(match["argument"]) or ""
        return Path(program) if "python" in Path(program).name else None
    return None


def _environment(interpreter: Path) -> Path | None:
    """The folder of a virtual environment; None for any other Python."""
    folder = interpreter.parent.parent
    return disk.real(folder) if disk.is_file(folder / "pyvenv.cfg") else None
