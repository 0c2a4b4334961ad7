"""The gate: is this training fit to start? The rules of every other command, and those about the training itself."""

from __future__ import annotations

import argparse
import importlib.util
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import plansguard
from plansguard.core.atomic_files import locked, write_atomically
from plansguard.core.errors import Absent, UsageError, WriteRefused, known
from plansguard.core.report import Finding, Report
from plansguard.core.text import nearest
from plansguard.documents import json_document
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.nnunet.command_line import TRAIN, parse
from plansguard.nnunet.constants import DEFAULT_IDENTIFIER, DEFAULT_TRAINER
from plansguard.nnunet.workspace import Workspace, checked_fold
from plansguard.records.recorded_documents import DATA, DATASET_JSON, FINGERPRINT, PLANS, SPLITS, WEIGHTS
from plansguard.records.training import SCHEMA, merged, read_record
from plansguard.rules import RULES, find
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.discovery import configuration_of, dataset_of, narrowed, plans_of
from plansguard.subjects.request import Reading, Request
from plansguard.subjects.training_run import TrainingRun
from plansguard.training.options import Options
from plansguard.training.stop_reasons import TrainingObstacle
from plansguard.training.trainer_name import is_step_name

if TYPE_CHECKING:
    from plansguard.artefacts.checkpoint.checkpoint import Checkpoint


DEVICES = ("cuda", "cpu", "mps")


@dataclass(frozen=True)
class TrainingRequest:
    """A requested training: the arguments of ``nnUNetv2_train``, named as in `TrainingRun`."""

    dataset: str
    configuration: str
    fold: str
    plans: str = DEFAULT_IDENTIFIER
    trainer: str = DEFAULT_TRAINER
    weights: Path | None = None
    continues: bool = False
    validates: bool = False
    validates_best: bool = False
    disables_checkpointing: bool = False
    device: str = "cuda"
    gpus: int = 1
    gpu_memory: float | None = None
    options: Options = field(default_factory=Options)


class Accepted(NamedTuple):
    """A finding that is let through: its code or name, and the reason that will be written down."""

    code: str
    because: str


def prepare(workspace: Workspace, order: TrainingRequest, reading: Reading) -> TrainingRun:
    """The training that the order asks for, ready to be judged; nothing is written.

    Raises UsageError for what nnU-Net could not begin with: an unknown
    dataset, plans, configuration, fold or device, or folders that no variable names; UnreadableDocument for weights
    that are none.
    """
    fold = checked_fold(order.fold)
    if order.device not in DEVICES:
        raise UsageError(
            f"{order.device!r} is no device that nnU-Net knows",
            hint=f"one of {', '.join(DEVICES)}; which GPU it is, CUDA_VISIBLE_DEVICES says",
        )
    if order.gpus < 1:
        raise UsageError(f"{order.gpus} GPUs cannot train", hint="-num_gpus 1 is nnU-Net's default")
    if order.gpu_memory is not None and not isfinite(order.gpu_memory):
        raise UsageError(f"--gpu-memory {order.gpu_memory} is no amount of memory", hint="in GB, such as 24")
    dataset = dataset_of(workspace, order.dataset)
    plans = plans_of(dataset, order.plans)
    configuration = configuration_of(plans, order.configuration)
    if workspace.results is None:
        raise UsageError(
            "the environment variable nnUNet_results is not set, so nnU-Net could not write what it trains",
            hint="export nnUNet_results=/path/to/nnUNet_results",
        )
    request = Request(plans.identifier, configuration.name, _checkpoint(order.weights), reading, order.trainer, fold)
    return TrainingRun(
        dataset=narrowed(dataset, request),
        plans=plans,
        configuration=configuration,
        fold=fold,
        **{name: getattr(order, name) for name in _SAME},
    )


#: What an order and a run call the same.
_SAME = (
    *("trainer", "continues", "validates", "validates_best", "disables_checkpointing"),
    *("device", "gpus", "gpu_memory", "options"),
)


def possible_depth() -> str:
    """How much of the arrays the gate reads unless told otherwise, as `Reading` calls it.

    The headers of every case, and the values of a few where the packages for it are installed; nnU-Net brings them.
    """
    found = all(importlib.util.find_spec(name) is not None for name in ("blosc2", "numpy", "SimpleITK"))
    return "sample" if found else "headers"


def judge(run: TrainingRun, command: str, settings: ActiveSettings, accepted: Sequence[Accepted] = ()) -> Report:
    """What every rule says of the dataset, the data, the weights and the training.

    ``command`` is the name of the report's command. What is accepted stays in the report, with the reason. UsageError
    for an accepted code that no rule has.
    """
    assert_known(accepted)
    assert_acceptable(run, accepted)
    report = run_rules(command, [str(run.dataset.folder)], [run.dataset], training=run, settings=settings, rules=RULES)
    return accept(report, accepted)


def assert_known(accepted: Iterable[Accepted]) -> None:
    """That there are rules with these codes, and reasons; UsageError otherwise."""
    for one in accepted:
        _check_known(one)


def assert_acceptable(run: TrainingRun, accepted: Iterable[Accepted]) -> None:
    """Raise UsageError if a trainer of a number of steps would refuse in spite of what is accepted."""
    refused = {obstacle.value for obstacle in TrainingObstacle} if is_step_name(run.trainer) else set()
    for one in accepted:
        rule = find(one.code)
        if rule is not None and rule.info.code in refused:
            raise UsageError(
                f"{one.code} cannot be accepted: {run.trainer} itself refuses to train then",
                hint="the finding tells how to fix it; run again without --accept",
            )


def accept(report: Report, accepted: Sequence[Accepted]) -> Report:
    """The report with what is accepted let through, and the reasons in it."""
    return replace(report, findings=tuple(_accepted(finding, accepted) for finding in report.findings))


def idle(report: Report, accepted: Sequence[Accepted]) -> list[Accepted]:
    """What was accepted and not found: a leftover of an earlier training, perhaps."""
    return [one for one in accepted if not any(one.code in (found.code, found.name) for found in report.findings)]


def _accepted(finding: Finding, accepted: Sequence[Accepted]) -> Finding:
    for one in accepted:
        if one.code in (finding.code, finding.name) and finding.ignored is None:
            return replace(finding, ignored=one.because)
    return finding


def _check_known(accepted: Accepted) -> None:
    known = [name for rule in RULES for name in (rule.info.code, rule.info.name)]
    if accepted.code not in known:
        near = nearest(accepted.code, known)
        hint = f"did you mean {near}?" if near else "plansguard rules lists them"
        raise UsageError(f"there is no rule {accepted.code} to accept", hint=hint)
    if not accepted.because.strip():
        raise UsageError(f"why is {accepted.code} accepted?", hint='add --because "..."; the receipt keeps the reason')


def _checkpoint(weights: Path | None) -> Checkpoint | None:
    if weights is None:
        return None
    from plansguard.artefacts.checkpoint.checkpoint import read_checkpoint

    return read_checkpoint(weights)


def training_order(arguments: Sequence[str]) -> TrainingRequest:
    """The training that ``nnUNetv2_train`` with these arguments asks for; UsageError where nnU-Net refuses them."""
    found = parse(TRAIN, arguments)
    if found is None:
        raise UsageError("these arguments ask for help and for no training")
    return order_of(found.values)


def order_of(values: argparse.Namespace) -> TrainingRequest:
    """The training that the arguments of ``nnUNetv2_train`` ask for."""
    return TrainingRequest(
        dataset=values.dataset_name_or_id,
        configuration=values.configuration,
        fold=values.fold,
        plans=values.p,
        trainer=values.tr,
        weights=None if values.pretrained_weights is None else Path(values.pretrained_weights),
        continues=values.c,
        validates=values.val,
        validates_best=values.val_best,
        disables_checkpointing=values.disable_checkpointing,
        device=values.device,
        gpus=values.num_gpus,
    )


def build(run: TrainingRun, report: Report, command: Sequence[str]) -> dict[str, Any]:
    """The receipt of this start alone; ``command`` is what was typed, the program first.

    UsageError for a configuration whose inheritance is broken, UnreadableDocument for weights that cannot be read.
    """
    dataset, weights, now = run.dataset, run.weights, _now()
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
    start = {
        "started": now,
        "last": now,
        "times": 1,
        "tool": {"name": "plansguard", "version": plansguard.__version__},
        "versions": {"python": platform.python_version(), "nnunetv2": _version("nnunetv2"), "torch": _version("torch")},
        "command": [_program(command[0]), *command[1:]] if command else [],
        "training": training,
        "schedule": known(lambda: _schedule(run)),
        "plans": plans,
        "dataset_json": known(lambda: DATASET_JSON.digest(dataset.dataset_json.document, training)),
        "fingerprint": known(lambda: FINGERPRINT.digest(dataset.fingerprint.document, training)),
        "splits": known(lambda: SPLITS.digest(dataset.splits.document, training)),
        "weights": None if weights is None else WEIGHTS.digest(Path(weights.path), training),
        "data": None if audit is None else DATA.digest(audit, training),
        "report": _counts(report),
        "findings": [
            {
                "code": finding.code,
                "name": finding.name,
                "severity": str(finding.severity),
                "message": finding.message,
                "accepted": finding.ignored,
            }
            for finding in report.findings
        ],
    }
    return {"schema": SCHEMA, "starts": [start], "left_out": 0, "cases": {} if audit is None else audit.headers}


def write(run: TrainingRun, value: Mapping[str, Any]) -> Path:
    """Add this start to the receipt in the folder of results, which is made if it is not there.

    UsageError when no folder is known, UnreadableDocument when what lies there under the name is no receipt, so that
    nothing is lost, and WriteRefused when the system does not let us write.
    """
    try:
        folder, above = run.output_folder, run.model_folder
    except Absent as absent:
        raise UsageError(f"there is no place for the receipt: {absent.reason}") from absent
    path = folder / TRAINING_RECORD_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteRefused(
            f"cannot make the folder {folder}: {error.strerror or error}",
            hint="nnUNet_results must name a folder in which this user may write",
        ) from error
    with locked(above):  # and not the folder itself, whose lock says that a training runs there
        write_atomically(path, json_document.dumps(merged(read_record(path), value) if path.exists() else value))
    return path


def _schedule(run: TrainingRun) -> dict[str, Any] | None:
    steps = run.steps
    return None if steps is None else {"base": steps.base, **asdict(steps.schedule)}


def _counts(report: Report) -> dict[str, int]:
    summary = report.summary()
    counts = {key: summary[key] for key in ("error", "warning", "info", "not_checked")}
    return {**counts, "accepted": summary["ignored"]}


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


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
