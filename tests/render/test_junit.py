"""Reports as JUnit's XML, as junitparser reads it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from plansguard.commands.check import check
from plansguard.rules import RULES_OF_DATASETS
from tests.support.command import run
from tests.support.reports import BROKEN, DATASET, plans, save
from tests.support.variants import FIXTURES

pytestmark = pytest.mark.usefixtures("nowhere")


def suites(*arguments: str, command: str = "check") -> dict[str, Any]:
    """The suites by name; their counts are right."""
    xml = JUnitXml.fromstring(run(command, *arguments, "--output", "junit").out.encode())
    found = {suite.name: suite for suite in xml}
    for suite in found.values():
        outcomes = [outcome_of(case) for case in suite]
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (
            len(outcomes),
            outcomes.count("failure"),
            outcomes.count("error"),
            outcomes.count("skipped"),
        )
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.timestamp)
        assert suite.time >= 0
    assert xml.tests == sum(suite.tests for suite in found.values())
    return found


def outcome_of(case: Any) -> str:
    kinds = {Failure: "failure", Error: "error", Skipped: "skipped"}
    return next((kinds[type(result)] for result in case.result), "passed")


def cases(suite: Any, outcome: str) -> list[tuple[str, str]]:
    return [(case.classname, case.name) for case in suite if outcome_of(case) == outcome]


def test_a_finding_is_a_failure() -> None:
    shutil.copytree(DATASET, "nnUNet_preprocessed/Dataset002_FinetuneCT")
    save("nnUNet_preprocessed/Dataset002_FinetuneCT/nnUNetPlans.json", plans(BROKEN))
    suite = suites()["Dataset002_FinetuneCT"]
    assert cases(suite, "failure") == [("nnUNetPlans.3d_fullres", "PG101 patch-not-divisible")]
    (case,) = (case for case in suite if outcome_of(case) == "failure")
    (failure,) = case.result
    assert failure.message.startswith("patch_size [56, 70, 64] is not divisible")
    assert "fix: use 64 or 80 on axis 1 of patch_size" in failure.text
    assert "nnUNet_preprocessed/Dataset002_FinetuneCT/nnUNetPlans.json:166:17" in failure.text
    # What the schema of Jenkins' xUnit plugin lets a case have.
    assert {name for one in suite for name in one._elem.attrib} <= {"name", "classname", "time", "group"}


def test_healthy_datasets_have_passed_cases() -> None:
    """Each rule that ran; no rule is passed and skipped at the same place."""
    shutil.copytree(FIXTURES / "workspace/nnUNet_preprocessed", "nnUNet_preprocessed")
    found = suites()
    assert set(found) == {folder.name for folder in Path("nnUNet_preprocessed").iterdir()}
    for suite in found.values():
        passed, skipped = cases(suite, "passed"), cases(suite, "skipped")
        assert ("PG101 patch-not-divisible") in {name for _, name in passed}
        assert not set(passed) & set(skipped)
        assert cases(suite, "failure") == []
        assert all(name.split()[0] in {rule.info.code for rule in RULES_OF_DATASETS} for _, name in passed)


def test_a_rule_with_a_finding_is_not_passed_too() -> None:
    save("a/P.json", plans(BROKEN))
    suite = suites()["a"]
    assert [name for _, name in cases(suite, "passed") if name.startswith("PG101 ")] == []


def test_reasons_of_skipped_cases() -> None:
    save("a/P.json", plans(BROKEN))
    save("plansguard.json", {"ignore": [{"rule": "PG101", "reason": "on purpose"}]})
    suite = suites()["a"]
    messages = {case.name[:5]: case.result[0].message for case in suite if outcome_of(case) == "skipped"}
    assert messages.pop("PG101") == "ignored: on purpose"
    assert messages == {one.code: f"not checked: {one.reason}" for one in check([]).not_checked}


@pytest.mark.parametrize(("severity", "outcome"), [("error", "failure"), ("warning", "passed"), ("info", "passed")])
def test_findings_that_do_not_fail_are_passed(severity: str, outcome: str) -> None:
    """With their text; as the exit code says."""
    save("a/P.json", plans(BROKEN))
    save("plansguard.json", {"severity": {"PG101": severity}})
    suite = suites()["a"]
    (case,) = (case for case in suite if case.name.startswith("PG101 "))
    assert outcome_of(case) == outcome
    assert "is not divisible" in (case.system_out or case.result[0].text)
    (case,) = (case for case in suites("--fail-on", "info")["a"] if case.name.startswith("PG101 "))
    assert outcome_of(case) == "failure"


def test_what_was_not_judged_is_an_error() -> None:
    save("a/P.json", plans())
    Path("a/nnUNetPlans.json").write_text("{")
    assert cases(suites()["a"], "error") == [("nnUNetPlans", "PG001 unreadable-document")]


def test_several_findings_of_a_case() -> None:
    document = plans(BROKEN, ("2d", [70, 70]))
    save("a/P.json", document)
    save("a/Q.json", document)
    suite = suites()["a"]
    failed = cases(suite, "failure")
    assert len(failed) == len(set(failed)) == 4
    assert sorted({group for group, _ in failed}) == ["P.2d", "P.3d_fullres", "Q.2d", "Q.3d_fullres"]
    (case,) = (case for case in suite if case.classname == "P.2d" and outcome_of(case) == "failure")
    assert case.result[0].text.count("error[PG101]") == 2


def test_doctor_is_one_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", "relative")
    (name,) = suites(command="doctor")
    assert name == "this machine"
