"""Metrics of trainings for MLflow and Weights & Biases: with stand-ins, and with the real packages where they are.

The real ones are skipped elsewhere: with what they need both take 0.9 GB.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plansguard.core.errors import UsageError
from plansguard.documents.file_names import TRAINING_RECORD_NAME
from plansguard.training.experiment_loggers import LoggedTraining, add_loggers, is_asked_for
from plansguard.training.schedule import StepSchedule
from tests.support import stepping

#: Three windows, of 10, 10 and 3 steps.
SCHEDULE = StepSchedule(23, 10)
PARAMETERS = {"dataset_name": "Dataset002_CT", "configuration": "2d", "fold": 0, "steps": 23}


def training(folder: Path, run: str = "first") -> LoggedTraining:
    return LoggedTraining(folder, run, SCHEDULE, PARAMETERS, {"plans_name": "nnUNetPlans"})


class Client:
    """A server of MLflow in a few lines; ``calls`` are those that change a run."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.fails = False

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="1") if self.runs else None

    def create_experiment(self, name: str) -> str:
        self.calls.append(("experiment", name))
        return "1"

    def search_runs(self, experiments: list[str], query: str, max_results: int) -> list[Any]:
        tag = query.split("'")[1]
        return [self._run(self.runs[tag])] if tag in self.runs else []

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        self.runs[tags["plansguard.run"]] = f"run {len(self.runs)}"
        self.calls.append(("run", run_name))
        return self._run(self.runs[tags["plansguard.run"]])

    def log_param(self, run: str, key: str, value: Any) -> None:
        self.calls.append((run, key, value))

    def log_dict(self, run: str, value: dict[str, Any], file: str) -> None:
        self.calls.append((run, file, value))

    def log_artifact(self, run: str, path: str) -> None:
        self.calls.append((run, "artifact", Path(path).name))

    def log_metric(self, run: str, key: str, value: float, step: int) -> None:
        if self.fails:
            raise ConnectionError("the server does not answer\nand more")
        self.calls.append((run, key, value, step))

    def set_terminated(self, run: str) -> None:
        self.calls.append((run, "ended"))

    @staticmethod
    def _run(number: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(run_id=number))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Client:
    """MLflow is installed and asked for."""
    client = Client()
    module = SimpleNamespace(MlflowClient=lambda: client, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setenv("PLANSGUARD_MLFLOW", "1")
    return client


def loggers(training: LoggedTraining, *present: Any, warnings: list[str] | None = None) -> list[Any]:
    every = list(present)
    add_loggers(SimpleNamespace(loggers=every), training, (warnings if warnings is not None else []).append)
    return every


def test_what_mlflow_receives(server: Client, tmp_path: Path) -> None:
    """Parameters and plans once; each value with the optimiser's step: learning rates at the beginning of an epoch."""
    (tmp_path / TRAINING_RECORD_NAME).write_text("{}")
    (logger,) = loggers(training(tmp_path))
    logger.update_config({"plans": {}})
    logger.log("lrs", 0.01, 1)
    logger.log("train_losses", 0.5, 1)
    logger.log("val_losses", 0.25, 2)
    logger.log_summary("final_val/class_1_dice", 0.75)
    logger.log_summary("final_val/foreground_dice", 0.75)
    assert server.calls == [
        ("experiment", "nnunet"),
        ("run", "Dataset002_CT 2d 0"),
        *(("run 0", key, value) for key, value in PARAMETERS.items()),
        ("run 0", "plans.json", {"plans_name": "nnUNetPlans"}),
        ("run 0", "artifact", TRAINING_RECORD_NAME),
        ("run 0", "lrs", 0.01, 10),
        ("run 0", "train_losses", 0.5, 20),
        ("run 0", "val_losses", 0.25, 23),
        ("run 0", "final_val/class_1_dice", 0.75, 23),
        ("run 0", "final_val/foreground_dice", 0.75, 23),
        ("run 0", "ended"),
    ]


def test_a_training_that_is_continued_has_one_run(server: Client, tmp_path: Path) -> None:
    for run in ("first", "first", "second"):
        (logger,) = loggers(training(tmp_path, run))
        logger.log("lrs", 0.01, 0)
    assert [call[0] for call in server.calls if call[1] == "lrs"] == ["run 0", "run 0", "run 1"]


def test_a_server_that_does_not_answer_ends_the_logging_alone(server: Client, tmp_path: Path) -> None:
    warnings: list[str] = []
    (logger,) = loggers(training(tmp_path), warnings=warnings)
    server.fails = True
    for epoch in range(3):
        logger.log("lrs", 0.01, epoch)
    logger.log_summary("final_val/foreground_dice", math.nan)
    assert warnings == ["Connecting to MLflow", "WARNING: nothing more is sent to MLflow: the server does not answer"]


@pytest.mark.parametrize(("text", "shown"), [("", "TimeoutError"), ("\x1b[31mno\x07\nmore", "[31mno")])
def test_errors_of_any_text(server: Client, tmp_path: Path, text: str, shown: str) -> None:
    def fail(_name: str) -> None:
        raise TimeoutError(text)

    server.create_experiment = fail  # type: ignore[method-assign, assignment]
    written: list[str] = []
    loggers(training(tmp_path), warnings=written)
    assert written[1:] == [f"WARNING: nothing more is sent to MLflow: {shown}"]


@pytest.mark.slow
def test_a_server_that_accepts_and_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user has set is kept; with MLflow's own defaults this would take 16 minutes."""
    pytest.importorskip("mlflow")
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("PLANSGUARD_MLFLOW", "1")
    written: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        begun = time.monotonic()
        loggers(training(tmp_path), warnings=written)
        assert time.monotonic() - begun < 30
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "1"
    assert [line.partition(":")[0] for line in written] == ["Connecting to MLflow", "WARNING"]


def test_mlflow_that_is_not_installed_is_refused_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for value in ("", "0"):
        monkeypatch.setenv("PLANSGUARD_MLFLOW", value)
        assert not is_asked_for()
    monkeypatch.setenv("PLANSGUARD_MLFLOW", "1")
    with pytest.raises(UsageError, match="mlflow is not installed"):
        is_asked_for()


class WandbLogger:
    """nnU-Net's logger, by its name."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        note = self.calls.append
        self.run = SimpleNamespace(
            define_metric=lambda name, step_metric=None: note(("axis", name, step_metric)),
            save=lambda path, base_path, policy: note(("file", Path(path).name)),
        )

    def update_config(self, config: dict[str, Any]) -> None:
        self.calls.append(("config", config))

    def log(self, key: str, value: Any, step: int) -> None:
        self.calls.append((key, value, step))

    def log_summary(self, key: str, value: Any) -> None:
        self.calls.append((key, value))


def test_what_weights_and_biases_receives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of nnU-Net, one for each epoch, with the optimiser's step as x-axis."""
    monkeypatch.delenv("PLANSGUARD_MLFLOW", raising=False)
    (tmp_path / TRAINING_RECORD_NAME).write_text("{}")
    theirs = WandbLogger()
    other, logger = loggers(training(tmp_path), "another", theirs)
    logger.log("lrs", 0.01, 2)
    logger.log_summary("final_val/foreground_dice", 0.75)
    assert other == "another"
    assert theirs.calls == [
        ("axis", "optimiser_step", None),
        ("axis", "*", "optimiser_step"),
        ("config", {"plansguard": {"run": "first", **PARAMETERS}}),
        ("file", TRAINING_RECORD_NAME),
        ("optimiser_step", 23, 2),
        ("lrs", 0.01, 2),
        ("final_val/foreground_dice", 0.75),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# The real packages
# ---------------------------------------------------------------------------------------------------------------------

real = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(os.name == "nt", reason="processes are forked and killed"),
]
TRAINER = "nnUNetTrainer_7steps_3per_1val"


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: make test-long installs it")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return stepping.make_workspace(tmp_path)


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[str]:
    """A server of MLflow on the loopback interface; its address."""
    needs("mlflow")
    if (program := os.environ.get("MLFLOW_SERVER")) is None:
        pytest.skip("there is no server of MLflow: make test-long installs it")
    port = stepping.free_port()
    address = f"http://127.0.0.1:{port}"
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", f"{tmp_path}/files"]
    command = [program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *store]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as one:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{address}/health", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield address
        finally:
            os.killpg(one.pid, signal.SIGKILL)


def finishes(trainer: Any) -> None:
    """End the run after the training, as it is when Python ends, which these processes do not wait for."""
    end = trainer.on_train_end

    def ended() -> None:
        end()
        importlib.import_module("wandb").finish()

    trainer.on_train_end = ended


def log_records(content: bytes) -> Iterator[bytes]:
    """The records of a file of Weights & Biases: a log of LevelDB, in blocks of 32 KiB, behind 7 bytes."""
    at, parts = 7, b""
    while at + 7 <= len(content):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


class TestRealServices:
    pytestmark = real

    def test_a_server_of_mlflow(self, root: Path, tracking: str) -> None:
        """A training that is killed and continued is one run, with each step once or twice and the same values."""
        variables = {"PLANSGUARD_MLFLOW": "1", "MLFLOW_TRACKING_URI": tracking, "PLANSGUARD_SAVE_EVERY": "3"}
        folder = stepping.fold(root, TRAINER)
        folder.mkdir(parents=True)
        (folder / TRAINING_RECORD_NAME).write_text('{"a": "record"}')
        killed = stepping.train(root, TRAINER, environment=variables, change=stepping.at(5, signal.SIGKILL))
        assert killed.code == -signal.SIGKILL, killed.said
        ended = stepping.train(root, TRAINER, environment=variables, go_on=True)
        assert ended.code == 0, ended.said
        assert "WARNING" not in ended.said
        client: Any = importlib.import_module("mlflow").MlflowClient(tracking)
        (run,) = client.search_runs([client.get_experiment_by_name("nnunet").experiment_id])
        assert run.data.params["steps"] == "7"
        assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"plans.json", TRAINING_RECORD_NAME}
        logged = stepping.log_lists(folder)
        for key, steps in (("lrs", [0, 3, 6]), ("train_losses", [3, 6, 7]), ("ema_fg_dice", [3, 6, 7])):
            sent = {one.step: one.value for one in client.get_metric_history(run.info.run_id, key)}
            assert [*sent] == steps
            assert [*sent.values()] == pytest.approx([float(value) for value in logged[key]], nan_ok=True)

    def test_weights_and_biases_without_a_network(self, root: Path) -> None:
        needs("wandb")
        variables = {"nnUNet_wandb_enabled": "1", "nnUNet_wandb_mode": "offline"}
        stepping.fold(root, TRAINER).mkdir(parents=True)
        (stepping.fold(root, TRAINER) / TRAINING_RECORD_NAME).write_text("{}")
        ended = stepping.train(root, TRAINER, environment=variables, change=finishes)
        assert ended.code == 0, ended.said
        (folder,) = (stepping.fold(root, TRAINER) / "wandb").glob("offline-run-*")
        (file,) = folder.glob("run-*.wandb")
        messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
        records = [messages.Record.FromString(data) for data in log_records(file.read_bytes())]
        rows = [record.history for record in records if record.HasField("history")]
        axes = [record.metric.step_metric for record in records if record.HasField("metric")]
        values = [{(item.key or item.nested_key[0]): json.loads(item.value_json) for item in row.item} for row in rows]
        assert [row["optimiser_step"] for row in values if "train_losses" in row] == [3, 6, 7]
        assert "optimiser_step" in axes
        assert (folder / "files" / TRAINING_RECORD_NAME).read_text() == "{}"
