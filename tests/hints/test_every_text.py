"""Every text in the sources that contains a command is printed, and so tested, by a variant or a situation."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from plansguard.cli import COMMANDS
from tests.conftest import ROOT
from tests.hints.situations import SITUATIONS, printed_in
from tests.rules import ALL_VARIANTS
from tests.support.printed import commands
from tests.support.typed_commands import state_of

#: Texts that need another state than files, options and variables, and what tests them.
ELSEWHERE = {
    "nnUNetv2_install_pretrained_model_from_zip VALUE && ": "before a training: the same command after a migration is",
    "pip install": "packages that are missing: tests/test_packaging.py",
    "git show": "a clone that lacks files: tests/documents/test_git_revisions.py",
    "nnUNetv2_predict -i IMAGES": "after a training: tests/commands/test_printed_trainings.py",
    "verify-receipt VALUE": "after a training: tests/commands/test_printed_trainings.py",
    "whose data are not unpacked": "a full disk: tests/rules/pg7_run/test_hardware.py",
}
#: The only module that writes commands.
BUILDERS = ROOT / "plansguard/nnunet/printed_commands.py"
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


@pytest.mark.slow
def test_every_command_is_printed(tmp_path: Path) -> None:
    printed = "\n".join(_printed(tmp_path))
    missing = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "plansguard").rglob("*.py"))
        for line, text in texts(path)
        if "\n" not in text
        and _has_command(text)
        and not any(part in text for part in ELSEWHERE)
        and not _pattern(text).search(printed)
    ]
    assert not missing, "\n".join(missing)


def _has_command(text: str) -> bool:
    try:
        return bool(commands(text))
    except ValueError:  # a part of a command, with one of two quotes
        return False


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text.strip()).replace(VALUE, r"[^\n]*?"))


def _printed(folder: Path) -> Iterator[str]:
    for number, variant in enumerate(ALL_VARIANTS):
        with state_of(variant, folder / f"variant {number}") as (_, report, _patch):
            for finding in report.findings:
                yield from (finding.message, finding.fix)
    for number, situation in enumerate(SITUATIONS):
        with printed_in(situation, folder / f"situation {number}") as (text, _typed):
            yield text
