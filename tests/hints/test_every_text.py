"""Commands in the sources: one module builds them, and every call of it is made by a variant or a situation."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plansguard.cli import COMMANDS
from plansguard.nnunet import printed_commands
from plansguard.nnunet.printed_commands import ShellText, shell
from tests.conftest import ROOT
from tests.hints.situations import SITUATIONS, printed_in
from tests.rules import ALL_VARIANTS
from tests.support.printed import commands
from tests.support.typed_commands import state_of

#: Functions whose commands need another state than files, options and variables, and what tests them.
ELSEWHERE = {
    "plansguard/commands/adapt.py:next_commands": "after an adaptation: tests/commands/test_adapt_nnunet.py",
    "plansguard/commands/train.py:next_commands": "after a training: tests/commands/test_printed_trainings.py",
    "plansguard/commands/train.py:_prediction": "after a training: tests/commands/test_printed_trainings.py",
    "plansguard/commands/finetune/training.py:_finished": "after a training: tests/commands/test_finetune_hostile.py",
    "plansguard/records/verify.py:compare": "after a training: tests/records/test_verify.py",
    "plansguard/render/verify_receipt.py:summary": "after trainings: tests/records/test_verify_results.py",
    "plansguard/rules/engine/helpers.py:preprocess_command": "with -p: tests/rules/engine/test_printed_commands.py",
}
#: The only module that writes commands.
BUILDERS = ROOT / "plansguard/nnunet/printed_commands.py"
#: Functions of it that build no whole command.
HELPERS = (".below", ".chain", ".number", ".source")
#: The beginning of a command that another text completes.
OPEN = re.compile(r"(plansguard [a-z-]+|nnUNetv2_[a-z_]+) +(--? ?)?$")
#: Stands for a value in a text.
VALUE = "VALUE"


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts in a module that are no docstrings, with ``VALUE`` for what is filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    inside |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, re.sub(r"\{\w+\}", VALUE, node.value)


def test_a_text_with_values(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text('"""plansguard show x."""\nA = f"plansguard show {b} -c {c}"\nD = "to {e}"\n')
    assert [*texts(tmp_path / "module.py")] == [(2, "plansguard show VALUE -c VALUE"), (3, "to VALUE")]


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ('hint = f"plansguard show {x}"', True),
        ('hint = "plansguard check -d 2"', True),
        ('hint = "then nnUNetv2_predict -i IMAGES; "', True),
        ('hint = "plansguard gate -- " + line', True),
        ('hint = "nnUNetv2_train " + line', True),
        ('fix = "to plan it: nnUNetv2_plan_experiment -d {number}"', True),
        ('hint = "plansguard preprocess does the same"', False),
        ('hint = f"plansguard schema settings describes {x}"', False),
        ('hint = "-pretrained_weights is an option of nnUNetv2_train"', False),
    ],
)
def test_commands_in_texts(source: str, written: bool, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(source)
    assert any(_writes_command(text) for _, text in texts(tmp_path / "module.py")) is written


def test_one_module_builds_commands() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "plansguard").rglob("*.py"))
        if path != BUILDERS
        for line, text in texts(path)
        if _writes_command(text)
    ]
    assert not found, "\n".join(found)


def _writes_command(text: str) -> bool:
    """Whether a text contains the arguments of a command, which its builder has to quote."""
    if OPEN.search(text):
        return True
    try:
        chains = commands(text)
    except ValueError:
        return True
    programs = [words for chain in chains for words in chain if words[0] == "plansguard" or words[0][:3] == "nnU"]
    return any(not word.isalpha() or VALUE in word for words in programs for word in words[1:] if word not in COMMANDS)


def calls(path: Path) -> Iterator[tuple[str, range]]:
    """The calls of the builders inside functions of a module: the name of the function, and the lines of the call."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in (part for statement in function.body for part in ast.walk(statement)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called.startswith(f"{BUILDERS.stem}.") and not called.endswith(HELPERS):
                yield function.name, range(node.lineno, (node.end_lineno or node.lineno) + 1)


@pytest.mark.slow
def test_every_call_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: set[tuple[str, int]] = set()

    def recording(*words: printed_commands.Word) -> ShellText:
        frame = sys._getframe(1)
        while frame.f_code.co_filename == str(BUILDERS) and frame.f_back is not None:
            frame = frame.f_back
        made.add((frame.f_code.co_filename, frame.f_lineno))
        return shell(*words)

    monkeypatch.setattr(printed_commands, "shell", recording)
    _run_all(tmp_path)
    missing = [
        f"{path.relative_to(ROOT)}:{lines.start}: {name}"
        for path in sorted((ROOT / "plansguard").rglob("*.py"))
        if path != BUILDERS
        for name, lines in calls(path)
        if f"{path.relative_to(ROOT).as_posix()}:{name}" not in ELSEWHERE
        and not any((str(path), line) in made for line in lines)
    ]
    assert not missing, "\n".join(missing)


def _run_all(folder: Path) -> None:
    for number, variant in enumerate(ALL_VARIANTS):
        with state_of(variant, folder / f"variant {number}"):
            pass
    for number, situation in enumerate(SITUATIONS):
        with printed_in(situation, folder / f"situation {number}"):
            pass
