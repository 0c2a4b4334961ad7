"""Faults of trainings, with the real nnU-Net on the CPU: one message each, and the last checkpoint is kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plansguard.training.folder_lock import LOCK
from plansguard.training.schedule import StepSchedule
from plansguard.training.stop_reasons import STOPPED
from tests.conftest import ROOT
from tests.support import stepping
from tests.support.stepping import (
    DATASET,
    Ended,
    at,
    fold,
    log_lists,
    rates,
    steps_noted,
    train,
    until_it_trains,
    with_log,
)
from tests.support.variants import ROOTS

pytestmark = [
    pytest.mark.nnunet,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="processes are forked and killed"),
]
ENDLESS = "nnUNetTrainer_100000steps_5000per"
SHORT = "nnUNetTrainer_9steps_1val"


def message(ended: Ended) -> str:
    """The one thing that a refusal says, with no traceback beside it."""
    assert ended.code == 1, ended.said
    assert "Traceback" not in ended.said
    (line,) = (line for line in ended.said.splitlines() if line.startswith("plansguard: "))
    return line


def workers_of(pid: int) -> list[int]:
    """The processes that this one has started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return [int(child) for child, parent in rows if int(parent) == pid]


# --- Two trainings into one folder


def test_a_second_training_is_refused(root: Path) -> None:
    """In every process of it too; loader workers that outlive the first process do not keep the lock."""
    often = {"nnUNet_n_proc_DA": "2", "PLANSGUARD_SAVE_EVERY": "1"}
    first = stepping.begin(root, ENDLESS, environment=often, change=with_log)
    until_it_trains(first, fold(root, ENDLESS))
    try:
        said = message(train(root, ENDLESS, go_on=True))
        assert f"process {first.process.pid} on " in said
        assert f"is training into {fold(root, ENDLESS)}" in said
        both = stepping.launch_in_two(root, ENDLESS, go_on=True)
        assert [ended.code for ended in both] == [1, 1]
        assert sum(ended.said.count("plansguard: process ") for ended in both) == 1

        workers = workers_of(first.process.pid)
        assert len(workers) >= 2, first.said
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.join()
        for worker in workers:
            os.kill(worker, 0)  # it lives
        third = train(root, ENDLESS, go_on=True, environment={"PLANSGUARD_MAX_TIME": "1s"})
        assert third.code == STOPPED, third.said
    finally:
        os.killpg(first.process.pid, signal.SIGKILL)


def slow_to_write_splits(trainer: Any) -> None:
    """Write the first half of the splits, and the second one seconds later."""
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    ours = module.save_json

    def save(value: Any, file: str, **options: Any) -> None:
        if Path(file).name != "splits_final.json":
            ours(value, file, **options)
            return
        text = json.dumps(value)
        with Path(file).open("w") as stream:
            stream.write(text[: len(text) // 2])
            stream.flush()
            time.sleep(3)
            stream.write(text[len(text) // 2 :])

    module.save_json = save


def test_the_splits_are_read_when_they_are_complete(root: Path) -> None:
    """Folds of an array of jobs start at the same time, and nnU-Net's first one writes the file."""
    splits = root / ROOTS["preprocessed"] / DATASET / "splits_final.json"
    splits.unlink(missing_ok=True)
    first = stepping.begin(root, SHORT, change=slow_to_write_splits)
    while first.process.is_alive() and not splits.exists():
        first.process.join(0.02)
    second = train(root, SHORT.replace("9steps", "2steps"))
    ended = stepping.wait(first)
    assert (second.code, ended.code) == (0, 0), second.said + ended.said


def test_a_refusal_comes_before_nnunet_deletes_what_others_logged(root: Path) -> None:
    """nnU-Net's logger removes the folder of Weights & Biases when a training begins from scratch, also for --val."""
    assert train(root, SHORT).code == 0
    folder = fold(root, SHORT)
    log = folder / "wandb" / "latest-run" / "run-abc.wandb"
    log.parent.mkdir(parents=True)
    log.write_text("curves")
    assert "contains a training already" in message(stepping.train_with_wandb(root, SHORT))
    assert log.read_text() == "curves"
    for path in folder.glob("checkpoint_*"):
        path.unlink()
    assert stepping.train_with_wandb(root, SHORT).code == 0
    assert not log.exists()


# --- The launcher


def test_the_exit_codes_of_the_launcher(root: Path) -> None:
    words = stepping.words("nnUNetTrainer_3steps_1val")
    broken = stepping.wait(stepping.begin_launch(root, words, change=_breaks))
    assert broken.code == 4, broken.said
    assert "Traceback" in broken.said
    *_, last = broken.said.splitlines()
    assert last.startswith("plansguard: the training itself failed: no such luck; its log is ")
    assert Path(last.partition("its log is ")[2]).parent == fold(root, "nnUNetTrainer_3steps_1val")
    assert stepping.wait(stepping.begin_launch(root, words)).code == 0
    assert "contains a training already" in message(stepping.wait(stepping.begin_launch(root, words)))
    stopped = stepping.begin_launch(root, stepping.words(SHORT), change=at(2, signal.SIGTERM))
    assert stepping.wait(stopped).code == STOPPED
    assert stepping.wait(stepping.begin_launch(root, ["3", "2d"])).code == 2


def _breaks(trainer: Any) -> None:
    def step(_: Any) -> None:
        raise ValueError("no such luck")

    trainer._attempt = step


def test_a_signal_to_the_parent_reaches_the_processes_that_nnunet_starts(root: Path) -> None:
    """Of ``-num_gpus 2``, on CPUs; the training in them is real."""
    running = stepping.begin_num_gpus(root, ENDLESS)
    until_it_trains(running, fold(root, ENDLESS))
    os.kill(running.process.pid, signal.SIGTERM)
    ended = stepping.wait(running)
    assert ended.code == STOPPED, ended.said
    assert steps_noted(fold(root, ENDLESS), "checkpoint_latest.pth")["step"] >= 1
    assert "Traceback" not in ended.said


@pytest.mark.long
def test_torchrun_on_two_nodes(root: Path) -> None:
    """Two agents of one process each; one receives a signal, and both stop at the same step with one checkpoint."""
    port = stepping.free_port()
    agents = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
    agents += ["--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "7"]
    two = [_program(root, agents, stepping.words(ENDLESS)) for _ in range(2)]
    for process in two:
        _until(process, fold(root, ENDLESS) / "rates.log")
    two[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=120)[0] for process in two]
    assert [process.returncode for process in two] == [1, 1]  # torchrun says no more than that
    step = steps_noted(fold(root, ENDLESS), "checkpoint_latest.pth")["step"]
    assert "".join(said).count(f"Stopped at step {step:,} of 100,000 (") >= 1, said


def _program(root: Path, agent: list[str], words: list[str]) -> subprocess.Popen[str]:
    folders = {name: str(root / name) for name in ROOTS.values()}
    environment = {**os.environ, **stepping.ENVIRONMENT, **folders, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *agent, "-m", "tests.support.stepping_program", *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )


def _until(process: subprocess.Popen[str], path: Path) -> None:
    deadline = time.monotonic() + 180
    while process.poll() is None and not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert path.exists(), process.communicate(timeout=5)[0]


@pytest.mark.long
def test_a_job_that_is_too_short_for_the_final_validation(root: Path) -> None:
    """The first one made steps as well, so the next one has more time; the second one had all of its time."""
    name = "nnUNetTrainer_3steps"
    first = train(root, name, change=stepping.in_the_final_validation)
    assert (first.code, "Stopped in the final validation (SIGUSR1)" in first.said) == (STOPPED, True), first.said
    second = train(root, name, change=stepping.in_the_final_validation, go_on=True)
    assert second.code not in (0, STOPPED), second.said
    assert "the time of this job is too short for the final validation alone" in str(second.code) + second.said


def _validates_only(trainer: Any) -> None:
    """As with --val, and with the signal of a time limit."""
    stepping.in_the_final_validation(trainer)
    trainer.run_training = lambda: trainer.perform_actual_validation(False)


@pytest.mark.parametrize(("is_validated", "option"), [(False, "--c"), (True, "--val")])
def test_a_final_validation_that_was_stopped_names_the_option_that_repeats_it(
    root: Path, is_validated: bool, option: str
) -> None:
    """A training that was validated before is finished, so that --c is refused.

    A job of --val has all of its time for the validation, so that a next one would end in the same way.
    """
    name = "nnUNetTrainer_3steps"
    if is_validated:
        (fold(root, name) / "validation").mkdir(parents=True)
        (fold(root, name) / "validation" / "summary.json").write_text("{}")
    stopped = train(root, name, change=_validates_only)
    assert stopped.code not in (0, STOPPED), stopped.said
    assert f"Stopped in the final validation (SIGUSR1). Continue with {option}." in stopped.said
    assert f"continue with {option} in a job with a longer time limit" in str(stopped.code) + stopped.said


# --- Extending


def test_a_finished_training_is_extended(root: Path) -> None:
    """Interrupted and continued, with the weights of an extension that was not; and the one before stays as it is."""
    before, trainer = "nnUNetTrainer_13steps_10per_1val", "nnUNetTrainer_33steps_from13_10per_1val"
    assert "there is nothing to extend" in message(train(root, trainer, go_on=True))
    assert train(root, before, change=at(5, signal.SIGTERM)).code == STOPPED
    assert f"{before} is at step 5 of 13" in message(train(root, trainer, go_on=True))
    assert train(root, before, change=with_log, go_on=True).code == 0
    assert "extends the 13 steps" in message(train(root, trainer))
    final = (fold(root, before) / "checkpoint_final.pth").read_bytes()

    folder = fold(root, trainer)
    unbroken = train(root, trainer, change=with_log, go_on=True)
    assert unbroken.code == 0, unbroken.said
    assert "The learning rate rises again over 2 steps" in unbroken.said
    schedule = StepSchedule(33, 10, validation=1, extends=13)
    assert rates(folder) == [(step + 1, schedule.rate_at(step, 0.01)) for step in range(13, 33)]
    assert {len(values) for values in log_lists(folder).values()} == {4}
    once = folder.with_name("unbroken")
    folder.rename(once)

    assert train(root, trainer, change=at(25, signal.SIGTERM), go_on=True).code == STOPPED
    assert train(root, trainer, go_on=True).code == 0
    assert stepping.weights(folder) == stepping.weights(once)
    assert steps_noted(folder)["trainer"] == trainer
    assert (fold(root, before) / "checkpoint_final.pth").read_bytes() == final


def test_an_extension_on_other_cases_is_refused(root: Path) -> None:
    assert train(root, "nnUNetTrainer_2steps_1val").code == 0
    splits = root / ROOTS["preprocessed"] / DATASET / "splits_final.json"
    content = json.loads(splits.read_bytes())
    content[0]["train"], content[0]["val"] = content[0]["train"][:-1], [*content[0]["val"], content[0]["train"][-1]]
    splits.write_text(json.dumps(content))
    said = message(train(root, "nnUNetTrainer_3steps_from2_1val", go_on=True))
    assert "it had 4 training and 2 validation cases" in said


# --- Loader workers, the loss, the disk


def _kills_a_worker(trainer: Any, number: int) -> None:
    """Once step 3 is made; what the others have prepared is used up first."""
    with_log(trainer)
    ours = trainer.train_step

    def stepped(batch: Any) -> Any:
        outputs = ours(batch)
        if trainer._state.step == 3:
            os.kill(trainer.dataloader_train._processes[0].pid, number)
        return outputs

    trainer.train_step = stepped


def test_a_loader_worker_that_is_killed(root: Path) -> None:
    ended = train(
        root, ENDLESS, environment={"nnUNet_n_proc_DA": "2"}, change=partial(_kills_a_worker, number=signal.SIGKILL)
    )
    assert ended.code == 1, ended.said
    step = steps_noted(fold(root, ENDLESS), "checkpoint_latest.pth")["step"]
    assert step >= 3
    *_, said, _ = ended.said.splitlines()  # below what batchgenerators tells
    assert f"plansguard: a worker that loads data died at step {step:,}; a checkpoint of" in said


def test_one_of_two_processes_whose_loader_fails(root: Path) -> None:
    """Both save and leave at the same step."""
    both = stepping.launch_in_two(root, SHORT, change=_second_has_no_data)
    assert [ended.code for ended in both] == [1, 4], both[0].said + both[1].said
    assert "another process of this training could not load its data" in both[0].said
    assert "ValueError: this case is broken" in both[1].said
    assert steps_noted(fold(root, SHORT), "checkpoint_latest.pth")["step"] == 4


def _second_has_no_data(trainer: Any) -> None:
    get = trainer.get_dataloaders

    def loaders() -> Any:
        training, validation = get()
        return (_Broken(training) if trainer.local_rank == 1 else training), validation

    trainer.get_dataloaders = loaders


class _Broken:
    """Gives four batches."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.left = loader, 4

    def __next__(self) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError("this case is broken")
        return next(self.loader)


def _with_a_nan(trainer: Any, step: int, *, weights: bool = False) -> None:
    """In the batch of this step; or in the weights after it, as a running mean would have it."""
    import torch

    ours = trainer.train_step

    def stepped(batch: Any) -> Any:
        if not weights and trainer._state.step == step - 1:
            batch["data"][0, 0, 0, 0] = float("nan")
        outputs = ours(batch)
        if weights and trainer._state.step == step:
            with torch.no_grad():
                next(trainer.network.parameters()).view(-1)[0] = float("nan")
        return outputs

    trainer.train_step = stepped


def test_a_loss_that_is_not_finite(root: Path) -> None:
    """The step is not made, and the last checkpoint continues to a finite end."""
    every = {"PLANSGUARD_SAVE_EVERY": "2"}
    ended = train(root, SHORT, environment=every, change=partial(_with_a_nan, step=6))
    assert "the loss or its gradients are not finite in step 6" in message(ended)
    assert steps_noted(fold(root, SHORT), "checkpoint_latest.pth")["step"] == 4
    assert train(root, SHORT, go_on=True).code == 0


def _with_an_infinite_gradient(trainer: Any, step: int, place: int) -> None:
    """In one value of the last or the first parameter that has a gradient; the loss stays finite."""
    import torch

    clip = torch.nn.utils.clip_grad_norm_

    def clipped(parameters: Any, *arguments: Any, **options: Any) -> Any:
        every = [one for one in parameters if one.grad is not None]
        if trainer._state.step == step - 1:
            every[place].grad.view(-1)[0] = float("inf")
        return clip(every, *arguments, **options)

    torch.nn.utils.clip_grad_norm_ = clipped


@pytest.mark.parametrize("place", [0, -1])
def test_a_gradient_that_is_infinite(root: Path, place: int) -> None:
    ended = train(root, SHORT, change=partial(_with_an_infinite_gradient, step=6, place=place))
    assert "the loss or its gradients are not finite in step 6" in message(ended)


def test_weights_that_are_not_finite_replace_no_checkpoint(root: Path) -> None:
    environment = {"PLANSGUARD_SAVE_EVERY": "3"}
    ended = train(root, SHORT, environment=environment, change=partial(_with_a_nan_unseen, step=5))
    assert "weights are not finite at step 6; checkpoint_latest.pth is not written" in message(ended)
    assert steps_noted(fold(root, SHORT), "checkpoint_latest.pth")["step"] == 3


def _with_a_nan_unseen(trainer: Any, step: int) -> None:
    """The gradients stay finite: nothing looks at them, as on a GPU the scaler would."""
    trainer._check_gradients = lambda *_: None
    _with_a_nan(trainer, step, weights=True)


def _full_after_one(trainer: Any) -> None:
    """After the first checkpoint is written no file may grow to its size."""
    import resource

    ours = trainer.save_checkpoint

    def save(filename: str) -> None:
        ours(filename)
        trainer._background.wait()
        half = Path(filename).stat().st_size // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))

    trainer.save_checkpoint = save


def test_a_disk_that_is_full_leaves_the_last_checkpoint(root: Path) -> None:
    """The training ends at one of the next steps, and not at its own end."""
    ended = train(root, ENDLESS, change=_full_after_one, environment={"PLANSGUARD_SAVE_EVERY": "3"})
    assert "checkpoint_latest.pth could not be written" in message(ended)
    assert steps_noted(fold(root, ENDLESS), "checkpoint_latest.pth")["step"] == 3
    assert not list(fold(root, ENDLESS).glob("*.tmp"))


def _beyond_a_quota(trainer: Any) -> None:
    """As network file systems report it: when the file is complete in the cache, and is to be stored."""
    import errno

    def full(fd: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    os.fsync = full


def test_a_quota_that_is_used_up(root: Path) -> None:
    ended = train(root, ENDLESS, change=_beyond_a_quota, environment={"PLANSGUARD_SAVE_EVERY": "3"})
    assert message(ended).endswith("checkpoint_latest.pth: Disk quota exceeded")
    assert not list(fold(root, ENDLESS).glob("checkpoint*"))


@pytest.mark.parametrize("trainer", [SHORT, f"{ENDLESS[:-7]}3per_1val"], ids=["final", "best"])
def test_a_disk_that_is_full_ends_every_process(root: Path, trainer: str) -> None:
    both = stepping.launch_in_two(root, trainer, change=_full_from_the_start)
    assert [ended.code for ended in both] == [1, 1], both[0].said + both[1].said
    assert sum(ended.said.count("could not be written") for ended in both) == 1


def _full_from_the_start(trainer: Any) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def _full_before_the_first_step(trainer: Any) -> None:
    """nnU-Net writes plans.json into the folder of the model then."""
    import errno

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "plans.json")

    trainer.on_train_start = full


def test_a_disk_that_is_full_before_the_first_checkpoint(root: Path) -> None:
    ended = train(root, SHORT, change=_full_before_the_first_step)
    assert "the training cannot write: " in message(ended)
    assert "\n  check the disk, then train again: no checkpoint is there\n" in ended.said


@pytest.mark.parametrize("model", [True, False])
def test_a_folder_that_cannot_be_written_into(root: Path, model: bool) -> None:
    """A file stands where the folder should be, which also stops the superuser, for whom no permission is missing."""
    folder = fold(root, SHORT)
    path = folder.parent if model else folder
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    assert f"nothing can be written into {folder}: " in message(train(root, SHORT))
    path.unlink()


def test_a_folder_without_permission(root: Path) -> None:
    folder = fold(root, SHORT)
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("the superuser may write everywhere")
    assert f"nothing can be written into {folder}: Permission denied" in message(train(root, SHORT))


# --- Checkpoints of others


def _of_one_short_epoch(trainer: Any) -> None:
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 2, 1


@pytest.mark.long
def test_checkpoints_of_others_are_not_continued(root: Path) -> None:
    """nnU-Net's own, and those of a later plansguard."""
    assert train(root, "nnUNetTrainer", change=_of_one_short_epoch).code == 0
    folder = fold(root, SHORT)
    folder.mkdir(parents=True)
    shutil.copy(fold(root, "nnUNetTrainer") / "checkpoint_final.pth", folder)
    before = (folder / "checkpoint_final.pth").read_bytes()
    said = message(train(root, SHORT, go_on=True))
    assert "checkpoint_final.pth: it was not written by a training in steps" in said
    assert "contains a training already" in message(train(root, SHORT))
    assert (folder / "checkpoint_final.pth").read_bytes() == before

    shutil.rmtree(folder)
    assert train(root, SHORT, change=at(3, signal.SIGTERM)).code == STOPPED
    (folder / "checkpoint_best.pth").unlink(missing_ok=True)
    _write_notes(folder / "checkpoint_latest.pth", colour="green")
    said = message(train(root, SHORT, go_on=True))
    assert "its notes on the schedule cannot be read; another version of plansguard wrote them" in said


def _write_notes(path: Path, **notes: Any) -> None:
    """In another process: this one is to stay free of torch, from which others are forked."""
    program = (
        "import json, sys, torch; path, notes = sys.argv[1:]; checkpoint = torch.load(path, weights_only=False); "
        "checkpoint['init_args']['plansguard_steps'].update(json.loads(notes)); torch.save(checkpoint, path)"
    )
    subprocess.run([sys.executable, "-c", program, str(path), json.dumps(notes)], check=True)


# --- Clocks


def _with_a_clock_set_back(trainer: Any) -> None:
    """By a day, after each step; what counts seconds since the start of the machine goes on."""
    import time as clock

    with_log(trainer)
    ours, true = trainer.train_step, clock.time

    def stepped(batch: Any) -> Any:
        outputs = ours(batch)
        back = 86_400 * trainer._state.step
        clock.time = lambda: true() - back
        return outputs

    trainer.train_step = stepped


def test_a_clock_that_jumps(root: Path) -> None:
    environment = {"PLANSGUARD_MAX_TIME": "1h", "PLANSGUARD_SAVE_EVERY": "4"}
    steady = train(root, SHORT, change=with_log, environment=environment)
    assert steady.code == 0, steady.said
    weights = stepping.weights(fold(root, SHORT))
    shutil.rmtree(fold(root, SHORT))
    jumping = train(root, SHORT, change=_with_a_clock_set_back, environment=environment)
    assert jumping.code == 0, jumping.said
    assert stepping.weights(fold(root, SHORT)) == weights


def test_the_last_training_is_known_without_a_clock(root: Path) -> None:
    """Of two whose checkpoints lie together, also where the last one began at an earlier time of day."""
    assert train(root, SHORT).code == 0
    folder = fold(root, SHORT)
    final = (folder / "checkpoint_final.pth").read_bytes()
    shutil.rmtree(folder)
    assert train(root, SHORT, change=at(3, signal.SIGTERM)).code == STOPPED
    (folder / "checkpoint_final.pth").write_bytes(final)
    _write_notes(folder / "checkpoint_final.pth", started="2999-01-01T00:00:00")
    stopped = train(root, SHORT, change=at(5, signal.SIGTERM), go_on=True)
    assert "Continuing from checkpoint_latest.pth, step 3" in stopped.said
    assert "checkpoint_final.pth: it is of another training" in stopped.said

    (folder / LOCK).unlink()
    said = message(train(root, SHORT, go_on=True))
    assert "contains checkpoints of 2 trainings, and nothing tells which to continue" in said
    assert "checkpoint_final.pth, begun 2999-01-01T00:00:00, at step 9" in said
