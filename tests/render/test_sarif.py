"""Reports as SARIF 2.1.0."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from plansguard import __version__
from plansguard.commands.check import check
from plansguard.core.report import Finding, Location, Report, Severity
from plansguard.render import render
from plansguard.rules import RULES
from tests.render.test_control_characters import PLACES, TEXTS
from tests.support.command import run
from tests.support.reports import BROKEN, DATASET, evil_plans, plans, save
from tests.support.services import assert_sarif, sarif_validator

pytestmark = pytest.mark.usefixtures("nowhere")


def log_of(*arguments: str) -> dict[str, Any]:
    """The log of a check, which is valid."""
    log = run("check", *arguments, "--output", "sarif").json
    assert_sarif(log)
    return log


def results(*arguments: str) -> list[dict[str, Any]]:
    every: list[dict[str, Any]] = log_of(*arguments)["runs"][0]["results"]
    return every


def test_the_schema_refuses_what_is_wrong() -> None:
    """The one of OASIS; a test with it can fail."""
    schema = sarif_validator().schema
    assert "SARIF" in schema["title"]
    assert "oasis-tcs" in schema["$id"]
    assert not sarif_validator().is_valid({"version": "2.1.0", "runs": [{"tool": {}}]})
    assert not sarif_validator().is_valid({"version": "2.0.0", "runs": []})


def test_a_finding() -> None:
    save("sub/P.json", plans(BROKEN))
    log = log_of()
    (sarif_run,) = log["runs"]
    driver = sarif_run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("plansguard", __version__)
    (rule,) = driver["rules"]
    assert (rule["id"], rule["name"]) == ("PG101", "patch-not-divisible")
    assert rule["defaultConfiguration"] == {"level": "error"}
    assert rule["help"]["markdown"].startswith("# PG101 patch-not-divisible\n")
    assert rule["helpUri"].endswith("/docs/rules/PG101-patch-not-divisible.md")
    (result,) = sarif_run["results"]
    (finding,) = check([]).findings
    assert (result["ruleId"], result["level"]) == ("PG101", "error")
    assert result["partialFingerprints"] == {"plansguard/v1": finding.fingerprint}
    assert result["message"]["text"].splitlines() == [
        f"{finding.message}.",
        f"{finding.why}.",
        f"fix: {finding.fix}",
    ]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "sub/P.json", "uriBaseId": "%SRCROOT%"}
    assert sarif_run["originalUriBaseIds"]["%SRCROOT%"]["uri"] == f"{Path.cwd().as_uri()}/"
    assert (place["region"]["startLine"], place["region"]["startColumn"]) == (166, 17)
    assert "suppressions" not in result
    assert "baselineState" not in result


def test_paths_are_relative_to_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from a folder in it; blanks and per cent signs are encoded; a file outside of it is absolute."""
    Path("clone/.git").mkdir(parents=True)
    save("clone/a b%/P.json", plans(BROKEN))
    save("else/Q.json", plans(BROKEN))
    monkeypatch.chdir("clone/a b%")
    places = [one["locations"][0]["physicalLocation"]["artifactLocation"] for one in results(".", "../../else/Q.json")]
    outside = (tmp_path / "else/Q.json").as_uri()
    assert sorted(place["uri"] for place in places) == sorted(["a%20b%25/P.json", outside])
    assert {place.get("uriBaseId") for place in places} == {"%SRCROOT%", None}


def test_an_ignored_finding_is_a_suppression() -> None:
    save("P.json", plans(BROKEN))
    save("plansguard.json", {"ignore": [{"rule": "PG101", "reason": "on purpose"}]})
    (result,) = results()
    assert result["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "on purpose"}]


def test_a_correction_is_a_fix() -> None:
    """Applied to the file, it is what --fix writes."""
    folder = Path("nnUNet_preprocessed/Dataset002_FinetuneCT")
    shutil.copytree(DATASET, folder)
    path = folder / "nnUNetPlans.json"
    path.write_text(path.read_text().replace('"plans_name": "nnUNetPlans"', '"plans_name": "Other"'))
    before = path.read_text()
    found = [one for one in results() if "fixes" in one]
    (change,) = found[0]["fixes"][0]["artifactChanges"]
    (replacement,) = change["replacements"]
    region, lines = replacement["deletedRegion"], before.splitlines(keepends=True)
    start, end = (
        sum(map(len, lines[: region[f"{side}Line"] - 1])) + region[f"{side}Column"] - 1 for side in ("start", "end")
    )
    fixed = before[:start] + replacement["insertedContent"]["text"] + before[end:]
    run("check", "--fix")
    assert fixed == path.read_text() != before


def test_invocations(tmp_path: Path) -> None:
    """The exit code, the times, and what was not checked."""
    assert log_of("--allow-empty")["runs"][0]["invocations"][0]["exitCode"] == 0
    save("P.json", plans(BROKEN))
    (invocation,) = log_of()["runs"][0]["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (1, True)
    assert invocation["startTimeUtc"] <= invocation["endTimeUtc"]
    texts = [one["message"]["text"] for one in invocation["toolConfigurationNotifications"]]
    report = check([])
    assert {skipped.reason for skipped in report.not_checked} == {
        text.removeprefix("not checked: ").rpartition(" (")[0] for text in texts
    }
    (invocation,) = log_of("--fail-on", "error", "P.json")["runs"][0]["invocations"]
    Path("nnUNetPlans.json").write_text("{")
    (invocation,) = log_of()["runs"][0]["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (2, False)


def test_brackets_and_braces_are_no_links_and_no_placeholders() -> None:
    message = "see [here](https://example.org), [56, 70], {0} and {x}"
    finding = Finding("PG101", "x", Severity.ERROR, message, "f", Location("P.json"))
    log = json.loads(render(Report("check", (), 1, (finding,)), "sarif"))
    assert log["runs"][0]["results"][0]["message"]["text"].splitlines()[0] == (
        r"see \[here](https://example.org), [56, 70], {{0} and {x}."
    )


def test_every_rule_can_be_described() -> None:
    findings = tuple(
        Finding(rule.info.code, rule.info.name, rule.info.severity, "m", "f", Location("P.json")) for rule in RULES
    )
    log = json.loads(render(Report("check", (), 1, findings), "sarif"))
    assert_sarif(log)
    assert len(log["runs"][0]["tool"]["driver"]["rules"]) == len(RULES)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", [name for name in TEXTS if not name.startswith("a long")])
def test_text_from_files_leaves_it_valid(text: str, place: str) -> None:
    document = plans(BROKEN)
    PLACES[place](document, TEXTS[text])
    save("Plans.json", document)
    log_of()


def test_hostile_names_leave_it_valid() -> None:
    save("Plans.json", evil_plans())
    assert log_of("--fail-on", "info")


def test_doctor_names_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", "relative")
    log = run("doctor", "--output", "sarif").json
    assert_sarif(log)
    names = [
        place["name"]
        for result in log["runs"][0]["results"]
        for place in result["locations"][0].get("logicalLocations", ())
    ]
    assert "nnUNet_raw" in names
