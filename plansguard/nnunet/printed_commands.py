"""Commands that messages, fixes and *Next* print: plansguard's own and nnU-Net's, as text for a shell.

Only this module builds them, so that quoting, the number of a dataset and the names of options are the same everywhere.
Values are quoted; ``ShellText`` is left as it is: an expansion such as ``"$nnUNet_results"``, or a field ``{plans}`` of
a rule that the engine fills. Options with the value None are left out. A dataset is given by its name
(``Dataset002_Name``) or number, and printed as the number that nnU-Net takes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from plansguard.nnunet.constants import FIND_BEST, FINGERPRINT, PLAN, PLAN_AND_PREPROCESS, PREDICT, TRAIN
from plansguard.nnunet.workspace import dataset_id


class ShellText(str):
    """Text that a shell reads as it is: quoted already, or an expansion."""

    __slots__ = ()


Word = str | Path
"""One word of a command; it is quoted unless it is ShellText."""

#: What only the user knows: the dataset that a name without a number stands for, or that plans come from or go to.
DATASET: Final = ShellText("DATASET")
#: The dataset that plans come from, where the one that they go to is known.
SOURCE: Final = ShellText("SOURCE")
#: Plans that were moved without a record, by their name in that dataset.
SOURCE_PLANS: Final = ShellText("SOURCE_PLANS")
CONFIGURATION: Final = ShellText("CONFIGURATION")
FOLD: Final = ShellText("FOLD")
#: In a script that trains several folds.
FOLD_VARIABLE: Final = ShellText('"$fold"')
#: A name for migrated plans of a dataset that is not known.
NEW_NAME: Final = ShellText("NEW_NAME")
#: Weights whose path is not known.
CHECKPOINT: Final = ShellText("CHECKPOINT")
#: The name of adapted weights.
ADAPTED: Final = "adapted.pth"
#: A field of plans and its value.
FIELD: Final = ShellText("FIELD=VALUE")
#: A folder with data of nnU-Net v1.
FOLDER: Final = ShellText("FOLDER")
#: A folder of images to predict, and one for the results.
IMAGES: Final = ShellText("IMAGES")
SEGMENTATIONS: Final = ShellText("SEGMENTATIONS")
#: States that random weights are intended; it excludes weights.
FROM_SCRATCH: Final = "--from-scratch"
#: Begin, or continue, or do nothing where everything is done.
RESUMES: Final = ("--resume", "auto")
#: nnU-Net's default of ``-device``, which is left out.
DEFAULT_DEVICE: Final = "cuda"


def shell(*words: Word) -> ShellText:
    """Return words as a shell takes them, each quoted if it has to be."""
    return ShellText(" ".join(word if isinstance(word, ShellText) else shlex.quote(str(word)) for word in words))


def chain(*commands: str) -> ShellText:
    """Return one line that runs the commands one after the other, as long as none fails; empty ones are left out."""
    return ShellText(" && ".join(filter(None, commands)))


def below(variable: str, *parts: Word) -> ShellText:
    """Return the path of a file below the folder that an environment variable names."""
    return ShellText("/".join([f'"${variable}"', *(shlex.quote(str(part)) for part in parts)]))


def number(dataset: str) -> str:
    """Return the number of a dataset for ``-d``, or a placeholder if its name has none."""
    is_number = isinstance(dataset, ShellText) or dataset.isdecimal()
    return dataset if is_number else dataset_id(dataset) or DATASET


def _named(dataset: str) -> str:
    """The dataset for commands that also take its whole name."""
    has_name = dataset.startswith("Dataset") and not isinstance(dataset, ShellText)
    return dataset_id(dataset) or dataset if has_name else number(dataset)


def _options(**values: Word | None) -> list[Word]:
    """Words of options by their name after the ``-``; those without a value are left out."""
    return [word for name, value in values.items() if value is not None for word in (f"-{name}", value)]


# --- plansguard's own


def check(
    dataset: str,
    *,
    plans: Word | None = None,
    configuration: Word | None = None,
    weights: Word | None = None,
    trainer: Word | None = None,
    resumes: bool = False,
    dask: Word | None = None,
    options: Iterable[str] = (),
) -> ShellText:
    """Check a dataset: all of it, these plans, or this configuration, with weights that are to be loaded.

    ``trainer`` is that of the training, and ``resumes`` is whether it continues what is there of it. ``dask`` is the
    address of a cluster whose workers read the cases, and ``options`` are further words.
    """
    words = [
        *_options(p=plans, c=configuration, pretrained_weights=weights, tr=trainer),
        *(RESUMES if resumes else ()),
    ]
    return shell("plansguard", "check", "-d", _named(dataset), *words, *_cluster(dask), *options)


def check_file(path: Word) -> ShellText:
    """Check a file or a folder."""
    return shell("plansguard", "check", path)


def check_with_baseline(file: Word, paths: Iterable[Word] = (), datasets: Iterable[Word] = ()) -> ShellText:
    """Check paths or datasets, else the current folder, with the findings of a baseline known."""
    options = [word for dataset in datasets for word in ("-d", dataset)]
    return shell("plansguard", "check", *paths, *options, "--baseline", file)


def preprocess(
    dataset: str,
    plans: Word,
    *configurations: Word,
    processes: int | None = None,
    dask: Word | None = None,
    replaces: bool = False,
    resumes: bool = False,
    options: Iterable[str] = (),
) -> ShellText:
    """Preprocess configurations, and leave a record.

    ``processes`` are those of this machine, ``dask`` is the address of a cluster whose workers do it in their place.
    ``replaces`` is whether data that are there may be deleted, ``resumes`` whether complete ones are left as they are,
    and ``options`` are further words.
    """
    names = [word for name in configurations for word in ("-c", name)]
    count = None if processes is None or dask is not None else str(processes)
    words = [*_options(np=count), *_cluster(dask), *(["--yes"] if replaces else [])]
    words += RESUMES if resumes else ()
    return shell("plansguard", "preprocess", "-d", _named(dataset), "-p", plans, *names, *words, *options)


def _cluster(address: Word | None) -> list[Word]:
    """The words that name a Dask cluster."""
    return [] if address is None else ["--dask", address]


def migrate(
    source: Word,
    dataset: str,
    to: Word,
    *,
    plans: Word | None = None,
    workflow: str = "finetune",
    reader: Word | None = None,
    onto: Word | None = None,
    configuration: Word | None = None,
    options: Iterable[Word] = (),
) -> ShellText:
    """Move the ``plans`` of a source (a dataset, weights) to a dataset under the name ``to``.

    ``configuration`` is the one that is judged; ``options`` are others of the command.
    """
    words = ["plansguard", "migrate", "-s", source, "-t", _named(dataset), *_options(sp=plans, tp=to, c=configuration)]
    words += [] if reader is None else ["--reader", reader]
    words += ["--workflow", workflow] if workflow != "finetune" else []
    return shell(*words, *([] if onto is None else ["--onto", onto]), *options)


def derive(dataset: str, to: Word = NEW_NAME, setting: Word = FIELD) -> ShellText:
    """Change a field of plans of a dataset under the name ``to``."""
    return shell("plansguard", "derive", *_options(d=_named(dataset), tp=to), "--set", setting)


def undo_derivation(dataset: str | None, plans: Word, file: Word | None = None) -> ShellText:
    """Undo the derivation of these plans of a dataset, or of those beside a file."""
    place: list[Word] = _options(d=_named(dataset)) if dataset is not None else [file] if file is not None else []
    return shell("plansguard", "derive", *place, *_options(tp=plans), "--undo")


def source(dataset: str) -> str:
    """Return a dataset as the source of a migration."""
    return _named(dataset)


def undo(dataset: str, plans: Word | None) -> ShellText:
    """Undo the migration of these plans to a dataset."""
    return shell("plansguard", "migrate", "-t", _named(dataset), *_options(tp=plans), "--undo")


def extract(artefact: Word, to: Word) -> ShellText:
    """Write the plans inside weights or a model into a file."""
    return shell("plansguard", "extract", artefact, "-o", to)


def show(path: Word) -> ShellText:
    """Describe plans, weights or a model."""
    return shell("plansguard", "show", path)


def diff(one: Word, other: Word) -> ShellText:
    """Compare two plans files."""
    return shell("plansguard", "diff", one, other)


def adapt(
    weights: Word, dataset: str, *, to: Word, plans: Word | None = None, configuration: Word | None = None
) -> ShellText:
    """Adapt weights to the channels and classes of a dataset, and write them into a file."""
    options = _options(d=_named(dataset), p=plans, c=configuration, o=to)
    return shell("plansguard", "adapt", weights, *options)


def fit_everywhere(*checkpoints: Word) -> ShellText:
    """List what every dataset needs before it is fine-tuned from checkpoints."""
    return shell("plansguard", "fit", *checkpoints, "--all")


def steps(dataset: str, plans: Word, configuration: Word, fold: Word, total: Word) -> ShellText:
    """Calculate a training of a number of steps."""
    place = _options(d=_named(dataset), p=plans, c=configuration, f=fold)
    return shell("plansguard", "steps", *place, "--total", total)


def baseline(action: str, file: Word | None = None) -> ShellText:
    """Return ``plansguard baseline``; without a file, that of the settings or of the default name."""
    return shell("plansguard", "baseline", action, *(["--baseline", file] if file is not None else []))


def explain(rule: Word) -> ShellText:
    """Show the page of a rule."""
    return shell("plansguard", "explain", rule)


def verify_receipt(folder: Word, weights: Word | None = None) -> ShellText:
    """Compare the training records in a folder of results with the files of today."""
    return shell("plansguard", "verify-receipt", folder, *_options(pretrained_weights=weights))


def gate(words: Sequence[Word], options: Sequence[Word] = (), before: Sequence[Word] = ()) -> ShellText:
    """Judge a command of nnU-Net, and start it. ``options`` are the gate's own, ``before`` precedes plansguard."""
    return shell(*before, "plansguard", "gate", *options, "--", *words)


def train(
    dataset: str,
    configuration: Word,
    fold: Word,
    *,
    plans: Word | None = None,
    trainer: Word | None = None,
    schedule: Sequence[str] | None = None,
    device: str = DEFAULT_DEVICE,
    gpus: int = 1,
    flags: Iterable[str] = (),
    weights: Word | None = None,
    options: Sequence[str] = (),
    launcher: Sequence[Word] = (TRAIN,),
) -> ShellText:
    """Train by nnU-Net's own command behind the gate, or by ``plansguard train`` with the options of a schedule.

    ``options`` are those of plansguard, ``flags`` those of both without a value. ``launcher`` starts nnU-Net's command.
    """
    words: list[Word] = [_named(dataset), configuration, fold, *_options(p=plans)]
    words += _options(tr=trainer) if schedule is None else schedule
    words += [*_device(device), *_options(num_gpus=str(gpus) if gpus > 1 else None)]
    words += [*flags, *_options(pretrained_weights=weights)]
    if schedule is None:
        return gate([*launcher, *words], options)
    return shell("plansguard", "train", *options, *words)


def predict(
    dataset: str,
    configuration: Word,
    *folds: Word,
    plans: Word,
    trainer: Word,
    to: Word,
    device: str = DEFAULT_DEVICE,
    previous: Word | None = None,
) -> ShellText:
    """Predict new images with folds of a model; ``previous`` are predictions of the first stage of a cascade."""
    words = [*_options(i=IMAGES, o=to, d=_named(dataset), c=configuration), "-f", *folds]
    words += [*_options(p=plans, tr=trainer), *_device(device), *_options(prev_stage_predictions=previous)]
    return gate([PREDICT, *words])


def _device(device: str) -> list[Word]:
    return _options(device=device if device != DEFAULT_DEVICE else None)


# --- nnU-Net's


def find_best(
    dataset: str, plans: Word, configuration: Word, trainer: Word, *folds: Word, processes: int | None = None
) -> ShellText:
    """Join the validations of the folds of one model, and determine its postprocessing."""
    options = _options(p=plans, c=configuration, tr=trainer, np=None if processes is None else str(processes))
    return shell(FIND_BEST, _named(dataset), *options, "-f", *folds, "--disable_ensembling")


def extract_fingerprint(dataset: str, *, clean: bool = False) -> ShellText:
    """Extract the fingerprint of a dataset; with ``clean``, also where there is one."""
    return shell(FINGERPRINT, "-d", number(dataset), *(["--clean"] if clean else []))


def plan_experiment(
    dataset: str, planner: Word | None = None, *, memory: Word | None = None, name: Word | None = None
) -> ShellText:
    """Plan a dataset by this planner, for a memory in GB, under a name."""
    options = _options(d=number(dataset), pl=planner, gpu_memory_target=memory, overwrite_plans_name=name)
    return shell(PLAN, *options)


def plan_and_preprocess(dataset: str) -> ShellText:
    """Extract the fingerprint of a dataset and plan it."""
    return shell(PLAN_AND_PREPROCESS, "-d", number(dataset))


def install_zip(archive: Word) -> ShellText:
    """Unpack trained models that nnU-Net has exported into its folder of results."""
    return shell("nnUNetv2_install_pretrained_model_from_zip", archive)


def convert_old_dataset(folder: Word, dataset: Word) -> ShellText:
    """Convert a task of nnU-Net v1."""
    return shell("nnUNetv2_convert_old_nnUNet_dataset", folder, dataset)


def train_pretrained(dataset: str, configuration: Word, fold: Word, *, plans: Word, trainer: Word) -> ShellText:
    """Train from weights of nnssl, by the command of its nnU-Net."""
    words = _options(p=plans, tr=trainer)
    return shell("nnUNetv2_train_pretrained", _named(dataset), configuration, fold, *words)
