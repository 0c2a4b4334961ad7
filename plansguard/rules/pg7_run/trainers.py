"""PG701 to PG707: the trainer that nnU-Net finds for a run, and whether nnU-Net can use it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plansguard.core import disk
from plansguard.core.errors import Absent
from plansguard.core.report import Location, Severity
from plansguard.core.text import listed, nearest, quoted
from plansguard.nnunet import constants
from plansguard.nnunet.install import packages
from plansguard.nnunet.install.trainer_folder import VARIABLE, search_path
from plansguard.rules.engine.declare import Found, found, rule

if TYPE_CHECKING:
    from plansguard.nnunet.install.trainer_class import TrainerClass
    from plansguard.nnunet.install.trainer_search import Search
    from plansguard.subjects.training_run import TrainingRun


_UPDATE = "update: pip install --upgrade nnunetv2"


def _search(run: TrainingRun) -> Search:
    """The result of nnU-Net's search; Absent if nnU-Net is not installed."""
    if not run.search.installed:
        raise Absent("nnU-Net is not installed: install plansguard[train]")
    return run.search


def _class(run: TrainingRun) -> TrainerClass:
    """The class that will be trained with; Absent if it cannot be read."""
    trainer = _search(run).found
    if trainer is None:
        raise Absent(f"the class {run.base_trainer} cannot be read")
    return trainer


def _at(trainer: TrainerClass) -> Location:
    return Location(str(trainer.path), line=trainer.line)


@rule(
    "PG701",
    Severity.ERROR,
    message="nnU-Net finds no trainer {trainer}{why}",
    fix="name one that exists, or the folder of the file that defines it: export nnUNet_extTrainer=FOLDER",
)
def trainer_not_found(run: TrainingRun) -> Iterator[Found]:
    """The trainer is not where nnU-Net searches for it.

    What it checks: whether a module of nnU-Net's folder `training/nnUNetTrainer`, or of a folder in
    `nnUNet_extTrainer`, has a class of this name. The sources are read, not run. With steps, the base trainer counts.

    Why it matters: nnU-Net stops: `RuntimeError: Could not find requested nnunet trainer`, some seconds after the
    start. It skips modules in a folder without `__init__.py`, and before 2.8 it does not search `nnUNet_extTrainer`.

    How to fix: correct the name, or name the folder of the file.

    Example: `-tr nnUNetTrainer_250epoch`; nnU-Net has `nnUNetTrainer_250epochs`, and `nnUNetTrainer_1epoch`.

    Evidence: TR-01; nnU-Net issues 2080, 2081, 2150, 2345, 2501, STU-Net issue 8, MONAI issue 7192.
    """
    if not (result := _search(run)).is_lost:
        return
    from plansguard.nnunet.install.trainer_search import all_names, stray

    name, path = run.base_trainer, stray(run.base_trainer)
    if path is None:
        near = nearest(name, all_names())
        yield found(run.at, trainer=name, why=f"; did you mean {near}?" if near else "")
        return
    if not result.reads_variable:
        why, fix = f"this nnU-Net does not search {VARIABLE}; 2.8 was the first", _UPDATE
    elif path.name == "__init__.py":
        why, fix = "nnU-Net searches other files only", "give it a file of its own"
    else:
        folder = next(parent for parent in path.parents if not disk.is_file(parent / "__init__.py"))
        why, fix = "nnU-Net skips a folder without __init__.py", f"touch {quoted(folder / '__init__.py')}"
    related = [(Location(str(path)), "the file that defines it")]
    yield found(run.at, related=related, trainer=name, why=f": {path.name} defines it, but {why}", fix=fix)


@rule(
    "PG702",
    Severity.ERROR,
    message="{trainer} does not inherit from the installed nnU-Net's nnUNetTrainer, but from {bases}{copy}",
    fix="import its base from there: from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer",
)
def trainer_rejected(run: TrainingRun) -> Iterator[Found]:
    """The class of the trainer's name is no trainer of the installed nnU-Net.

    What it checks: whether the class, or one of its base classes, is `nnUNetTrainer` of the nnU-Net that this Python
    imports. A base class that cannot be read is trusted.

    Why it matters: nnU-Net stops: `AssertionError: The requested nnunet trainer class must inherit from
    'nnUNetTrainer'`. A copy of nnU-Net's file beside the trainer defines another class of the same name, which does not
    count.

    How to fix: inherit from the installed class.

    Example: a folder of trainers with a copy of `nnUNetTrainer.py`, from which the others import.

    Evidence: TR-02; nnU-Net issue 2195.
    """
    trainer = _class(run)
    if trainer.is_trainer is not False:
        return
    copies = [base for base in trainer.mro if base.name == constants.DEFAULT_TRAINER]
    copy = f", a copy in {copies[0].path.name}" if copies else ""
    yield found(_at(trainer), trainer=trainer.name, bases=listed(trainer.bases) or "nothing", copy=copy)


@rule(
    "PG703",
    Severity.ERROR,
    message="nnU-Net {version} cannot use {trainer}: {what} ({then})",
    fix="write it as in the installed nnU-Net: {stock}",
)
def trainer_signature(run: TrainingRun) -> Iterator[Found]:
    """A trainer was written for another version of nnU-Net: its constructor or its network cannot be called.

    What it checks: the parameters of `__init__` and of `build_network_architecture` against those of the installed
    nnU-Net, and the arguments of each `super().__init__(...)` in the base classes.

    Why it matters: nnU-Net passes its own parameters by name: a trainer with other ones stops with a `KeyError` or a
    `TypeError`. It looks up each parameter of the trainer among its own variables, so an additional one, with a default
    or not, is a `KeyError`, and so are `*args`. `unpack_dataset` was removed in 2.6: `TypeError: __init__() takes from
    5 to 6 positional arguments but 7 were given`. `build_network_architecture` had other arguments before 2.7. What
    fails in prediction only is a warning.

    How to fix: take over the signature of the installed `nnUNetTrainer`; read arguments of your own from the
    environment, a file or the plans.

    Example: `def __init__(self, plans, configuration, fold, dataset_json, unpack_dataset=True, device=...)`.

    Evidence: TR-03; nnU-Net issues 1545, 1618, 3066, nnWNet issue 4.
    """
    trainer = _class(run)
    version = packages.dotted(packages.nnunet_version() or ())
    from plansguard.nnunet.install.trainer_signature import problems_of

    for problem in problems_of(trainer, below_steps=run.steps is not None):
        yield found(
            Location(str(problem.path), line=problem.line),
            severity=Severity.WARNING if problem.only_predicting else None,
            version=version,
            trainer=trainer.name,
            what=problem.what,
            then=problem.then,
            stock=trainer.mro[-1].path,
        )


@rule(
    "PG704",
    Severity.WARNING,
    message="{name} of the installed nnU-Net was edited after the installation",
    fix="move the edits to a trainer with a name of its own in a folder of nnUNet_extTrainer, and "
    "reinstall: pip install --force-reinstall --no-deps nnunetv2=={version}",
)
def trainer_edited_in_place(run: TrainingRun) -> Iterator[Found]:
    """A trainer's file of the installed nnU-Net was edited.

    What it checks: the files of the trainer and its base classes, if they were installed with nnU-Net, against the
    digests that pip noted. A clone (`pip install -e`) is not checked: it is meant to be edited.

    Why it matters: results under the name `nnUNetTrainer` are none of that trainer, and the next update removes the
    edits. Nothing shows it later. nnU-Net's authors advise never to change the standard trainer.

    How to fix: derive a class with the changes, and name its folder in `nnUNet_extTrainer`.

    Example: `self.num_epochs = 1000` was changed to 100 in site-packages.

    Evidence: TR-04; nnU-Net issues 1384, 1389, 1728, 1925, 2179.
    """
    for path in dict.fromkeys(base.path for base in _class(run).mro):
        if packages.edited_since_installed(path):
            yield found(Location(str(path)), name=path.name, version=packages.dotted(packages.nnunet_version() or ()))


@rule("PG705", Severity.ERROR, message="{what}", fix="{remedy}")
def search_for_trainer_fails(run: TrainingRun) -> Iterator[Found]:
    """The search for the trainer meets a file that nnU-Net cannot import, or a folder that does not exist.

    What it checks: all modules that nnU-Net imports before it finds the trainer: those of its own folder, then those of
    the folders in `nnUNet_extTrainer`, in alphabetical order. Reported is a file that is not valid Python, imports what
    is not installed or not in the installed nnU-Net, or imports from `.` in a folder that is no package to nnU-Net. A
    missing folder is a warning.

    Why it matters: nnU-Net imports every file until one has the trainer; a broken one ends the search with its own
    error. That is so even if the file is not needed. Missing folders are skipped silently; `~` is not expanded.

    How to fix: correct the file, or give the trainer a folder of its own.

    Example: a folder of many papers' trainers, one of which imports `mamba_ssm`.

    Evidence: TR-01; nnU-Net issues 1545, 2150; utilities/find_class_by_name.py.
    """
    results = [_search(run)]
    if run.steps is not None:
        ours = {**os.environ, VARIABLE: search_path(os.environ.get(VARIABLE, ""))}
        from plansguard.nnunet.install.trainer_search import search

        results.append(search(run.trainer, environment=ours))
    faults = {result.fault: result.name for result in reversed(results) if result.fault is not None}
    for fault, name in faults.items():
        what = f"nnU-Net imports {fault.path.name} before it finds {name}, and fails: {fault.what}"
        remedy = f"correct the file, or move it out of {quoted(fault.path.parent)}"
        yield found(Location(str(fault.path), line=fault.line), what=what, remedy=remedy)
    for folder in dict.fromkeys(name for result in results for name in result.missing):
        what = f"{VARIABLE} names {folder}, which does not exist"
        remedy = f"write it as {Path(folder).expanduser()}" if folder.startswith("~") else "correct the path"
        yield found(run.at, severity=Severity.WARNING, what=what, remedy=remedy)


@rule(
    "PG707",
    Severity.WARNING,
    message="{trainer} builds a network of its own; the weights were trained by {theirs}",
    fix="fine-tune with the trainer of the weights: -tr {theirs}",
)
def trainer_builds_another_network(run: TrainingRun) -> Iterator[Found]:
    """Weights of one trainer are to be fine-tuned by another that builds its own network.

    What it checks: whether the trainer overrides `build_network_architecture`, and the weights come from another
    trainer. PG609 checks the opposite, weights of a trainer with a network of its own.

    Why it matters: if parameters are missing, nnU-Net stops; if only names are the same, the weights silently load into
    another network. The plans do not describe the network then, and checks of the weights by the plans are not valid.

    How to fix: train with the same trainer.

    Example: `-tr nnUNetTrainerBN` with weights of `nnUNetTrainer`, which lack the running means.

    Evidence: TR-06.
    """
    weights = run.weights
    if weights is None or weights.kind == "nnssl":
        return
    trainer, theirs = _class(run), weights.trainer and constants.base_trainer(weights.trainer)
    builder = trainer.method("build_network_architecture")
    if trainer.own_network and builder is not None and theirs != run.base_trainer:
        yield found(_at(builder), trainer=run.base_trainer, theirs=theirs or "an unknown trainer")
