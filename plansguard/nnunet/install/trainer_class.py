"""What the source of a trainer's class shows: base classes, methods, constants, mirroring."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from plansguard.nnunet import constants
from plansguard.nnunet.install.python_sources import ClassStatement, Sources, Unread, written

FOLDER: Final = ("training", "nnUNetTrainer")
"""The folder of nnU-Net's trainers, below its own folder."""
MODULES: Final = ".".join([constants.NNUNET_PACKAGE, *FOLDER])
"""The package of nnU-Net's trainers."""

NETWORK: Final = "build_network_architecture"
AUGMENTATION: Final = "configure_rotation_dummyDA_mirroring_and_inital_patch_size"
"""The method that decides how a patch is rotated and mirrored; it returns the axes of mirroring last."""

#: Limit for the number of base classes, one above the other.
_DEEPEST = 64
_TRANSFORMS = "get_training_transforms"
_STOCK = f"{MODULES}.{constants.DEFAULT_TRAINER}"


@dataclass(frozen=True, eq=False)
class TrainerClass:
    """A class statement. ``bases`` are as written, ``parents`` the classes they name, None for one that is unknown.

    Base classes that belong to Python, torch or numpy are not among the parents.
    """

    name: str
    module: str
    path: Path
    line: int
    bases: tuple[str, ...]
    parents: tuple[TrainerClass | None, ...]
    body: list[ast.stmt]

    @cached_property
    def mro(self) -> tuple[TrainerClass, ...]:
        """The class and its base classes, in the order in which Python looks for a method.

        It is depth first, each class behind all that inherit from it. Python refuses a class where another order would
        be needed.
        """
        every = [self, *(base for parent in self.parents if parent is not None for base in parent.mro)]
        return tuple(reversed(dict.fromkeys(reversed(every))))

    @property
    def is_stock(self) -> bool:
        """Whether this is nnU-Net's own ``nnUNetTrainer``."""
        return self.module == _STOCK and self.name == constants.DEFAULT_TRAINER

    @property
    def is_trainer(self) -> bool | None:
        """Whether it inherits from the installed ``nnUNetTrainer``; None where a base class is unknown."""
        if any(base.is_stock for base in self.mro):
            return True
        return None if any(None in base.parents for base in self.mro) else False

    def method(self, name: str) -> TrainerClass | None:
        """The class whose method of this name is called; None if there is none."""
        return next((base for base in self.mro if base.function(name) is not None), None)

    def function(self, name: str) -> ast.FunctionDef | None:
        """The method that this class itself defines."""
        functions = (part for part in reversed(self.body) if isinstance(part, ast.FunctionDef) and part.name == name)
        return next(functions, None)

    @cached_property
    def assigned_elsewhere(self) -> frozenset[str]:
        """The targets, such as ``self.x``, of assignments outside ``__init__``."""
        others = (part for part in self.body if getattr(part, "name", "") != "__init__")
        return frozenset(target for other in others for target, _ in _assignments(other))

    def attribute(self, name: str) -> Any:
        """The constant that ``__init__`` assigns to ``self.<name>``.

        None where it is no constant, a condition decides, or another method assigns to it.
        """
        target = f"self.{name}"
        if any(target in base.assigned_elsewhere for base in self.mro):
            return None
        values = _possible_values(self.mro, "__init__", target)
        if len(values) != 1:
            return None
        return values[0].value if isinstance(values[0], ast.Constant) else None

    @property
    def mirrors(self) -> bool | None:
        """Whether it mirrors patches in training; None where that is unknown."""
        loading = self.method("get_dataloaders")
        if (
            self.is_trainer is not True
            or loading is None
            or not loading.module.startswith(f"{constants.NNUNET_PACKAGE}.")
        ):
            return None
        has_axes = _has_mirror_axes(self.mro)
        return None if has_axes and not _adds_mirroring(self.mro) else has_axes

    @property
    def mirrors_every_axis(self) -> bool:
        """Whether it mirrors along the axes that nnU-Net's own trainer chooses: all of them."""
        chooser = self.method(AUGMENTATION)
        return bool(self.mirrors) and chooser is not None and chooser.is_stock

    @property
    def own_network(self) -> bool:
        """Whether it builds another network than the plans name."""
        builder = self.method(NETWORK)
        return builder is not None and not builder.is_stock


def trainer_of(statement: ClassStatement, sources: Sources) -> TrainerClass:
    """The class of a statement, with its base classes as far as they can be read."""
    known: dict[ClassStatement, TrainerClass | None] = {}

    def read(statement: ClassStatement, depth: int) -> TrainerClass:
        known[statement] = None  # for a class that is a base class of itself
        bases = (sources.resolve(base) for base in statement.bases)
        parents = tuple(parent(base, depth + 1) for base in bases if base is not Unread.FOREIGN)
        node, module = statement.node, statement.module
        assert module.path is not None
        known[statement] = trainer = TrainerClass(
            node.name, module.name, module.path, node.lineno, tuple(map(written, node.bases)), parents, node.body
        )
        return trainer

    def parent(meaning: ClassStatement | Unread, depth: int) -> TrainerClass | None:
        if not isinstance(meaning, ClassStatement) or depth == _DEEPEST:
            return None
        return known[meaning] if meaning in known else read(meaning, depth)

    return read(statement, 0)


def called(mro: Sequence[TrainerClass], method: str) -> tuple[ast.FunctionDef | None, Sequence[TrainerClass]]:
    """The method that is called, and the classes in which ``super()`` looks from there."""
    for index, base in enumerate(mro):
        if (function := base.function(method)) is not None:
            return function, mro[index + 1 :]
    return None, ()


def call_of(expression: ast.AST, method: str) -> ast.Call | None:
    """The call where the expression, or a statement of it, is ``super().<method>(...)`` or ``Base.<method>(...)``."""
    call = expression.value if isinstance(expression, ast.Expr) else expression
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == method:
        return call
    return None


def _possible_values(mro: Sequence[TrainerClass], method: str, target: str) -> list[ast.expr]:
    """The expressions of which a method assigns one to a target last.

    Only an assignment that no condition controls replaces those before it. A call of the same method of a base class
    assigns what that does.
    """
    function, above = called(mro, method)
    values: list[ast.expr] = []
    for statement in function.body if function is not None else ():
        is_call = call_of(statement, method) is not None
        assigned = _possible_values(above, method, target) if is_call else [*_assigned_within(statement, target)]
        is_certain = is_call or isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign))
        values = assigned if is_certain and assigned else values + assigned
    return values


def _assigned_within(statement: ast.AST, target: str) -> Iterator[ast.expr]:
    """What a target such as ``self.x`` is assigned within a statement."""
    return (value for other, value in _assignments(statement) if other == target)


@lru_cache(maxsize=1024)  # statements of nnU-Net's own trainer are read again for each attribute and search
def _assignments(statement: ast.AST) -> tuple[tuple[str, ast.expr], ...]:
    """The targets of a statement's assignments, alone or among others, each with its value; for ``+=`` with itself."""
    return tuple(
        (written(part), node.target if isinstance(node, ast.AugAssign) else node.value)
        for node in ast.walk(statement)
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None
        for item in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for part in getattr(item, "elts", [item])
    )


def _has_mirror_axes(mro: Sequence[TrainerClass]) -> bool | None:
    """Whether there are axes among those returned for mirroring; None where that is unknown."""
    function, above = called(mro, AUGMENTATION)
    returned = [part.value for part in ast.walk(function) if isinstance(part, ast.Return)] if function else []
    if function is None or len(returned) != 1 or returned[0] is None:
        return None
    axes = returned[0].elts[-1] if isinstance(returned[0], ast.Tuple) else returned[0]
    if not isinstance(axes, ast.Name):
        return _is_axes(axes, above)
    possible = {_is_axes(value, above) for value in _possible_values(mro, AUGMENTATION, axes.id)}
    return possible.pop() if len(possible) == 1 else None


def _is_axes(value: ast.expr, above: Sequence[TrainerClass]) -> bool | None:
    """Whether the value, or the last of a call of ``super()``, is an axis or more; None where that is unknown."""
    if isinstance(value, (ast.Tuple, ast.List)):
        return bool(value.elts)
    if isinstance(value, ast.Constant) and value.value is None:
        return False
    return _has_mirror_axes(above) if call_of(value, AUGMENTATION) is not None else None


def _adds_mirroring(mro: Sequence[TrainerClass]) -> bool:
    """Whether the transforms use the axes, in this class or in the method that it calls."""
    function, above = called(mro, _TRANSFORMS)
    source = "" if function is None else written(function)
    return "MirrorTransform" in source or (f".{_TRANSFORMS}(" in source and _adds_mirroring(above))
