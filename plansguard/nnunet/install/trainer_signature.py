"""Whether nnU-Net can call a trainer's methods as it does: those written for another version are what fails.

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
#: How many arguments nnU-Net 2.3 to 2.6 passed to build the network; later ones still pass them to who wants them.
_ARGUMENTS_BEFORE_2_7 = 6


class SignatureProblem(NamedTuple):
    """What about a trainer does not go with the installed nnU-Net: where, one clause, and what happens then."""

    path: Path
    line: int
    what: str
    then: str
    only_predicting: bool = False


class _Parameters:
    """Of a function, without ``self``."""

    def __init__(self, function: ast.FunctionDef, *, bound: bool = True) -> None:
        args = function.args
        self.positional = [one.arg for one in (*args.posonlyargs, *args.args)][bound:]
        self.names = [*self.positional, *(one.arg for one in args.kwonlyargs)]
        self.stars = [one.arg for one in (args.vararg, args.kwarg) if one is not None]
        self.optional = set(self.positional[len(self.positional) - len(args.defaults) :] if args.defaults else ())
        self.optional |= {one.arg for one, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if value}

    def refusal(self, positional: int, keywords: Sequence[str] = ()) -> str | None:
        """Why a call with so many arguments, and these by name, is refused; None when it is not, or may not be."""
        if self.stars:
            return None
        if positional > len(self.positional):
            return f"takes {counted(len(self.positional), 'argument')}, and is given {positional}"
        unknown = [name for name in keywords if name not in self.names]
        if unknown:
            return f"has no parameter {unknown[0]}"
        given = {*self.positional[:positional], *keywords, *self.optional}
        missing = [name for name in self.names if name not in given]
        return f"is not given {missing[0]}" if missing else None


def problems_of(trainer: TrainerClass, *, below_steps: bool = False) -> Iterator[SignatureProblem]:
    """What of this trainer does not go with the installed nnU-Net; nothing where it is no trainer for certain.

    ``below_steps`` when plansguard's trainer stands between the two: it has nnU-Net's parameters, and passes them on in
    their order.
    """
    stock = next((one for one in trainer.mro if one.is_stock), None)
    if stock is None:
        return
    for problem in (_constructor_problem(trainer, stock, below_steps), _network_problem(trainer, stock)):
        if problem is not None:
            yield problem


def _method(
    trainer: TrainerClass, stock: TrainerClass, name: str
) -> tuple[Path, ast.FunctionDef, ast.FunctionDef] | None:
    """The file and the method that stand in place of nnU-Net's, and nnU-Net's; None where nothing does."""
    owner = trainer.method(name)
    if owner is None or owner.is_stock:
        return None
    function, replaced = owner.function(name), stock.function(name)
    return None if function is None or replaced is None else (owner.path, function, replaced)


def _constructor_problem(trainer: TrainerClass, stock: TrainerClass, below_steps: bool) -> SignatureProblem | None:
    """nnU-Net passes its own parameters by name, and looks each parameter up among its own variables."""
    found = _method(trainer, stock, "__init__")
    if found is None or found[1].decorator_list:
        return None
    path, function, replaced = found
    own, known = _Parameters(function), _Parameters(replaced).names
    refused = _refused_above(trainer.mro)
    extra = [name for name in (*own.names, *own.stars) if name not in known]
    if below_steps and own.positional[: len(known)] == known and set(extra) <= {*own.optional, *own.stars}:
        return refused
    if extra:
        since = ", which nnU-Net gave up with 2.6" if extra[0] == "unpack_dataset" else ""
        what = f"__init__ has a parameter {extra[0]}{since}: nnU-Net's own has none of that name"
        is_needed = extra[0] in own.names and extra[0] not in own.optional
        return SignatureProblem(
            path, function.lineno, what, "TypeError" if refused or is_needed else f"KeyError: {extra[0]!r}"
        )
    missing = [name for name in known if name not in own.names]
    if missing:
        return SignatureProblem(
            path, function.lineno, f"__init__ has no parameter {missing[0]}, which nnU-Net passes", "TypeError"
        )
    return refused


def _refused_above(mro: Sequence[TrainerClass]) -> SignatureProblem | None:
    """The first ``super().__init__(...)`` on the way up that cannot be called as it is written."""
    index = next((index for index, one in enumerate(mro) if one.function("__init__") is not None), None)
    function, above = called(mro, "__init__")
    callee, _ = called(above, "__init__")
    if index is None or function is None or callee is None:
        return None
    call = next((call for statement in function.body if (call := call_of(statement, "__init__")) is not None), None)
    if call is not None and written(call.func) == "super().__init__":
        keywords = [one.arg for one in call.keywords]
        if not any(isinstance(one, ast.Starred) for one in call.args) and None not in keywords:
            refusal = _Parameters(callee).refusal(len(call.args), [one for one in keywords if one is not None])
            if refusal is not None:
                what = f"super().__init__ {refusal}"
                return SignatureProblem(mro[index].path, call.lineno, what, "TypeError")
    return _refused_above(above)


def _network_problem(trainer: TrainerClass, stock: TrainerClass) -> SignatureProblem | None:
    """nnU-Net passes the arguments of its own method in their order; from 2.7 on it still knows those of 2.3 to 2.6.

    Training calls the method on the trainer, prediction on the class and with ``enable_deep_supervision`` by name.
    """
    found = _method(trainer, stock, NETWORK)
    if found is None or not {written(one) for one in found[1].decorator_list} <= _PLAIN_DECORATORS:
        return None
    path, function, replaced = found
    own, known = (_Parameters(one, bound=not _is_static(one)) for one in (function, replaced))
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
    return any(written(one) == "staticmethod" for one in function.decorator_list)
