"""The engine: rules that crash or cannot run, configurations, order, places and counts."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plansguard.core.errors import AT_A_LIMIT, NO_THREAD, Absent
from plansguard.core.report import Finding, Report, Severity
from plansguard.rules import RULES
from plansguard.rules.engine.declare import Found, Rule, found, rule
from plansguard.rules.engine.needs import NEEDS
from plansguard.rules.engine.run import run_rules
from plansguard.rules.engine.settings import ActiveSettings
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.discovery import discover
from plansguard.subjects.documents import Fingerprint
from plansguard.subjects.plans import Configuration, Plans
from tests.support.command import run
from tests.support.variants import FIXTURES, ROOTS

SOURCE = FIXTURES / "workspace" / ROOTS["preprocessed"] / "Dataset005_CascadeCT"
CONFIGURATIONS = ["3d_lowres", "3d_fullres", "3d_cascade_fullres", "2d"]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder; nnU-Net's variables are not set."""
    monkeypatch.chdir(tmp_path)
    for folder in ROOTS.values():
        monkeypatch.delenv(folder, raising=False)


@pytest.fixture
def plans() -> dict[str, Any]:
    """Good plans with four configurations, one of which inherits."""
    document: dict[str, Any] = json.loads((SOURCE / "nnUNetPlans.json").read_bytes())
    assert sorted(document["configurations"]) == sorted(CONFIGURATIONS)
    return document


def save(plans: dict[str, Any], place: str = "P.json") -> None:
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).write_text(json.dumps(plans, indent=4))


def judge(*rules: Rule, ordinary: bool = True) -> Report:
    """Check the current folder with the ordinary rules and these."""
    declared = (*RULES, *rules) if ordinary else rules
    return run_rules("check", ["."], discover([Path()]), settings=ActiveSettings(), rules=declared)


def break_patch(plans: dict[str, Any], *configurations: str) -> None:
    """Cause PG101 in each of them, with different values: the same fault is reported once."""
    for name in configurations:
        *others, last = plans["configurations"][name]["patch_size"]
        plans["configurations"][name]["patch_size"] = [*others, last + 1 + CONFIGURATIONS.index(name)]


def declare(check: Any, severity: Severity = Severity.WARNING) -> Rule:
    """Declare a rule for these tests."""
    check.__doc__ = "A rule."
    declared: Rule = rule("PG999", severity, message="{text}", fix="nothing", name="of-this-test")(check)
    return declared


def of_this_test(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.code == "PG999"]


# --- crashes ---


def test_a_rule_that_crashes(plans: dict[str, Any]) -> None:
    """The exception is reported, the exit code is 2, and the other rules have run."""

    def check(plans: Plans) -> Iterator[Found]:
        raise ZeroDivisionError("a fault of ours")
        yield found(plans.at(), text="never")

    break_patch(plans, "3d_fullres")
    save(plans)
    assert judge().exit_code() == 1
    report = judge(declare(check))
    assert [finding.code for finding in report.findings] == ["PG000", "PG101"]
    crash = report.findings[0]
    assert crash.message == "the rule PG999 failed with ZeroDivisionError: a fault of ours"
    assert (crash.severity, crash.location.path) == (Severity.ERROR, "P.json")
    assert report.exit_code() == 2
    assert not [one for one in report.not_checked if one.code == "PG999"]


def test_a_crash_through_the_command_line(plans: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*_: Any) -> Iterator[Found]:
        raise RuntimeError("boom")

    save(plans)
    monkeypatch.setitem(vars(next(one for one in RULES if one.info.code == "PG102")), "check", check)
    done = run("check")
    assert done.code == 2
    assert "error[PG000] the rule PG102 failed with RuntimeError: boom\n  P.json:1:1\n" in done.out
    assert run("check", "--output", "json").code == 2


def test_a_crash_of_the_rule_that_reports_crashes(plans: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of other rules were lost with it, and a training was fit to start."""

    def check(*_: Any) -> Iterator[Found]:
        raise ZeroDivisionError("boom")

    save(plans)
    for code in ("PG000", "PG102"):
        monkeypatch.setitem(vars(next(one for one in RULES if one.info.code == code)), "check", check)
    done = run("check")
    assert (done.code, done.out) == (2, "")
    assert done.err == "plansguard: the rule PG000 failed with ZeroDivisionError: boom\n  please report this\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE), "file"),
        RuntimeError(NO_THREAD),
    ],
    ids=["memory", "memory of the system", "files", "threads"],
)
@pytest.mark.parametrize("is_need", [True, False])
def test_a_limit_of_the_machine_is_no_crash(
    error: Exception, is_need: bool, plans: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rule is at fault, and what others have found is not complete."""

    def fail(*_: Any) -> Iterator[Found]:
        raise error

    save(plans)
    if is_need:
        monkeypatch.setitem(NEEDS, "configuration", NEEDS["configuration"]._replace(get=fail))
    else:
        monkeypatch.setitem(vars(next(one for one in RULES if one.info.code == "PG102")), "check", fail)
    done = run("check")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(f"  {AT_A_LIMIT}\n"), done.err


def test_a_crash_in_one_configuration(plans: dict[str, Any]) -> None:
    def check(configuration: Configuration) -> Iterator[Found]:
        if configuration.name == "3d_fullres":
            raise KeyError("architecture")
        yield found(configuration.at(), text="fine")

    save(plans)
    report = judge(declare(check))
    assert {finding.configuration for finding in of_this_test(report)} == {*CONFIGURATIONS} - {"3d_fullres"}
    assert [finding.message for finding in report.findings if finding.code == "PG000"] == [
        "the rule PG999 failed with KeyError: 'architecture'"
    ]


def test_a_message_that_lacks_a_value_is_a_crash(plans: dict[str, Any]) -> None:
    def check(plans: Plans) -> Iterator[Found]:
        yield found(plans.at(), other="not the text that the message asks for")

    save(plans)
    assert [finding.code for finding in judge(declare(check)).findings] == ["PG000"]


@pytest.mark.parametrize("ending", [RuntimeError("half way"), Absent("half way")])
def test_a_rule_that_stops_half_way_reports_nothing(plans: dict[str, Any], ending: Exception) -> None:
    """Its findings until then may be wrong."""

    def check(plans: Plans) -> Iterator[Found]:
        yield found(plans.at("spacing"), text="half")
        raise ending

    save(plans)
    report = judge(declare(check))
    assert of_this_test(report) == []
    reasons = [record.reason for record in report.not_checked if record.code == "PG999"]
    assert reasons == (["half way"] if isinstance(ending, Absent) else [])


# --- needs ---


def test_an_absent_need_is_reported_with_its_reason(plans: dict[str, Any]) -> None:
    def check(fingerprint: Fingerprint, configuration: Configuration) -> Iterator[Found]:
        yield found(configuration.at(), text="never")

    save(plans)
    report = judge(declare(check), ordinary=False)
    assert report.findings == ()
    assert [(one.code, one.name, one.path, one.reason) for one in report.not_checked] == [
        ("PG999", "of-this-test", "P.json", "there is no dataset_fingerprint.json beside the plans: put it there")
    ]
    shutil.copy(SOURCE / "dataset_fingerprint.json", "dataset_fingerprint.json")
    report = judge(declare(check), ordinary=False)
    assert (len(report.findings), report.not_checked) == (len(CONFIGURATIONS), ())


def test_how_often_a_rule_runs(plans: dict[str, Any]) -> None:
    """Once for each occurrence of the most specific of its needs."""

    def of_a_dataset(dataset: Dataset) -> Iterator[Found]:
        yield found(dataset.plans[0].at(), text="dataset")

    def of_plans(plans: Plans, dataset: Dataset) -> Iterator[Found]:
        yield found(plans.at(), text="plans")

    def of_a_configuration(dataset: Dataset, plans: Plans, configuration: Configuration) -> Iterator[Found]:
        yield found(plans.at(), text="configuration")

    save(plans)
    save(plans, "Q.json")
    checks = of_a_dataset, of_plans, of_a_configuration
    times = [len(judge(declare(check), ordinary=False).findings) for check in checks]
    assert times == [1, 2, 2 * len(CONFIGURATIONS)]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"inherits_from": "nothing"}, "PG106"),
        ({"inherits_from": "2d"}, "PG106"),
        ({"batch_size": "two"}, "PG005"),
        ({"architecture": None}, "PG005"),
        ({"patch_size": []}, None),
    ],
    ids=str,
)
def test_a_broken_configuration_hides_no_other(plans: dict[str, Any], fault: dict[str, Any], code: str | None) -> None:
    plans["configurations"]["2d"] |= fault
    break_patch(plans, "3d_fullres", "3d_lowres")
    save(plans)
    report = judge()
    reported = {(finding.code, finding.configuration) for finding in report.findings}
    assert {("PG101", "3d_fullres"), ("PG101", "3d_lowres")} <= reported
    assert "PG000" not in {code for code, _ in reported}
    if code:
        assert code in {code for code, _ in reported}
        assert any(one.code == "PG101" and "2d" in one.reason for one in report.not_checked)


def test_one_broken_plans_file_hides_no_other(plans: dict[str, Any]) -> None:
    break_patch(plans, "3d_fullres")
    save(plans, "Q.json")
    Path("APlans.json").write_text("{")
    save({**plans, "transpose_forward": "none"}, "B.json")
    reported = {(finding.code, finding.location.path) for finding in judge().findings}
    assert {("PG001", "APlans.json"), ("PG005", "B.json"), ("PG101", "Q.json")} <= reported


# --- order and places ---


def test_order(plans: dict[str, Any]) -> None:
    """By severity, then by file, then by line as a number."""

    def check(plans: Plans) -> Iterator[Found]:
        for number in (100, 20, 3):
            yield found(plans.at("spacing", number), text=str(number), severity=Severity.INFO)
        yield found(plans.at("plans_name"), text="warning")
        yield found(plans.at("dataset_name"), text="error", severity=Severity.ERROR)

    for place in ("b/P.json", "a/P.json"):
        save({"spacing": list(range(101)), **plans}, place)
    reported = [
        (finding.severity.value, finding.location.path, finding.message) for finding in judge(declare(check)).findings
    ]
    paths = [str(Path(folder, "P.json")) for folder in "ab"]
    assert reported == [
        *(("error", path, "error") for path in paths),
        *(("warning", path, "warning") for path in paths),
        *(("info", path, number) for path in paths for number in ("3", "20", "100")),
    ]


def test_lines_are_those_of_the_file(plans: dict[str, Any]) -> None:
    break_patch(plans, "3d_fullres")
    save(plans)
    (finding,) = judge().findings
    line = Path("P.json").read_text().splitlines()[(finding.location.line or 0) - 1]
    assert finding.location.column == len(line) - len(line.lstrip()) + 1
    assert line.strip() == str(plans["configurations"]["3d_fullres"]["patch_size"][-1])


def test_places_are_computed_only_where_something_was_found(plans: dict[str, Any]) -> None:
    """To find lines, the text is read a second time."""
    save(plans, "Good.json")
    shutil.copy(SOURCE / "dataset.json", "dataset.json")
    break_patch(plans, "3d_fullres")
    save({**plans, "plans_name": "Bad"}, "Bad.json")
    (dataset,) = discover([Path()])
    report = run_rules("check", ["."], [dataset], settings=ActiveSettings(), rules=RULES)
    assert {finding.location.path for finding in report.findings} == {"Bad.json"}
    indexed = {document.path for document in dataset.documents if "_scan" in vars(document)}
    assert indexed == {"Bad.json"}


# --- fingerprints ---


def fingerprints(folder: Path | str = ".") -> list[tuple[str | None, str]]:
    """(configuration, fingerprint) of each PG101."""
    report = run_rules("check", [], discover([Path(folder)]), settings=ActiveSettings(), rules=RULES)
    return [(one.configuration, one.fingerprint) for one in report.findings if one.code == "PG101"]


def test_fingerprints_stay(plans: dict[str, Any]) -> None:
    """They do not depend on the folder, on other text in the file, or on other findings."""
    break_patch(plans, "3d_fullres")
    save(plans, "here/Dataset005_CascadeCT/P.json")
    before = fingerprints("here")
    assert len(before) == 1
    Path("here").rename("elsewhere")
    assert fingerprints("elsewhere") == before
    assert fingerprints(Path("elsewhere").absolute()) == before
    assert fingerprints("elsewhere/Dataset005_CascadeCT") == before
    break_patch(plans, "3d_lowres")
    save({"a new key": ["on", "top"], **plans}, "elsewhere/Dataset005_CascadeCT/P.json")
    after = fingerprints("elsewhere")
    assert len(after) == 2
    assert set(before) < set(after)


def test_fingerprints_differ(plans: dict[str, Any]) -> None:
    """They depend on the values, the place and the file's name; folders outside of datasets differ between copies."""
    break_patch(plans, "3d_fullres", "3d_lowres", "2d")
    save(plans, "D/P.json")
    save(plans, "D/Q.json")
    save(plans, "E/P.json")
    several = fingerprints()
    assert len(several) == 9
    assert len({fingerprint for _, fingerprint in several}) == 6
    (before,) = (one for name, one in fingerprints("E") if name == "2d")
    break_patch(plans, "2d")
    save(plans, "E/P.json")
    (after,) = (one for name, one in fingerprints("E") if name == "2d")
    assert before != after


# --- what is counted ---


def test_documents_are_counted_once(plans: dict[str, Any]) -> None:
    save(plans)
    Path("BrokenPlans.json").write_text("{")
    shutil.copy(SOURCE / "dataset.json", "dataset.json")
    report = judge()
    assert (report.documents, report.summary()["documents"]) == (3, 3)
    assert report.summary()["not_checked"] == len(report.not_checked) == len(set(report.not_checked))


def test_an_empty_run() -> None:
    report = judge()
    assert (report.findings, report.not_checked, report.documents) == ((), (), 0)
    assert report.exit_code() == 3
