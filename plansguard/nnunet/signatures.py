"""Functions and classes that plans name by their path or name, with their arguments.

The table, signatures.json, is made by tools/signatures.py from the installed packages; it is read when a rule first
needs it. Whatever other packages define, such as forks of nnU-Net, is not in it: that is unknown, and not wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from plansguard.core import disk
from plansguard.core.text import brief

#: Argument -> its type, and its default if it has one. Types: int, float, bool, str, dict, class, ints, any; with ``?``
#: where null is valid. ``**name`` takes all others.
Arguments = Mapping[str, list[Any]]
Kind = Literal["resampling", "preprocessors", "readers", "label_managers", "planners"]

_LAYERS: Final = "torch.nn"
_MODULES_OF_LAYERS: Final = f"{_LAYERS}.modules"
#: Packages whose classes are all in the table: a path in them that it lacks does not exist.
_KNOWN_PACKAGES: Final = ("torch", "dynamic_network_architectures")
_TYPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "int": ((int,), "an integer"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a string"),
    "dict": ((dict,), "an object"),
}


class NamedClass(NamedTuple):
    """A class of torch.nn or dynamic_network_architectures: its path, its module's last name, and its arguments."""

    path: str
    arguments: Arguments

    @property
    def name(self) -> str:
        """The name without the module."""
        return self.path.rpartition(".")[2]

    @property
    def module(self) -> str:
        """The last name of its module: conv, batchnorm, instancenorm, normalization, dropout, activation, ..."""
        return self.path.split(".")[-2]


#: What is wrong with an argument that a function does not have.
NO_ARGUMENT: Final = "is no argument of it"


class Misfit(NamedTuple):
    """An argument that a function does not take as it is given: its name, and what is wrong."""

    argument: str
    trouble: str
    lacking: bool = False


def names(kind: Kind) -> tuple[str, ...]:
    """The names of nnU-Net's own functions or classes of a kind."""
    return _names()[kind]


def resampling(name: str) -> Arguments | None:
    """The arguments of a resampling function, besides those that preprocessing gives; None for an unknown one."""
    arguments: Arguments | None = _table()["resampling"].get(name)
    return arguments


def layer(path: str) -> NamedClass | None:
    """The layer at a path such as torch.nn.Conv3d or torch.nn.modules.conv.Conv3d; None where the table has none."""
    module, _, name = path.rpartition(".")
    whole = _layers().get(name)
    if whole is None or module not in (_LAYERS, _MODULES_OF_LAYERS, whole.rpartition(".")[0]):
        return None
    return NamedClass(whole, _table()["layers"][whole])


def block(path: str) -> NamedClass | None:
    """The residual block at a path."""
    return NamedClass(path, _table()["blocks"][path]) if path in _table()["blocks"] else None


def network(path: str) -> NamedClass | None:
    """The network of a path; as nnU-Net, look for its last name where the path does not exist."""
    name = path.rpartition(".")[2]
    return next((NamedClass(known, arguments) for known, arguments in _table()["networks"].items() if
                 known.rpartition(".")[2] == name), None)  # fmt: skip


def is_of_known_package(path: str) -> bool:
    """Whether a path is in a package whose classes are all known."""
    return path.partition(".")[0] in _KNOWN_PACKAGES


def known_networks() -> tuple[str, ...]:
    """The paths of networks for segmentation."""
    return tuple(_table()["networks"])


def known_paths() -> list[str]:
    """The paths of layers, blocks and networks."""
    table = _table()
    short = [f"{_LAYERS}.{name}" for name in _layers()]
    return [*table["layers"], *short, *table["blocks"], *table["networks"]]


def misfits(arguments: Arguments, given: Mapping[str, Any], positional: int = 0) -> Iterator[Misfit]:
    """Yield the arguments in ``given`` that a function does not take, and those that it lacks.

    ``positional`` is the number of arguments that the caller gives before them.
    """
    if any(name.startswith("**") for name in arguments):
        return
    taken = [name for name in arguments if not name.startswith("*")][:positional]
    for name, value in given.items():
        if name in taken or name not in arguments:
            yield Misfit(name, "is given by the caller" if name in taken else NO_ARGUMENT)
        elif trouble := wrong_type(arguments[name][0], value):
            yield Misfit(name, trouble)
    for name, entry in arguments.items():
        if len(entry) == 1 and name not in given and name not in taken and not name.startswith("*"):
            yield Misfit(name, "is missing", lacking=True)


def wrong_type(name: str, value: Any) -> str | None:
    """What is wrong with the type of a value, if anything. What takes any truth value takes any value."""
    if value is None:
        return None if name.endswith("?") or name in ("bool", "any") else "must not be null"
    types, expected = _TYPES.get(name.rstrip("?"), ((), ""))
    if not types or isinstance(value, types):
        return None
    return f"must be {expected}, not {brief(value)}"


@cache
def _names() -> Mapping[Kind, tuple[str, ...]]:
    return {kind: tuple(_table()[kind]) for kind in get_args(Kind)}


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(disk.content(Path(__file__).with_name("signatures.json")))
    return table


@cache
def _layers() -> dict[str, str]:
    """Name of a layer -> its path."""
    return {path.rpartition(".")[2]: path for path in _table()["layers"]}
