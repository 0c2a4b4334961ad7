"""Help pages: commands in groups, descriptions that are whole in 80 columns, examples that can be typed."""

from __future__ import annotations

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from plansguard.cli import COMMANDS
from plansguard.cli.help_text import GROUPS, HelpText, help_of
from tests.support.command import run
from tests.support.git import git
from tests.support.models import CHECKPOINT, FIXTURE, pack
from tests.support.variants import ROOTS

GIVING, RECEIVING = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
#: Commands that would run nnU-Net: their examples are judged.
RUNS_NNUNET = ("adapt", "gate", "preprocess", "train")
every_command = pytest.mark.parametrize("command", list(COMMANDS))


def page_of(command: str) -> HelpText:
    return help_of(getattr(import_module(f"plansguard.cli.{COMMANDS[command]}"), command.replace("-", "_")))


def test_every_command_is_in_one_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_the_commands(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each on one line, in the same columns."""
    monkeypatch.setenv("COLUMNS", "80")
    done = run(*arguments)
    shown = done.out + done.err  # without a command, versions of typer differ in the stream and in the exit code
    assert shown.startswith("Usage: plansguard ")
    assert max(map(len, shown.splitlines())) <= 80
    assert list(GROUPS) == re.findall(r"^([A-Z][\w ]+):$", shown.partition("--help")[2], re.MULTILINE)
    for command in COMMANDS:
        assert f"\n  {command:<14}  {page_of(command).text.partition(chr(10))[0]}\n" in shown


@every_command
def test_help_of_every_command(command: str) -> None:
    done = run(command, "-h")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: plansguard {command} ")
    assert run(command, "--help") == done
    examples = page_of(command).examples
    assert 1 <= len(examples) <= 3
    assert done.out.endswith("\n  Examples:\n" + "".join(f"    {example}\n" for example in examples))


@every_command
def test_help_reads_as_a_person_would_write_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No types and ranges of the parser: a name in capitals stands for a value, or the values themselves."""
    monkeypatch.setenv("COLUMNS", "200")
    shown = run(command, "-h").out
    assert re.findall(r"x *[<>]=?|<(?:str|int|float|path)\b|\b(?:TEXT|INTEGER|FLOAT|RANGE)\b", shown) == []
    assert re.findall(r"\[\]|\{\}|<>", shown) == []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("train 2 3d_fullres 0 --steps 9 --save-every -1", "--save-every -1 is too small\n  at least 0\n"),
        ("gate --gpu-memory 0 -- nnUNetv2_train 2 2d 0", "--gpu-memory 0 is too small\n  at least 0.1\n"),
        ("gate --gpu-memory nan -- nnUNetv2_train 2 2d 0", "--gpu-memory nan is too small\n  at least 0.1\n"),
        ("preprocess -d 2 -c 2d -np 0", "-np 0 is too small\n  at least 1\n"),
    ],
)
def test_numbers_that_are_too_small_are_refused(words: str, error: str) -> None:
    assert run(*words.split()) == (2, "", f"plansguard: {error}")


@pytest.mark.slow
@pytest.mark.workspace(RECEIVING, GIVING, chdir=True)
@pytest.mark.parametrize(
    "example",
    [
        pytest.param(one, marks=[pytest.mark.nnunet] if command == "preprocess" else [])  # it looks for the program
        for command in COMMANDS
        for one in page_of(command).examples
    ],
)
def test_every_example_can_be_typed(example: str, workspace: Path) -> None:
    """In a workspace with migrated plans, weights and a model, no example is refused as wrong."""
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "PretrainPlans").code == 0
    (Path(ROOTS["results"]) / RECEIVING).mkdir(parents=True)
    shutil.copy(CHECKPOINT, "checkpoint_final.pth")
    pack(Path("model.zip"), FIXTURE)
    for name in ("nnUNetPlans.json", "PretrainPlans.json"):
        shutil.copy(Path(ROOTS["preprocessed"]) / RECEIVING / name, name)
    git("init", "-q")
    for message in ("before", "after"):
        git("add", "nnUNetPlans.json")
        git("commit", "-q", "--allow-empty", "-m", message)
    assert run("baseline", "write").code == 0
    words = shlex.split(example.removeprefix('eval "$(').removesuffix(')"'))
    assert words[0] == "plansguard"
    if words[1] in RUNS_NNUNET and "--dry-run" not in words:
        words.insert(2, "--dry-run")
    done = run(*words[1:])
    assert done.code in ((3,) if words[1] == "verify-receipt" else (0, 1)), done.err + done.out


@every_command
def test_an_option_without_its_value(command: str) -> None:
    """The last word is an option: the message says which command is meant, and where its options are described."""
    option = next(iter(re.findall(r"^  (?:-\w, )?(--[a-z-]+|-\w) [A-Z|<]", run(command, "-h").out, re.MULTILINE)), None)
    if option is None:
        pytest.skip("it has no option with a value")
    done = run(command, option)
    assert (done.code, f"Option '{option}' requires an argument" in done.err) == (2, True), done.err
    assert f"plansguard {command} -h" in done.err


@every_command
def test_a_command_without_accept_says_what_it_reads(command: str) -> None:
    """Where settings are read, and only there."""
    options = run(command, "--help").out
    refusal = run(command, "--accept").err.splitlines()[-1]
    if "--accept CODE" in options:
        assert refusal == "Error: Option '--accept' requires an argument."
    elif command == "gate" or "--settings FILE" not in options:
        assert "plansguard.json" not in refusal
    else:
        accepts = "this command reads accepted findings from plansguard.json (README, Accepting a finding)"
        assert refusal == f"Error: No such option: --accept; {accepts}"
