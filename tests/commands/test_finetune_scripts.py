"""``plansguard finetune --print``: what the printed scripts run, with stand-ins for all programs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.command import run
from tests.support.models import pack
from tests.support.variants import PLANS, ROOTS, put

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
ROAD = ("finetune", "-s", "1", "-t", "2", "-tp", "Moved", "-c", "3d_fullres", "--steps", "100")
PRETRAINING = (*ROAD, "--pretrain-steps", "200", "-f", "0", "2")
#: Programs that note their words; those of SLURM do what a test needs.
STAND_INS = """
note() { { printf '%s\\0' "$@"; printf '\\n\\0'; } >> "$NOTES"; }
plansguard() { note plansguard "$@"; return "${CODE:-0}"; }
nnUNetv2_find_best_configuration() { note nnUNetv2_find_best_configuration "$@"; }
nnUNetv2_install_pretrained_model_from_zip() { note nnUNetv2_install_pretrained_model_from_zip "$@"; }
sbatch() { note sbatch "$@"; echo "$((100 + $(grep --null-data --count sbatch "$NOTES")));cluster"; }
scontrol() { note scontrol "$@"; }
srun() { while [[ "$1" == -* ]]; do shift; done; "$@"; }
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.workspace(CT, OTHER_CT),
    pytest.mark.usefixtures("workspace"),
    pytest.mark.skipif(os.name == "nt", reason="scripts of bash"),
]


def printed(kind: str, *options: str, words: tuple[str, ...] = ROAD) -> str:
    """Return the script, which bash and shellcheck accept."""
    done = run(*words, *options, "-device", "cpu", "--print", kind)
    assert done.code == 0, done.err
    checked = subprocess.run(["bash", "-n"], input=done.out, capture_output=True, text=True, check=False)
    assert checked.stderr == ""
    return done.out


def follow(script: str, folder: Path, *arguments: str, **variables: str) -> tuple[int, list[list[str]], str]:
    """Run a script with stand-ins; return its exit code, the words of each command, and its output."""
    folder.mkdir(exist_ok=True)
    file, notes, stand_ins = (folder / name for name in ("road.sh", "notes", "stand-ins"))
    file.write_text(script)
    notes.write_text("")
    stand_ins.write_text(STAND_INS)
    environment = {**os.environ, "BASH_ENV": str(stand_ins), "NOTES": str(notes), **variables}
    done = subprocess.run(
        ["bash", file, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    noted = [command.split("\0") for command in notes.read_text().split("\0\n\0")[:-1]]
    return done.returncode, noted, done.stdout + done.stderr


def commands(*options: str, words: tuple[str, ...] = ROAD) -> list[list[str]]:
    """The commands of the steps that the road needs."""
    done = run(*words, *options, "-device", "cpu", "--dry-run", "--output", "json")
    return [shlex.split(step["command"]) for step in done.json["steps"] if step["state"] in ("needed", "stale")]


# --- A script of bash


@pytest.mark.parametrize("options", [(), ("-f", "3"), ("-f", "all"), ("--npz", "-np", "2"), ("--until", "check")])
def test_the_script_runs_the_commands_of_the_road(options: tuple[str, ...], tmp_path: Path) -> None:
    """Folds in a loop."""
    script = printed("sh", *options)
    assert ("for fold in" in script) == (options in ((), ("--npz", "-np", "2")))
    code, ran, said = follow(script, tmp_path / "run")
    wanted = commands(*options)
    assert (code, said) == (0, "")
    assert ran == (wanted[:3] if "--until" in options else wanted)


def test_a_cluster_preprocesses_and_reads_data() -> None:
    """-np is for the other steps: a cluster has workers of its own."""
    lines = [line.split() for line in printed("sh", "--dask", "tcp://c:1", "-np", "3").splitlines()]
    ran = [words for words in lines if words[:1] == ["plansguard"]]
    assert [words[1] for words in ran if "--dask" in words] == ["preprocess", "check"]
    assert [words[1] for words in ran if "-np" in words] == []


def test_a_step_that_fails_ends_the_script(tmp_path: Path) -> None:
    code, ran, _ = follow(printed("sh"), tmp_path / "run", CODE="4")
    assert (code, len(ran)) == (4, 1)


def test_plans_are_made_once(workspace: Path, tmp_path: Path) -> None:
    for name in (CT, OTHER_CT):
        shutil.rmtree(workspace / ROOTS["preprocessed"] / name)
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    script = printed("sh", words=PRETRAINING)
    plans = ["plansguard", "gate", "--", "nnUNetv2_plan_experiment", "-d", "1", "-pl", "ExperimentPlanner"]
    _, ran, _ = follow(script, tmp_path / "run")
    assert ran == commands(words=PRETRAINING)
    assert plans in ran
    file = workspace / ROOTS["preprocessed"] / CT / "nnUNetPlans.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    _, again, _ = follow(script, tmp_path / "run")
    assert again == [command for command in ran if command != plans]


def test_validations_are_joined_again_only_after_a_new_one(workspace: Path, tmp_path: Path) -> None:
    script = printed("sh", "-f", "0", "2")
    model = workspace / ROOTS["results"] / OTHER_CT / "nnUNetTrainer_100steps_lr1en3__Moved__3d_fullres"
    joined = model / "crossval_results_folds_0_2" / "postprocessing.pkl"
    validations = [model / f"fold_{fold}" / "validation" / "summary.json" for fold in (0, 2)]
    for number, file in enumerate([*validations, joined]):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
        os.utime(file, (number, number))
    *others, last = commands("-f", "0", "2")
    assert last[0] == "nnUNetv2_find_best_configuration"
    assert follow(script, tmp_path / "done")[:2] == (0, others)
    for name, file in zip(("first", "second"), validations, strict=True):
        os.utime(joined, (9, 9))
        os.utime(file, (10, 10))
        assert follow(script, tmp_path / name)[:2] == (0, [*others, last])
        os.utime(file, (1, 1))


@pytest.mark.workspace(CT, OTHER_CT, chdir=True)
def test_the_script_runs_from_any_folder(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative folders and files are those of the command; other variables of nnU-Net are kept."""
    model = workspace / ROOTS["results"] / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    pack(workspace / "released.zip", model)
    shutil.rmtree(workspace / ROOTS["results"] / CT)
    monkeypatch.setenv("nnUNet_def_n_proc", "3")
    script = printed("sh", words=("finetune", "-s", "released.zip", *ROAD[3:]))
    for root in ROOTS.values():
        assert f"export {root}={shlex.quote(str(workspace / root))}\n" in script
    assert "export nnUNet_def_n_proc=3\n" in script
    assert f"\ncd {shlex.quote(str(Path.cwd()))}\n" in script
    assert f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n" in script
    assert ["nnUNetv2_install_pretrained_model_from_zip", "released.zip"] in follow(script, tmp_path / "run")[1]


@pytest.mark.parametrize("kind", ["sh", "slurm"])
@pytest.mark.parametrize("name", ["a\x1b[31mb", "\u202ea", "a\n", "a\nb'c", "\x9b", os.fsdecode(b"\xff"), "\u00e4 b"])
def test_folders_with_control_characters(
    kind: str, name: str, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script names the same folder, and shows no such character."""
    moved = workspace / name
    moved.mkdir()
    for variable in ROOTS.values():
        if (workspace / variable).exists():
            (workspace / variable).rename(moved / variable)
        monkeypatch.setenv(variable, str(moved / variable))
    monkeypatch.chdir(moved)
    script = printed(kind)
    assert [char for char in script.replace("\n", "") if not char.isprintable()] == []
    assert "\n/" not in script
    head = script[: script.index("cd ")] + 'printf %s "$nnUNet_raw"\n'
    (tmp_path / "head").write_text(head)
    shown = subprocess.run(["bash", tmp_path / "head"], capture_output=True, check=True).stdout
    assert shown == os.fsencode(moved / ROOTS["raw"])
    assert kind == "slurm" or "\udcff" in name or follow(script, tmp_path / "run")[0] == 0


def test_names_are_no_commands(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break in an option ends no comment."""
    odd = workspace / "a $(touch owned) 'folder'\ntouch owned"
    shutil.copytree(workspace / ROOTS["results"], odd)
    monkeypatch.setenv(ROOTS["results"], str(odd))
    weights = next(odd.rglob("checkpoint_final.pth"))
    for kind, name in (("sh", ""), ("slurm", "prepare")):
        script = printed(kind, "-pretrained_weights", str(weights))
        code, ran, said = follow(script, tmp_path / kind, *filter(None, [name]))
        assert (code, said) == (0, "")
        assert any(str(weights) in command for command in ran)
        assert not list(tmp_path.rglob("owned"))


def test_the_script_can_be_run_again(workspace: Path, tmp_path: Path) -> None:
    """With plansguard itself: plans that are moved are not moved again, also those that replaced others."""
    moved = workspace / ROOTS["preprocessed"] / OTHER_CT
    for words in ((), ("--force",)):
        script = tmp_path / "road.sh"
        script.write_text(printed("sh", "--until", "migrate"))
        assert ("--force" in script.read_text()) == bool(words)
        written = []
        for _ in range(2):
            done = subprocess.run(["bash", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
            assert done.returncode == 0
            written.append({path.name: path.stat().st_mtime_ns for path in moved.glob("Moved*")})
        assert written[0] == written[1]
        put(PLANS, "/configurations/3d_fullres/batch_size", 3)(workspace, CT)


def test_stale_steps_say_why(workspace: Path) -> None:
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    put(PLANS, "/configurations/3d_fullres/batch_size", 3)(workspace, CT)
    script = printed("sh")
    assert f"# Move the plans, again: nnUNetPlans of {CT} changed since.\n" in script


# --- Jobs of SLURM


def submitted(ran: list[list[str]]) -> dict[str, tuple[str, dict[str, str]]]:
    """The last word and the options of each sbatch, by the number that it prints."""
    jobs = {}
    for number, words in enumerate(ran, 101):
        assert words[0] == "sbatch"
        options = dict(word.removeprefix("--").partition("=")[::2] for word in words[1:-2])
        jobs[str(number)] = (words[-1], options)
    return jobs


def test_each_job_starts_after_the_one_before(tmp_path: Path) -> None:
    code, ran, said = follow(printed("slurm", "--max-time", "23h30m", words=PRETRAINING), tmp_path / "run")
    jobs = submitted(ran)
    assert (code, said) == (
        0,
        "submitted: prepare_pretraining 101, pretrain 102, prepare 103, train 104, find_best 105\n",
    )
    assert [name for name, _ in jobs.values()] == ["prepare_pretraining", "pretrain", "prepare", "train", "find_best"]
    assert [options.get("dependency") for _, options in jobs.values()] == [
        *(None, "afterok:101", "afterok:102", "afterok:103", "afterok:104")
    ]
    assert [options.get("array") for _, options in jobs.values()] == [None, None, None, "0,2", None]
    assert [options.get("signal") for _, options in jobs.values()] == [None, "USR1@120", None, "USR1@120", None]
    assert [options["time"] for _, options in jobs.values()] == [
        *("12:00:00", "23:30:00", "12:00:00", "23:30:00", "12:00:00")
    ]
    assert all({"requeue", "parsable"} <= set(options) for _, options in jobs.values())
    assert {options["kill-on-invalid-dep"] for _, options in jobs.values()} == {"yes"}
    assert {options["open-mode"] for _, options in jobs.values()} == {"append"}


@pytest.mark.parametrize("words", [ROAD, PRETRAINING], ids=["weights", "pretraining"])
def test_the_jobs_run_the_commands_of_the_road(words: tuple[str, ...], tmp_path: Path) -> None:
    script = printed("slurm", words=words)
    _, ran, _ = follow(script, tmp_path / "run")
    made: list[list[str]] = []
    for name, options in submitted(ran).values():
        for task in options["array"].split(",") if "array" in options else [None]:
            array = {} if task is None else {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_JOB_ID": "7"}
            code, commands_of_job, said = follow(script, tmp_path / "run", name, SLURM_JOB_ID="7", **array)
            assert (code, said) == (0, "")
            made += commands_of_job
    assert made == commands(words=words)


@pytest.mark.parametrize(
    ("options", "variables", "task"),
    [((), {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "7_2"), (("-f", "all"), {}, "7")],
    ids=["array", "all cases"],
)
def test_a_training_that_stopped_is_queued_again(
    options: tuple[str, ...], variables: dict[str, str], task: str, tmp_path: Path
) -> None:
    """One task, though the array and this task may have the same number; no other exit code."""
    script = printed("slurm", *options)
    code, ran, _ = follow(script, tmp_path / "run", "train", SLURM_JOB_ID="7", CODE="75", **variables)
    assert (code, ran[1:]) == (75, [["scontrol", "requeue", task]])
    code, ran, _ = follow(script, tmp_path / "run", "train", SLURM_JOB_ID="7", CODE="1", **variables)
    assert (code, len(ran)) == (1, 1)


def test_memory_and_cores_are_those_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_MEM_PER_NODE", "SLURM_CPUS_PER_TASK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")
    here = run(*ROAD, "-device", "cpu", "--dry-run").out
    assert all(code in here for code in ("PG821", "PG822"))
    done = run(*ROAD, "-device", "cpu", "--print", "slurm")
    assert not re.search("PG82[0-9]", done.out + done.err)


def test_the_gpus_are_those_of_the_job() -> None:
    """A login node has none; those of a job are asked for."""
    done = run(*ROAD, "--print", "slurm", "-num_gpus", "2")
    assert done.code == 0, done.err
    assert re.search(r"^training_job=\(--cpus-per-task=24 --mem=128G --time=24:00:00 --gres=gpu:2\)$", done.out, re.M)
    assert "Then remove -num_gpus from the trainings." in done.out
    judged = run(*ROAD, "--print", "slurm", "--gpu-memory", "0.1")
    assert (judged.code, judged.out) == (1, "")
    assert "PG711" in judged.err


# --- Both


@pytest.mark.parametrize("kind", ["sh", "slurm"])
def test_a_blocked_road_prints_no_script(kind: str, workspace: Path) -> None:
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    put("preprocessed/Moved.json", "/configurations/3d_fullres/spacing/0", 1.5)(workspace, OTHER_CT)
    done = run(*ROAD, "-device", "cpu", "--print", kind)
    assert (done.code, done.out) == (1, "")
    assert "PG402" in done.err
    assert "Nothing was started." in done.err


def test_the_road_is_shown_beside_the_script() -> None:
    done = run(*ROAD, "-device", "cpu", "--print", "sh")
    assert done.out.startswith("#!/usr/bin/env bash\n")
    assert re.search(r"^  migrate +needed   there is no Moved.json$", done.err, re.M)


@pytest.mark.parametrize("kind", ["sh", "slurm"])
def test_where_nothing_is_left_there_is_no_script(kind: str) -> None:
    done = run(*ROAD, "-device", "cpu", "--print", kind, "--until", "fingerprint")
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith("\n\nplansguard: every step up to fingerprint is done: there is no script to print\n")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("sh", "--dry-run"), "--print and --dry-run exclude each other"),
        (("sh", "--output", "json"), "--print has no other format"),
        (("sh", "--max-time", "1h"), "a script of --print sh has no time limit"),
        (("slurm", "--jobs", "2"), "--jobs is for trainings of this command"),
        (("pbs",), "'pbs' is not one of 'sh', 'slurm'"),
    ],
)
def test_what_cannot_be_printed(options: tuple[str, ...], reason: str) -> None:
    done = run(*ROAD, "-device", "cpu", "--print", *options)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="not installed: shellcheck (make install-programs)")
@pytest.mark.parametrize("words", [ROAD, PRETRAINING, (*ROAD, "-f", "all")], ids=["folds", "pretraining", "all"])
@pytest.mark.parametrize("kind", ["sh", "slurm"])
def test_shellcheck_finds_nothing(kind: str, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["shellcheck", "-"], input=printed(kind, words=words), capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
