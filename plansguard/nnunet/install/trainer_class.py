"""What a trainer's class statement says: its ancestors, methods and constants."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from plansguard.nnunet import constants
from plansguard.nnunet.install.python_sources import FOREIGN, Definition, Sources, written

PACKAGE: Final = "nnunetv2"
FOLDER: Final = ("training", "nnUNetTrainer")
"""Where nnU-Net keeps its trainers, below its own folder."""

NETWORK: Final = "build_network_architecture"
AUGMENTATION: Final = "configure_rotation_dummyDA_mirroring_and_inital_patch_size"
"""Where nnU-Net decides how a patch is rotated and mirrored, in its own spelling; the axes are the last it returns."""

#: Ancestors of a class, one above the other. Nobody's trainers come near it.
_DEEPEST = 64
_TRANSFORMS = "get_training_transforms"
_STOCK = ".".join([PACKAGE, *FOLDER, constants.DEFAULT_TRAINER])


@dataclass(frozen=True)
class TrainerClass:
    """A class statement. ``bases`` are as written, ``parents`` what they stand for, None where that cannot be told."""

    name: str
    path: Path
    line: int
    bases: tuple[str, ...]
    parents: tuple[TrainerClass | None, ...] = field(repr=False, compare=False)
    module: str = field(repr=False)
    _node: ast.ClassDef = field(repr=False, compare=False)

    @cached_property
    def mro(self) -> tuple[TrainerClass, ...]:
        """The class and all that it inherits from, in the order in which Python looks for a method."""
        known = [one for one in self.parents if one is not None]
        return (self, *_merged([*(list(one.mro) for one in known), known]))

    @property
    def is_stock(self) -> bool:
        """Whether this is nnU-Net's own ``nnUNetTrainer``."""
        return self.module == _STOCK and self.name == constants.DEFAULT_TRAINER

    @property
    def is_trainer(self) -> bool | None:
        """Whether it inherits from the installed ``nnUNetTrainer``; None where that cannot be told."""
        if any(one.is_stock for one in self.mro):
            return True
        return None if any(parent is None for one in self.mro for parent in one.parents) else False

    def method(self, name: str) -> TrainerClass | None:
        """The class whose method of this name is called; None if there is none."""
        return next((one for one in self.mro if one.function(name) is not None), None)

    def function(self, name: str) -> ast.FunctionDef | None:
        """The method as this very class defines it."""
        found = [one for one in self._node.body if isinstance(one, ast.FunctionDef) and one.name == name]
        return found[-1] if found else None

    def attribute(self, name: str) -> Any:
        """What ``self.<name>`` is after ``__init__``: the literal that is assigned last; None where that is none.

        Also None where another method assigns to it.
        """
        others = (part for one in self.mro for part in one._node.body if getattr(part, "name", "") != "__init__")
        value = _assigned(self.mro, name)
        if value is None or any(_assigns(other, name) for other in others):
            return None
        with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return ast.literal_eval(value)
        return None

    @property
    def mirrors(self) -> bool | None:
        """Whether it mirrors patches in training; None where that cannot be told."""
        loading = self.method("get_dataloaders")
        if self.is_trainer is not True or loading is None or not loading.module.startswith(f"{PACKAGE}."):
            return None
        axes = _mirrored(self.mro)
        return axes if axes is not True or _adds_mirroring(self.mro) else None

    @property
    def mirrors_every_axis(self) -> bool:
        """Whether it mirrors, and along the axes that nnU-Net's own trainer chooses: all of them."""
        chooser = self.method(AUGMENTATION)
        return bool(self.mirrors) and chooser is not None and chooser.is_stock

    @property
    def own_network(self) -> bool:
        """Whether it builds another network than the plans name."""
        builder = self.method(NETWORK)
        return builder is not None and not builder.is_stock


def trainer_of(definition: Definition, sources: Sources) -> TrainerClass | None:
    """The class of this statement, with its ancestors as far as they can be read; None for one that is its own."""
    return _Family(sources).member(definition, frozenset())


class _Family:
    """The classes that are met on the way up from one of them, each of them once."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.known: dict[tuple[str, int], TrainerClass] = {}

    def member(self, definition: Definition, heirs: frozenset[tuple[str, int]]) -> TrainerClass | None:
        """None for a class among its own ``heirs``, which is none, and where there are more than anybody writes."""
        module, node = definition
        place = (module.name, node.lineno)
        if module.path is None or place in heirs or len(heirs) == _DEEPEST:
            return None
        if place not in self.known:
            meanings = [self.sources.base(definition, base) for base in node.bases]
            self.known[place] = TrainerClass(
                name=node.name,
                path=module.path,
                line=node.lineno,
                bases=tuple(map(written, node.bases)),
                parents=tuple(
                    self.member(one, heirs | {place}) if isinstance(one, Definition) else None
                    for one in meanings
                    if one is not FOREIGN
                ),
                module=module.name,
                _node=node,
            )
        return self.known[place]


def _merged(lists: list[list[TrainerClass]]) -> Iterator[TrainerClass]:
    """Python's order of classes (C3). Where it has none, the class statement fails; then the order is any."""
    while lists := [one for one in lists if one]:
        heads = [one[0] for one in lists]
        chosen = next((head for head in heads if not any(head in one[1:] for one in lists)), heads[0])
        yield chosen
        lists = [[other for other in one if other != chosen] for one in lists]


def _assigns(node: ast.AST, name: str) -> bool:
    """Whether ``self.<name>`` is assigned to anywhere within."""
    return any(
        isinstance(part, ast.Attribute) and part.attr == name and isinstance(part.ctx, ast.Store)
        for part in ast.walk(node)
    )


def called(mro: Sequence[TrainerClass], method: str) -> tuple[ast.FunctionDef | None, Sequence[TrainerClass]]:
    """The method that is called, and the classes among which ``super()`` looks from there."""
    for index, one in enumerate(mro):
        if (function := one.function(method)) is not None:
            return function, mro[index + 1 :]
    return None, ()


def _assigned(mro: Sequence[TrainerClass], name: str) -> ast.expr | None:
    """The expression that ``__init__`` gives ``self.<name>`` last; no literal where a condition decides."""
    function, above = called(mro, "__init__")
    value: ast.expr | None = None
    for statement in function.body if function is not None else ():
        if call_of(statement, "__init__") is not None:
            value = _assigned(above, name) or value
        elif _assigns(statement, name):
            value = _plain_value(statement) or ast.Name("unknown")
    return value


def _plain_value(statement: ast.stmt) -> ast.expr | None:
    """What ``a = b = value`` assigns, unless it is taken apart."""
    if isinstance(statement, ast.Assign):
        return None if any(isinstance(one, (ast.Tuple, ast.List)) for one in statement.targets) else statement.value
    return statement.value if isinstance(statement, ast.AnnAssign) else None


def call_of(statement: ast.stmt, method: str) -> ast.Call | None:
    """The call where the statement is ``super().<method>(...)`` or ``Base.<method>(...)``."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == method:
        return call
    return None


def _mirrored(mro: Sequence[TrainerClass]) -> bool | None:
    """Whether the axes that are returned for mirroring are any; None where that cannot be told."""
    function, above = called(mro, AUGMENTATION)
    if function is None:
        return None
    returned = [part.value for part in ast.walk(function) if isinstance(part, ast.Return)]
    if len(returned) != 1 or returned[0] is None:
        return None
    verdicts: set[bool | None] = set()
    axes = returned[0].elts[-1] if isinstance(returned[0], ast.Tuple) else returned[0]
    if not isinstance(axes, ast.Name):
        return _has_axes(axes, above)
    for statement in function.body:
        given = {_has_axes(value, above) for value in _values_of(statement, axes.id)}
        verdicts = given if isinstance(statement, ast.Assign) and given else verdicts | given
    return next(iter(verdicts)) if len(verdicts) == 1 else None


def _adds_mirroring(mro: Sequence[TrainerClass]) -> bool:
    """Whether what is done with the axes is written down, here or in the method that this one calls."""
    function, above = called(mro, _TRANSFORMS)
    words = "" if function is None else written(function)
    return "MirrorTransform" in words or (f".{_TRANSFORMS}(" in words and _adds_mirroring(above))


def _values_of(statement: ast.stmt, name: str) -> Iterator[ast.expr]:
    """What a variable is given within a statement: itself, or as the last of several."""
    for part in ast.walk(statement):
        for target in part.targets if isinstance(part, ast.Assign) else ():
            last = target.elts[-1] if isinstance(target, ast.Tuple) and target.elts else target
            if isinstance(last, ast.Name) and last.id == name and isinstance(part, ast.Assign):
                yield part.value


def _has_axes(value: ast.expr, above: Sequence[TrainerClass]) -> bool | None:
    if isinstance(value, ast.Constant) and value.value is None:
        return False
    if isinstance(value, (ast.Tuple, ast.List)):
        return bool(value.elts)
    return _mirrored(above) if call_of(ast.Expr(value), AUGMENTATION) is not None else None
