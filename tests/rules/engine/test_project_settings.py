"""Settings in ``[tool.plansguard]`` of pyproject.toml; ``select`` and ``options`` of both kinds of settings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from plansguard.commands.check import check
from plansguard.rules import RULES
from plansguard.rules.engine.settings import find_settings, read_settings
from tests.conftest import ROOT
from tests.support.command import run
from tests.support.reports import BROKEN, plans, save
from tests.support.variants import FINGERPRINT, PLANS, place, put

CT = "Dataset002_FinetuneCT"
INFOS = tuple(rule.info for rule in RULES)


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a repository as the current folder, with one error (PG101)."""
    here = tmp_path / "repository"
    (here / ".git").mkdir(parents=True)
    monkeypatch.chdir(here)
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(variable, raising=False)
    save("a/P.json", plans(BROKEN))
    return here


def project(text: str, where: str = "pyproject.toml") -> None:
    Path(where).parent.mkdir(parents=True, exist_ok=True)
    Path(where).write_text(text, encoding="utf-8")


def codes(*arguments: str) -> list[str]:
    return [one["code"] for one in run("check", *arguments, "--output", "json").json["findings"]]


# --- the table ---


@pytest.mark.parametrize("key", ["fail-on", "fail_on"])
def test_fail_on_and_severity(key: str) -> None:
    project(f'[tool.plansguard]\n{key} = "warning"\nseverity.PG101 = "warning"\n')
    assert run("check").code == 1
    project('[tool.plansguard.severity]\npatch-not-divisible = "warning"\n')
    assert run("check").code == 0


def test_ignore() -> None:
    project('[[tool.plansguard.ignore]]\nrule = "PG101"\nreason = "on purpose"\npath = "a/*"\nuntil = 2099-12-31\n')
    done = run("check")
    assert done.code == 0
    assert "ignored: PG101 patch-not-divisible at a/P.json:166:17: on purpose\n" in done.out


def test_entries_without_effect_have_a_place() -> None:
    entries = [f'[[tool.plansguard.ignore]]\nrule = "{rule}"\nreason = "x"\n' for rule in ("PG101", "PG102")]
    project("".join(entries))
    assert (
        "\n  pyproject.toml:4:1\n    4 | [[tool.plansguard.ignore]]\n"
        in run("check").out.partition("warning[PG901]")[2]
    )
    (unused,) = (one for one in run("check", "--output", "json").json["findings"] if one["code"] == "PG901")
    assert (unused["pointer"], unused["line"]) == ("/tool/plansguard/ignore/1", 4)


@pytest.mark.parametrize(
    "text", ["", "[project]\nname = 'plansguard'\n", "[tool.other]\nplansguard = 1\n", "plansguard = "]
)
def test_a_project_without_settings(text: str) -> None:
    project(text)
    assert codes() == ["PG101"]


def test_the_nearest_file_counts(repository: Path) -> None:
    project('[tool.plansguard]\nseverity.PG101 = "info"\n')
    assert run("check", "a").code == 0
    assert find_settings(repository / "a") == Path("pyproject.toml")
    save("a/plansguard.json", {})
    assert run("check", "a").code == 1
    Path("a/plansguard.json").unlink()
    project('[tool.plansguard]\nseverity.PG101 = "error"\n', "a/pyproject.toml")
    assert run("check", "a").code == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("before", ["", "[project]\nname = 'mine'\n\n"], ids=["first", "second"])
def test_settings_in_another_encoding_are_not_passed_over(encoding: str, before: str) -> None:
    """As for plansguard.json."""
    Path("pyproject.toml").write_bytes(f'{before}[tool.plansguard]\nfail-on = "warning"\n'.encode(encoding))
    done = run("check")
    reason = "starts with a byte order mark" if encoding == "utf-8-sig" else "is encoded as UTF-16, not as UTF-8"
    hint = "save as UTF-8 without BOM"
    assert (done.code, done.err) == (2, f"plansguard: pyproject.toml:1:1: the file {reason}\n  {hint}\n")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_project_in_another_encoding_without_settings(encoding: str) -> None:
    Path("pyproject.toml").write_bytes("# plansguard\n[project]\nname = 'mine'\n".encode(encoding))
    assert codes() == ["PG101"]


def test_two_files_in_one_folder() -> None:
    project("[tool.plansguard]\n")
    save("plansguard.json", {})
    done = run("check")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "plansguard: pyproject.toml: plansguard.json beside it has settings as well, and only one of them can count\n"
        "  keep the table [tool.plansguard], or the file\n"
    )


def test_a_file_that_is_named() -> None:
    project('severity.PG101 = "info"\n', "other/strict.toml")
    project('[tool.plansguard]\nseverity.PG101 = "info"\n', "third/pyproject.toml")
    assert run("check").code == 1
    assert run("check", "--settings", "other/strict.toml").code == 0
    assert run("check", "--settings", "third/pyproject.toml").code == 0
    project("", "fourth/pyproject.toml")
    assert run("check", "--settings", "fourth/pyproject.toml").code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[tool.plansguard]\nfailon = "info"\n', "2:1: failon is not known"),
        ('\n[tool.plansguard]\n\nfail-on = "never"\n', "4:1: fail_on: Input should be 'error'"),
        ('[tool.plansguard]\nselect = [\n  "PG1",\n  "PG09",\n]\n', "4:3: there is no rule 'PG09'"),
        ('[tool.plansguard]\nselect = "PG1"\n', "2:1: select: Input should be a valid list"),
        ('[[tool.plansguard.ignore]]\nrule = "PG101"\n', "1:1: ignore.0.reason is missing"),
        ('[tool.plansguard.severity]\nPG001 = "info"\n', "2:1: PG001 can neither be ignored"),
        ("[tool.plansguard.options.PG101]\nfactor = 2\n", "2:1: PG101 has no option 'factor'"),
        ("[tool.plansguard.options.PG307]\nfaktor = 2\n", "2:1: PG307 has no option 'faktor'"),
        ("[tool.plansguard.options.PG307]\nfactor = 0\n", "2:1: options.PG307.factor: Input should be greater than 0"),
        (
            "[tool.plansguard.options.PG307]\nfactor = inf\n",
            "2:1: options.PG307.factor: Input should be a finite number",
        ),
        ("[tool.plansguard.options]\nPG3070.factor = 2\n", "2:1: there is no rule 'PG3070'"),
        ("[tool.plansguard]\nx = \n", "2:5: this is no TOML: "),
    ],
)
def test_faults(text: str, message: str) -> None:
    """One message with the place; nothing is checked, and the exit code is 2."""
    project(text)
    done = run("check")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"plansguard: pyproject.toml:{message}")


def test_both_kinds_have_the_same_meaning() -> None:
    """The example of the README in JSON and in TOML."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (in_json,), (in_toml,) = (re.findall(rf"```{kind}\n(.*?)```", readme, re.DOTALL) for kind in ("json", "toml"))
    save("json/plansguard.json", json.loads(in_json))
    project(in_toml, "toml/pyproject.toml")
    one, other = (read_settings(Path(name), INFOS) for name in ("json/plansguard.json", "toml/pyproject.toml"))
    for settings in (one, other):
        assert (settings.fail_on, dict(settings.severity)) == (one.fail_on, dict(one.severity))
        assert settings.ignore == one.ignore
        assert settings.options == one.options


# --- select and options ---


@pytest.mark.parametrize(
    ("select", "found"),
    [
        (["PG101"], ["PG101"]),
        (["patch-not-divisible"], ["PG101"]),
        (["PG1"], ["PG101"]),
        (["PG2", "PG10"], ["PG101"]),
        (["PG2"], []),
        ([], ["PG101"]),
    ],
    ids=str,
)
def test_select(select: list[str], found: list[str]) -> None:
    save("plansguard.json", {"select": select})
    assert codes() == found


def test_what_guards_the_result_is_always_selected() -> None:
    save("plansguard.json", {"select": ["PG2"]})
    Path("a/nnUNetPlans.json").write_text("{")
    assert codes() == ["PG001"]
    assert run("check").code == 2


def test_entries_for_rules_that_are_not_selected_are_not_unused() -> None:
    entries = [{"rule": rule, "reason": "x"} for rule in ("PG101", "PG201")]
    save("plansguard.json", {"select": ["PG2", "PG9"], "ignore": entries})
    assert [one["pointer"] for one in run("check", "--output", "json").json["findings"]] == ["/ignore/1"]


#: Rules with a threshold, and an edit that they report: a finding unless the threshold is this one.
THRESHOLDS = {
    "PG301": ([put(FINGERPRINT, "/spacings/0/0", 150.0)], 100),
    "PG307": ([put(PLANS, "/configurations/3d_fullres/spacing/0", 15.0)], 20),
    "PG308": ([put(PLANS, "/configurations/3d_fullres/patch_size/1", 128)], 4),
}


@pytest.mark.workspace(CT, folder="workspace")
@pytest.mark.parametrize("code", THRESHOLDS)
def test_options(code: str, workspace: Path) -> None:
    edits, factor = THRESHOLDS[code]
    for edit in edits:
        edit(workspace, CT)
    folder = place(workspace, CT, "preprocessed")
    assert code in {finding.code for finding in check([folder]).findings}
    (name,) = (rule.info.name for rule in RULES if rule.info.code == code)
    for word in (code, name):
        save(folder / "plansguard.json", {"options": {word: {"factor": factor}}})
        assert code not in {finding.code for finding in check([folder]).findings}


def test_every_option_is_tried() -> None:
    assert {rule.info.code for rule in RULES if rule.info.options} == {*THRESHOLDS}
