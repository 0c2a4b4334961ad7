"""Judge a training before it starts, and leave a training record beside its results."""

from __future__ import annotations

import argparse
import importlib.util
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plansguard
from plansguard.commands.check import weights_from
from plansguard.core import disk
from plansguard.core.atomic_files import holding, locked, write_atomically
from plansguard.core.errors import Absent, UsageError, WriteRefused, known
from plansguard.core.report import Finding, Report
from plansguard.documents import json_document
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.nnunet import printed_commands
from plansguard.nnunet.constants import CHECKPOINT_FINAL, TRAIN
from plansguard.nnunet.printed_commands import SEGMENTATIONS, ShellText
from plansguard.nnunet.workspace import Workspace, checked_fold
from plansguard.records.recorded_documents import DATA, DATASET_JSON, FINGERPRINT, PLANS, SPLITS, WEIGHTS
from plansguard.records.training import SCHEMA, merged, read_record
from plansguard.rules import RULES, find
from plansguard.rules.engine.acceptance import Accepted, accept, assert_acceptable
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import configuration_of, dataset_of, plans_of
from plansguard.subjects.pretraining import after_pretraining
from plansguard.subjects.request import Reading, Request, TypedOptions
from plansguard.subjects.training_run import TrainingRun
from plansguard.training.folder_lock import hold, release
from plansguard.training.options import Options
from plansguard.training.resume import checkpoints_in
from plansguard.training.stop_reasons import TrainingObstacle
from plansguard.training.trainer_name import is_step_name

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint
    from plansguard.rules.engine.declare import Rule

DEVICES = ("cuda", "cpu", "mps")
#: Stands for the folder of the predictions of a cascade's first stage.
_PREVIOUS = ShellText("PREVIOUS")
#: The rule that reports a training without a step left.
_FINISHED = "finished-already"
_COUNTS = ("error", "warning", "info", "not_checked")


#: ``--from-scratch``: a training of migrated plans from random weights (PG737).
FROM_SCRATCH = Accepted("weights-forgotten", "random weights are intended: --from-scratch", expected=False)


def prepare(
    workspace: Workspace,
    values: argparse.Namespace,
    reading: Reading,
    *,
    gpu_memory: float | None = None,
    options: Options | None = None,
    typed: TypedOptions | None = None,
    launcher: tuple[str, ...] | None = (TRAIN,),
    resumes: bool = False,
    dataset: Dataset | None = None,
    weights: Checkpoint | None = None,
) -> TrainingRun:
    """Return the training that the arguments of ``nnUNetv2_train`` ask for. Nothing is written.

    ``typed`` are words that the commands in fixes repeat. With ``resumes``, a training that has begun is continued, and
    weights to begin with are not read again. ``dataset`` is the dataset as it will be then, with plans that are not
    written yet; ``weights`` are those to begin with, where they are read already.

    Raises UsageError for an unknown dataset, plans, configuration, fold or device and where nnUNet_results is not set;
    UnreadableDocument for weights that cannot be read.
    """
    fold = checked_fold(values.fold)
    _assert_machine(values, gpu_memory)
    dataset = dataset or dataset_of(workspace, values.dataset_name_or_id)
    plans = plans_of(dataset, values.p)
    configuration = configuration_of(plans, values.configuration)
    workspace.results_folder()  # raises where the variable is not set
    request = Request(
        *(plans.identifier, configuration.name, None, reading, values.tr, fold),
        device=values.device,
        gpus=values.num_gpus,
        flags=tuple(flag for flag, given in _flags(values).items() if given),
        typed=typed or TypedOptions(),
        launcher=launcher,
        starts=True,
    )
    run = TrainingRun(
        dataset=replace(dataset, request=request),
        plans=plans,
        configuration=configuration,
        fold=fold,
        trainer=values.tr,
        continues=values.c,
        validates=values.val,
        validates_best=values.val_best,
        keeps_probabilities=values.npz,
        disables_checkpointing=values.disable_checkpointing,
        device=values.device,
        gpus=values.num_gpus,
        gpu_memory=gpu_memory,
        options=options or Options(),
        resumes=resumes,
    )
    if resumes and (
        run.continues or known(lambda: bool(checkpoints_in(run.output_folder)))
    ):  # extensions always continue
        return replace(run, continues=True)
    request = replace(request, weights=weights or weights_from(values.pretrained_weights))
    return replace(run, dataset=replace(dataset, request=request))


def _has_begun(run: TrainingRun) -> bool:
    """Whether the folder of results has a checkpoint."""
    return bool(known(lambda: checkpoints_in(run.output_folder)))


def _assert_machine(values: argparse.Namespace, gpu_memory: float | None) -> None:
    """Raise UsageError for a device or a number of GPUs that nnU-Net does not have, and for no amount of memory."""
    assert_device(values.device)
    if values.num_gpus < 1:
        raise UsageError(f"{values.num_gpus} GPUs cannot train", hint="-num_gpus 1 is nnU-Net's default")
    if gpu_memory is not None and not isfinite(gpu_memory):
        raise UsageError(f"--gpu-memory {gpu_memory} is no amount of memory", hint="in GB, such as 24")


def _flags(values: argparse.Namespace) -> dict[str, bool]:
    """nnU-Net's flags that do not decide whether a training begins, continues or validates."""
    names = {"--disable_checkpointing": values.disable_checkpointing, "--npz": values.npz}
    return {**names, "--val_best": values.val_best}


def assert_device(device: str) -> None:
    """Raise UsageError unless nnU-Net has a device of this name."""
    if device not in DEVICES:
        raise UsageError(
            f"{device!r} is not a device of nnU-Net",
            hint=f"one of {', '.join(DEVICES)}; CUDA_VISIBLE_DEVICES selects the GPU",
        )


def default_depth() -> str:
    """Return how much of the arrays the gate reads by default, as `Reading` names it.

    The headers of every case, and the values of a few where the packages for it are installed; nnU-Net requires them.
    """
    installed = all(importlib.util.find_spec(name) is not None for name in ("blosc2", "numpy", "SimpleITK"))
    return "sample" if installed else "headers"


def judge(
    run: TrainingRun,
    command: str,
    settings: ActiveSettings,
    accepted: Sequence[Accepted] = (),
    rules: Sequence[Rule] = RULES,
) -> Report:
    """Run the rules on the dataset, the data, the weights and the training.

    ``command`` is the command in the report. Where ``--resume auto`` finds that the training is finished, only that is
    reported. Accepted findings stay in the report, with the reason. Raises UsageError
    for an accepted code that no rule has.
    """
    assert_acceptable(accepted, [rule.info for rule in RULES])
    assert_trainer_accepts(run, accepted)
    rules = [rule for rule in RULES if rule.info.name == _FINISHED] if run.resumes and run.is_finished else rules
    report = run_rules(command, [str(run.dataset.folder)], [run.dataset], training=run, settings=settings, rules=rules)
    return accept(report, accepted)


def assert_trainer_accepts(run: TrainingRun, accepted: Iterable[Accepted]) -> None:
    """Raise UsageError if a trainer of a number of steps would refuse in spite of what is accepted."""
    refused = {obstacle.value for obstacle in TrainingObstacle} if is_step_name(run.trainer) else set()
    for one in accepted:
        rule = find(one.code)
        if rule is not None and rule.info.code in refused:
            raise UsageError(
                f"{one.code} cannot be accepted: {run.trainer} itself refuses to train then",
                hint="the finding tells how to fix it; run again without --accept",
            )


def build_record(run: TrainingRun, report: Report, command: Sequence[str]) -> dict[str, Any]:
    """Return the training record of this start alone; ``command`` is what was typed, the program first.

    Raises UsageError for a configuration whose inheritance is broken, UnreadableDocument for unreadable weights.
    """
    dataset, weights, now = run.dataset, run.weights, datetime.now(timezone.utc).isoformat(timespec="seconds")
    training = {
        "dataset": dataset.name,
        "plans": run.plans.identifier,
        "configuration": run.configuration.name,
        "fold": run.fold,
        "trainer": run.trainer,
        "continues": run.continues,
        "disables_checkpointing": run.disables_checkpointing,
        "device": run.device,
        "gpus": run.gpus,
    }
    plans = PLANS.digest(run.plans.document, training)
    if plans is None:
        raise UsageError(
            f"{run.configuration.name} of {run.plans.path} cannot be resolved, so nnU-Net cannot train it",
            hint="correct inherits_from (PG106)",
        )
    audit = known(lambda: dataset.data(run.configuration))
    if audit is not None and audit.interrupted:
        audit = None
    steps, counts = known(lambda: run.steps), report.summary()
    start = {
        "started": now,
        "last": now,
        "times": 1,
        "tool": {"name": "plansguard", "version": plansguard.__version__},
        "versions": {"python": platform.python_version(), "nnunetv2": _version("nnunetv2"), "torch": _version("torch")},
        "command": [_program(command[0]), *command[1:]] if command else [],
        "training": training,
        "schedule": None if steps is None else {"base": steps.base, **asdict(steps.schedule)},
        "plans": plans,
        "dataset_json": known(lambda: DATASET_JSON.digest(dataset.dataset_json.document, training)),
        "fingerprint": known(lambda: FINGERPRINT.digest(dataset.fingerprint.document, training)),
        "splits": known(lambda: SPLITS.digest(dataset.splits.document, training)),
        "weights": None if weights is None else WEIGHTS.digest(Path(weights.path), training),
        "data": None if audit is None else DATA.digest(audit, training),
        "report": {**{key: counts[key] for key in _COUNTS}, "accepted": counts["ignored"]},
        "findings": [_finding_entry(finding) for finding in report.findings],
    }
    return {"schema": SCHEMA, "starts": [start], "left_out": 0, "cases": {} if audit is None else audit.headers}


def write_record(run: TrainingRun, record: Mapping[str, Any], *, keeps_lock: bool = False) -> Path:
    """Add this start to the training record in the folder of results, which is created if missing.

    A trainer of a number of steps locks its folder. The record is written under that lock, which this process has until
    it ends with ``keeps_lock``: a training that the lock refuses enters no record.

    Raises UsageError when no folder is known, UnreadableDocument when the file there is not a training record, so that
    nothing is lost, WriteRefused when the folder cannot be created, and Refused when another process trains there.
    """
    try:
        folder, model_folder = run.output_folder, run.model_folder
    except Absent as absent:
        raise UsageError(
            f"there is no place for the training record: {absent.reason}",
            hint="check dataset_name and plans_name in the plans, and the length of the trainer's name",
        ) from absent
    path = folder / TRAINING_RECORD_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteRefused(
            f"cannot make the folder {folder}: {error.strerror or error}",
            hint="nnUNet_results must name a folder in which this user may write",
        ) from error
    locks = known(lambda: run.steps) is not None
    if locks:
        hold(folder)
    try:
        with locked(model_folder):  # a lock on the folder itself means that a training runs there
            old = disk.content(path) if disk.is_file(path) else None
            content = merged(read_record(path), record) if disk.is_there(path) else record
            write_atomically(path, json_document.dumps(content), holding(old))
    finally:
        if locks and not keeps_lock:
            release(folder)
    return path


def next_commands(run: TrainingRun) -> Iterator[str]:
    """The commands that follow a finished training: verify its record, then fine-tune its weights or predict."""
    yield printed_commands.verify_receipt(run.output_folder)
    if run.disables_checkpointing:
        return
    name = run.configuration.name
    if fine_tuning := after_pretraining(run.dataset, run.plans, name, run.model_folder.name, run.fold, run.device):
        yield from fine_tuning
        return
    yield from predictions(run, [run.fold])


def predictions(run: TrainingRun, folds: Sequence[str]) -> Iterator[str]:
    """The commands that predict new images with these folds of a model, after the first stage of a cascade."""
    name = run.configuration.name
    previous = run.configuration.previous_stage
    if previous is None:
        yield _prediction(run, name, folds)
        return
    model = run.model_folder.with_name(f"{run.trainer}__{run.plans.identifier}__{previous}")
    trained = [path.parent.name.removeprefix("fold_") for path in disk.matching(model, f"fold_*/{CHECKPOINT_FINAL}")]
    of_previous = folds if set(folds) <= set(trained) or not trained else [min(trained)]
    yield _prediction(run, previous, of_previous, to=_PREVIOUS)
    yield _prediction(run, name, folds, previous=_PREVIOUS)


def _prediction(
    run: TrainingRun,
    configuration: str,
    folds: Sequence[str],
    *,
    to: ShellText = SEGMENTATIONS,
    previous: ShellText | None = None,
) -> str:
    plans, trainer, device = run.plans.identifier, run.trainer, run.device
    return printed_commands.predict(
        *(run.dataset.name, configuration, *folds),
        plans=plans,
        trainer=trainer,
        to=to,
        device=device,
        previous=previous,
    )


def _finding_entry(finding: Finding) -> dict[str, str | None]:
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": str(finding.severity),
        "message": finding.message,
        "accepted": finding.ignored,
    }


def _program(word: str) -> str:
    """``plansguard``, wherever it is installed and however it was started."""
    name = Path(word).name
    return "plansguard" if name == "__main__.py" else name


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
