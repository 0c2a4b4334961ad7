"""What the commands print: text, json and github, on the screen and into files; rules, explain, schema, help."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from plansguard import __version__
from plansguard.cli import COMMANDS
from plansguard.commands.check import check
from plansguard.core.report import Finding, Location, Report, Severity
from plansguard.documents.models.report_document import ReportDocument
from plansguard.documents.models.schema import SCHEMAS
from plansguard.render import FORMATS, render
from plansguard.rules import RULES
from tests.support.command import run, start
from tests.support.variants import FIXTURES, ROOTS

DATASET = FIXTURES / "workspace" / ROOTS["preprocessed"] / "Dataset002_FinetuneCT"
RULE_PAGES = "https://github.com/plansguard/plansguard/blob/main/docs/rules"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder; nnU-Net's variables are not set."""
    monkeypatch.chdir(tmp_path)
    for folder in ROOTS.values():
        monkeypatch.delenv(folder, raising=False)


def plans(*patches: tuple[str, list[int]], **top: Any) -> dict[str, Any]:
    """Good plans with other patch sizes in some configurations, and other fields at the top."""
    document: dict[str, Any] = json.loads((DATASET / "nnUNetPlans.json").read_bytes())
    for name, patch in patches:
        document["configurations"][name]["patch_size"] = patch
    return {**document, **top}


def save(place: str | Path, document: dict[str, Any]) -> None:
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).write_text(json.dumps(document, indent=4))


BROKEN = ("3d_fullres", [56, 70, 64])


# --- text ---


def test_text_of_one_finding() -> None:
    save("sub/P.json", plans(BROKEN))
    assert run("check").out.startswith(
        "error[PG101] patch-not-divisible\n"
        "  --> sub/P.json:166:17 (3d_fullres)\n"
        "  patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1\n"
        "  fix: use 64 or 80 on axis 1 of patch_size\n"
        "\n"
        "not checked: PG"
    )


def test_what_was_not_checked_is_told_once_per_reason() -> None:
    save("P.json", plans())
    save("Q.json", plans())
    skipped = check([]).not_checked
    codes = {
        reason: sorted({one.code for one in skipped if one.reason == reason})
        for reason in {one.reason for one in skipped}
    }
    expected = [
        f"not checked: {', '.join(some[:4])}{f' and {len(some) - 4} more' if some[4:] else ''}: {reason}"
        for reason, some in sorted(codes.items())
    ]
    *lines, summary = run("check").out.splitlines()
    assert lines == expected
    assert any(" more: there is no dataset.json beside the plans" in line for line in lines)
    assert summary == f"no findings in 2 documents, {len(skipped)} checks not possible"


def test_repeats_are_gathered() -> None:
    """One block for what is the same fault with the same remedy, in the order of the first place."""
    for number in range(7):
        save(f"P{number}.json", plans(BROKEN))
    save("P3.json", plans(("3d_fullres", [56, 71, 64])))
    blocks = run("check").out.split("\n\n")
    assert blocks[0].splitlines()[:9] == [
        "error[PG101] patch-not-divisible",
        *(f"  --> P{number}.json:166:17 (3d_fullres)" for number in (0, 1, 2, 4, 5)),
        "  ... and 1 more place",
        "  patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
        "  fix: use 64 or 80 on axis 1 of patch_size",
    ]
    assert blocks[1].splitlines()[:3] == [
        "error[PG101] patch-not-divisible",
        "  --> P3.json:166:17 (3d_fullres)",
        "  patch_size [56, 71, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
    ]
    assert "7 errors in 7 documents, " in blocks[2]


def test_related_places_are_shown() -> None:
    Path("P.json").write_text(json.dumps(plans(), indent=4).replace("{", '{\n    "plans_name": "other",', 1))
    out = run("check").out
    assert "  --> P.json:4:5\n" in out
    assert "  see P.json:2:5: the first one, which is not used\n" in out


def test_text_of_a_clean_check() -> None:
    shutil.copytree(DATASET, "Dataset002_FinetuneCT")
    last = run("check").out.splitlines()[-1]
    assert re.fullmatch(r"no findings in 5 documents, \d+ checks not possible", last)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["terminal", "empty NO_COLOR", "NO_COLOR", "dumb terminal"],
)
def test_color_on_a_terminal(environment: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    save("P.json", plans(BROKEN))
    ours, its = os.openpty()
    start("check", stdout=its, environment={"TERM": "xterm", **environment})
    os.close(its)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert ("\x1b[31;1merror[PG101]\x1b[0m patch-not-divisible" in shown) is colored
    assert ("\x1b" in shown) is colored


def test_no_color_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    save("P.json", plans(BROKEN))
    assert "\x1b" not in run("check").out


# --- what files say must not steer the terminal ---

EVIL = "x\n::error::owned\x1b[31m\u202e\x07"


@pytest.fixture
def evil() -> dict[str, Any]:
    """Plans whose names try to clear the screen, to begin a line and to write from right to left."""
    document = plans(BROKEN)
    document["configurations"][EVIL] = {**document["configurations"].pop("3d_fullres")}
    document["configurations"]["2d"]["normalization_schemes"] = [EVIL]
    document["configurations"]["2d"]["inherits_from"] = f"{EVIL}\ud800"
    return document


@pytest.mark.parametrize("output", ["text", "github"])
def test_control_characters_are_spelled_out(evil: dict[str, Any], output: str) -> None:
    save("Plans.json", evil)
    out = run("check", "--output", output, "--fail-on", "info").out
    assert not [char for char in out if char != "\n" and not char.isprintable()]
    assert not [line for line in out.splitlines() if line.startswith("::error::")]
    assert r"x\n::error::owned\x1b[31m\u202e\x07" in out.replace("%3A", ":")
    assert r"\ud800" in out


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="this system has no such file names")
@pytest.mark.parametrize("output", list(FORMATS))
def test_file_names_of_any_bytes(output: str) -> None:
    name = b"\xff\n::error::\x1b[31mPlans.json"
    with open(name, "w") as stream:  # noqa: PTH123 - a Path cannot be made of bytes
        json.dump(plans(BROKEN), stream)
    done = run("check", "--output", output, "--output", f"{next(one for one in FORMATS if one != output)}=file")
    assert done.code == 1
    assert not [char for char in done.out if char != "\n" and not char.isprintable()]
    assert not [line for line in done.out.splitlines() if line.startswith("::error::\x1b")]
    if output == "json":
        assert os.fsencode(done.json["findings"][0]["path"]) == name
    else:
        assert r"\udcff\n" in done.out


def test_error_messages_are_spelled_out() -> None:
    done = run("check", EVIL)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == r"plansguard: there is no x\n::error::owned\x1b[31m\u202e\x07"


def test_diff_is_spelled_out(evil: dict[str, Any]) -> None:
    save("Plans.json", {**evil, EVIL: 1})
    out = run("diff", DATASET / "nnUNetPlans.json", "Plans.json").out
    assert not [char for char in out if char != "\n" and not char.isprintable()]
    assert "\n::error::" not in out


# --- json ---


def shape(document: dict[str, Any]) -> tuple[set[str], set[str], set[frozenset[str]]]:
    """The keys of a report, of its counts, and of its findings."""
    return set(document), set(document["summary"]), {frozenset(finding) for finding in document["findings"]}


def test_json_has_the_same_keys_whatever_was_found(evil: dict[str, Any]) -> None:
    shapes = []
    for document, settings in (
        (plans(BROKEN), {}),
        (plans(BROKEN), {"ignore": [{"rule": "PG101", "reason": "on purpose"}]}),
        (evil, {}),
        (plans(), {}),
        (None, {}),
    ):
        save("plansguard.json", settings)
        shutil.rmtree("here", ignore_errors=True)
        Path("here").mkdir()
        if document is not None:
            save("here/P.json", document)
        text = run("check", "--output", "json").out
        ReportDocument.model_validate(json.loads(text))
        assert text.isascii()
        assert text.endswith("}\n")
        shapes.append(shape(json.loads(text)))
    report, counts, (finding,) = shapes[0]
    assert shapes == [(report, counts, {finding})] * 3 + [(report, counts, set())] * 2


def test_json_of_a_finding() -> None:
    save("sub/P.json", plans(BROKEN))
    document = run("check", "sub", "--output", "json").json
    assert document["schema"] == "plansguard/report/1"
    assert document["tool"] == {"name": "plansguard", "version": __version__}
    assert (document["command"], document["inputs"]) == ("check", ["sub"])
    counts = {"error": 1, "warning": 0, "info": 0, "ignored": 0, "baseline": 0, "documents": 1}
    assert document["summary"] == {**counts, "not_checked": len(document["not_checked"])}
    (finding,) = document["findings"]
    assert re.fullmatch("[0-9a-f]{16}", finding.pop("fingerprint"))
    assert finding == {
        "code": "PG101",
        "name": "patch-not-divisible",
        "severity": "error",
        "message": "patch_size [56, 70, 64] is not divisible by the strides' product [8, 16, 16] on axis 1",
        "fix": "use 64 or 80 on axis 1 of patch_size",
        "path": str(Path("sub/P.json")),
        "pointer": "/configurations/3d_fullres/patch_size/1",
        "line": 166,
        "column": 17,
        "configuration": "3d_fullres",
        "values": {"axis": 1, "patch_size": [56, 70, 64], "factors": [8, 16, 16], "sizes": "64 or 80"},
        "related": [],
        "url": f"{RULE_PAGES}/PG101-patch-not-divisible.md",
        "ignored": None,
    }


def test_json_of_numbers_that_json_lacks() -> None:
    """As text: NaN and Infinity are Python's, not JSON's."""
    values = {"nan": float("nan"), "deep": [{"infinite": (float("-inf"), 1.5)}]}
    finding = Finding("PG003", "x", Severity.ERROR, "x", "x", Location("P.json"), values=values)
    text = render(Report("check", (), 1, (finding,)), "json")
    document = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert document["findings"][0]["values"] == {"nan": "NaN", "deep": [{"infinite": ["-Infinity", 1.5]}]}


# --- github ---


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as GitHub's runner reads them: kind, properties, message."""
    read = []
    for line in text.splitlines():
        if match := re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line):
            properties = dict(one.split("=", 1) for one in match[2].split(","))
            read.append((match[1], {key: _unescaped(value) for key, value in properties.items()}, _unescaped(match[3])))
    return read


def _unescaped(text: str) -> str:
    for char in "\r\n:,%":
        text = text.replace(f"%{ord(char):02X}", char)
    return text


def test_github_annotation() -> None:
    save("sub/P.json", plans(BROKEN))
    lines = run("check", "--output", "github").out.splitlines()
    assert lines[0].startswith(
        "::error file=sub/P.json,line=166,col=17,title=PG101 patch-not-divisible::patch_size [56"
    )
    assert re.fullmatch(r"plansguard: 1 error, 0 warnings, 0 info in 1 document, \d+ checks not possible", lines[1])
    ((kind, properties, message),) = commands(lines[0])
    assert kind == "error"
    assert properties == {"file": "sub/P.json", "line": "166", "col": "17", "title": "PG101 patch-not-divisible"}
    assert message.splitlines()[1:] == [
        "fix: use 64 or 80 on axis 1 of patch_size",
        f"{RULE_PAGES}/PG101-patch-not-divisible.md",
    ]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_github_escapes_what_separates() -> None:
    name = "50%, a:b,%0A::x=\r\n"
    save(f"{name}/P.json", plans(BROKEN))
    document = plans()
    document["configurations"]["2d"]["normalization_schemes"] = ["100%\r\n::warning::x"]
    save(f"{name}/Q.json", document)
    found = commands(run("check", "--output", "github").out)
    assert {properties["file"] for _, properties, _ in found} == {
        f"50%, a:b,%0A::x=\\r\\n/{plans}.json" for plans in "PQ"
    }
    assert any(r"100%\r\n::warning::x" in message for _, _, message in found)


def test_github_puts_the_most_severe_first() -> None:
    """GitHub shows ten annotations of a kind and drops the others."""
    save("plansguard.json", {"severity": {"PG101": "info", "PG102": "warning", "PG004": "error"}})
    save("A/P.json", plans(BROKEN))
    save("B/P.json", plans(("3d_fullres", [56, 64, 16])))
    save("C/P.json", plans())
    save("C/MyPlans.json", {})
    lines = run("check", "--output", "github").out.splitlines()
    assert [kind for kind, _, _ in commands("\n".join(lines))] == ["error", "warning", "notice"]
    assert lines[-1].startswith("plansguard: 1 error, 1 warning, 1 info in 4 documents, ")


def test_github_leaves_out_what_is_ignored() -> None:
    save("P.json", plans(BROKEN))
    save("plansguard.json", {"ignore": [{"rule": "PG101", "reason": "on purpose"}]})
    assert commands(run("check", "--output", "github").out) == []


# --- --output ---


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
        (["json=folder"], "cannot write folder: Is a directory"),
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
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


# --- exit codes ---


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


# --- rules, explain, schema, help ---


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
        assert heads == ["## What it checks", "## Why it matters", "## How to fix", "## Example", "## Evidence"]


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


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_of_every_command(command: str) -> None:
    done = run(command, "-h")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: plansguard {command} ")
    assert run(command, "--help") == done


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_lists_the_commands(arguments: list[str]) -> None:
    done = run(*arguments)
    shown = done.out + done.err  # without a command, versions of typer differ in the stream and in the exit code
    assert shown.startswith("Usage: plansguard ")
    assert all(re.search(rf"^  {command}\b", shown, re.MULTILINE) for command in COMMANDS)


def test_unknown_command() -> None:
    done = run("chekc")
    assert (done.code, done.out) == (2, "")
    assert "chekc" in done.err


def test_nobody_listens() -> None:
    """As in `plansguard rules | head -1`: no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    done = start("rules", stdout=writing)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode != 0
