"""Python's sources, read and never imported: where a module lies, what its names stand for, what would stop its import.

What an import would do is followed as far as it is written down: classes, imports, ``*``, plain aliases, and packages
found through ``sys.path``. What only running the code could tell is `UNKNOWN`.
"""

from __future__ import annotations

import ast
import builtins
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

#: Larger files are no sources that somebody wrote.
_LARGEST = 2**20
#: What is never looked into: Python itself, and what is too large to be read for a name.
_FOREIGN = frozenset(sys.stdlib_module_names) | {"torch", "numpy"}
#: Packages of nothing but sources, whose modules and names are looked for as well.
_JUDGED = frozenset({"nnunetv2", "dynamic_network_architectures", "batchgenerators", "batchgeneratorsv2"})
_DYNAMIC = "__getattr__"
#: How far one name leads to the next, and how deep packages lie in one another. Nobody's sources come near it.
_DEEPEST = 64


class ImportFault(NamedTuple):
    """Why the import of a module fails: a file, its line, and one clause about it."""

    path: Path
    line: int
    what: str


class Definition(NamedTuple):
    """A class statement, and the module that it stands in."""

    module: Module
    node: ast.ClassDef


class Unknown:
    """What a name stands for when its module has it, and no class statement that could be read."""


UNKNOWN: Final = Unknown()
FOREIGN: Final = Unknown()
"""It comes from Python, torch or numpy, and so is nothing of nnU-Net's."""

Meaning = Definition | Unknown | None
"""What a name stands for; None where the module has no such name."""


class _Broken(Exception):
    def __init__(self, fault: ImportFault) -> None:
        super().__init__(fault.what)
        self.fault = fault


def spec_of(package: str) -> ModuleSpec | None:
    """Where a fresh Python would find this package or module of the top level; None where it would not.

    Unlike importlib.util.find_spec it does not answer with what this process has loaded already.
    """
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(package, None) if find is not None else None
        if spec is not None:
            return spec
    return None


def is_loaded(name: str) -> bool:
    """Whether nnU-Net has loaded a module of this name long before it looks for trainers: another is never imported."""
    return name in ("torch", "numpy", "nnunetv2") or (name in sys.stdlib_module_names and name in sys.modules)


def folder_of(package: str) -> Path | None:
    """The folder of an installed package; None where there is none of that name."""
    spec = spec_of(package)
    return next((Path(path) for path in (spec and spec.submodule_search_locations) or ()), None)


class Module:
    """One source file under the name by which it is imported. ``path`` None: a folder without ``__init__.py``."""

    def __init__(self, path: Path | None, name: str, folders: Sequence[Path] = ()) -> None:
        self.path = path
        self.name = name
        self.folders = tuple(folders)
        """Of a package, where its modules lie; else empty."""

    @cached_property
    def source(self) -> bytes:
        """The file's bytes; nothing where it cannot be read."""
        try:
            return b"" if self.path is None or self.path.stat().st_size > _LARGEST else self.path.read_bytes()
        except OSError:
            return b""

    def may_have(self, name: str) -> bool:
        """Whether a look at the bytes leaves it possible that the module has this name."""
        return any(word in self.source for word in (os.fsencode(name), b"import *", _DYNAMIC.encode()))

    @cached_property
    def tree(self) -> ast.Module:
        """Its statements."""
        assert self.path is not None
        try:
            self.path.open("rb").close()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the code of others
                return ast.parse(self.source)
        except OSError as error:
            raise _Broken(ImportFault(self.path, 1, f"it cannot be read: {error.strerror}")) from error
        except SyntaxError as error:
            fault = ImportFault(self.path, error.lineno or 1, f"it is no valid Python ({error.msg})")
            raise _Broken(fault) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise _Broken(ImportFault(self.path, 1, "it is no valid Python")) from error

    @cached_property
    def names(self) -> _Names:
        """What the module's own statements bind."""
        found = _Names({}, [])
        if self.path is not None:
            _bind(self.tree.body, self, found)
        return found

    def before(self, node: ast.stmt) -> Module:
        """The module as it is when this statement of it is reached."""
        if node not in self.tree.body:
            return self
        earlier = Module(self.path, self.name, self.folders)
        earlier.source = self.source
        earlier.tree = ast.Module(self.tree.body[: self.tree.body.index(node)], [])
        return earlier

    def absolute(self, node: ast.ImportFrom) -> str | None:
        """The module that ``from ... import`` names; None where the dots lead out of the outermost package."""
        if not node.level:
            return node.module or ""
        package = self.name.split(".") if self.folders else self.name.split(".")[:-1]
        kept = len(package) - node.level + 1
        if kept < 1:
            return None
        return ".".join([*package[:kept], *([node.module] if node.module else [])])


class _Names(NamedTuple):
    """By name a class statement, the dotted name of what is imported, the expression of an alias, or None."""

    bound: dict[str, ast.ClassDef | ast.expr | str | None]
    stars: list[str]


def _bind(body: Iterable[ast.stmt], module: Module, names: _Names) -> None:
    for node in body:
        if isinstance(node, ast.ClassDef):
            names.bound[node.name] = node
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.bound[node.name] = None
        elif isinstance(node, ast.Import):
            for alias in node.names:
                names.bound[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            _bind_from(node, module, names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            if node.value is not None:
                _bind_targets(node.targets if isinstance(node, ast.Assign) else [node.target], node.value, names)
        else:
            for part in _parts(node):
                _bind(part, module, names)


def _bind_targets(targets: Iterable[ast.expr], value: ast.expr, names: _Names) -> None:
    for target in targets:
        if isinstance(target, ast.Name):
            names.bound[target.id] = value if isinstance(value, (ast.Name, ast.Attribute)) else None
        elif isinstance(target, (ast.Tuple, ast.List)):
            names.bound.update((part.id, None) for part in ast.walk(target) if isinstance(part, ast.Name))


def _bind_from(node: ast.ImportFrom, module: Module, names: _Names) -> None:
    origin = module.absolute(node)
    for alias in node.names:
        if alias.name != "*":
            names.bound[alias.asname or alias.name] = None if origin is None else f"{origin}.{alias.name}"
        elif origin is not None:
            names.stars.append(origin)


def _parts(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The statements within a statement, the likeliest last: what a name is bound to last is what it stands for."""
    if isinstance(node, ast.If):
        yield node.orelse
        if written(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'"):
            yield node.body
    elif isinstance(node, ast.Try):
        for handler in node.handlers:
            yield handler.body
        yield from (node.body, node.orelse, node.finalbody)
    else:
        yield from (part for name in ("orelse", "body") if isinstance(part := getattr(node, name, None), list))


def written(node: ast.AST) -> str:
    """This part of a source as Python writes it; dots where it is nested too deep for that."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return "..."


class Sources:
    """The modules that one look around reads, each of them once.

    ``first`` is the folder that stands first in ``sys.path``, if any.
    """

    def __init__(self, first: Path | None = None, read: dict[tuple[Path | None, str], Module] | None = None) -> None:
        self.first = first
        self._read = {} if read is None else read
        self._located: dict[str, Module | None] = {}

    def behind(self, first: Path) -> Sources:
        """The same with this folder first in ``sys.path``; what was read is kept."""
        return Sources(first, self._read)

    def module(self, path: Path | None, name: str, folders: Sequence[Path] = ()) -> Module:
        """The module in this file under this name."""
        return self._read.setdefault((path, name), Module(path, name, folders))

    # --- Where modules lie

    def locate(self, dotted: str) -> Module | None:
        """The module of this name; None where it cannot be found as a source."""
        if dotted.count(".") > _DEEPEST:
            return None
        if dotted not in self._located:
            parent, _, last = dotted.rpartition(".")
            package = self.locate(parent) if parent else None
            if parent:
                self._located[dotted] = None if package is None else self._in(package.folders, last, dotted)
            else:
                self._located[dotted] = self._top(dotted)
        return self._located[dotted]

    def _top(self, name: str) -> Module | None:
        local = self._in([self.first], name, name) if self.first is not None and not is_loaded(name) else None
        if local is not None and local.path is not None:
            return local
        spec = spec_of(name)
        if spec is None:
            return local
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        path = Path(spec.origin) if spec.origin is not None and spec.origin.endswith(".py") else None
        return None if path is None and not folders else self.module(path, name, folders)

    def _in(self, folders: Sequence[Path], name: str, dotted: str) -> Module | None:
        for folder in folders:
            if (init := folder / name / "__init__.py").is_file():
                return self.module(init, dotted, [init.parent])
            if (path := folder / f"{name}.py").is_file():
                return self.module(path, dotted)
        spaces = [folder / name for folder in folders if (folder / name).is_dir()]
        return self.module(None, dotted, spaces) if spaces else None

    # --- What names stand for

    def find(self, dotted: str) -> Meaning:
        """What ``package.module.Name`` stands for; None where it is not there for certain."""
        top, _, rest = dotted.partition(".")
        if not rest or not self._is_installed(top):
            return None
        parent = dotted.rpartition(".")[0]
        if top in _JUDGED and self.locate(parent) is None:
            return None
        return self._dotted(dotted, frozenset())

    def meaning(self, module: Module, name: str, seen: frozenset[tuple[str, str]] = frozenset()) -> Meaning:
        """What ``module.name`` is once the module is imported."""
        if (module.name, name) in seen or module.path is None:
            return None
        if len(seen) == _DEEPEST:
            return UNKNOWN
        seen |= {(module.name, name)}
        try:
            bound, stars = module.names
        except _Broken:
            return UNKNOWN
        if name in bound:
            return self._bound(bound[name], module, seen)
        for star in stars if not name.startswith("_") else ():
            found = self._dotted(f"{star}.{name}", seen)
            if found is not None:
                return found
        return UNKNOWN if _DYNAMIC in bound else None

    def base(self, definition: Definition, expression: ast.expr) -> Definition | Unknown:
        """What stands between the parentheses of a class statement."""
        module = definition.module.before(definition.node)
        found = self._expression(expression, module, frozenset())
        if found is None and isinstance(expression, ast.Name) and hasattr(builtins, expression.id):
            return FOREIGN
        return found or UNKNOWN

    def _bound(
        self, to: ast.ClassDef | ast.expr | str | None, module: Module, seen: frozenset[tuple[str, str]]
    ) -> Definition | Unknown:
        if isinstance(to, ast.ClassDef):
            return Definition(module, to)
        found = self._dotted(to, seen) if isinstance(to, str) else self._expression(to, module, seen) if to else None
        return found or UNKNOWN

    def _expression(self, expression: ast.expr, module: Module, seen: frozenset[tuple[str, str]]) -> Meaning:
        if isinstance(expression, ast.Name):
            return self.meaning(module, expression.id, seen)
        head, _, rest = written(expression).partition(".")
        try:
            start = module.names.bound.get(head)
        except _Broken:
            return UNKNOWN
        return self._dotted(f"{start}.{rest}", seen) if isinstance(start, str) else UNKNOWN

    def _dotted(self, dotted: str, seen: frozenset[tuple[str, str]]) -> Meaning:
        """What ``package.module.Name`` stands for; None where the module is there and has no such name."""
        if dotted.partition(".")[0] in _FOREIGN:
            return FOREIGN
        parent, _, name = dotted.rpartition(".")
        module = self.locate(parent) if parent else None
        if module is None:
            return UNKNOWN
        found = self.meaning(module, name, seen)
        return UNKNOWN if found is None and self.locate(dotted) is not None else found

    # --- What stops an import

    def fault(self, module: Module, seen: set[str] | None = None) -> ImportFault | None:
        """Why importing this module fails for certain; None where nothing speaks against it.

        Only imports that are always made count: none within ``try``, ``if`` or a function.
        """
        seen = set() if seen is None else seen
        if module.path is None or module.name in seen:
            return None
        seen.add(module.name)
        for package in self._own(module.name.rpartition(".")[0]):
            if (fault := self.fault(package, seen)) is not None:
                return fault
        try:
            body = module.tree.body
        except _Broken as broken:
            return broken.fault
        for node in body:
            what = self._missing(node, module)
            if what is not None:
                return ImportFault(module.path, node.lineno, what)
            for name in _imported(node, module):
                for here in self._own(name):
                    if (fault := self.fault(here, seen)) is not None:
                        return fault
        return None

    def lacks_package(self, module: Module) -> bool:
        """Whether a quick look shows an import, at the beginning of a line, of a package that is not installed."""
        names = re.findall(rb"^(?:from|import)[ \t]+(\w+)", module.source, re.MULTILINE)
        return any(not self._is_installed(name.decode(errors="replace")) for name in dict.fromkeys(names))

    def _own(self, dotted: str) -> Iterator[Module]:
        """The modules of the first folder that are run by importing this one, packages before their modules."""
        if self.first is None or not dotted:
            return
        parts = dotted.split(".")
        for count in range(1, len(parts) + 1):
            module = self.locate(".".join(parts[:count]))
            if module is not None and module.path is not None and self.first in module.path.parents:
                yield module

    def _missing(self, node: ast.stmt, module: Module) -> str | None:
        if isinstance(node, ast.Import):
            gone = next((one.name for one in node.names if not self._is_there(one.name)), None)
            return None if gone is None else self._says(gone)
        if not isinstance(node, ast.ImportFrom):
            return None
        origin = module.absolute(node)
        if origin is None:
            return f"`from {'.' * node.level}{node.module or ''} import` leads out of every package"
        if not self._is_there(origin):
            return self._says(origin)
        gone = next((one.name for one in node.names if self._is_surely_without(origin, one.name)), None)
        return None if gone is None else f"it imports {gone}, which {origin} does not have"

    def _is_there(self, dotted: str) -> bool:
        top = dotted.partition(".")[0]
        if not self._is_installed(top):
            return False
        return top not in _JUDGED or self.locate(dotted) is not None

    def _is_surely_without(self, dotted: str, name: str) -> bool:
        module = self.locate(dotted) if dotted.partition(".")[0] in _JUDGED else None
        if module is None or name == "*" or module.may_have(name):
            return False
        return self.locate(f"{dotted}.{name}") is None

    def _says(self, dotted: str) -> str:
        top = dotted.partition(".")[0]
        return f"it imports {dotted}, which {f'{top} does not have' if self._is_installed(top) else 'is not installed'}"

    def _is_installed(self, top: str) -> bool:
        return top in sys.stdlib_module_names or self.locate(top) is not None or spec_of(top) is not None


def _imported(node: ast.stmt, module: Module) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        origin = module.absolute(node)
        if origin is not None:
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names if alias.name != "*")
