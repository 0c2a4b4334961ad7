"""Where nnU-Net comes upon a trainer of a name.

Source: utilities/find_objects.py and utilities/find_class_by_name.py of nnU-Net 2.8.1. The modules of its own folder
come first, then those of the folders in ``nnUNet_extTrainer``; of a folder first the modules, then the packages. Each
is imported until one has an attribute of the name: a name that is only imported there counts, and a module whose import
fails ends the search. A name of plansguard's own, with a number of steps, is found in plansguard's own folder.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from plansguard.nnunet import constants
from plansguard.nnunet.install import trainer_folder
from plansguard.nnunet.install.python_sources import (
    Definition,
    ImportFault,
    Module,
    Sources,
    folder_of,
    is_loaded,
)
from plansguard.nnunet.install.trainer_class import FOLDER, PACKAGE, TrainerClass, trainer_of
from plansguard.nnunet.workspace import is_there

#: A place with more modules or folders is no place of trainers, and what its import does cannot be followed.
_MOST = 1000
_CLASS = re.compile(rb"^class[ \t]+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Search:
    """What nnU-Net comes upon when it looks for a trainer.

    ``installed`` is False where there is no nnU-Net here. ``found`` is the class. ``fault`` is what ends the search
    with an error. ``hidden`` is a module that has the name, or may have it, without a class statement that can be read;
    it ends the search as well. ``missing`` are folders that were named, and passed over because they are not there.
    ``reads_variable`` says whether this nnU-Net looks into ``nnUNet_extTrainer``: 2.8 was the first.
    """

    name: str
    installed: bool = True
    found: TrainerClass | None = None
    fault: ImportFault | None = None
    hidden: Path | None = None
    missing: tuple[str, ...] = ()
    reads_variable: bool = True

    @property
    def is_lost(self) -> bool:
        """Whether nnU-Net says that there is no such trainer."""
        return self.installed and self.found is None and self.fault is None and self.hidden is None


def find_trainer(name: str, *, environment: Mapping[str, str] = os.environ) -> TrainerClass | None:
    """The class that nnU-Net takes for ``-tr name``; None where it finds none, or none that can be read."""
    return search(name, environment=environment).found


def search(name: str, *, environment: Mapping[str, str] = os.environ) -> Search:
    """Look for a trainer as the nnU-Net does that this Python would import."""
    home = folder_of(PACKAGE)
    if home is None:
        return Search(name, installed=False)
    sources = Sources()
    result = Search(name, reads_variable=_reads_variable(home))
    hit = _first(name, _own_modules(home, sources), sources, _quick_fault)
    missing = []
    for folder in folders(environment) if result.reads_variable else ():
        if hit is not None:
            break
        if is_there(Path(folder)):
            behind = sources.behind(Path(folder).absolute())
            hit = _first(name, _modules(Path(folder), "", behind), behind, Sources.fault)
        else:
            missing.append(folder)
    result = replace(result, missing=tuple(missing))
    if isinstance(hit, TrainerClass):
        return replace(result, found=hit)
    return replace(result, fault=hit) if isinstance(hit, ImportFault) else replace(result, hidden=hit)


def all_names(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Names of all classes among which nnU-Net looks for a trainer; where none is installed, of the named folders."""
    home, sources = folder_of(PACKAGE), Sources()
    modules = [] if home is None else [*_own_modules(home, sources)]
    for folder in folders(environment) if home is None or _reads_variable(home) else ():
        modules += islice(_modules(Path(folder), "", sources), _MOST)
    return frozenset(name.decode() for module in modules for name in _CLASS.findall(module.source))


def finds_network(class_name: str) -> bool:
    """Whether nnU-Net finds this network class, or one of the same name among those of its own package.

    Also where that cannot be told. Source: utilities/get_network_from_plans.py.
    """
    sources, name = Sources(), class_name.rpartition(".")[2]
    if sources.find(class_name) is not None:
        return True
    home = folder_of("dynamic_network_architectures")
    modules = (
        () if home is None else _modules(home / "architectures", "dynamic_network_architectures.architectures", sources)
    )
    return any(module.may_have(name) and sources.meaning(module, name) is not None for module in modules)


def stray(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """A file that defines a class of this name below one of these folders, where nnU-Net does not come by."""
    home = folder_of(PACKAGE)
    roots = [*(Path(folder) for folder in folders(environment)), *([] if home is None else [home.joinpath(*FOLDER)])]
    for path in (path for root in roots for path in islice(_sources_below(root), _MOST)):
        if os.fsencode(name) in _CLASS.findall(Module(path, name).source):
            return path
    return None


def _sources_below(root: Path) -> Iterator[Path]:
    """The files ``*.py`` of the first folders below this one; a folder that cannot be read has none."""
    for folder, _, files in islice(os.walk(root), _MOST):
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def folders(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The folders that ``nnUNet_extTrainer`` names, as nnU-Net reads it: a ``~`` or a blank is part of the name."""
    return tuple(folder for folder in environment.get(trainer_folder.VARIABLE, "").split(os.pathsep) if folder.strip())


# ---------------------------------------------------------------------------------------------------------------------
# The search
# ---------------------------------------------------------------------------------------------------------------------


def _reads_variable(home: Path) -> bool:
    with suppress(OSError):
        return trainer_folder.VARIABLE.encode() in (home / "utilities" / "find_objects.py").read_bytes()
    return False


def _own_modules(home: Path, sources: Sources) -> Iterator[Module]:
    return _modules(home.joinpath(*FOLDER), ".".join([PACKAGE, *FOLDER]), sources)


def _modules(folder: Path, prefix: str, sources: Sources) -> Iterator[Module]:
    """The modules below a folder, in the order in which nnU-Net imports them.

    What is no source has no path; nor has the last one, which stands for the rest, where folders lie in one another
    without end, as links make them.
    """
    waiting = [(folder, prefix)]
    for _ in range(_MOST):
        if not waiting:
            return
        folder, prefix = waiting.pop()
        packages = []
        for _, name, is_package in pkgutil.iter_modules([str(folder)]):
            dotted = f"{prefix}.{name}" if prefix else name
            path = folder / f"{name}.py"
            if not prefix and is_loaded(name):
                continue
            if is_package:
                packages.append((folder / name, dotted))
            else:
                yield sources.module(path if path.is_file() else None, dotted)
        waiting += reversed(packages)
    if waiting:
        yield sources.module(None, waiting[-1][1])


def _first(
    name: str, modules: Iterator[Module], sources: Sources, fault_of: Callable[[Sources, Module], ImportFault | None]
) -> TrainerClass | ImportFault | Path | None:
    """What ends the search in these modules: a class, a fault, or a module that has the name in a way of its own."""
    for count, module in enumerate(modules):
        if module.path is None or count >= _MOST:
            return Path(module.name)
        if (fault := fault_of(sources, module)) is not None:
            return fault
        if module.path.parent.resolve() == trainer_folder.FOLDER:
            if constants.STEPS.search(name):
                return module.path
        elif module.may_have(name) and (meaning := sources.meaning(module, name)) is not None:
            return trainer_of(meaning, sources) if isinstance(meaning, Definition) else module.path
    return None


def _quick_fault(sources: Sources, module: Module) -> ImportFault | None:
    """Of nnU-Net's own modules only those are read closely that look as if somebody had put them there."""
    assert module.path is not None
    if _was_compiled(module.path) and not sources.lacks_package(module):
        return None
    return sources.fault(module)


def _was_compiled(path: Path) -> bool:
    """Whether Python keeps the compiled form of just this file: then it is valid."""
    with suppress(OSError, NotImplementedError, struct.error):
        stat = path.stat()
        with Path(importlib.util.cache_from_source(path)).open("rb") as stream:
            magic, flags, changed, size = struct.unpack("<4sIII", stream.read(16))
        now = int(stat.st_mtime) & 0xFFFFFFFF, stat.st_size & 0xFFFFFFFF
        return (magic, flags, changed, size) == (importlib.util.MAGIC_NUMBER, 0, *now)
    return False
