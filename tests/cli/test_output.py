"""Output of the commands: formats on the screen and in files, exit codes; rules, explain, schema, help."""

from __future__ import annotations

import ast
import json
import os
import threading
from pathlib import Path

import pytest

import plansguard
from plansguard import __version__
from plansguard.commands.check import check
from plansguard.documents.models.schema import SCHEMAS
from plansguard.render import FORMATS, render
from plansguard.rules import RULES
from tests.support.command import run
from tests.support.models import CHECKPOINT
from tests.support.reports import BROKEN, plans, save

pytestmark = pytest.mark.usefixtures("nowhere")
pipes_in_folders = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")


# --- Formats and files


def test_no_text_has_a_line_end_where_it_would_be_escaped() -> None:
    """A single line is printed with its control characters escaped, so that a line end would be read as \\n."""
    escaped = [
        f"{path.name}:{call.lineno}"
        for path in sorted((Path(plansguard.__file__).parent / "cli").glob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "print_line"
        for part in ast.walk(call)
        if isinstance(part, ast.Constant) and "\n" in str(part.value)
    ]
    assert escaped == []


def test_several_outputs_at_once() -> None:
    save("P.json", plans(BROKEN))
    done = run("check", "--output", "json=r.json", "--output", "github", "--output", "text=r.txt")
    report = check([])
    assert done.out == render(report, "github")
    assert Path("r.json").read_text() == render(report, "json")
    assert Path("r.txt").read_text() == render(report, "text")


def test_only_files() -> None:
    save("P.json", plans(BROKEN))
    done = run("check", "--output", "json=r.json")
    assert (done.code, done.out) == (1, "")
    assert run("check", "--output", "json=r.json").code == 1
    assert json.loads(Path("r.json").read_bytes())["summary"]["documents"] == 1


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["text", "json"], "only one --output can go to the screen"),
        (["xml"], "--output xml is not known"),
        (["json="], "--output json= is not known"),
        (["=r.json"], "--output =r.json is not known"),
        (["JSON"], "--output JSON is not known"),
        (["json=nowhere/r.json"], "cannot write nowhere/r.json: No such file or directory"),
        (["json=folder"], "--output json=folder: folder is a folder"),
        (["json=r", "github=r"], "--output github=r: another report goes to r as well"),
        (["json=r", "github=folder/../r"], "--output github=folder/../r: another report goes to folder/../r as well"),
        # A report there would be taken for settings by the next check.
        (["json=sub/plansguard.json"], "--output json=sub/plansguard.json would replace the settings"),
    ],
)
def test_outputs_that_are_refused(outputs: list[str], message: str) -> None:
    save("P.json", plans())
    Path("folder").mkdir()
    done = run("check", *(word for output in outputs for word in ("--output", output)))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"plansguard: {message}\n")


def test_a_dash_is_the_screen() -> None:
    """As of other programs; ./- is a file."""
    save("P.json", plans(BROKEN))
    assert run("check", "--output", "json=-", "--output", "text=r.txt").out == run("check", "--output", "json").out
    assert run("check", "--output", "json=-", "--output", "text").err.startswith("plansguard: only one --output can go")
    assert not Path("-").exists()
    assert run("check", "--output", "json=./-").out == ""
    assert Path("-").is_file()


@pipes_in_folders
def test_output_into_a_pipe() -> None:
    """A pipe or a device (/dev/null) is written to, not replaced by a file."""
    save("P.json", plans(BROKEN))
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_text()), daemon=True)
    reader.start()
    assert run("check", "--output", "json=pipe").code == 1
    reader.join(10)
    assert json.loads(read[0])["summary"]["error"] == 1
    assert Path("pipe").is_fifo()


@pipes_in_folders
@pytest.mark.parametrize("command", [("check", "--output", "json=pipe"), ("extract", str(CHECKPOINT), "-o", "pipe")])
def test_output_into_a_pipe_without_a_reader(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening it would wait for ever."""
    monkeypatch.setattr("plansguard.core.atomic_files.READER_TIMEOUT", 0.2)
    save("P.json", plans())
    os.mkfifo("pipe")
    done = run(*command)
    assert (done.code, done.err.splitlines()) == (
        2,
        ["plansguard: no program reads the pipe pipe", "  start its reader first, such as: cat pipe &"],
    )


@pipes_in_folders
def test_output_into_a_pipe_with_a_late_reader() -> None:
    save("P.json", plans())
    os.mkfifo("pipe")
    read: list[str] = []
    reader = threading.Timer(0.5, lambda: read.append(Path("pipe").read_text()))
    reader.start()
    assert run("check", "--output", "json=pipe").code == 0
    reader.join(10)
    assert json.loads(read[0])["summary"]["documents"] == 1


# --- Exit codes


@pytest.mark.parametrize("output", list(FORMATS))
def test_exit_codes_do_not_depend_on_the_format(output: str) -> None:
    assert run("check", "--output", output).code == 3
    save("P.json", plans())
    assert run("check", "--output", output).code == 0
    save("Q.json", plans(BROKEN))
    assert run("check", "--output", output).code == 1
    Path("nnUNetPlans.json").write_text("{")
    assert run("check", "--output", output).code == 2
    assert run("check", "--output", f"{output}=file").code == 2


@pytest.mark.parametrize(
    ("severity", "fail_on", "code"),
    [
        ("error", "error", 1),
        ("error", "info", 1),
        ("warning", "error", 0),
        ("warning", "warning", 1),
        ("info", "warning", 0),
        ("info", "info", 1),
    ],
)
def test_fail_on(severity: str, fail_on: str, code: int) -> None:
    save("P.json", plans(BROKEN))
    save("plansguard.json", {"severity": {"PG101": severity}})
    assert run("check", "--fail-on", fail_on).code == code


def test_fail_on_something_else() -> None:
    done = run("check", "--fail-on", "fatal")
    assert (done.code, done.out) == (2, "")
    assert "fatal" in done.err
    assert "warning" in done.err


# --- rules, explain, schema, help


def test_rules() -> None:
    lines = run("rules").out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        [rule.info.code, rule.info.severity.value, rule.info.name] for rule in RULES
    ]
    assert all(line.endswith(f"  {rule.info.summary}") for line, rule in zip(lines, RULES, strict=True))


def test_explain_every_rule() -> None:
    for rule in RULES:
        out = run("explain", rule.info.code).out
        assert out.startswith(f"# {rule.info.code} {rule.info.name}\n\n{rule.info.summary}\n")
        heads = [line for line in out.splitlines() if line.startswith("## ")]
        parts = ["## What it checks", "## Why it matters", "## How to fix", "## Example", "## Evidence"]
        assert heads in (parts, [*parts, "## A finding"])


@pytest.mark.parametrize("word", ["pg101", "patch-not-divisible", "Patch-Not-Divisible"])
def test_explain_by_code_or_name_in_any_case(word: str) -> None:
    assert run("explain", word) == run("explain", "PG101")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("patch-not-divisble", "did you mean patch-not-divisible?"),
        ("PATCH-NOT-DIVISBLE", "did you mean patch-not-divisible?"),
        ("PG1001", "did you mean PG"),
        ("nothing like it", "plansguard rules lists them all"),
    ],
)
def test_explain_an_unknown_rule(word: str, hint: str) -> None:
    done = run("explain", word)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"plansguard: there is no rule '{word}'\n  {hint}")


def test_schemas_are_listed() -> None:
    assert [line.split()[0] for line in run("schema").out.splitlines()] == list(SCHEMAS)


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_schema(name: str) -> None:
    document = run("schema", name).json
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["description"] == SCHEMAS[name].description


def test_unknown_schema() -> None:
    done = run("schema", "plan")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"plansguard: there is no schema 'plan'\n  schemas: {', '.join(SCHEMAS)}\n"


def test_version() -> None:
    assert run("--version") == (0, f"plansguard {__version__}\n", "")


def test_unknown_command() -> None:
    done = run("chekc")
    assert (done.code, done.out) == (2, "")
    assert "chekc" in done.err


@pipes_in_folders
def test_the_other_reports_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second cannot be written, although its path was free when the command began."""
    monkeypatch.setattr("plansguard.core.atomic_files.READER_TIMEOUT", 0)
    os.mkfifo("pipe")
    save("P.json", plans(BROKEN))
    done = run("check", "--output", "json=first.json", "--output", "github=pipe", "--output", "text=third.json")
    assert done.code == 2
    assert done.err.splitlines()[0] == "plansguard: no program reads the pipe pipe; written: first.json, third.json"
    assert json.loads(Path("first.json").read_bytes())["command"] == "check"
