"""Result of nnU-Net's trainer look-up.

Source: utilities/find_objects.py and utilities/find_class_by_name.py of nnU-Net 2.8.1. The modules of its own folder
come first, then those of the folders in ``nnUNet_extTrainer``; in a folder first the modules, then the packages. Each
is imported until one has an attribute of the name: a name that is only imported there counts, and a module whose import
fails ends the search. A name of plansguard's own, with a number of steps, is found in plansguard's own folder.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from plansguard.core import disk
from plansguard.nnunet import constants
from plansguard.nnunet.install import trainer_folder
from plansguard.nnunet.install.python_sources import ClassStatement, ImportFault, Module, Sources, folder_of, is_loaded
from plansguard.nnunet.install.trainer_class import FOLDER, MODULES, TrainerClass, trainer_of

#: Limit for the modules and folders of one search.
_MOST = 1000
#: The folder of nnU-Net in which it looks for planners.
_PLANNERS = "experiment_planning"
_CLASS = re.compile(rb"^class[ \t]+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Search:
    """Result of nnU-Net's search for a trainer.

    ``installed`` is False where no nnU-Net is installed. ``found`` is the class. ``fault`` is the error that ends the
    search. ``hidden`` is a module that has the name, or may have it, without a class statement that can be read; it
    ends the search as well. ``missing`` are folders in ``nnUNet_extTrainer`` that do not exist. ``reads_variable``
    states whether this nnU-Net uses that variable: 2.8 was the first.
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
        """Whether nnU-Net reports that there is no such trainer."""
        return self.installed and self.found is None and self.fault is None and self.hidden is None


def find_trainer(name: str, *, environment: Mapping[str, str] = os.environ) -> TrainerClass | None:
    """The class that nnU-Net uses for ``-tr name``; None where it finds none, or none that can be read."""
    return search(name, environment=environment).found


def search(name: str, *, environment: Mapping[str, str] = os.environ) -> Search:
    """Search for a trainer as the nnU-Net does that this Python imports."""
    home = folder_of(constants.NNUNET_PACKAGE)
    if home is None:
        return Search(name, installed=False)
    result = Search(name, reads_variable=_reads_variable(home))
    hit = _first(name, home.joinpath(*FOLDER), Sources(), MODULES)
    missing = []
    for folder in map(Path, folders(environment) if result.reads_variable else ()):
        if hit is not None:
            break
        if disk.is_there(folder):
            hit = _first(name, folder, Sources(folder.absolute()))
        else:
            missing.append(str(folder))
    result = replace(result, missing=tuple(missing))
    if isinstance(hit, TrainerClass):
        return replace(result, found=hit)
    return replace(result, fault=hit) if isinstance(hit, ImportFault) else replace(result, hidden=hit)


def all_names(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Names of all classes that nnU-Net's search meets; where none is installed, of the folders in the variable."""
    home = folder_of(constants.NNUNET_PACKAGE)
    places = [] if home is None else [(home.joinpath(*FOLDER), Sources(), MODULES)]
    if home is None or _reads_variable(home):
        places += [(Path(folder), Sources(Path(folder).absolute()), "") for folder in folders(environment)]
    modules = (module for place in places for _, module in islice(_modules(*place), _MOST))
    return frozenset(name.decode() for module in modules if module for name in _CLASS.findall(module.source))


def hidden_trainers(environment: Mapping[str, str] = os.environ) -> Iterator[tuple[str, Path, Path]]:
    """Classes of trainers in the folders of the variable that nnU-Net never takes: name, file, and the file it takes.

    Only class statements count.
    """
    home = folder_of(constants.NNUNET_PACKAGE)
    if home is None or not _reads_variable(home):
        return
    taken: dict[str, Path] = {}
    own = home.joinpath(*FOLDER)
    for folder, prefix in [(own, MODULES), *((Path(folder), "") for folder in folders(environment))]:
        for _, module in islice(_modules(folder, Sources(folder.absolute() if not prefix else None), prefix), _MOST):
            if module is None or module.path is None:
                continue
            for name in sorted({*_CLASS.findall(module.source)}):
                first = taken.setdefault(name.decode(), module.path)
                if not prefix and first != module.path and b"Trainer" in name:
                    yield name.decode(), module.path, first


def finds_network(class_name: str) -> bool:
    """Whether nnU-Net finds this network class, or one of the same name in its own package; True if that is unknown.

    Source: utilities/get_network_from_plans.py.
    """
    sources = Sources()
    parent, _, name = class_name.rpartition(".")
    if parent and sources.is_installed(parent) and sources.dotted_meaning(class_name) is not None:
        return True
    home = folder_of(constants.NETWORK_PACKAGE)
    modules = (
        () if home is None else _modules(home / "architectures", sources, f"{constants.NETWORK_PACKAGE}.architectures")
    )
    return any(
        module is not None and module.may_have(name) and sources.meaning(module, name) is not None
        for _, module in modules
    )


def finds_planner(name: str) -> bool | None:
    """Whether nnU-Net finds this experiment planner; None where that is not known.

    Source: plan_experiment_dataset in experiment_planning/plan_and_preprocess_api.py.
    """
    home = folder_of(constants.NNUNET_PACKAGE)
    if home is None or not disk.is_folder(home / _PLANNERS):
        return None
    sources, package = Sources(), f"{constants.NNUNET_PACKAGE}.{_PLANNERS}"
    modules = (module for _, module in islice(_modules(home / _PLANNERS, sources, package), _MOST))
    return any(module is not None and module.may_have(name) and _has(sources, module, name) for module in modules)


def planner_names() -> frozenset[str]:
    """Names of all classes among nnU-Net's experiment planners."""
    home = folder_of(constants.NNUNET_PACKAGE)
    package = f"{constants.NNUNET_PACKAGE}.{_PLANNERS}"
    modules = () if home is None else islice(_modules(home / _PLANNERS, Sources(), package), _MOST)
    return frozenset(name.decode() for _, module in modules if module for name in _CLASS.findall(module.source))


def _has(sources: Sources, module: Module, name: str) -> bool:
    return sources.meaning(module, name) is not None


def stray(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """A file below one of the folders that defines a class of this name and that nnU-Net does not import."""
    home = folder_of(constants.NNUNET_PACKAGE)
    roots = [*map(Path, folders(environment)), *([] if home is None else [home.joinpath(*FOLDER)])]
    for folder, _, files in (entry for root in roots for entry in islice(os.walk(root), _MOST)):
        for path in (Path(folder, file) for file in sorted(files) if file.endswith(".py")):
            if os.fsencode(name) in _CLASS.findall(Module(path, name).source):
                return path
    return None


def folders(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The folders in ``nnUNet_extTrainer``, as nnU-Net reads it: a ``~`` or a blank is part of the name."""
    return tuple(folder for folder in environment.get(trainer_folder.VARIABLE, "").split(os.pathsep) if folder.strip())


def _reads_variable(home: Path) -> bool:
    with suppress(OSError):
        return trainer_folder.VARIABLE.encode() in disk.content(home / "utilities" / "find_objects.py")
    return False


def _modules(folder: Path, sources: Sources, prefix: str = "") -> Iterator[tuple[str, Module | None]]:
    """The modules below a folder and their names, in the order in which nnU-Net imports them.

    None for what is no source. Where folders contain one another without end, the last one is None.
    """
    waiting = [(folder, prefix)]
    for _ in range(_MOST):
        if not waiting:
            return
        folder, prefix = waiting.pop()
        packages = []
        for _, name, is_package in pkgutil.iter_modules([str(folder)]):
            dotted = f"{prefix}.{name}" if prefix else name
            if not prefix and is_loaded(name):
                continue
            if is_package:
                packages.append((folder / name, dotted))
            else:
                yield dotted, sources.locate(dotted)
        waiting += reversed(packages)
    if waiting:
        yield waiting[-1][1], None


def _first(name: str, folder: Path, sources: Sources, prefix: str = "") -> TrainerClass | ImportFault | Path | None:
    """What ends the search in a folder: a class, a fault, or a module that may have the name in another way."""
    for count, (dotted, module) in enumerate(_modules(folder, sources, prefix)):
        if module is None or module.path is None or count >= _MOST:
            return Path(dotted)
        is_checked = bool(prefix) and _was_compiled(module.path) and sources.has_packages(module)
        if not is_checked and (fault := sources.fault(module)) is not None:
            return fault
        if disk.real(module.path.parent) == trainer_folder.FOLDER:
            if constants.STEPS.search(name):
                return module.path
        elif module.may_have(name) and (meaning := sources.meaning(module, name)) is not None:
            return trainer_of(meaning, sources) if isinstance(meaning, ClassStatement) else module.path
    return None


def _was_compiled(path: Path) -> bool:
    """Whether Python keeps valid bytecode of this file. In nnU-Net's own package, such a file need not be parsed."""
    with suppress(OSError, NotImplementedError):
        found, magic = disk.status(path), importlib.util.MAGIC_NUMBER
        if found is not None:
            header = struct.pack("<4sIII", magic, 0, int(found.st_mtime) & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF)
            with disk.open_file(importlib.util.cache_from_source(path)) as stream:
                return stream.read(len(header)) == header
    return False
