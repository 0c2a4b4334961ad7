"""``plansguard.json``: severities, ignored findings, the search for the file, and faults in it."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Report
from plansguard.rules import RULES
from plansguard.rules.engine.settings import ActiveSettings, find_settings, read_settings
from tests.conftest import ROOT
from tests.support.command import Done, run
from tests.support.variants import FIXTURES, PLANS, ROOTS, copy, place

DATASET = FIXTURES / "workspace" / ROOTS["preprocessed"] / "Dataset002_FinetuneCT"
CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
INFOS = tuple(rule.info for rule in RULES)


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a repository as the current folder, with one error (PG101) in a/P.json and the same in b/P.json."""
    here = tmp_path / "repository"
    (here / ".git").mkdir(parents=True)
    monkeypatch.chdir(here)
    for folder in ROOTS.values():
        monkeypatch.delenv(folder, raising=False)
    plans = json.loads((DATASET / "nnUNetPlans.json").read_bytes())
    plans["configurations"]["3d_fullres"]["patch_size"][1] = 70
    for folder in ("a", "b"):
        Path(folder).mkdir()
        Path(folder, "P.json").write_text(json.dumps(plans))
    return here


def settle(where: str = "plansguard.json", /, **settings: Any) -> Path:
    """Write settings."""
    Path(where).parent.mkdir(parents=True, exist_ok=True)
    Path(where).write_text(json.dumps(settings, indent=2))
    return Path(where)


def ignore(rule: str = "PG101", **entry: str) -> dict[str, str]:
    return {"rule": rule, "reason": "on purpose", **entry}


def found(*arguments: str) -> list[tuple[str, str, str | None]]:
    """(code, file, reason for ignoring) of every finding of a check."""
    findings = run("check", *arguments, "--output", "json").json["findings"]
    return [(one["code"], Path(one["path"]).as_posix(), one["ignored"]) for one in findings]


BOTH = [("PG101", "a/P.json", None), ("PG101", "b/P.json", None)]


def test_without_settings() -> None:
    assert found() == BOTH
    assert run("check").code == 1


# --- fail_on, severity ---


def test_fail_on() -> None:
    settle(fail_on="warning", severity={"PG101": "warning"})
    assert run("check").code == 1
    settle(severity={"PG101": "warning"})
    assert run("check").code == 0
    assert run("check", "--fail-on", "warning").code == 1
    settle(fail_on="info", severity={"PG101": "info"})
    assert run("check").code == 1
    assert run("check", "--fail-on", "error").code == 0


@pytest.mark.parametrize("word", ["PG101", "patch-not-divisible"])
@pytest.mark.parametrize("severity", ["error", "warning", "info"])
def test_severity(word: str, severity: str) -> None:
    settle(severity={word: severity})
    document = run("check", "--output", "json").json
    assert {one["severity"] for one in document["findings"]} == {severity}
    assert document["summary"][severity] == 2
    assert run("check").code == (1 if severity == "error" else 0)


def test_severity_of_findings_about_the_settings() -> None:
    settle(severity={"PG901": "error", "expired-ignore": "info"}, ignore=[ignore("PG102"), ignore(until="2001-01-01")])
    document = run("check", "--output", "json").json
    severities = {one["code"]: one["severity"] for one in document["findings"]}
    assert severities == {"PG101": "error", "PG901": "error", "PG902": "info"}


# --- ignore ---


@pytest.mark.parametrize("rule", ["PG101", "patch-not-divisible"])
def test_ignored_findings_are_counted(rule: str) -> None:
    settle(ignore=[ignore(rule)])
    done = run("check")
    assert (done.code, done.out.splitlines()[-1].partition(" in ")[0]) == (0, "no findings, 2 ignored")
    assert "ignored: PG101 patch-not-divisible at a/P.json:1:2010: on purpose\n" in done.out
    assert "[PG101]" not in done.out
    assert run("check", "--fail-on", "info").code == 0
    document = run("check", "--output", "json").json
    assert document["summary"]["ignored"] == 2
    assert document["summary"]["error"] == 0
    assert [one["ignored"] for one in document["findings"]] == ["on purpose"] * 2


@pytest.mark.parametrize(
    ("entry", "ignored"),
    [
        ({"path": "a/*"}, ["a/P.json"]),
        ({"path": "a/P.json"}, ["a/P.json"]),
        ({"path": "*/P.json"}, ["a/P.json", "b/P.json"]),
        ({"path": "*/a/*"}, ["a/P.json"]),
        ({"path": "a/*/P.json"}, []),
        ({"path": "?/P.json"}, ["a/P.json", "b/P.json"]),
        ({"path": "[!a]/*"}, ["b/P.json"]),
        ({"path": "P.json"}, []),
        ({"path": "a"}, []),
        ({"path": "A/*"}, []),
        ({"pointer": "/configurations/3d_fullres/*"}, ["a/P.json", "b/P.json"]),
        ({"pointer": "/configurations/3d_fullres/patch_size/1"}, ["a/P.json", "b/P.json"]),
        ({"pointer": "*/patch_size/*"}, ["a/P.json", "b/P.json"]),
        ({"pointer": "/configurations/2d/*"}, []),
        ({"path": "a/*", "pointer": "/configurations/2d/*"}, []),
        ({"rule": "PG102"}, []),
    ],
    ids=str,
)
def test_globs(entry: dict[str, str], ignored: list[str]) -> None:
    settle(ignore=[ignore(**entry)])
    entries = found()
    assert [path for code, path, reason in entries if code == "PG101" and reason] == ignored
    assert ("PG901" in {code for code, _, _ in entries}) is (not ignored)


@pytest.mark.parametrize(
    ("folder", "path"),
    [(".", "."), (".", "a/P.json"), ("a", "."), ("a", "P.json"), ("b", "../a"), ("b", "../b/../a/P.json")],
)
def test_paths_start_at_the_settings(folder: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Independent of the current folder and of how the path is written."""
    settle(ignore=[ignore(path="a/*")])
    monkeypatch.chdir(folder)
    reasons = {Path(place).resolve().parent.name: reason for code, place, reason in found(path) if code == "PG101"}
    assert reasons["a"] == "on purpose"
    assert reasons.get("b") is None


def test_the_first_matching_entry_gives_the_reason() -> None:
    settle(ignore=[ignore(path="a/*", reason="first"), ignore(reason="second")])
    assert found() == [("PG101", "a/P.json", "first"), ("PG101", "b/P.json", "second")]


# --- entries without effect ---


def test_unused_entry() -> None:
    settle(ignore=[ignore(), ignore("PG102"), ignore(path="c/*", reason="gone")])
    out = run("check").out
    assert "warning[PG901] the entry that ignores PG102 matches no finding" in out
    assert "\n  plansguard.json:7:5\n" in out
    document = run("check", "--output", "json").json
    unused = [one for one in document["findings"] if one["code"] == "PG901"]
    assert [(one["pointer"], one["line"], one["values"]["reason"]) for one in unused] == [
        ("/ignore/1", 7, "on purpose"),
        ("/ignore/2", 11, "gone"),
    ]


def test_an_entry_behind_another_is_unused() -> None:
    settle(ignore=[ignore(), ignore(path="a/*")])
    assert [code for code, _, reason in found() if reason is None] == ["PG901"]


@pytest.mark.parametrize("arguments", [["a"], ["a/P.json"], [".", "-c", "2d"], [".", "-p", "P"]], ids=" ".join)
def test_an_entry_is_unused_only_if_all_was_checked(arguments: list[str]) -> None:
    """A pre-commit hook checks only the files that change."""
    settle(fail_on="warning", ignore=[ignore(), ignore("PG102", path="b/*")])
    assert "PG901" not in {code for code, _, _ in found(*arguments)}
    assert run("check", *arguments).code == 0
    assert run("check").code == 1
    assert "PG901" in {code for code, _, _ in found("a", "..")}


def test_until() -> None:
    """An entry is valid on its last day; from the next day on the finding is reported, and so is the entry."""
    path = settle(ignore=[ignore(until="2030-05-31")])
    settings = read_settings(path, INFOS)

    def on(day: int, month: int) -> Report:
        return check(settings=replace(settings, today=datetime.date(2030, month, day)))

    assert on(31, 5).exit_code() == 0
    assert [finding.ignored for finding in on(31, 5).findings] == ["on purpose"] * 2
    expired = on(1, 6)
    assert expired.exit_code() == 1
    assert [(one.code, one.ignored) for one in expired.findings] == [("PG101", None), ("PG101", None), ("PG902", None)]


def test_expired_entry() -> None:
    settle(ignore=[ignore(until="2001-01-31")])
    out = run("check").out
    assert "error[PG101]" in out
    assert "warning[PG902] the entry that ignores PG101 ended on 2001-01-31 (on purpose)" in out
    assert "\n  plansguard.json:3:5\n" in out
    assert "PG901" not in out
    assert "PG902" in {code for code, _, _ in found("a")}


# --- search for the file ---


def test_the_nearest_file_is_used() -> None:
    settle(severity={"PG101": "info"})
    settle("a/plansguard.json", severity={"PG101": "warning"})
    severities = {
        place: {one["severity"] for one in run("check", place, "--output", "json").json["findings"]}
        for place in (".", "a", "a/P.json", "b")
    }
    assert severities == {".": {"info"}, "a": {"warning"}, "a/P.json": {"warning"}, "b": {"info"}}


def test_not_beyond_the_repository(repository: Path) -> None:
    settle("../plansguard.json", severity={"PG101": "info"})
    assert run("check").code == 1
    assert find_settings(repository / "a") is None
    (repository / ".git").rmdir()
    assert run("check").code == 0
    assert find_settings(repository / "a") == repository.parent / "plansguard.json"
    (repository / ".git").write_text("gitdir: elsewhere")  # as in a worktree
    assert run("check").code == 1


def test_the_path_is_searched_before_the_current_folder(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle("b/plansguard.json", severity={"PG101": "error"})
    here = settle("../elsewhere/plansguard.json", severity={"PG101": "info"}).parent
    monkeypatch.chdir(here)
    assert run("check", repository / "b").code == 1
    assert run("check", repository / "a").code == 0


def test_settings_that_are_named() -> None:
    settle(severity={"PG101": "info"})
    settle("other/strict.json", severity={"PG101": "warning"}, fail_on="warning")
    assert run("check").code == 0
    assert run("check", "--settings", "other/strict.json").code == 1
    done = run("check", "--settings", "nothing.json")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plansguard: nothing.json: the file does not exist\n")


# --- faults ---


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('{"fail_on": "info",}', "1:19: this comma is directly before '}'", "remove the comma"),
        ('{\n  // why\n  "fail_on": "info"\n}', "2:3: this is a comment", "remove it: JSON has no comments"),
        ("", "1:1: the file is empty", "fetch or write it again"),
        ("[]", "1:1: the document: Input should be an object", "plansguard schema settings"),
        ('{\n  "failon": "info"\n}', "2:3: failon is not known", "plansguard schema settings"),
        (
            '{"fail_on": "never"}',
            "1:2: fail_on: Input should be 'error', 'warning' or 'info'",
            "plansguard schema settings",
        ),
        ('{"fail_on": null}', "1:2: fail_on: Input should be 'error'", "plansguard schema settings"),
        (
            '{"severity": {"PG101": "off"}}',
            "1:15: severity.PG101: Input should be 'error'",
            "plansguard schema settings",
        ),
        ('{"ignore": [{"rule": "PG101"}]}', "1:13: ignore.0.reason is missing", "plansguard schema settings"),
        ('{"ignore": [{"reason": "x"}]}', "1:13: ignore.0.rule is missing", "plansguard schema settings"),
        (
            '{"ignore": [{"rule": "PG101", "reason": ""}]}',
            "1:31: ignore.0.reason: String should have",
            "plansguard schema settings",
        ),
        (
            '{"ignore": [{"rule": "PG101", "reason": "x", "untill": "2030-01-01"}]}',
            "1:46: ignore.0.untill is not known",
            "plansguard schema settings",
        ),
        (
            '{"ignore": [{"rule": "PG101", "reason": "x", "until": "in May"}]}',
            "1:46: ignore.0.until: Input should be a valid date",
            "plansguard schema settings",
        ),
        ('{"ignore": [], "ignore": []}', "1:16: the key 'ignore' occurs twice", "plansguard schema settings"),
        (
            '{"severity": {"patch-not-divisble": "info"}}',
            "1:15: there is no rule 'patch-not-divisble'",
            "did you mean patch-not-divisible?",
        ),
        ('{"severity": {"pg101": "info"}}', "1:15: there is no rule 'pg101'", "did you mean PG101?"),
        (
            '{\n  "ignore": [\n    {"reason": "x", "rule": "PG101"},\n    {"reason": "x", "rule": "nothing like it"}]}',
            "4:21: there is no rule 'nothing like it'",
            "plansguard rules lists them all",
        ),
    ],
)
def test_faults(text: str, message: str, hint: str) -> None:
    """One message with the place; nothing is checked, and the exit code is 2."""
    Path("plansguard.json").write_text(text)
    done = run("check")
    assert (done.code, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first.startswith(f"plansguard: plansguard.json:{message}")
    assert hint in second


def test_schema_key_is_for_editors() -> None:
    settle(**{"$schema": "schemas/settings.schema.json"}, severity={"PG101": "info"})
    assert run("check").code == 0


def test_the_example_of_the_readme() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    Path("plansguard.json").write_text(example)
    settings = read_settings(Path("plansguard.json"), INFOS)
    assert len(settings.ignore) == len(settings.severity) == 1


# --- migrate ---

#: The two CT datasets, in the current folder. The second has a copy of the first one's plans.
in_workspace = pytest.mark.workspace(
    OTHER_CT, CT, edits=(copy(PLANS, "preprocessed/Borrowed.json", of=CT),), folder="workspace", chdir=True
)


def migrate(*options: str) -> Done:
    """Migrate plans that were made for dataset 1 from 2 to 1, which is the wrong direction."""
    return run("migrate", "-s", "2", "-sp", "Borrowed", "-t", "1", "-tp", "X", *options)


@in_workspace
def test_migrate_obeys_the_settings(workspace: Path) -> None:
    """Ignored findings do not prevent a move; the report still lists them."""
    written = place(workspace, CT, "preprocessed/X.json")
    assert migrate().code == 1
    assert not written.exists()
    settle(ignore=[ignore("reversed-direction", path="nnUNet_preprocessed/Dataset001_PretrainCT/X.json")])
    done = migrate("--output", "json=report.json")
    assert done.code == 0
    assert written.exists()
    report = json.loads(Path("report.json").read_bytes())
    assert [(one["code"], one["ignored"]) for one in report["findings"]] == [("PG410", "on purpose")]


@in_workspace
def test_migrate_obeys_severities(workspace: Path) -> None:
    settle(severity={"PG410": "warning"})
    done = migrate()
    assert done.code == 0
    assert "warning[PG410] " in done.out


@in_workspace
def test_migrate_does_not_report_entries_for_checks(workspace: Path) -> None:
    settle("strict.json", ignore=[ignore("PG410"), ignore("PG307", path="*/Dataset007_Thick/*")])
    done = migrate("--settings", "strict.json")
    assert done.code == 0
    assert "PG901" not in done.out


@in_workspace
def test_broken_settings_stop_a_migration(workspace: Path) -> None:
    Path("plansguard.json").write_text("{")
    done = run("migrate", "-s", "1", "-t", "2", "-tp", "X")
    assert (done.code, done.out) == (2, "")
    assert not place(workspace, OTHER_CT, "preprocessed/X.json").exists()


# --- the library ---


def test_defaults_without_a_document() -> None:
    report = check(settings=ActiveSettings())
    settle(severity={"PG101": "info"})
    assert check(settings=ActiveSettings()) == report
    assert check() != report
