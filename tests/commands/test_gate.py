"""``plansguard gate``: how it starts a command of nnU-Net, and when it refuses.

A stand-in writes down how it was started; the last test starts the real nnUNetv2_train.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.nnunet.install.trainer_folder import VARIABLE as EXTENSION_VARIABLE
from tests.conftest import ROOT
from tests.support import stepping
from tests.support.benches import (
    OTHER_CT,
    STEPS,
    TRAIN,
    Bench,
    codes,
    gate,
    images,
    judged,
    posix_only,
    spoil,
)
from tests.support.command import run, start
from tests.support.variants import ROOTS, lay_out
from tests.test_imports import COMMAND, HEAVY, probe, roots

#: Nearly all of them start processes.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(folder="workspace")]


# --- How it starts


@posix_only
def test_the_command_gets_just_its_words_and_our_environment(bench: Bench) -> None:
    words = [*TRAIN, "--npz", "-p=nnUNetPlans"]
    before = dict(os.environ)
    done = gate(*words)
    assert (done.returncode, bench.started is not None) == (0, True), done.stderr
    assert bench.started is not None
    assert bench.started["argv"] == [str(bench.bin / words[0]), *words[1:]]
    environment = {**before, "PYTHONPATH": str(ROOT)}
    added = {name: value for name, value in bench.started["environment"].items() if environment.get(name) != value}
    assert added.keys() <= {"LC_CTYPE"}  # Python itself sets it in the C locale
    assert environment.keys() <= bench.started["environment"].keys()


@posix_only
@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(bench: Bench, closed: str) -> None:
    words = [sys.executable, "-m", "plansguard", "gate", "--data", "headers", "--", *TRAIN]
    subprocess.run(["sh", "-c", f"{shlex.join(words)} {closed}"], capture_output=True, check=False)
    assert bench.started is not None


@pytest.mark.skipif(os.name == "nt", reason="a folder that is in use cannot be deleted there")
def test_a_current_folder_that_is_gone(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    words = shlex.join([sys.executable, "-m", "plansguard", "gate", "--dry-run", "--", *TRAIN])
    done = subprocess.run(
        ["sh", "-c", f"cd gone; rmdir ../gone; {words}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("plansguard: the current folder does not exist any more\n")


def test_the_verdict_precedes_the_output_of_the_command(bench: Bench) -> None:
    done = gate(*TRAIN)
    assert done.stderr == "plansguard: fit to start (no findings)\n"
    assert done.stdout.splitlines()[-1] == "stand-in: started"
    assert done.stdout.splitlines()[-2].startswith("no findings in")


@posix_only
def test_without_the_two_hyphens(bench: Bench) -> None:
    done = start("gate", "--data", "headers", *TRAIN, "-p", "nnUNetPlans")
    assert done.returncode == 0, done.stderr
    assert bench.started is not None
    assert bench.started["argv"][1:] == [*TRAIN[1:], "-p", "nnUNetPlans"]


@posix_only
@pytest.mark.parametrize("code", [3, 75])
def test_the_exit_code_is_the_commands(bench: Bench, code: int) -> None:
    assert gate(*TRAIN, environment={"STAND_IN_EXITS": str(code)}).returncode == code


@posix_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGPIPE])
def test_a_signal_reaches_the_command_itself(bench: Bench, number: signal.Signals) -> None:
    """It is the same process: no other one can intercept a signal."""
    words = [sys.executable, "-m", "plansguard", "gate", "--data", "headers", "--", *TRAIN]
    environment = {**os.environ, "STAND_IN_SLEEPS": "60", "PYTHONPATH": str(ROOT)}
    if number == signal.SIGPIPE:  # Python as a stand-in would ignore it by itself
        (bench.bin / TRAIN[0]).write_text(f"#!/bin/sh\necho '{{\"pid\": '$$'}}' > {bench.log}\nexec sleep 60\n")
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: bench.started is not None)
        assert bench.started is not None
        assert bench.started["pid"] == process.pid
        time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(20) == (-number if number != signal.SIGINT else process.returncode)
        assert process.returncode != 0
    finally:
        process.kill()
        process.wait()


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(400):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 20 seconds")


@posix_only
def test_a_launcher_is_started_unchanged(bench: Bench) -> None:
    spare = bench.root.parent / "spare"
    lay_out(spare, OTHER_CT)  # without data: what env names is what is judged
    folders = [f"{name}={spare / name}" for name in ROOTS.values()]
    done = gate("env", *folders, *TRAIN)
    assert (done.returncode, bench.started) == (1, None)
    assert "[PG741]" in done.stdout
    done = gate("env", "MARK=1", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert bench.started is not None
    assert bench.started["environment"]["MARK"] == "1"


@posix_only
def test_a_full_path_is_enough(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    done = gate(bench.bin / TRAIN[0], *TRAIN[1:])
    assert done.returncode == 0, done.stderr
    done = gate(*TRAIN)
    assert done.returncode == 2
    assert "there is no program nnUNetv2_train" in done.stderr


def test_where_no_process_takes_the_place_of_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: the exit code is passed on."""
    from plansguard.cli import gate as module

    monkeypatch.setattr(module, "_IS_POSIX", False)
    monkeypatch.setenv("STAND_IN_EXITS", "5")
    done = run("gate", "--data", "headers", "--", *TRAIN)
    assert done.code == 5, done.err
    assert bench.started is not None


@posix_only
def test_trainers_of_a_number_of_steps_are_found(bench: Bench) -> None:
    done = gate(*TRAIN, "-tr", STEPS, environment={EXTENSION_VARIABLE: "/mine"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.started is not None
    assert bench.started["environment"][EXTENSION_VARIABLE] == os.pathsep.join([str(EXTENSION), "/mine"])
    gate("nnUNetv2_find_best_configuration", "2", "-tr", STEPS)
    assert bench.started["environment"][EXTENSION_VARIABLE].startswith(str(EXTENSION))


def test_options_of_the_steps_are_read_from_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANSGUARD_MAX_TIME", "tomorrow")
    done = judged(*TRAIN, "-tr", STEPS)
    assert (done.code, "PLANSGUARD_MAX_TIME=tomorrow" in done.err) == (2, True)
    assert judged(*TRAIN).code == 0


@posix_only
def test_it_loads_nothing_heavy(bench: Bench) -> None:
    """It may look whether packages are installed."""
    for words in (
        TRAIN,
        ("nnUNetv2_plan_and_preprocess", "-d", "2"),
        ("nnUNetv2_preprocess", "-d", "2", "-c", "2d"),
        ("nnUNetv2_move_plans_between_datasets", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X"),
        ("nnUNetv2_predict", "-d", "1", "-c", "3d_fullres", "-f", "0", *images(bench)),
    ):
        seen = probe(COMMAND, "gate", "--dry-run", "--data", "headers", "--", *words)
        assert seen["code"] in (0, None), words
        assert HEAVY & set(seen["loaded"]) == set()
        assert [name for name in seen["asked"] if "." in name and roots([name]) & HEAVY] == []


# --- When it does not


@posix_only
def test_a_command_with_an_error_is_not_started(bench: Bench) -> None:
    spoil(bench)
    done = gate(*TRAIN)
    assert (done.returncode, bench.started) == (1, None)
    assert "error[PG101]" in done.stdout
    assert "--accept CODE --because" in done.stderr.splitlines()[-1]


@posix_only
def test_a_finding_can_be_accepted(bench: Bench) -> None:
    spoil(bench)
    done = gate(*TRAIN, options=["--accept", "PG101", "--because", "a try"])
    assert (done.returncode, bench.started is not None) == (0, True), done.stdout
    assert "1 accepted" in done.stderr
    assert "a try" in done.stdout


def test_an_acceptance_without_a_finding_is_reported(bench: Bench) -> None:
    done = judged(*TRAIN, options=["--accept", "patch-not-divisible", "--because", "a try"])
    assert done.code == 0
    assert "patch-not-divisible was accepted, but not found" in done.err


@posix_only
def test_a_dry_run_starts_nothing_and_writes_nothing(bench: Bench) -> None:
    before = sorted(bench.root.rglob("*"))
    done = gate(*TRAIN, options=["--dry-run"])
    assert (done.returncode, bench.started) == (0, None)
    assert sorted(bench.root.rglob("*")) == before


@posix_only
def test_the_training_record_is_in_the_folder_of_results(bench: Bench) -> None:
    folder = bench.place("results/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0")
    assert gate(*TRAIN, "--val", options=["--accept", "PG723", "--because", "a try"]).returncode == 0
    assert not folder.exists()
    assert gate(*TRAIN).returncode == 0
    record = json.loads((folder / "plansguard_receipt.json").read_bytes())
    assert list(TRAIN) == record["starts"][-1]["command"][-len(TRAIN) :]


def test_machine_formats_go_into_files(bench: Bench) -> None:
    done = run("gate", "--output", "json", "--", *TRAIN)
    assert (done.code, done.out) == (2, "")
    assert "--output json=report.json" in done.err


@posix_only
def test_a_report_in_a_file(bench: Bench) -> None:
    done = gate(*TRAIN, options=["--output", "json=report.json"])
    assert done.returncode == 0
    assert done.stdout == "stand-in: started\n"
    report = json.loads(Path("report.json").read_bytes())
    assert (report["command"], report["findings"]) == ("gate", [])


def test_fail_on_and_settings_count(bench: Bench) -> None:
    warned = ("nnUNetv2_plan_experiment", "-d", "2")
    assert codes(*warned) == {("PG752", "warning")}
    assert judged(*warned).code == 0
    assert judged(*warned, options=["--fail-on", "warning"]).code == 1
    settings = {"severity": {"PG752": "error"}}
    bench.place("preprocessed/plansguard.json").write_text(json.dumps(settings))
    assert judged(*warned).code == 1


@posix_only
@pytest.mark.parametrize("words", [("nnUNetv2_train", "-h"), ("nnUNetv2_predict", "-i", "x", "--help"), TRAIN[:1]])
def test_help_is_passed_on(bench: Bench, words: tuple[str, ...]) -> None:
    done = gate(*words)
    if len(words) == 1:
        assert (done.returncode, bench.started) == (2, None)
        assert "the following arguments are required" in done.stderr
    else:
        assert (done.returncode, bench.started is not None) == (0, True)
        assert "is asked for help: not checked" in done.stderr


@posix_only
def test_other_commands_of_nnunet_are_passed_on(bench: Bench) -> None:
    spoil(bench)
    done = gate("nnUNetv2_find_best_configuration", "2", "-c", "3d_fullres")
    assert (done.returncode, done.stdout) == (0, "stand-in: started\n")
    note = "plansguard: nnUNetv2_find_best_configuration is not a command that plansguard judges: not checked\n"
    assert done.stderr == note


@posix_only
def test_options_of_another_version_are_passed_on(bench: Bench) -> None:
    done = gate(*TRAIN, "--brand_new", "7")
    assert done.returncode == 0, done.stderr
    assert "not known to nnU-Net 2.8.1, and so not checked: --brand_new" in done.stderr
    assert bench.started is not None
    assert bench.started["argv"][-2:] == ["--brand_new", "7"]


LONG = "x" * 100_000
HOSTILE: tuple[tuple[str, ...], ...] = (
    (),
    ("",),
    ("python", "train.py"),
    ("nnUNetv2_train", "", "", ""),
    ("nnUNetv2_train", "2", "3d_fullres", ""),
    ("nnUNetv2_train", "2", "3d_fullres", "-1"),
    ("nnUNetv2_train", "2", "", "0"),
    ("nnUNetv2_train", "999", "3d_fullres", "0"),
    ("nnUNetv2_train", "9" * 5000, "3d_fullres", "0"),
    ("nnUNetv2_train", "2", "3d_fullres", "0", "-p", LONG),
    ("nnUNetv2_train", "2", "3d_fullres", "0", "-p", "../nnUNetPlans"),
    ("nnUNetv2_train", "2", "3d_fullres", "0", "-pretrained_weights", ""),
    ("nnUNetv2_train", "2", "3d_fullres", "0", "-pretrained_weights", LONG),
    ("nnUNetv2_train", "2", "3d_fullres", "0", "-device", "quantum"),
    ("nnUNetv2_train", "2", "3d_fullres", "0", "-num_gpus", "0"),
    ("nnUNetv2_train", "2\0", "3d_fullres", "0"),
    ("nnUNetv2_train", "Dataset002_\U0001f9e0", "3d_fullres", "0"),
    ("nnUNetv2_train", "Dataset002_\udcff", "3d_fullres", "0"),
    ("nnUNetv2_train", LONG, "3d_fullres", "0"),
    ("nnUNetv2_preprocess",),
    ("nnUNetv2_preprocess", "-d", "two"),
    ("nnUNetv2_preprocess", "-d", "-2"),
    ("nnUNetv2_preprocess", "-d", "999"),
    ("nnUNetv2_preprocess", "-d", "2", "-c", "3d_fulres"),
    ("nnUNetv2_preprocess", "-d", "2", "-c", "3d_lowres"),
    ("nnUNetv2_preprocess", "-d", "2", "-plans_name", LONG),
    ("nnUNetv2_preprocess", "-d", "2", "-c", "2d", "3d_fullres", "-np", "1", "2", "3"),
    ("nnUNetv2_plan_experiment",),
    ("nnUNetv2_plan_experiment", "-d", "999"),
    ("nnUNetv2_plan_and_preprocess", "-d", "2", "-np", "1", "2"),
    ("nnUNetv2_extract_fingerprint", "-d", "999"),
    ("nnUNetv2_move_plans_between_datasets", "-s", "1", "-t", "2"),
    ("nnUNetv2_move_plans_between_datasets", "-s", "1", "-t", "999", "-sp", "nnUNetPlans"),
    ("nnUNetv2_move_plans_between_datasets", "-s", "/tmp/x.json", "-t", "2", "-sp", "nnUNetPlans"),
    ("nnUNetv2_move_plans_between_datasets", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "../up"),
    ("nnUNetv2_predict", "-i", ".", "-o", "out", "-d", "1", "-c", "3d_fullres", "-tr", LONG),
    ("nnUNetv2_predict", "-i", ".", "-o", "out", "-d", "1", "-c", "3d_fulres"),
    ("nnUNetv2_predict", "-i", ".", "-o", "out", "-d", "1", "-c", "3d_fullres", "-f", "zero"),
    ("nnUNetv2_predict", "-i", ".", "-o", "out", "-d", "1", "-c", "3d_fullres", "-part_id", "1"),
    ("nnUNetv2_predict", "-i", "", "-o", "out", "-d", "1", "-c", "3d_fullres"),
    ("nnUNetv2_predict", "-i", "nowhere", "-o", "out", "-d", "1", "-c", "3d_fullres"),
    ("nnUNetv2_predict_from_modelfolder", "-i", ".", "-o", "out", "-m", "nowhere"),
    ("nnUNetv2_predict_from_modelfolder", "-i", ".", "-o", "out", "-m", "."),
    ("nnUNetv2_predict_from_modelfolder", "-i", ".", "-o", "out", "-m", LONG),
)


@pytest.mark.parametrize("words", HOSTILE, ids=lambda words: " ".join(words)[:60].encode("ascii", "replace").decode())
def test_what_cannot_be_carried_out_is_one_message(bench: Bench, words: tuple[str, ...]) -> None:
    options = ["--data", "headers"] if words[:1] == ("nnUNetv2_train",) else []  # other commands read no data
    done = run("gate", "--dry-run", *options, "--", *words)
    assert done.code == 2, done.out
    assert done.out == ""
    assert done.err.startswith("plansguard: ")
    assert len(done.err.splitlines()) <= 2


@pytest.mark.parametrize("code", ["PG999", "", "no-such-rule"])
def test_accepting_what_no_rule_finds(bench: Bench, code: str) -> None:
    done = judged("nnUNetv2_plan_experiment", "-d", "2", options=["--accept", code, "--because", "a try"])
    assert (done.code, done.out) == (2, "")
    assert "there is no rule" in done.err


# --- Options in the wrong place


def test_options_of_the_gate_after_the_command(bench: Bench) -> None:
    done = run("gate", "--", *TRAIN, "--dry-run")
    assert done.code == 2
    assert "put it before --: plansguard gate --dry-run -- nnUNetv2_train 2 3d_fullres 0 -device cpu\n" in done.err
    assert bench.started is None


# --- The real one


@pytest.mark.nnunet
@pytest.mark.slow
def test_a_real_training(tmp_path: Path) -> None:
    root = stepping.make_workspace(tmp_path)
    folders = {name: str(root / name) for name in ROOTS.values()}
    name = "nnUNetTrainerNoMirroring_2steps_2per_1val"  # its final validation is four times as fast
    words = [str(Path(sys.executable).with_name("nnUNetv2_train")), "3", stepping.CONFIGURATION, "0"]
    words += ["-p", stepping.PLANS, "-tr", name, "-device", "cpu"]
    environment = {**folders, **stepping.ENVIRONMENT, EXTENSION_VARIABLE: ""}
    done = gate(*words, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plansguard: fit to start" in done.stderr
    assert (stepping.fold(root, name) / "checkpoint_final.pth").is_file()
    assert (stepping.fold(root, name) / "plansguard_receipt.json").is_file()
