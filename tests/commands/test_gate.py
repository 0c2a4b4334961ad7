"""``plansguard gate``: what it judges about each command of nnU-Net, and how it lets it start.

What starts is a stand-in that writes down how it was started; the last test starts the real nnUNetv2_train.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from plansguard.nnunet.install.trainer_folder import FOLDER as EXTENSION
from plansguard.nnunet.install.trainer_folder import VARIABLE as EXTENSION_VARIABLE
from plansguard.nnunet.workspace import trained_models
from plansguard.subjects import planning
from tests.conftest import ROOT
from tests.rules.pg7_run.trainings import READY
from tests.support import checkpoints, stepping
from tests.support.command import Done, run, start
from tests.support.data_folders import STAGES, trained
from tests.support.models import MODEL
from tests.support.variants import ROOTS, lay_out, place, put, remove
from tests.test_imports import COMMAND, HEAVY, probe, roots

#: Nearly all of them start processes.
pytestmark = pytest.mark.slow

CT, OTHER_CT, MR, SLIDES = (
    "Dataset001_PretrainCT",
    "Dataset002_FinetuneCT",
    "Dataset003_TwoChannelMR",
    "Dataset004_Slides2D",
)
CASCADE = "Dataset005_CascadeCT"
PLANS = "preprocessed/nnUNetPlans.json"
TRAIN = ("nnUNetv2_train", "2", "3d_fullres", "0", "-device", "cpu")
STEPS = "nnUNetTrainer_500steps"
NAMES = (
    *("nnUNetv2_train", "nnUNetv2_preprocess", "nnUNetv2_plan_experiment", "nnUNetv2_plan_and_preprocess"),
    *("nnUNetv2_extract_fingerprint", "nnUNetv2_move_plans_between_datasets", "nnUNetv2_predict"),
    *("nnUNetv2_predict_from_modelfolder", "nnUNetv2_find_best_configuration"),
)
STAND_IN = """#!{python}
import json, os, pathlib, signal, sys, time
told = {{"argv": sys.argv, "pid": os.getpid(), "environment": dict(os.environ)}}
log = pathlib.Path({log!r})
log.with_suffix(".tmp").write_text(json.dumps(told))
log.with_suffix(".tmp").replace(log)
print("stand-in: started", flush=True)
time.sleep(float(os.environ.get("STAND_IN_SLEEPS", "0")))
sys.exit(int(os.environ.get("STAND_IN_EXITS", "0")))
"""
posix_only = pytest.mark.skipif(os.name == "nt", reason="only there does a command take the place of another")


class Bench:
    """A workspace, and a stand-in for each of nnU-Net's commands."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.log = root / "workspace", root / "bin", root / "log.json"
        self.bin.mkdir()
        for name in NAMES:
            program = self.bin / name
            program.write_text(STAND_IN.format(python=sys.executable, log=str(self.log)), encoding="utf-8")
            program.chmod(0o755)

    @property
    def started(self) -> dict[str, Any] | None:
        """How the stand-in was started; None if it was not."""
        return json.loads(self.log.read_bytes()) if self.log.exists() else None

    def place(self, file: str, dataset: str = OTHER_CT) -> Path:
        return place(self.root, dataset, file)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """All fixtures, of which Dataset002 is ready to be trained."""
    made = Bench(tmp_path)
    lay_out(made.root)
    for edit in READY:
        edit(made.root, OTHER_CT)
    for name in ROOTS.values():
        monkeypatch.setenv(name, str(made.root / name))
    monkeypatch.setenv("PATH", str(made.bin), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv(EXTENSION_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return made


def judged(*words: str | Path, options: Sequence[str] = ()) -> Done:
    """The verdict, in this process."""
    return run("gate", "--dry-run", "--data", "headers", "--output", "json", *options, "--", *words)


def codes(*words: str | Path, options: Sequence[str] = ()) -> set[tuple[str, str]]:
    """(code, severity) of every finding that stands."""
    done = judged(*words, options=options)
    assert done.code in (0, 1), done.err
    return {(one["code"], one["severity"]) for one in done.json["findings"] if one["ignored"] is None}


def gate(*words: str | Path, options: Sequence[str] = (), **more: Any) -> subprocess.CompletedProcess[str]:
    """``plansguard gate -- WORDS`` as a process of its own."""
    return start("gate", "--data", "headers", *options, "--", *words, **more)


def spoil(bench: Bench) -> None:
    """A fault that no training of Dataset002 passes: PG101."""
    put(PLANS, "/configurations/3d_fullres/patch_size/1", 70)(bench.root, OTHER_CT)


# ---------------------------------------------------------------------------------------------------------------------
# How it starts
# ---------------------------------------------------------------------------------------------------------------------


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


def test_it_says_that_it_is_fit_before_the_command_says_anything(bench: Bench) -> None:
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
    """It is the same process: there is nobody in between who could keep a signal to himself."""
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
def test_a_launcher_is_started_as_it_stands(bench: Bench) -> None:
    spare = bench.root.parent / "spare"
    lay_out(spare, OTHER_CT)  # without data: what env names is what is judged
    folders = [f"{name}={spare / name}" for name in ROOTS.values()]
    done = gate("env", *folders, *TRAIN)
    assert (done.returncode, bench.started) == (1, None)
    assert "PG504" in done.stdout
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
    """Whether they are there it may ask."""
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


# ---------------------------------------------------------------------------------------------------------------------
# When it does not
# ---------------------------------------------------------------------------------------------------------------------


@posix_only
def test_what_is_wrong_is_not_started(bench: Bench) -> None:
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


def test_what_was_accepted_and_is_not_found_is_told(bench: Bench) -> None:
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
def test_the_receipt_lies_beside_the_results(bench: Bench) -> None:
    folder = bench.place("results/nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0")
    assert gate(*TRAIN, "--val", options=["--accept", "PG723", "--because", "a try"]).returncode == 0
    assert not folder.exists()
    assert gate(*TRAIN).returncode == 0
    receipt = json.loads((folder / "plansguard_receipt.json").read_bytes())
    assert list(TRAIN) == receipt["starts"][-1]["command"][-len(TRAIN) :]


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
    told = "plansguard: nnUNetv2_find_best_configuration is not a command that plansguard judges: not checked\n"
    assert done.stderr == told


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
    done = run("gate", "--dry-run", "--data", "headers", "--", *words)
    assert done.code == 2, done.out
    assert done.out == ""
    assert done.err.startswith("plansguard: ")
    assert len(done.err.splitlines()) <= 2


@pytest.mark.parametrize("code", ["PG999", "", "no-such-rule"])
def test_accepting_what_no_rule_finds(bench: Bench, code: str) -> None:
    done = judged("nnUNetv2_plan_experiment", "-d", "2", options=["--accept", code, "--because", "a try"])
    assert (done.code, done.out) == (2, "")
    assert "there is no rule" in done.err


# ---------------------------------------------------------------------------------------------------------------------
# Healthy work, which must not be refused
# ---------------------------------------------------------------------------------------------------------------------

SPLITS = "preprocessed/splits_final.json"


def fold(number: str) -> tuple[str, ...]:
    return ("nnUNetv2_train", "2", "3d_fullres", number, "-device", "cpu")


def test_folders_that_nnunet_will_make(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first training there are no results; a cluster may hold nothing but preprocessed data."""
    for variable in ("nnUNet_raw", "nnUNet_results"):
        monkeypatch.setenv(variable, str(bench.root / "not" / "there"))
    assert judged(*TRAIN).code == 0
    assert run("train", *TRAIN[1:], "--steps", "500", "--data", "headers", "--dry-run").code == 0
    assert run("check", "-d", "2").code == 0
    monkeypatch.setenv("nnUNet_raw", str(bench.root / ROOTS["raw"]))
    monkeypatch.setenv("nnUNet_preprocessed", str(bench.root / "not" / "there"))
    assert judged("nnUNetv2_plan_and_preprocess", "-d", "2").code == 0
    done = judged(*TRAIN)
    assert (done.code, "Dataset002_FinetuneCT has no folder in" in done.err) == (2, True)


def test_only_the_fold_that_is_trained_counts(bench: Bench) -> None:
    put(SPLITS, "/1/train/-", "fine_777")(bench.root, OTHER_CT)
    put(SPLITS, "/1/val", [])(bench.root, OTHER_CT)
    assert {code for code, _ in codes(*fold("1"))} >= {"PG514", "PG516"}
    assert codes(*fold("0")) == codes(*fold("all")) == set()


def test_fold_all_takes_cases_that_are_in_no_fold(bench: Bench) -> None:
    splits = json.loads(bench.place(SPLITS).read_bytes())
    for one in splits:
        one["train"] = [case for case in one["train"] if case != "fine_003"]
        one["val"] = [case for case in one["val"] if case != "fine_003"] or ["fine_004"]
    bench.place(SPLITS).write_text(json.dumps(splits))
    assert ("PG515", "warning") in codes(*fold("0"))
    assert codes(*fold("all")) == set()


def test_a_cascade_needs_predictions_of_its_fold_and_no_checkpoints(bench: Bench) -> None:
    for edit in STAGES:
        edit(bench.root, OTHER_CT)
    words = ("nnUNetv2_train", "2", "3d_cascade_fullres", "0", "-device", "cpu")
    splits = [{"train": ["fine_000", "fine_001"], "val": ["fine_002"]}, {"train": ["fine_003"], "val": ["fine_004"]}]
    bench.place(SPLITS).write_text(json.dumps(splits))
    trained("3d_lowres", "fine_000", "fine_001", "fine_002")(bench.root, OTHER_CT)
    shutil.rmtree(bench.place("results/nnUNetTrainer__nnUNetPlans__3d_lowres/fold_0"))
    assert ("PG518", "error") not in codes(*words)
    done = judged(*words[:3], "1", *words[4:])
    (found,) = (one for one in done.json["findings"] if one["code"] == "PG518")
    assert "lacks fine_003, fine_004" in found["message"]
    assert found["fix"].endswith("nnUNetv2_train 2 3d_lowres FOLD -p nnUNetPlans -tr nnUNetTrainer --val")


def test_raw_files_that_were_copied_after_the_data(bench: Bench) -> None:
    """All of them are newer then, and nothing was changed."""
    later = time.time() + 3600
    for path in bench.place("raw/.").rglob("*.nii.gz"):
        os.utime(path, (later, later))
    assert codes(*TRAIN) == set()
    os.utime(bench.place("raw/labelsTr/fine_001.nii.gz"), (1e9, 1e9))
    assert codes(*TRAIN) == {("PG512", "warning")}


def test_a_variation_with_another_normalisation(bench: Bench) -> None:
    """Somebody compares two schemes in configurations of the same plans."""
    schemes = {"normalization_schemes": ["ZScoreNormalization"], "data_identifier": "mine_2d"}
    put(PLANS, "/configurations/2d_znorm", {"inherits_from": "2d", **schemes})(bench.root, OTHER_CT)
    assert codes("nnUNetv2_preprocess", "-d", "2", "-c", "2d_znorm") == {("PG305", "warning")}


def test_a_training_that_was_moved_away_is_no_fold(bench: Bench) -> None:
    """As PG721 says to do it; nnU-Net takes every folder fold_* for one, and ends with ValueError at another name."""
    model = bench.place("results/nnUNetTrainer__nnUNetPlans__3d_fullres")
    place(bench.root, OTHER_CT, "results/.").mkdir(parents=True, exist_ok=True)
    shutil.copytree(place(bench.root, CT, f"results/{MODEL}"), model)
    (found,) = (one for one in judged(*TRAIN).json["findings"] if one["code"] == "PG721")
    assert found["fix"].endswith(f"mv {model / 'fold_0'} {model / 'old_fold_0'}")
    (model / "fold_0").rename(model / "old_fold_0")
    assert "PG721" not in {code for code, _ in codes(*TRAIN)}
    assert [one.checkpoints for one in trained_models(bench.root / ROOTS["results"], OTHER_CT)] == [()]


# ---------------------------------------------------------------------------------------------------------------------
# Options in the wrong place
# ---------------------------------------------------------------------------------------------------------------------


def test_options_of_the_gate_behind_the_command(bench: Bench) -> None:
    done = run("gate", "--", *TRAIN, "--dry-run")
    assert done.code == 2
    assert "put it before --: plansguard gate --dry-run ... -- nnUNetv2_train" in done.err
    assert bench.started is None


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_preprocess
# ---------------------------------------------------------------------------------------------------------------------

PREPROCESS = ("nnUNetv2_preprocess", "-d", "2")


@posix_only
def test_preprocessing_is_judged_and_started(bench: Bench) -> None:
    done = gate(*PREPROCESS)
    assert done.returncode == 0, done.stderr
    data = bench.place("preprocessed/nnUNetPlans_3d_fullres")
    assert f"{data} (3d_fullres)" in done.stdout
    assert "nnU-Net deletes it first: " in done.stdout
    assert "also read by 3d_fullres of nnUNetResEncUNetMPlans: the same preprocessing" in done.stdout
    assert "nnUNetPlans has 2d, 3d_fullres; nnU-Net skips 3d_lowres" in done.stdout
    assert "plansguard preprocess does the same and leaves a preprocessing record" in done.stderr
    assert bench.started is not None


@posix_only
def test_preprocessing_for_others_is_not_started(bench: Bench) -> None:
    put("preprocessed/nnUNetResEncUNetMPlans.json", "/configurations/3d_fullres/spacing", [3.0, 1.0, 1.0])(
        bench.root, OTHER_CT
    )
    done = gate(*PREPROCESS, "-c", "3d_fullres")
    assert (done.returncode, bench.started) == (1, None)
    assert "error[PG501]" in done.stdout
    assert judged(*PREPROCESS, "-c", "2d").code == 0
    accepted = ("--accept", "PG501", "--because", "ResEnc plans are not used")
    assert judged(*PREPROCESS, "-c", "3d_fullres", options=accepted).code == 0


def test_preprocessing_of_several_datasets(bench: Bench) -> None:
    done = judged("nnUNetv2_preprocess", "-d", "1", "2", "2", "4", "-c", "2d")
    assert done.code == 0, done.err
    assert [Path(one).name for one in done.json["inputs"]] == [CT, OTHER_CT, SLIDES]
    spoil(bench)
    found = codes("nnUNetv2_preprocess", "-d", "1", "2", "-c", "3d_fullres")
    assert ("PG101", "error") in found


def test_a_configuration_of_some_datasets(bench: Bench) -> None:
    """nnU-Net passes over it where it is not; where no dataset has it, it was not meant."""
    put(PLANS, "/configurations/mine", {"inherits_from": "2d", "data_identifier": "mine_2d"})(bench.root, OTHER_CT)
    assert judged("nnUNetv2_preprocess", "-d", "1", "2", "-c", "mine", "2d").code == 0
    done = judged("nnUNetv2_preprocess", "-d", "1", "3", "-c", "mine", "2d")
    assert (done.code, "there is no configuration mine" in done.err) == (2, True)


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_extract_fingerprint, nnUNetv2_plan_experiment, nnUNetv2_plan_and_preprocess
# ---------------------------------------------------------------------------------------------------------------------

PLAN, BOTH = ("nnUNetv2_plan_experiment", "-d", "2"), ("nnUNetv2_plan_and_preprocess", "-d", "2")


def migrated(bench: Bench, name: str = "nnUNetPlans") -> None:
    """Dataset002 has plans of Dataset001, put there by plansguard."""
    remove("preprocessed/nnUNetResEncUNetMPlans.json")(bench.root, OTHER_CT)
    done = run("migrate", "-s", "1", "-t", "2", "-tp", name, "--force")
    assert done.code == 0, done.out


def test_planning_a_dataset_for_the_first_time(bench: Bench) -> None:
    shutil.rmtree(bench.place("preprocessed/.").resolve())
    assert judged(*BOTH).code == 0
    assert judged("nnUNetv2_extract_fingerprint", "-d", "2").code == 0
    done = judged(*PLAN)
    assert (done.code, "there is no dataset_fingerprint.json" in done.err) == (2, True)
    assert "nnUNetv2_extract_fingerprint -d 2" in done.err
    assert not bench.place("preprocessed/.").exists()


def test_planning_without_the_raw_data(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(bench.place("raw/.").resolve())
    done = judged(*PLAN)
    assert (done.code, "cannot be planned" in done.err) == (2, True)
    monkeypatch.delenv("nnUNet_raw")
    done = judged(*PLAN)
    assert (done.code, "nnUNet_raw is not set" in done.err) == (2, True)


def test_planning_from_raw_data_that_are_wrong(bench: Bench) -> None:
    """It is the raw dataset.json that is planned from, whatever lies beside the plans."""
    put("preprocessed/dataset.json", "/file_ending", ".nrrd")(bench.root, OTHER_CT)
    assert codes(*BOTH) == set()
    put("raw/dataset.json", "/file_ending", ".nrrd")(bench.root, OTHER_CT)
    assert codes(*BOTH) == {("PG205", "error")}
    assert codes("nnUNetv2_extract_fingerprint", "-d", "2") == {("PG205", "error")}


def test_planning_from_an_old_fingerprint(bench: Bench) -> None:
    """It is kept unless --clean is given."""
    image = next(bench.place("raw/imagesTr").iterdir())
    for folder, name in (("imagesTr", "new_000_0000.nii.gz"), ("labelsTr", "new_000.nii.gz")):
        shutil.copy(image, bench.place(f"raw/{folder}/{name}"))
    put("raw/dataset.json", "/numTraining", 7)(bench.root, OTHER_CT)
    assert ("PG303", "error") in codes(*BOTH)
    assert ("PG303", "error") in codes(*PLAN)
    assert codes(*BOTH, "--clean") == set()


def test_planning_over_migrated_plans(bench: Bench) -> None:
    migrated(bench)
    assert codes(*PLAN) == {("PG751", "error")}
    assert codes(*BOTH) == {("PG751", "error")}
    done = judged(*PLAN)
    assert done.code == 1
    (finding,) = done.json["findings"]
    assert f"nnUNetPlans of {OTHER_CT}, which was migrated from {CT} (--workflow finetune)" in finding["message"]
    assert "plansguard migrate -t 2 -tp nnUNetPlans --undo" in finding["fix"]
    assert judged(*PLAN, options=["--accept", "PG751", "--because", "not needed"]).code == 0
    assert codes(*PLAN, "-overwrite_plans_name", "Mine") == set()
    assert codes(*PLAN, "-pl", "nnUNetPlannerResEncM") == set()
    assert run("migrate", "-t", "2", "-tp", "nnUNetPlans", "--undo").code == 0
    assert codes(*PLAN) == {("PG752", "warning")}


def test_planning_over_plans_under_another_name(bench: Bench) -> None:
    migrated(bench, "Pre")
    assert codes(*PLAN) == {("PG752", "warning")}
    assert codes(*PLAN, "-overwrite_plans_name", "Pre") == {("PG751", "error")}


def test_planning_over_plans_in_use(bench: Bench) -> None:
    (finding,) = judged(*PLAN).json["findings"]
    assert "data were preprocessed with them (nnUNetPlans_2d, nnUNetPlans_3d_fullres)" in finding["message"]
    assert codes(*BOTH) == set()  # the data are made anew
    assert codes(*BOTH, "--no_pp") == {("PG752", "warning")}
    assert codes(*BOTH, "-c", "2d") == {("PG752", "warning")}
    for folder in ("nnUNetPlans_2d", "nnUNetPlans_3d_fullres"):
        remove(f"preprocessed/{folder}")(bench.root, OTHER_CT)
    assert codes(*PLAN) == set()
    (finding,) = judged("nnUNetv2_plan_experiment", "-d", "1").json["findings"]
    assert f"1 model was trained with them ({MODEL})" in finding["message"]


def test_planning_says_what_it_will_delete(bench: Bench) -> None:
    said = run("gate", "--dry-run", "--", *BOTH).out
    data = bench.place("preprocessed/nnUNetPlans_2d")
    assert f"{data} (2d): nnU-Net deletes it first, " in said
    assert "also read by 2d of nnUNetResEncUNetMPlans" in said
    said = run("gate", "--dry-run", "--", *BOTH, "-pl", "nnUNetPlannerResEncM", "-c", "2d").out
    assert f"{data} (2d): nnU-Net deletes it first, " in said
    assert "also read by 2d of nnUNetPlans" in said
    assert "deletes" not in run("gate", "--dry-run", "--", *BOTH, "-overwrite_plans_name", "Mine").out


def test_a_planner_of_somebodys_own(bench: Bench) -> None:
    done = run("gate", "--dry-run", "--", *PLAN, "-pl", "MyPlanner")
    assert done.code == 0
    assert "MyPlanner is not a planner of nnU-Net" in done.out


def test_plans_that_cannot_be_read_are_in_the_way(bench: Bench) -> None:
    """nnU-Net reads the old ones to keep configurations of other names."""
    bench.place(PLANS).write_text("{")
    assert judged(*PLAN).code == 2
    assert codes(*PLAN, "-overwrite_plans_name", "Mine") == set()


@pytest.mark.nnunet
def test_planners_put_their_data_where_we_say() -> None:
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.resampling import planners_no_resampling, resample_with_torch
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners

    from plansguard.nnunet import constants

    modules = (planners_no_resampling, resample_with_torch, residual_encoder_unet_planners)
    classes = {"ExperimentPlanner": ExperimentPlanner}
    classes |= {name: one for module in modules for name, one in vars(module).items() if isinstance(one, type)}
    for identifier, planner in constants.PLANNER_OF_IDENTIFIER.items():
        assert planning.default_identifier(planner) == identifier
        made = classes[planner].__new__(classes[planner])
        made.plans_identifier = identifier
        for configuration in ("2d", "3d_fullres", "3d_lowres"):
            expected = planning.data_identifier(planner, identifier, configuration)
            assert made.generate_data_identifier(configuration) == expected


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_move_plans_between_datasets
# ---------------------------------------------------------------------------------------------------------------------

MOVE = ("nnUNetv2_move_plans_between_datasets", "-s", "1", "-t", "2", "-sp", "nnUNetPlans")


@posix_only
def test_a_move_is_judged_and_started(bench: Bench) -> None:
    before = sorted(bench.root.rglob("*"))
    done = gate(*MOVE, "-tp", "Pre")
    assert (done.returncode, bench.started is not None) == (0, True), done.stdout
    assert "plansguard migrate writes the same plans and keeps a migration record" in done.stderr
    assert sorted(bench.root.rglob("*")) == before


def test_moves_that_are_wrong(bench: Bench) -> None:
    assert ("PG412", "error") in codes(*MOVE)  # without -tp, the dataset's own plans are gone
    turned = ("nnUNetv2_move_plans_between_datasets", "-s", "2", "-t", "1", "-sp", "nnUNetPlans", "-tp", "Pre")
    assert ("PG410", "error") in codes(*turned)
    assert ("PG413", "warning") in codes(*MOVE, "-tp", "nnUNetResEncUNetLPlans")


def test_moves_that_nnunet_cannot_make(bench: Bench) -> None:
    remove("raw/imagesTr")(bench.root, OTHER_CT)
    done = judged(*MOVE, "-tp", "Pre")
    assert (done.code, "looks at a raw image" in done.err) == (2, True)
    assert "plansguard migrate -s 1 -t 2 -sp nnUNetPlans -tp Pre" in done.err


def test_a_move_into_a_folder_that_is_not_there(bench: Bench) -> None:
    shutil.rmtree(bench.place("preprocessed/.").resolve())
    done = judged(*MOVE, "-tp", "Pre")
    assert (done.code, "has no folder" in done.err) == (2, True)


def test_a_move_that_leaves_dataset_json_to_the_user(bench: Bench) -> None:
    remove("preprocessed/dataset.json")(bench.root, OTHER_CT)
    done = judged(*MOVE, "-tp", "Pre")
    assert done.code == 0, done.out
    assert "puts dataset.json beside them" in done.err


# ---------------------------------------------------------------------------------------------------------------------
# nnUNetv2_predict, nnUNetv2_predict_from_modelfolder
# ---------------------------------------------------------------------------------------------------------------------


def images(bench: Bench, *names: str) -> list[str]:
    """-i and -o, with empty files of these names among the images."""
    folder = bench.root.parent / "images"
    folder.mkdir(exist_ok=True)
    for name in names or ("new_000_0000.nii.gz", "new_001_0000.nii.gz"):
        (folder / name).touch()
    return ["-i", str(folder), "-o", "out", "-device", "cpu"]


def predict(bench: Bench, *names: str) -> tuple[str, ...]:
    return ("nnUNetv2_predict", "-d", "1", "-c", "3d_fullres", "-f", "0", *images(bench, *names))


def model(bench: Bench) -> Path:
    return bench.place(f"results/{MODEL}", CT)


@posix_only
def test_a_prediction_is_judged_and_started(bench: Bench) -> None:
    done = gate(*predict(bench))
    assert (done.returncode, bench.started is not None) == (0, True), done.stdout + done.stderr
    words = ["nnUNetv2_predict_from_modelfolder", "-m", str(model(bench)), "-f", "0", *images(bench)]
    done = gate(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not Path("out").exists()


def test_folds_that_are_not_there(bench: Bench) -> None:
    words = [word for word in predict(bench) if word not in ("-f", "0")]
    done = judged(*words)
    (finding,) = done.json["findings"]
    assert (done.code, finding["code"], finding["fix"]) == (1, "PG753", "predict with the folds that are trained: -f 0")
    assert "fold_1/checkpoint_final.pth, fold_2/checkpoint_final.pth" in finding["message"]
    assert codes(*words, "-f", "0") == set()
    assert codes(*words, "-f", "00", "0") == set()
    assert codes(*words, "-f", "all") == {("PG753", "error")}


def test_another_checkpoint(bench: Bench) -> None:
    best = model(bench) / "fold_0/checkpoint_best.pth"
    assert codes(*predict(bench), "-chk", best.name) == {("PG753", "error")}
    (model(bench) / "fold_0/checkpoint_final.pth").rename(best)
    assert codes(*predict(bench), "-chk", best.name) == set()
    (finding,) = judged(*predict(bench)).json["findings"]
    assert "-chk checkpoint_best.pth" in finding["fix"]
    best.unlink()
    (finding,) = judged(*predict(bench)).json["findings"]
    assert "no fold of this model has a checkpoint" in finding["fix"]


def test_only_the_checkpoints_that_are_loaded_count(bench: Bench) -> None:
    (model(bench) / "fold_1").mkdir()
    (model(bench) / "fold_1/checkpoint_final.pth").write_bytes(b"torn")
    (model(bench) / "fold_0/checkpoint_latest.pth").write_bytes(b"torn")
    assert codes(*predict(bench)) == set()
    assert codes(*predict(bench), "-f", "0", "1") == {("PG601", "error")}


def test_only_the_configuration_of_the_model_counts(bench: Bench) -> None:
    put(f"results/{MODEL}/plans.json", "/configurations/2d/patch_size/0", 70)(bench.root, CT)
    assert codes(*predict(bench)) == set()
    put(f"results/{MODEL}/plans.json", "/configurations/3d_fullres/patch_size/1", 70)(bench.root, CT)
    assert ("PG101", "error") in codes(*predict(bench))


def trouble(done: Done) -> list[tuple[str, str]]:
    """Severity and text of what is wrong with the images."""
    assert {one["code"] for one in done.json["findings"]} <= {"PG754"}
    return [(one["severity"], one["message"]) for one in done.json["findings"]]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.nii.gz", "b_0000.nii.gz"], "images without a channel's number before .nii.gz: a.nii.gz (1 of 2)"),
        (["a_000.nii.gz"], "images without a channel's number before .nii.gz: a_000.nii.gz (1 of 1)"),
        (["a_0001.nii.gz"], "images are missing: a_0000.nii.gz (1 of 1)"),
        (["a_0000.nii.gz", "a_0001.nii.gz"], "there are images of others: a_0001.nii.gz"),
        (["a_0000.nrrd", "b_0000.nrrd"], "the ending of the training's images: 2 of 2 files have .nrrd"),
        (["a_0000.NII.GZ"], "the ending of the training's images: 1 of 1 file has .NII.GZ"),
    ],
)
def test_images_that_do_not_fit(bench: Bench, names: list[str], said: str) -> None:
    found = trouble(judged(*predict(bench, *names)))
    assert found
    assert all(severity == "error" for severity, _ in found)
    assert said in found[0][1]


def test_no_images(bench: Bench) -> None:
    words = predict(bench)
    folder = Path(words[words.index("-i") + 1])
    for path in folder.iterdir():
        path.unlink()
    assert "it is empty" in trouble(judged(*words))[0][1]
    (folder / "a").mkdir()
    assert "it contains only folders" in trouble(judged(*words))[0][1]


def test_several_channels(bench: Bench) -> None:
    put(f"results/{MODEL}/dataset.json", "/channel_names", {"0": "CT", "1": "PET"})(bench.root, CT)
    options = ("--accept", "PG304", "--because", "a try", "--accept", "PG621", "--because", "a try")

    def told(*names: str) -> list[tuple[str, str]]:
        shutil.rmtree(bench.root.parent / "images", ignore_errors=True)
        findings = judged(*predict(bench, *names), options=options).json["findings"]
        return [(one["severity"], one["message"]) for one in findings if one["code"] == "PG754"]

    assert told("a_0000.nii.gz", "a_0001.nii.gz") == []
    (alone,) = told("a_0000.nii.gz")
    assert (alone[0], "images are missing: a_0001.nii.gz (1 of 2)" in alone[1]) == ("warning", True)
    (lacking,) = told("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii.gz")
    assert (lacking[0], "images are missing: b_0001.nii.gz (1 of 4)" in lacking[1]) == ("error", True)


def test_colours_in_one_file(bench: Bench) -> None:
    put(f"results/{MODEL}/dataset.json", "/channel_names", {"0": "R", "1": "G", "2": "B"})(bench.root, CT)
    put(f"results/{MODEL}/dataset.json", "/file_ending", ".png")(bench.root, CT)
    findings = judged(*predict(bench, "a_0000.png")).json["findings"]
    assert "PG754" not in {one["code"] for one in findings}


def test_the_second_stage_of_a_cascade(bench: Bench) -> None:
    plans = json.loads(place(bench.root, CASCADE, PLANS).read_bytes())
    dataset_json = json.loads(place(bench.root, CASCADE, "preprocessed/dataset.json").read_bytes())
    folder = place(bench.root, CASCADE, "results/nnUNetTrainer__nnUNetPlans__3d_cascade_fullres")
    checkpoints.write(folder / "fold_0/checkpoint_final.pth", plans, dataset_json, "3d_cascade_fullres")
    for name, value in (("plans", plans), ("dataset", dataset_json)):
        (folder / f"{name}.json").write_text(json.dumps(value, indent=4))
    words = ("nnUNetv2_predict", "-d", "5", "-c", "3d_cascade_fullres", "-f", "0", *images(bench, "a_0000.nii.gz"))
    (finding,) = (one for one in judged(*words).json["findings"] if one["code"] == "PG755")
    assert "3d_cascade_fullres is the second stage of a cascade: it needs the predictions of 3d_lowres" in str(finding)
    before = bench.root.parent / "before"
    before.mkdir()
    words = (*words, "-prev_stage_predictions", str(before))
    (finding,) = (one for one in judged(*words).json["findings"] if one["code"] == "PG755")
    assert f"{before} has no a.nii.gz of 3d_lowres" in finding["message"]
    (before / "a.nii.gz").touch()
    assert "PG755" not in {code for code, _ in codes(*words)}


def test_models_that_are_not_there(bench: Bench) -> None:
    done = judged("nnUNetv2_predict", "-d", "1", "-c", "3d_fulres", *images(bench))
    assert (done.code, f"did you mean {MODEL}?" in done.err) == (2, True)
    done = judged("nnUNetv2_predict_from_modelfolder", "-m", model(bench) / "fold_0", *images(bench))
    assert (done.code, "it is not a model folder" in done.err) == (2, True)


def test_a_model_of_an_unknown_trainer(bench: Bench) -> None:
    plans, dataset_json = (json.loads((model(bench) / f"{name}.json").read_bytes()) for name in ("plans", "dataset"))
    checkpoint = model(bench) / "fold_0/checkpoint_final.pth"
    checkpoints.write(checkpoint, plans, dataset_json, trainer="nnUNetTrainer_autopet3")
    assert codes(*predict(bench)) == {("PG608", "warning")}


def test_a_model_of_steps_needs_its_trainer(bench: Bench) -> None:
    plans, dataset_json = (json.loads((model(bench) / f"{name}.json").read_bytes()) for name in ("plans", "dataset"))
    checkpoint = model(bench) / "fold_0/checkpoint_final.pth"
    checkpoints.write(checkpoint, plans, dataset_json, trainer=STEPS)
    words = ["nnUNetv2_predict_from_modelfolder", "-m", str(model(bench)), "-f", "0", *images(bench)]
    assert gate(*words).returncode == 0
    assert bench.started is not None
    assert bench.started["environment"][EXTENSION_VARIABLE] == str(EXTENSION)


# ---------------------------------------------------------------------------------------------------------------------
# The real one
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.nnunet
@pytest.mark.slow
def test_a_real_training(tmp_path: Path) -> None:
    root = stepping.make_workspace(tmp_path)
    folders = {name: str(root / name) for name in ROOTS.values()}
    name = "nnUNetTrainer_2steps_2per_1val"
    words = [str(Path(sys.executable).with_name("nnUNetv2_train")), "3", stepping.CONFIGURATION, "0"]
    words += ["-p", stepping.PLANS, "-tr", name, "-device", "cpu"]
    environment = {**folders, **stepping.ENVIRONMENT, EXTENSION_VARIABLE: ""}
    done = gate(*words, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plansguard: fit to start" in done.stderr
    assert (stepping.fold(root, name) / "checkpoint_final.pth").is_file()
    assert (stepping.fold(root, name) / "plansguard_receipt.json").is_file()
