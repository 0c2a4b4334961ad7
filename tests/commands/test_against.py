"""``check --against REVISION``: only what a branch brings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Done, run
from tests.support.git import git, use_only_the_repository
from tests.support.reports import BROKEN, plans, save
from tests.support.services import assert_sarif
from tests.support.variants import lay_out, point_to, put

pytestmark = [pytest.mark.deep, pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")]

DATASET = "Dataset002_FinetuneCT"
OTHER = ("2d", [70, 70])
#: Settings that accept BROKEN, by the kind of their file.
IGNORING = {
    ".json": json.dumps({"ignore": [{"rule": "PG101", "reason": "on purpose"}]}),
    ".toml": '[[tool.plansguard.ignore]]\nrule = "PG101"\nreason = "on purpose"\n',
}


@pytest.fixture(autouse=True)
def repository(nowhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository as the current folder."""
    use_only_the_repository(monkeypatch)
    git("init", "--quiet", "--initial-branch=main")


def commit() -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", "x")


def check(*arguments: str) -> Done:
    return run("check", "--against", "main", *arguments)


def found(done: Done) -> list[tuple[str, str, bool]]:
    """Code, pointer and whether it is known of each finding."""
    return [(one["code"], one["pointer"], one["known"]) for one in done.json["findings"]]


def counts(*arguments: str) -> dict[str, Any]:
    """Numbers of new and known findings, and of those that are gone."""
    report = check(*arguments, "--output", "json").json
    numbers = report["summary"]
    return {
        "new": sum(numbers[severity] for severity in ("error", "warning", "info")),
        "known": numbers["baseline"],
        "gone": sum(entry["count"] for entry in report["compared"]["absent"]),
    }


def test_what_was_there_before_is_known() -> None:
    save("P.json", plans(BROKEN))
    commit()
    done = check()
    assert done.code == 0
    assert "1 known finding (git revision main)\n" in done.out
    assert done.out.endswith("no findings, 1 known in 1 file\n")


def test_a_changed_file() -> None:
    """The new finding fails; moved lines and other files do not matter; what is corrected is counted."""
    save("P.json", plans(BROKEN))
    commit()
    Path("P.json").write_text("\n\n" + json.dumps(plans(BROKEN, OTHER)))
    assert counts() == {"new": 2, "known": 1, "gone": 0}
    assert check().code == 1
    save("P.json", plans(OTHER))
    assert counts() == {"new": 2, "known": 0, "gone": 1}
    assert "1 finding of then is no longer there\n" in check().out
    save("P.json", plans(("3d_fullres", [56, 72, 64])))
    assert counts() == {"new": 1, "known": 0, "gone": 1}


def test_a_new_file_and_a_deleted_one() -> None:
    """Also before the new one is added to git."""
    save("a/P.json", plans(BROKEN, plans_name="P"))
    save("a/R.json", plans(plans_name="R"))
    commit()
    save("a/Q.json", plans(OTHER, plans_name="Q"))
    assert counts() == {"new": 2, "known": 1, "gone": 0}
    git("add", "--all")
    assert counts() == {"new": 2, "known": 1, "gone": 0}
    Path("a/Q.json").unlink()
    Path("a/P.json").unlink()
    assert counts() == {"new": 0, "known": 0, "gone": 1}


def test_a_renamed_file() -> None:
    """Its findings are not new, unless they are about the name."""
    save("a/P.json", plans(BROKEN))
    commit()
    Path("a/P.json").rename("a/Q.json")
    assert counts() == {"new": 0, "known": 1, "gone": 0}
    save("a/Q.json", plans(BROKEN, OTHER))
    assert counts() == {"new": 2, "known": 1, "gone": 0}
    Path("a/Q.json").write_text("{}")
    assert counts()["known"] == 0


def test_a_file_renamed_to_a_wrong_name() -> None:
    lay_out(Path(), DATASET)
    commit()
    folder = Path("nnUNet_preprocessed", DATASET)
    (folder / "nnUNetPlans.json").rename(folder / "Other.json")
    assert [(code, known) for code, _, known in found(check("--output", "json"))] == [("PG112", False)]


def test_a_new_folder() -> None:
    save("a/P.json", plans(BROKEN))
    commit()
    save("b/P.json", plans(BROKEN))
    assert counts() == {"new": 1, "known": 1, "gone": 0}


def test_ignored_documents_are_those_of_now() -> None:
    """Plans are in the repository, what planning writes beside them is not."""
    lay_out(Path(), DATASET)
    Path(".gitignore").write_text("dataset.json\ndataset_fingerprint.json\nnnUNet_raw\n")
    put("preprocessed/nnUNetPlans.json", "/configurations/2d/normalization_schemes", ["CTNormalization"] * 2)(
        Path(), DATASET
    )
    commit()
    report = check("--output", "json").json
    assert report["summary"]["baseline"] > 0
    assert [one["code"] for one in report["findings"] if not one["known"]] == []


def test_the_same_data_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw images and results are no documents: they are as now; the raw dataset.json is one."""
    lay_out(Path(), DATASET)
    point_to(Path.cwd(), monkeypatch)
    commit()
    before = counts("-d", "2")
    assert before["new"] == 0
    put("raw/dataset.json", "/labels/other", 7)(Path(), DATASET)
    new = [code for code, _, known in found(check("-d", "2", "--output", "json")) if not known]
    assert new == ["PG202"]


def test_a_subfolder_and_another_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    save("a/P.json", plans())
    commit()
    save("a/P.json", plans(BROKEN))
    commit()
    monkeypatch.chdir("a")
    assert run("check", "--against", "HEAD~1").code == 1
    assert run("check", "--against", "HEAD").code == 0
    assert run("check", "P.json", "--against", "HEAD").code == 0


def test_damaged_files() -> None:
    """They are never known; one that was damaged before does not hide others."""
    save("P.json", plans(BROKEN))
    Path("nnUNetPlans.json").write_text("{")
    commit()
    done = check()
    assert done.code == 2
    assert "PG001" in done.out
    assert "1 known finding" in done.out
    save("nnUNetPlans.json", plans(BROKEN))
    assert check().code == 1


def test_settings_of_now_apply() -> None:
    save("P.json", plans(BROKEN))
    save("plansguard.json", {"ignore": [{"rule": "PG101", "reason": "on purpose"}]})
    commit()
    save("P.json", plans(BROKEN, OTHER))
    assert check().code == 0
    save("plansguard.json", {})
    assert counts() == {"new": 2, "known": 1, "gone": 0}


@pytest.mark.parametrize("name", ["plansguard.json", "pyproject.toml"])
def test_entries_that_match_nothing(name: str) -> None:
    """With the documents of then alone, an entry that a branch brings matches nothing: that was no finding then."""
    save("P.json", plans())
    commit()
    Path(name).write_text(IGNORING[Path(name).suffix])
    assert counts() == {"new": 1, "known": 0, "gone": 0}
    save("P.json", plans(BROKEN))
    assert counts() == {"new": 0, "known": 0, "gone": 0}
    save("P.json", plans())
    commit()
    assert counts() == {"new": 0, "known": 1, "gone": 0}


def test_entries_of_ignored_settings() -> None:
    """As all that git ignores, the settings are taken for the same as then."""
    Path(".gitignore").write_text("mine.json\n")
    Path("mine.json").write_text(IGNORING[".json"])
    save("P.json", plans())
    commit()
    assert counts("--settings", "mine.json") == {"new": 0, "known": 1, "gone": 0}


def test_baseline_of_the_settings() -> None:
    """It gives way: what it contains was there before, too."""
    save("P.json", plans(BROKEN))
    save("plansguard.json", {"baseline": "plansguard-baseline.json"})
    assert run("baseline", "write").code == 0
    commit()
    assert "git revision main" in check().out
    done = check("--baseline", "plansguard-baseline.json")
    assert (done.code, "exclude" in done.err or "both say" in done.err) == (2, True)


@pytest.mark.parametrize("revision", ["nothing", "-h", "--all", "main:P.json", ""])
def test_revisions_that_are_none(revision: str) -> None:
    save("P.json", plans(BROKEN))
    commit()
    done = run("check", f"--against={revision}")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plansguard: git has no revision ")


def test_outside_of_a_repository(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("outside")
    save(folder / "P.json", plans(BROKEN))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    done = check(str(folder))
    assert (done.code, done.out) == (2, "")
    assert "not a git repository" in done.err


def test_in_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git sets variables for hooks that are relative to the root."""
    save("a/P.json", plans(BROKEN))
    commit()
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/index")
    assert check("a").code == 0


def test_sarif() -> None:
    save("P.json", plans(BROKEN))
    commit()
    save("P.json", plans(OTHER))
    log = check("--output", "sarif").json
    assert_sarif(log)
    assert sorted(one["baselineState"] for one in log["runs"][0]["results"]) == ["absent", "new", "new"]
