"""Loggers for MLflow and Weights & Biases, beside those that nnU-Net has, with the optimiser's step as x-axis.

nnU-Net's ``MetaLogger`` sends each value with its epoch to all objects in its list ``loggers``; these have the same
three methods. Its own ``WandbLogger`` sends to Weights & Biases. Source: training/logging/nnunet_logger.py of 2.8.1.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.training.schedule import StepSchedule

#: ``1``: send to the server that MLFLOW_TRACKING_URI names, into the experiment of MLFLOW_EXPERIMENT_NAME.
MLFLOW = "PLANSGUARD_MLFLOW"
_EXPERIMENT, _DEFAULT_EXPERIMENT = "MLFLOW_EXPERIMENT_NAME", "nnunet"
#: A server that does not answer stops the training for as long as these allow: 16 minutes by MLflow's own defaults.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
#: The tag by which a training that is continued finds its run.
_TAG = "plansguard.run"
_STEP = "optimiser_step"
#: Values that nnU-Net logs at the beginning of an epoch.
_AT_BEGINNING = ("lrs", "epoch_start_timestamps")
#: What nnU-Net logs last, after the final validation.
_LAST = "final_val/foreground_dice"


@dataclass(frozen=True)
class LoggedTraining:
    """A training as loggers describe it. ``run`` is the same before and after an interruption."""

    folder: Path
    run: str
    schedule: StepSchedule
    parameters: Mapping[str, Any]
    plans: Mapping[str, Any]

    @classmethod
    def of(cls, trainer: Any, run: str, plans: Mapping[str, Any]) -> LoggedTraining:
        """Describe what a step trainer trains."""
        parameters = {
            **{name: plans.get(name) for name in ("dataset_name", "plans_name")},
            "configuration": trainer.configuration_name,
            "fold": trainer.fold,
            "trainer": type(trainer).__name__,
            "steps": trainer.schedule.total,
        }
        return cls(Path(trainer.output_folder), run, trainer.schedule, parameters, plans)

    @property
    def name(self) -> str:
        """The name of the run: dataset, configuration and fold."""
        return " ".join(str(self.parameters[key]) for key in ("dataset_name", "configuration", "fold"))

    @property
    def record(self) -> Path | None:
        """The training record; None for a training that was started without ``plansguard train`` or ``gate``."""
        path = self.folder / TRAINING_RECORD_NAME
        return path if disk.is_file(path) else None

    def step(self, key: str, epoch: int) -> int:
        """The optimiser's step at which nnU-Net logs this value of an epoch."""
        return self.schedule.first_step(epoch if key in _AT_BEGINNING else epoch + 1)


def is_asked_for() -> bool:
    """Whether MLflow is asked for; UsageError if it is not installed."""
    if os.environ.get(MLFLOW, "").strip().lower() not in ("1", "true", "yes"):
        return False
    if importlib.util.find_spec("mlflow") is None:
        raise UsageError(f"{MLFLOW} is set, and mlflow is not installed", hint="pip install mlflow-skinny, or unset it")
    return True


def add_loggers(meta_logger: Any, training: LoggedTraining, write: Callable[[str], None]) -> None:
    """Send what nnU-Net logs with the optimiser's step, to Weights & Biases and to MLflow, where they are asked for."""
    loggers = meta_logger.loggers
    loggers[:] = [WandbInSteps(one, training) if type(one).__name__ == "WandbLogger" else one for one in loggers]
    if is_asked_for():
        loggers.append(MlflowLogger(training, write))


class WandbInSteps:
    """nnU-Net's logger for Weights & Biases, which has epochs as x-axis, with the optimiser's step in place of them."""

    def __init__(self, logger: Any, training: LoggedTraining) -> None:
        self._logger, self._training = logger, training
        logger.run.define_metric(_STEP)
        logger.run.define_metric("*", step_metric=_STEP)
        logger.update_config({"plansguard": {"run": training.run, **training.parameters}})
        if training.record is not None:
            logger.run.save(str(training.record), base_path=str(training.folder), policy="now")

    def update_config(self, config: dict[str, Any]) -> None:
        """Pass on."""
        self._logger.update_config(config)

    def log(self, key: str, value: Any, step: int) -> None:
        """Log a value of an epoch. Its values are one row there, which has one step: that at its end."""
        self._logger.log(_STEP, self._training.step("", step), step)
        self._logger.log(key, value, step)

    def log_summary(self, key: str, value: Any) -> None:
        """Pass on."""
        self._logger.log_summary(key, value)


class MlflowLogger:
    """Sends to MLflow. A server that does not answer ends the logging, and not the training."""

    def __init__(self, training: LoggedTraining, write: Callable[[str], None]) -> None:
        self._training, self._write = training, write
        self._client: Any = None
        self._run = ""
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        write("Connecting to MLflow")
        self._send(self._begin)

    def _begin(self) -> None:
        """Create the run, or find that of the training that is continued."""
        client = importlib.import_module("mlflow").MlflowClient()
        name = os.environ.get(_EXPERIMENT, _DEFAULT_EXPERIMENT)
        experiment = client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment is not None else client.create_experiment(name)
        training = self._training
        present = client.search_runs([number], f"tags.`{_TAG}` = '{training.run}'", max_results=1)
        if present:
            run = present[0]
        else:
            run = client.create_run(number, run_name=training.name, tags={_TAG: training.run})
            for key, value in training.parameters.items():
                client.log_param(run.info.run_id, key, value)
            client.log_dict(run.info.run_id, dict(training.plans), "plans.json")
        if training.record is not None:
            client.log_artifact(run.info.run_id, str(training.record))
        self._client, self._run = client, run.info.run_id

    def _send(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - of any library below mlflow
            self._client = None
            self._write(f"WARNING: nothing more is sent to MLflow: {_reason(error)}")

    def update_config(self, config: dict[str, Any]) -> None:
        """Nothing: the parameters are known when the run is created."""

    def log(self, key: str, value: Any, step: int) -> None:
        """Log a value of an epoch with the optimiser's step."""
        if self._client is not None:
            at = self._training.step(key, step)
            self._send(lambda: self._client.log_metric(self._run, key, float(value), step=at))

    def log_summary(self, key: str, value: Any) -> None:
        """Log a value of the final validation; the last one ends the run."""
        if self._client is not None:
            total = self._training.schedule.total
            self._send(lambda: self._client.log_metric(self._run, key, float(value), step=total))
        if self._client is not None and key == _LAST:
            self._send(lambda: self._client.set_terminated(self._run))


def _reason(error: Exception) -> str:
    """The first line of an error, without characters that a terminal obeys: its text may come from the server."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return "".join(filter(str.isprintable, line))
