"""Whether nnU-Net can call a trainer's constructor, and the method that builds the network.

Source: get_trainer_from_args in run/run_training.py, nnUNetTrainer.__init__ and initialize in
training/nnUNetTrainer/nnUNetTrainer.py, inference/predict_from_raw_data.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from plansguard.core.text import counted
from plansguard.nnunet.install.python_sources import written
from plansguard.nnunet.install.trainer_class import NETWORK, TrainerClass, call_of, called

_PLAIN_DECORATORS = {"staticmethod", "classmethod", "abstractmethod", "abc.abstractmethod"}
#: How many arguments nnU-Net 2.3 to 2.6 passed to build the network. Later versions accept such methods.
_ARGUMENTS_BEFORE_2_7 = 6


class SignatureProblem(NamedTuple):
    """A method that the installed nnU-Net cannot call: file, line, one clause, and the consequence."""

    path: Path
    line: int
    what: str
    then: str
    only_predicting: bool = False


class _Parameters:
    """The parameters of a function, without ``self``."""

    def __init__(self, function: ast.FunctionDef, *, bound: bool = True) -> None:
        args = function.args
        self.positional = [item.arg for item in (*args.posonlyargs, *args.args)][bound:]
        self.names = [*self.positional, *(item.arg for item in args.kwonlyargs)]
        self.stars = [item.arg for item in (args.vararg, args.kwarg) if item is not None]
        self.optional = set(self.positional[len(self.positional) - len(args.defaults) :] if args.defaults else ())
        self.optional |= {item.arg for item, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if value}

    def refusal(self, positional: int, keywords: Sequence[str] = ()) -> str | None:
        """Why a call with so many positional arguments and these keywords fails; None where it may succeed."""
        if self.stars:
            return None
        if positional > len(self.positional):
            return f"takes {counted(len(self.positional), 'argument')}, and is given {positional}"
        unknown = [name for name in keywords if name not in self.names]
        if unknown:
            return f"has no parameter {unknown[0]}"
        passed = {*self.positional[:positional], *keywords, *self.optional}
        missing = [name for name in self.names if name not in passed]
        return f"is not given {missing[0]}" if missing else None


def problems_of(trainer: TrainerClass, *, below_steps: bool = False) -> Iterator[SignatureProblem]:
    """The methods of a trainer that the installed nnU-Net cannot call; none where it is not certainly a trainer.

    ``below_steps`` states that plansguard's trainer inherits from it. That has nnU-Net's parameters, and passes them on
    in their order.
    """
    stock = next((base for base in trainer.mro if base.is_stock), None)
    for name in ("__init__", NETWORK):
        owner = trainer.method(name)
        if stock is None or owner is None or owner.is_stock:
            continue
        function, replaced = owner.function(name), stock.function(name)
        if function is None or replaced is None:
            continue
        if name == NETWORK:
            problem = _network_problem(owner.path, function, replaced)
        else:
            problem = _constructor_problem(trainer, owner.path, function, replaced, below_steps)
        if problem is not None:
            yield problem


def _constructor_problem(
    trainer: TrainerClass, path: Path, function: ast.FunctionDef, replaced: ast.FunctionDef, below_steps: bool
) -> SignatureProblem | None:
    """nnU-Net passes its own parameters by name, and looks each parameter up among its own variables."""
    if function.decorator_list:
        return None
    own, known = _Parameters(function), _Parameters(replaced).names
    refused = _refused_above(trainer.mro)
    extra = [name for name in (*own.names, *own.stars) if name not in known]
    missing = [name for name in known if name not in own.names]
    if below_steps and own.positional[: len(known)] == known and set(extra) <= {*own.optional, *own.stars}:
        return refused
    if extra:
        since = ", which nnU-Net removed in 2.6" if extra[0] == "unpack_dataset" else ""
        what = f"__init__ has a parameter {extra[0]}{since}: nnU-Net's own has none of that name"
        is_needed = extra[0] in own.names and extra[0] not in own.optional
        then = "TypeError" if refused or is_needed else f"KeyError: {extra[0]!r}"
        return SignatureProblem(path, function.lineno, what, then)
    if missing:
        what = f"__init__ has no parameter {missing[0]}, which nnU-Net passes"
        return SignatureProblem(path, function.lineno, what, "TypeError")
    return refused


def _refused_above(mro: Sequence[TrainerClass]) -> SignatureProblem | None:
    """The first ``super().__init__(...)``, from this class upwards, whose arguments the next constructor refuses."""
    function, above = called(mro, "__init__")
    callee, _ = called(above, "__init__")
    if function is None or callee is None:
        return None
    call = next((call for statement in function.body if (call := call_of(statement, "__init__")) is not None), None)
    if call is not None and written(call.func) == "super().__init__":
        keywords = [keyword.arg for keyword in call.keywords if keyword.arg is not None]
        is_complete = len(keywords) == len(call.keywords) and not any(
            isinstance(value, ast.Starred) for value in call.args
        )
        if is_complete and (refusal := _Parameters(callee).refusal(len(call.args), keywords)) is not None:
            path = mro[len(mro) - len(above) - 1].path
            return SignatureProblem(path, call.lineno, f"super().__init__ {refusal}", "TypeError")
    return _refused_above(above)


def _network_problem(path: Path, function: ast.FunctionDef, replaced: ast.FunctionDef) -> SignatureProblem | None:
    """nnU-Net passes its own arguments in their order; since 2.7 it also supports the methods of 2.3 to 2.6.

    Training calls the method on the trainer, prediction on the class and with ``enable_deep_supervision`` by name.
    """
    if not {written(decorator) for decorator in function.decorator_list} <= _PLAIN_DECORATORS:
        return None
    own, known = (_Parameters(method, bound=not _is_static(method)) for method in (function, replaced))
    is_old = "plans_manager" in known.names and "plans_manager" not in own.names
    refusal = own.refusal(_ARGUMENTS_BEFORE_2_7 if is_old else len(known.positional))
    second = own.positional[1] if len(own.positional) > 1 else ""
    if refusal is None and second in ("dataset_json", "configuration_manager") and second != known.positional[1]:
        refusal = f"wants {second} where nnU-Net passes {known.positional[1]}"
    if refusal is not None:
        return SignatureProblem(path, function.lineno, f"{NETWORK} {refusal}", "the network cannot be built")
    if not function.decorator_list:
        what = f"{NETWORK} is no staticmethod"
    elif "enable_deep_supervision" not in own.names and not function.args.kwarg:
        what = f"{NETWORK} has no parameter enable_deep_supervision"
    else:
        return None
    return SignatureProblem(path, function.lineno, what, "nnUNetv2_predict fails with TypeError", only_predicting=True)


def _is_static(function: ast.FunctionDef) -> bool:
    return any(written(decorator) == "staticmethod" for decorator in function.decorator_list)
