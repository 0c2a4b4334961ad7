"""Candidates for the values of options and arguments; tests/cli/test_completion_in_shells.py presses Tab for them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from plansguard.cli import COMMANDS, build_app, completion
from plansguard.documents.models.schema import SCHEMAS
from plansguard.nnunet.constants import STOCK_TRAINERS
from plansguard.nnunet.plans_diff import FACETS
from plansguard.render import FORMATS
from plansguard.rules import RULES
from tests.conftest import ROOT
from tests.support.command import run, start
from tests.support.variants import place, put

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
MODELS = f"nnUNet_results/{OTHER_CT}"
#: Parameters whose values only the user knows, beside numbers and paths.
FREE = {
    *(
        "check dask",
        "preprocess dask",
        "finetune dask",
        "check against",
        "migrate reader",
        "extract plans",
        "train max_time",
    ),
    *("adapt channels", "adapt labels", "adapt old_channels", "adapt old_labels", "adapt stem"),
    *("finetune because", "finetune max_time", "finetune planner", "finetune reader"),
    *("derive because", "derive fit_memory"),
    *("migrate because", "preprocess because", "train because", "gate because", "gate command"),
    *("diff before", "diff after"),
}

pytestmark = [pytest.mark.deep, pytest.mark.workspace(CT, OTHER_CT)]


def candidates(line: str, monkeypatch: pytest.MonkeyPatch, shell: str = "fish") -> dict[str, str]:
    """Values and help texts for the last word of ``plansguard LINE``."""
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"plansguard {line}")
    asked = completion.shell_of(shell)
    return {item.value: item.help for item in asked.get_completions(*asked.get_completion_args())}


def in_bash(words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Values for the last of the words, as bash divides them."""
    monkeypatch.setenv("COMP_WORDS", "\n".join(["plansguard", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    asked = completion.shell_of("bash")
    return [item.value for item in asked.get_completions(*asked.get_completion_args())]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("check -d ", {"1": CT, "2": OTHER_CT, CT: "in nnUNet_raw, nnUNet_preprocessed, nnUNet_results"}),
        ("check -d 2", {"2": OTHER_CT}),
        ("check -d 00", {"001": CT, "002": OTHER_CT}),
        ("fit x.pth -d Dataset002", {OTHER_CT: "in nnUNet_raw, nnUNet_preprocessed"}),
        ("migrate -s 1", {"1": CT}),
        ("migrate -s 1 -t 2", {"2": OTHER_CT}),
        ("train Dataset002", {OTHER_CT: "in nnUNet_raw, nnUNet_preprocessed"}),
        ("check -d 2 -p ", {"nnUNetPlans": "2d, 3d_fullres", "nnUNetResEncUNetMPlans": "2d, 3d_fullres"}),
        ("check -d 2 --plans=nnUNetP", {"--plans=nnUNetPlans": "2d, 3d_fullres"}),
        ("check -p ", {}),
        ("migrate -s 1 -t 2 -sp nnUNetP", {"nnUNetPlans": "2d, 3d_fullres"}),
        ("migrate -s 1 -t 2 -tp nnUNetP", {"nnUNetPlans": "2d, 3d_fullres"}),
        ("migrate -s 1 -t 2 --onto nnUNetP", {"nnUNetPlans": "2d, 3d_fullres"}),
        ("migrate -s 2 -c 3", {"3d_fullres": "of nnUNetPlans, nnUNetResEncUNetMPlans"}),
        ("migrate -s 2 -sp nnUNetPlans -c 3", {"3d_fullres": "of nnUNetPlans"}),
        ("derive -d 2 -p nnUNetP", {"nnUNetPlans": "2d, 3d_fullres"}),
        ("derive -d 2 --like 3", {"3d_fullres": "of nnUNetPlans, nnUNetResEncUNetMPlans"}),
        (
            "derive -d 2 -p nnUNetPlans --set 3d_fullres.batch_s",
            {
                "3d_fullres.batch_size=": "Patches per training step, over all GPUs together.",
            },
        ),
        (
            "derive -d 2 --set 2d.resampling_fn_seg=resample_t",
            {"2d.resampling_fn_seg=resample_torch_fornnunet": ""},
        ),
        (
            "derive nnUNet_preprocessed/Dataset002_FinetuneCT/nnUNetPlans.json --set image_r",
            {"image_reader_writer=": "Class of nnunetv2.imageio that reads and writes images."},
        ),
        ("derive -d 2 --set plans_n", {}),
        ("train 2 2d 0 -p nnUNetP", {"nnUNetPlans": "2d, 3d_fullres"}),
        ("train -p nnUNetPlans 2 3", {"3d_fullres": "of nnUNetPlans"}),
        ("check -d 2 -p nnUNetPlans -c ", {"2d": "of nnUNetPlans", "3d_fullres": "of nnUNetPlans"}),
        ("preprocess -d 2 -p nnUNetPlans -c 2d 3", {"3d_fullres": "of nnUNetPlans"}),
        ("train 2 2", {"2d": "of nnUNetPlans"}),
        ("train 2 2d 1", {"1": "4 cases to train on, 1 to validate"}),
        ("train 2 2d a", {"all": "every case to train on"}),
        ("train 2 2d 0 -device c", {"cuda": "", "cpu": ""}),
        ("steps -d 2 -f 4", {"4": "4 cases to train on, 1 to validate"}),
        ("steps -f ", {"0": "", "1": "", "2": "", "3": "", "4": "", "all": "every case to train on"}),
        ("check --output c", {"concise": "one line a finding"}),
        ("diff a b --output ", {"text": "for people", "json": "for programs"}),
        ("check --fail-on w", {"warning": ""}),
        ("check --data sa", {"sample": ""}),
        ("finetune -s 1 --until pl", {"plan-source": "", "plan": ""}),
        ("finetune --workflow pretrain --until pl", {"plan": ""}),
        ("schema sp", {"splits": "splits_final.json."}),
    ],
)
def test_values_of_the_workspace_and_of_the_program(
    line: str, expected: dict[str, str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    found = candidates(line, monkeypatch)
    assert {value: found.get(value) for value in expected} == expected
    last = line.rpartition(" ")[2]
    assert not last or set(found) == set(expected)
    assert expected or found == {}


@pytest.mark.usefixtures("workspace")
def test_commands_with_the_whole_first_line_of_their_help(monkeypatch: pytest.MonkeyPatch) -> None:
    found = candidates("", monkeypatch)
    assert set(found) >= set(COMMANDS)
    assert found["verify-receipt"] == "Show whether what a training was started with is unchanged."


@pytest.mark.usefixtures("nowhere")
def test_rules_by_code_and_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    every = {word for rule in RULES for word in (rule.info.code, rule.info.name)}
    for line in ("explain ", "train 2 2d 0 --accept ", "migrate --accept ", "gate --accept "):
        assert set(candidates(line, monkeypatch)) == every
    (found,) = candidates("explain PG410", monkeypatch).values()
    assert found.startswith("reversed-direction: ")


def test_trainers_of_nnunet_and_of_results(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / MODELS / "nnUNetTrainer_500steps__nnUNetPlans__2d").mkdir(parents=True)
    found = candidates("train 2 2d 0 -tr ", monkeypatch)
    assert set(found) == STOCK_TRAINERS | {"nnUNetTrainer_500steps"}
    assert found["nnUNetTrainer_500steps"] == f"has trained {OTHER_CT}"
    assert set(candidates("steps -tr nnUNetTrainer_500s", monkeypatch)) == {"nnUNetTrainer_500steps"}
    assert candidates("train 1 2d 0 -tr nnUNetTrainer_500s", monkeypatch) == {}


@pytest.mark.usefixtures("nowhere")
def test_facets_after_a_comma(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(candidates("diff a b --fail-on ", monkeypatch)) == set(FACETS)
    found = candidates("diff a b --fail-on weights,input,", monkeypatch)
    assert set(found) == {"weights,input,training", "weights,input,bookkeeping"}


@pytest.mark.usefixtures("nowhere")
def test_every_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(candidates("schema ", monkeypatch)) == set(SCHEMAS)


def test_configurations_of_plans_that_are_not_there_yet(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all plans: ``-p`` of train has a default that the dataset may not have."""
    place(workspace, OTHER_CT, "preprocessed/nnUNetPlans.json").unlink()
    assert candidates("train 2 3", monkeypatch) == {"3d_fullres": "of nnUNetResEncUNetMPlans"}


def test_plans_of_the_paths_of_a_check(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place(workspace, OTHER_CT, "preprocessed")
    assert "nnUNetPlans" in candidates(f"check {folder} -p ", monkeypatch)
    monkeypatch.chdir(folder)
    assert "nnUNetPlans" in candidates("check -p ", monkeypatch)


def test_bash_divides_words_at_equal_signs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_bash(["check", "--output", "=", "js"], monkeypatch) == ["json"]
    assert in_bash(["check", "--output", "="], monkeypatch) == [*FORMATS]
    assert in_bash(["check", "--output", "json", "=", "rep"], monkeypatch) == []  # bash completes the path
    assert in_bash(["check", "-d", "2", "--plans", "=", "nnUNetP"], monkeypatch) == ["nnUNetPlans"]


def test_names_that_a_shell_would_evaluate_are_left_out(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocessed = workspace / "nnUNet_preprocessed"
    for name in ("Dataset007_$(touch x)", "Dataset008_a;b", "Dataset009_'q", "Dataset010_\\$HOME", "Dataset011_a b"):
        (preprocessed / name).mkdir()
    put("preprocessed/nnUNetPlans.json", "/configurations/`touch x`", {})(workspace, OTHER_CT)
    assert set(candidates("check -d D", monkeypatch)) == {CT, OTHER_CT}
    assert set(candidates("check -d 2 -p nnUNetPlans -c ", monkeypatch)) == {"2d", "3d_fullres"}
    zsh = completion.shell_of("zsh")
    item = completion.Candidate("2d", "of $(touch x) `touch x` \"a\" 'b' \\$HOME: c")
    assert zsh.format_completion(item) == r'''"2d":"of \$(touch x) \`touch x\` \"a\" '\''b'\'' \\\$HOME\\: c"'''


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "line", ["check -d ", "check -d 2 -p ", "check -d 2 -c ", "migrate -s ", "train ", "train 2 ", "migrate -t 2 -tp "]
)
def test_without_the_variables_nothing_is_completed(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert candidates(line, monkeypatch) == {}


def test_damaged_and_large_files_are_passed_over(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place(workspace, OTHER_CT, "preprocessed")
    (folder / "broken.json").write_bytes(b'{"configurations": {')
    (folder / "deep.json").write_bytes(b"[" * 100_000)
    (folder / "others.json").write_text(json.dumps({"configurations": []}), encoding="utf-8")
    (folder / "large.json").write_text(json.dumps({"configurations": {}, "x": "x" * 2_000_000}), encoding="utf-8")
    (folder / "folder.json").mkdir()
    (folder / "splits_final.json").write_text("[1, 2]", encoding="utf-8")
    assert set(candidates("check -d 2 -p ", monkeypatch)) == {"nnUNetPlans", "nnUNetResEncUNetMPlans"}
    assert set(candidates("train 2 2d ", monkeypatch)) == {"0", "1", "2", "3", "4", "all"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_an_error_is_no_answer(shell: str, workspace: Path) -> None:
    """A variable in quotes ends every other command with a message."""
    words = {"_TYPER_COMPLETE_ARGS": "plansguard check -d ", "COMP_WORDS": "plansguard\ncheck\n-d", "COMP_CWORD": "3"}
    variables = {"_PLANSGUARD_COMPLETE": f"complete_{shell}", "nnUNet_raw": "'/nowhere'", **words}
    done = start(environment={**variables, "_TYPER_COMPLETE_FISH_ACTION": "get-args"})
    assert (done.stdout, done.stderr) == ("", "")


def test_two_thousand_datasets_take_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 2001):
        (tmp_path / "nnUNet_preprocessed" / f"Dataset{number:03d}_Some").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "nnUNet_preprocessed"))
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.delenv("nnUNet_results", raising=False)
    begun = time.process_time()
    assert len(candidates("check -d ", monkeypatch)) == 4000
    assert time.process_time() - begun < 0.5


@pytest.mark.slow
def test_a_disk_that_does_not_respond_ends_without_an_answer() -> None:
    program = (
        "import sys, time\n"
        "from plansguard.cli import completion\n"
        "completion.shell_of = lambda name: time.sleep(100)\n"
        "sys.exit(completion.answer())"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert time.monotonic() - begun < 50


def test_every_value_is_completed_or_only_the_user_knows_it() -> None:
    """A new option belongs into the table of plansguard/cli/completion.py."""
    commands: dict[str, Any] = get_command(build_app()).commands  # type: ignore[attr-defined]
    unknown = set()
    for name, command in commands.items():
        for parameter in command.params:
            is_text = parameter.type.name in ("str", "text")
            if is_text and parameter.name not in completion.COMPLETERS.get(name, {}):
                unknown.add(f"{name} {parameter.name}")
    assert unknown == FREE
    named = {(name, parameter.name) for name, command in commands.items() for parameter in command.params}
    assert {(name, each) for name, table in completion.COMPLETERS.items() for each in table} - named == set()


def test_the_formats_that_are_offered_are_accepted(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in ("rules", "explain PG101", "check -d 2"):
        for name in candidates(f"{line} --output ", monkeypatch):
            assert run(*line.split(), "--output", name).code == 0


@pytest.mark.usefixtures("workspace")
def test_bash_gets_what_is_behind_the_equals_sign_of_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """It replaces only that."""
    words = ["derive", "-d", "2", "--set", "2d.resampling_fn_seg", "=", "resample_t"]
    assert in_bash(words, monkeypatch) == ["resample_torch_fornnunet"]
