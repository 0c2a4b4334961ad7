"""The jobs that ``plansguard finetune --print slurm`` prints, run by a real SLURM with the real nnU-Net on the CPU."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.command import start
from tests.support.slurm import Cluster
from tests.support.slurm import slurm as slurm
from tests.support.stepping import ENVIRONMENT, steps_noted
from tests.support.variants import FIXTURES, ROOTS, place

pytestmark = [pytest.mark.nnunet, pytest.mark.slow]

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
STEPS, PER_WINDOW = 20, 20
ROAD = (
    *("finetune", "-s", "1", "-sp", "SmallPlans", "-t", "2", "-tp", "Moved", "-c", "3d_fullres"),
    *("--pretrain-steps", "2", "--validation", "1", "--save-every", "2", "-device", "cpu", "-np", "1"),
)
SHORT = ("-f", "0", "1", "--steps", str(STEPS), "--per-epoch", str(PER_WINDOW))
#: A training that no machine ends within the minute that SLURM leaves it.
LONG = ("-f", "0", "--steps", "1000000", "--per-epoch", "100")
JOBS = ("prepare_pretraining", "pretrain", "prepare", "train", "find_best")
#: Seconds until a job must be where a test waits for it.
LONGEST = 400


class Queue:
    """The jobs of one submission in a SLURM, by name, and of an array by name and task."""

    def __init__(self, slurm: Cluster, root: Path) -> None:
        self.slurm = slurm
        self.root = root
        self.numbers: dict[str, str] = {}

    def submit(self, script: Path) -> None:
        """Run the script as a person does, with the checkout in place of an installed plansguard."""
        variables = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        variables |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        done = self.slurm.run("bash", str(script), variables=variables)
        assert done.returncode == 0, done.stderr
        self.numbers = dict(part.split() for part in done.stdout.removeprefix("submitted: ").strip().split(", "))

    def shown(self, name: str, task: int | None = None) -> dict[str, str]:
        """What SLURM knows of a job."""
        number = self.numbers[name] if task is None else f"{self.numbers[name]}_{task}"
        done = self.slurm.run("scontrol", "show", "job", "--oneliner", number)
        return dict(word.partition("=")[::2] for word in done.stdout.split())

    def wait(self, reached: Callable[[], object]) -> None:
        """Wait until something is so; fail with the logs of the jobs."""
        end = time.monotonic() + LONGEST
        while not reached():
            assert time.monotonic() < end, self.logs()
            time.sleep(0.2)

    def log(self, name: str, task: int | None = None) -> str:
        """What a job has printed, each time that it ran."""
        file = self.root / f"{name}-{self.numbers[name]}{'' if task is None else f'_{task}'}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def logs(self) -> str:
        """The ends of all logs."""
        jobs = self.slurm.run("scontrol", "show", "job", "--oneliner").stdout
        printed = [f"{file.name}: {file.read_text()[-1500:]}" for file in sorted(self.root.glob("*.log"))]
        return "\n".join([jobs, *printed, self.slurm.logs()])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets without data and results, and plans for a tiny network and coarse voxels."""
    pytest.importorskip("nnunetv2", reason="runs the real nnunetv2")
    root = tmp_path_factory.mktemp("a workspace")
    for name in (GIVING, RECEIVING):
        for variable in ("raw", "preprocessed"):
            shutil.copytree(FIXTURES / "workspace" / ROOTS[variable] / name, root / ROOTS[variable] / name)
    (root / ROOTS["results"]).mkdir()
    plans = json.loads(place(root, GIVING, "preprocessed/nnUNetPlans.json").read_bytes())
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(spacing=[5.0, 3.2, 3.2], patch_size=[16, 32, 32], batch_size=2)
    configuration.update(median_image_size_in_voxels=[16, 24, 24], data_identifier="SmallPlans_3d_fullres")
    kwargs = configuration["architecture"]["arch_kwargs"]
    kwargs.update(n_stages=3, features_per_stage=[4, 8, 8], n_conv_per_stage=[1] * 3, n_conv_per_stage_decoder=[1] * 2)
    kwargs.update(kernel_sizes=[[3, 3, 3]] * 3, strides=[[1, 1, 1], [2, 2, 2], [2, 2, 2]])
    plans.update(plans_name="SmallPlans", configurations={"3d_fullres": configuration})
    place(root, GIVING, "preprocessed/SmallPlans.json").write_text(json.dumps(plans, indent=4))
    return root


def variables(root: Path) -> dict[str, str]:
    """nnU-Net's variables: the folders of the workspace, and the settings of a small training."""
    settings = {name: value for name, value in ENVIRONMENT.items() if name.startswith("nnUNet_")}
    return {**settings, **{name: str(root / name) for name in ROOTS.values()}}


def printed(root: Path, *options: str, limit: str = "00:20:00") -> Path:
    """The printed script, with the sizes of jobs edited for this SLURM; ``limit`` is the time of a training."""
    done = start(*ROAD, *options, "--print", "slurm", "--quiet", environment=variables(root), cwd=root)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    for name, time_limit in (("preparation_job", "00:20:00"), ("training_job", limit)):
        size = f"{name}=(--cpus-per-task=1 --time={time_limit})"
        text, edited = re.subn(rf"^{name}=\(.*\)$", size, text, flags=re.MULTILINE)
        assert edited == 1
    path = root / "road.sh"
    path.write_text(text)
    return path


@pytest.fixture
def script(root: Path) -> Path:
    """The script of two short folds."""
    return printed(root, *SHORT)


@pytest.fixture
def queue(slurm: Cluster, root: Path) -> Iterator[Queue]:
    """No job is left for another test."""
    yield Queue(slurm, root)
    slurm.run("scancel", "--user=root")


def test_a_job_that_fails_stops_the_jobs_after_it(queue: Queue, script: Path, root: Path) -> None:
    plans = place(root, GIVING, "preprocessed/SmallPlans.json")
    away = plans.rename(root / "SmallPlans.json")
    try:
        queue.submit(script)
        queue.wait(lambda: queue.shown("find_best")["JobState"] == "CANCELLED")
    finally:
        away.rename(plans)
    assert queue.shown("prepare_pretraining")["JobState"] == "FAILED"
    assert {queue.shown(name)["JobState"] for name in JOBS[1:]} == {"CANCELLED"}  # the array as a whole
    assert "Reason=DependencyNeverSatisfied" in " ".join(map("=".join, queue.shown("pretrain").items()))
    assert not any((root / ROOTS["results"]).iterdir())


def test_the_jobs_run_to_the_end(queue: Queue, script: Path, root: Path) -> None:
    """A training that SLURM signals, as before its time limit, is queued again and continues at the same step."""
    queue.submit(script)
    queue.wait(lambda: "RUNNING" in {queue.shown("train", task).get("JobState") for task in (0, 1)})
    # Of the tasks, one has the number of the whole array.
    task = next(task for task in (0, 1) if queue.shown("train", task)["JobId"] == queue.numbers["train"])
    results = root / ROOTS["results"] / RECEIVING
    queue.wait(lambda: list(results.glob(f"*/fold_{task}/checkpoint_latest.pth")))
    queue.slurm.run("scancel", "--signal=USR1", f"{queue.numbers['train']}_{task}")
    queue.wait(lambda: queue.shown("train", task)["JobState"] == "PENDING")
    assert queue.shown("train", 1 - task)["Restarts"] == "0"
    stopped = re.findall(rf"Stopped at step (\d+) of {STEPS} \(SIGUSR1\)", queue.log("train", task))
    assert len(stopped) == 1, queue.log("train", task)
    # SLURM waits for two minutes before it starts a job again. In the same second it would refuse it: its credential of
    # the first start is revoked.
    started = queue.slurm.run("scontrol", "update", f"JobId={queue.numbers['train']}_{task}", "StartTime=now+3")
    assert started.returncode == 0, started.stderr
    queue.wait(lambda: queue.shown("find_best")["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"))
    ended = [queue.shown(name) for name in JOBS if name != "train"] + [queue.shown("train", each) for each in (0, 1)]
    assert {job["JobState"] for job in ended} == {"COMPLETED"}, queue.logs()
    assert f"checkpoint_latest.pth is continued, at step {stopped[0]} of {STEPS}" in queue.log("train", task)
    assert [queue.shown("train", each)["Restarts"] for each in (task, 1 - task)] == ["1", "0"]
    for folder in results.glob("*/fold_*"):
        assert steps_noted(folder)["step"] == STEPS
    assert len(list(results.glob("*/fold_*/validation/summary.json"))) == 2
    assert list(results.glob("*/crossval_results_folds_0_1/postprocessing.pkl"))


@pytest.mark.long
def test_a_time_limit_of_slurm(queue: Queue, root: Path) -> None:
    """SLURM itself signals the training two minutes before its limit of three; the task continues at that step."""
    before = start(*ROAD, *LONG, "--until", "preprocess", environment=variables(root), cwd=root)
    assert before.returncode == 0, before.stderr
    queue.submit(printed(root, *LONG, limit="00:03:00"))

    def stops() -> list[str]:
        return re.findall(r"Stopped at step ([\d,]+) of 1,000,000 \(SIGUSR1\)", queue.log("train", 0))

    for number in (1, 2):
        queue.wait(lambda number=number: len(stops()) == number)  # type: ignore[misc]
        queue.wait(lambda: queue.shown("train", 0)["JobState"] == "PENDING")
        queue.slurm.run("scontrol", "update", f"JobId={queue.numbers['train']}_0", "StartTime=now+3")
    assert re.findall(r"is continued, at step ([\d,]+) of", queue.log("train", 0)) == stops()[:1], queue.logs()
    assert stops()[0] != stops()[1]
    assert queue.shown("find_best")["JobState"] == "PENDING"
