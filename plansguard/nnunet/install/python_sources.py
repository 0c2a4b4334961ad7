"""Python sources, parsed and never imported: where modules are, what names stand for, why an import fails.

Class statements, imports, ``*``, plain aliases, and packages found through ``sys.path`` are followed. What only running
the code could decide is `Unread.UNKNOWN`.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plansguard.core import disk
from plansguard.nnunet.constants import NETWORK_PACKAGE, NNUNET_PACKAGE

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

#: Bytes. Larger files are not parsed.
_LARGEST = 2**20
#: Packages that are not searched for names.
_FOREIGN = frozenset(sys.stdlib_module_names) | {"torch", "numpy"}
#: Packages that consist of sources only: a module or name that is not found in them does not exist.
_COMPLETE = frozenset({NNUNET_PACKAGE, NETWORK_PACKAGE, "batchgenerators", "batchgeneratorsv2"})
_DYNAMIC = "__getattr__"
#: Limit for imports that lead to one another, and for nested packages.
_DEEPEST = 64


class ImportFault(NamedTuple):
    """Why the import of a module fails: file, line, and one clause."""

    path: Path
    line: int
    what: str


@dataclass(frozen=True, eq=False)
class ClassStatement:
    """A class statement in a module, with what its bases are bound to where it is reached."""

    module: Module
    node: ast.ClassDef
    bases: tuple[Binding, ...]


class Unread(Enum):
    """What a name stands for if no class statement of it was read: FOREIGN belongs to Python, torch or numpy."""

    UNKNOWN = "unknown"
    FOREIGN = "foreign"


Binding = ClassStatement | tuple[str, ...] | None
"""A class statement, dotted names of which the first that exists is meant, or None for any other value."""
Meaning = ClassStatement | Unread | None
"""What a name stands for; None where the module has no such name."""


def spec_of(package: str) -> ModuleSpec | None:
    """Where a new Python process would find a top-level package or module; None where it would not.

    Unlike importlib.util.find_spec, modules that this process has loaded do not count.
    """
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(package, None) if find is not None else None
        if spec is not None:
            return spec
    return None


def folder_of(package: str) -> Path | None:
    """The folder of an installed package; None where it is not installed."""
    spec = spec_of(package)
    return next((Path(path) for path in (spec and spec.submodule_search_locations) or ()), None)


def is_loaded(name: str) -> bool:
    """Whether nnU-Net loads a module of this name before it looks for trainers: another one is never imported."""
    return name in ("torch", "numpy", NNUNET_PACKAGE) or (name in sys.stdlib_module_names and name in sys.modules)


def written(node: ast.AST) -> str:
    """The source of a node; dots where it is nested too deep."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return "..."


class Module:
    """One source file and the name by which it is imported.

    ``folders`` are those of a package's modules, else empty. ``path`` is None for a package without ``__init__.py``.
    """

    def __init__(self, path: Path | None, name: str, folders: Sequence[Path] = ()) -> None:
        self.path = path
        self.name = name
        self.folders = folders
        self.stars: list[str] = []
        """Modules of which ``names`` imports ``*``."""

    @cached_property
    def source(self) -> bytes:
        """The file's bytes; empty where it cannot be read or is too large."""
        if self.path is not None:
            with suppress(OSError), disk.open_file(self.path) as file:
                source = file.read(_LARGEST + 1)
                return source if len(source) <= _LARGEST else b""
        return b""

    def may_have(self, name: str) -> bool:
        """Whether the bytes leave it possible that the module has this name."""
        return any(word in self.source for word in (os.fsencode(name), b"import *", _DYNAMIC.encode()))

    @cached_property
    def tree(self) -> ast.Module | ImportFault:
        """The parsed source, or why it cannot be read or parsed."""
        assert self.path is not None
        try:
            disk.open_file(self.path).close()
            return _parse(self.source)
        except OSError as error:
            return ImportFault(self.path, 1, f"it cannot be read: {error.strerror or error}")
        except SyntaxError as error:
            return ImportFault(self.path, error.lineno or 1, f"it is no valid Python ({error.msg})")
        except ValueError:
            return ImportFault(self.path, 1, "it is no valid Python")
        except (RecursionError, MemoryError):
            return ImportFault(self.path, 1, "it is nested too deeply, or there is no memory to parse it")

    @cached_property
    def names(self) -> dict[str, Binding]:
        """What the module's statements bind. A module that cannot be parsed may have any name."""
        names: dict[str, Binding] = {}
        if isinstance(self.tree, ImportFault):
            return {_DYNAMIC: None}
        for node in _statements(self.tree.body):
            if isinstance(node, ast.ClassDef):
                names[node.name] = ClassStatement(self, node, tuple(self._value(base, names) for base in node.bases))
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names[node.name] = None
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    value = self._value(node.value, names) if isinstance(target, ast.Name) else None
                    parts = (part for part in ast.walk(target) if isinstance(part, ast.Name))
                    names.update((part.id, value) for part in parts if isinstance(part.ctx, ast.Store))
            for origin, name, bound in self.imported(node):
                if name == "*":
                    self.stars.append(origin)
                elif name is not None:
                    names[bound] = (f"{origin}.{name}",)
                else:
                    names[bound] = (bound if origin.startswith(f"{bound}.") else origin,)
        return names

    def _value(self, expression: ast.expr, names: dict[str, Binding]) -> Binding:
        """What a name or a dotted name is bound to at this point; None for any other expression."""
        if not isinstance(expression, (ast.Name, ast.Attribute)):
            return None
        head, dot, rest = written(expression).partition(".")
        if head not in names:
            builtin = [f"builtins.{head}"] if hasattr(builtins, head) else []
            return tuple(f"{name}{dot}{rest}" for name in [*(f"{star}.{head}" for star in self.stars), *builtin])
        bound = names[head]
        if not dot:
            return bound
        return tuple(f"{name}.{rest}" for name in bound) if isinstance(bound, tuple) else None

    def imported(self, node: ast.AST) -> Iterator[tuple[str, str | None, str]]:
        """For each import in a statement: the module, the name in it or None for itself, and the name that is bound."""
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, alias.asname or alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((self._origin(node), alias.name, alias.asname or alias.name) for alias in node.names)

    def _origin(self, node: ast.ImportFrom) -> str:
        """The module that ``from ... import`` names; dots that lead out of the outermost package remain."""
        package = self.name.split(".") if self.folders else self.name.split(".")[:-1]
        kept = len(package) - node.level + 1
        if node.level and kept < 1:
            return "." * node.level + (node.module or "")
        return ".".join([*(package[:kept] if node.level else ()), *([node.module] if node.module else ())])


@lru_cache(maxsize=32)  # nnU-Net's own modules are read again by each search of one process
def _parse(source: bytes) -> ast.Module:
    """Parse a source; its warnings are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All statements outside functions and classes; of alternatives, the likeliest comes last and so binds names."""
    for node in body:
        yield node
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in ("handlers", "orelse", "body", "finalbody"):
                yield from _statements(getattr(node, part, ()))


class Sources:
    """The modules that one search reads, each once. ``first`` is a folder in front of ``sys.path``."""

    def __init__(self, first: Path | None = None) -> None:
        self.first = first
        self._located: dict[str, Module | None] = {}

    def locate(self, dotted: str) -> Module | None:
        """The module of this name; None where it is not found as a source."""
        if dotted.startswith(".") or dotted.count(".") > _DEEPEST:
            return None
        if dotted not in self._located:
            parent, _, name = dotted.rpartition(".")
            package = self.locate(parent) if parent else None
            if parent:
                self._located[dotted] = None if package is None else _module_in(package.folders, name, dotted)
            else:
                self._located[dotted] = self._top_level(name)
        return self._located[dotted]

    def _top_level(self, name: str) -> Module | None:
        local = None if self.first is None or is_loaded(name) else _module_in([self.first], name, name)
        spec = spec_of(name) if local is None or local.path is None else None
        if spec is None:
            return local
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        path = Path(spec.origin) if spec.origin is not None and spec.origin.endswith(".py") else None
        return None if path is None and not folders else Module(path, name, folders)

    def is_installed(self, dotted: str) -> bool:
        """Whether a package is there, and, of one that consists of sources only, the module."""
        top = dotted.partition(".")[0]
        if top in _COMPLETE:
            return self.locate(dotted) is not None
        return top in sys.stdlib_module_names or self.locate(top) is not None or spec_of(top) is not None

    def has_packages(self, module: Module) -> bool:
        """Whether all packages are installed that imports at the beginning of a line name."""
        names = re.findall(rb"^(?:from|import)[ \t]+(\w+)", module.source, re.MULTILINE)
        return all(self.is_installed(name.decode(errors="replace")) for name in dict.fromkeys(names))

    def meaning(self, module: Module, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Meaning:
        """What ``module.name`` stands for after the import of the module."""
        if (module.name, name) in seen or module.path is None:
            return None
        if len(seen) == _DEEPEST:
            return Unread.UNKNOWN
        seen |= {(module.name, name)}
        if name in module.names:
            return self.resolve(module.names[name], seen)
        stars = module.stars if not name.startswith("_") else ()
        meanings = (self.dotted_meaning(f"{star}.{name}", seen) for star in stars)
        unbound = Unread.UNKNOWN if _DYNAMIC in module.names else None
        return next((meaning for meaning in meanings if meaning is not None), unbound)

    def resolve(self, binding: Binding, seen: frozenset[tuple[str, str]] = frozenset()) -> ClassStatement | Unread:
        """What a binding stands for."""
        if isinstance(binding, ClassStatement):
            return binding
        meanings = (self.dotted_meaning(dotted, seen) for dotted in binding or ())
        return next((meaning for meaning in meanings if meaning is not None), Unread.UNKNOWN)

    def dotted_meaning(self, dotted: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Meaning:
        """What ``package.module.Name`` stands for; None where the module exists and has no such name."""
        if dotted.partition(".")[0] in _FOREIGN:
            return Unread.FOREIGN
        parent, _, name = dotted.rpartition(".")
        module = self.locate(parent) if parent else None
        if module is None:
            return Unread.UNKNOWN
        meaning = self.meaning(module, name, seen)
        return Unread.UNKNOWN if meaning is None and self.locate(dotted) is not None else meaning

    def fault(self, module: Module, seen: set[str] | None = None) -> ImportFault | None:
        """Why importing this module certainly fails; None where no reason is known.

        Only unconditional imports count: none within ``try``, ``if`` or a function.
        """
        seen = set() if seen is None else seen
        if module.path is None or module.name in seen:
            return None
        seen.add(module.name)
        if fault := self._fault_in_first(module.name.rpartition(".")[0], seen):
            return fault
        if isinstance(module.tree, ImportFault):
            return module.tree
        for node in module.tree.body:
            for origin, name, _ in module.imported(node):
                if what := self._missing(origin, name):
                    return ImportFault(module.path, node.lineno, what)
                if fault := self._fault_in_first(f"{origin}.{name}" if name else origin, seen):
                    return fault
        return None

    def _fault_in_first(self, dotted: str, seen: set[str]) -> ImportFault | None:
        """The fault of a module, or of the packages that contain it, where they are in the first folder."""
        if self.first is None or not dotted:
            return None
        modules = map(self.locate, accumulate(dotted.split("."), "{}.{}".format))
        own = (module for module in modules if module and module.path and self.first in module.path.parents)
        return next((fault for module in own if (fault := self.fault(module, seen))), None)

    def _missing(self, origin: str, name: str | None) -> str | None:
        """What the import of a module, or of a name in it, cannot find."""
        if origin.startswith("."):
            return f"`from {origin} import` leads out of every package"
        top = origin.partition(".")[0]
        if not self.is_installed(top):
            return f"it imports {origin}, which is not installed"
        if top not in _COMPLETE:
            return None
        module = self.locate(origin)
        if module is None:
            return f"it imports {origin}, which {top} does not have"
        if name in (None, "*") or module.may_have(name) or self.locate(f"{origin}.{name}") is not None:
            return None
        return f"it imports {name}, which {origin} does not have"


def _module_in(folders: Iterable[Path], name: str, dotted: str) -> Module | None:
    """The module ``name`` in the first of these folders that has it."""
    for folder in folders:
        if disk.is_file(init := folder / name / "__init__.py"):
            return Module(init, dotted, [init.parent])
        if disk.is_file(path := folder / f"{name}.py"):
            return Module(path, dotted)
    spaces = [folder / name for folder in folders if disk.is_folder(folder / name)]
    return Module(None, dotted, spaces) if spaces else None
