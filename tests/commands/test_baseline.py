"""``plansguard baseline`` and ``check --baseline``: known findings, and what they never hide."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from plansguard.documents.file_names import BASELINE_NAME
from plansguard.records.baseline import is_baseline
from plansguard.render import FORMATS
from plansguard.rules import RULES
from tests.render.test_control_characters import AS_JSON, assert_harmless
from tests.support.command import Done, run, start
from tests.support.reports import BROKEN, evil_plans, plans, save
from tests.support.services import Page, assert_sarif
from tests.support.variants import FIXTURES, lay_out, place, put

pytestmark = pytest.mark.usefixtures("nowhere")

DATASET = "Dataset002_FinetuneCT"
OTHER = ("2d", [70, 70])


def entries() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(BASELINE_NAME).read_bytes())["findings"]
    return found


def check(*arguments: str) -> Done:
    return run("check", "--baseline", BASELINE_NAME, *arguments)


def wrote(done: Done) -> str:
    assert (done.code, done.err) == (0, "")
    return done.out.splitlines()[0].removeprefix(f"wrote {BASELINE_NAME}: ")


# --- Known and new findings


def test_known_findings_do_not_fail() -> None:
    save("P.json", plans(BROKEN))
    assert run("check").code == 1
    done = run("baseline", "write")
    assert wrote(done) == "1 known finding (1 new, 0 removed)"
    assert done.out.splitlines()[1:] == ["", "Next:", f"  plansguard check --baseline {BASELINE_NAME}"]
    done = check()
    assert done.code == 0
    assert f"1 known finding (baseline {BASELINE_NAME})\n" in done.out
    assert done.out.endswith("no findings, 1 known in 1 file\n")
    assert run("check").code == 1


def test_new_findings_fail() -> None:
    save("P.json", plans(BROKEN))
    run("baseline", "write")
    save("P.json", plans(BROKEN, OTHER))
    done = check()
    assert done.code == 1
    assert "2 errors, 1 known in 1 file" in done.out
    assert "[70, 70]" in done.out
    assert "[56, 70, 64]" not in done.out
    save("P.json", plans(("3d_fullres", [56, 72, 64])))
    assert check().code == 1  # another value is wrong now


def test_two_that_write_at_once() -> None:
    """Each keeps what the other has found: the file was read before, and written after it."""
    for folder in ("a", "b"):
        Path(folder).mkdir()
        save(f"{folder}/P.json", plans(BROKEN))
    with ThreadPoolExecutor() as both:
        done = list(both.map(lambda folder: start("baseline", "write", folder), ("a", "b")))
    assert [one.returncode for one in done] == [0, 0], done
    assert len(entries()) == 2


def test_a_folder_that_is_not_there() -> None:
    save("P.json", plans(BROKEN))
    done = run("baseline", "write", "--baseline", "absent/known.json")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plansguard: cannot write absent: No such file or directory\n")


def test_lines_move() -> None:
    save("P.json", plans(BROKEN))
    run("baseline", "write")
    Path("P.json").write_text("\n\n\n" + json.dumps(plans(BROKEN)))
    assert check().code == 0


def test_the_checkout_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    save("one/plans/P.json", plans(BROKEN))
    save("one/P.json", plans(BROKEN))
    lay_out(Path("one"), DATASET)
    put("preprocessed/nnUNetPlans.json", "/configurations/3d_fullres/patch_size/1", 70)(Path("one"), DATASET)
    monkeypatch.chdir("one")
    run("baseline", "write")
    assert len(entries()) == 3
    assert not [entry for entry in entries() if Path(entry["path"]).is_absolute() or "/one/" in str(entry)]
    monkeypatch.chdir("..")
    Path("one").rename("another place")
    assert run("check", "another place", "--baseline", f"another place/{BASELINE_NAME}").code == 0
    monkeypatch.chdir("another place")
    assert check().code == 0
    monkeypatch.chdir("plans")
    assert run("check", "..", "--baseline", f"../{BASELINE_NAME}").code == 0


def test_the_same_finding_more_often_is_new() -> None:
    """Files of the same name in folders of the same name are told apart; a copy in the same place is not known."""
    save("P.json", plans(BROKEN))
    run("baseline", "write")
    save("sub/P.json", plans(BROKEN))
    assert check().code == 1
    assert run("check", "P.json", "--baseline", BASELINE_NAME).code == 0


def test_several_findings_of_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The raw and the preprocessed dataset.json have the same place in their dataset."""
    lay_out(Path(), DATASET)
    put("preprocessed/dataset.json", "/labels", {"background": 0, "a": 0})(Path(), DATASET)
    shutil.copy(place(Path(), DATASET, "preprocessed/dataset.json"), place(Path(), DATASET, "raw/dataset.json"))
    run("baseline", "write")
    twice = [entry for entry in entries() if entry["count"] == 2]
    assert twice
    assert check().code == 0
    Path(BASELINE_NAME).write_text(Path(BASELINE_NAME).read_text().replace('"count": 2', '"count": 1'))
    assert check().code == 1


def test_consequences_follow_their_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry for an edit of migrated plans; data made with the earlier plans are its consequence."""
    lay_out(Path())
    for root in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{root}", f"nnUNet_{root}")
    run("migrate", "-s", "1", "-t", "2", "-tp", "Moved", "--output", "json=migration.json")
    put("preprocessed/Moved.json", "/configurations/3d_fullres/patch_size", [32, 96, 64])(Path(), DATASET)
    report = run("check", "--output", "json").json
    consequences = [one for one in report["findings"] if one["consequence_of"] is not None]
    causes = [one for one in report["findings"] if one["consequence_of"] is None]
    run("baseline", "write")
    assert {entry["fingerprint"] for entry in entries()} == {one["fingerprint"] for one in causes}
    known = check("--output", "json").json
    assert all(one["known"] for one in known["findings"])
    assert known["summary"]["baseline"] == len(causes)
    assert [one["code"] for one in known["findings"] if one["consequence_of"]] == [one["code"] for one in consequences]
    assert check("--fail-on", "info").code == 0


# --- What is never known


@pytest.mark.parametrize("code", [rule.info.code for rule in RULES if rule.info.incomplete])
def test_what_was_not_judged_is_in_no_baseline(code: str) -> None:
    save("P.json", plans(BROKEN))
    run("baseline", "write")
    text = Path(BASELINE_NAME).read_text()
    Path(BASELINE_NAME).write_text(text.replace('"code": "PG101"', f'"code": "{code}"'))
    done = check()
    assert done.code == 2
    assert f"{BASELINE_NAME}:9:7: {code} cannot be in a baseline" in done.err


@pytest.mark.parametrize("content", [b"{", b'{"a": "\xc8"}', b""])
def test_damaged_files_stay_damaged(content: bytes) -> None:
    save("P.json", plans(BROKEN))
    Path("nnUNetPlans.json").write_bytes(content)
    done = run("baseline", "write")
    assert done.code == 2
    assert done.err.startswith("not in the baseline: PG001 nnUNetPlans.json: ")
    (finding,) = (one for one in run("check", "--output", "json").json["findings"] if one["code"] == "PG001")
    assert done.err.splitlines()[1:] == [f"  fix: {finding['fix']}"]
    assert [entry["code"] for entry in entries()] == ["PG101"]
    done = check()
    assert done.code == 2
    assert "PG001" in done.out


# --- Entries that no longer occur


def test_an_entry_that_no_longer_occurs() -> None:
    save("P.json", plans(BROKEN, OTHER))
    run("baseline", "write")
    save("P.json", plans(OTHER))
    done = check()
    assert done.code == 0
    assert "1 finding of the baseline is no longer there; to remove: plansguard baseline prune\n" in done.out
    (absent,) = check("--output", "json").json["compared"]["absent"]
    assert (absent["code"], absent["path"], absent["count"]) == ("PG101", "P.json", 1)
    assert run("baseline", "prune").out == f"{BASELINE_NAME}: 1 finding removed, 2 left\n"
    assert "no longer" not in check().out
    assert run("baseline", "prune").out == f"{BASELINE_NAME}: nothing to remove, 2 left\n"
    save("P.json", plans(BROKEN, OTHER))
    assert check().code == 1


def test_a_file_that_is_gone() -> None:
    save("a/P.json", plans(BROKEN))
    save("a/Q.json", plans(BROKEN))
    run("baseline", "write")
    Path("a/Q.json").unlink()
    assert run("baseline", "prune").out == f"{BASELINE_NAME}: 1 finding removed, 1 left\n"


@pytest.mark.parametrize(
    "arguments",
    [("b",), ("-p", "P"), ("-c", "2d"), ("--settings", "few.json"), ("a/none",)],
)
def test_what_was_not_checked_may_still_be_there(arguments: tuple[str, ...]) -> None:
    """In other folders, in plans and by rules that were not meant, nothing is said to be gone."""
    save("a/P.json", plans(BROKEN))
    save("b/P.json", plans(OTHER))
    save("few.json", {"select": ["PG3"]})
    run("baseline", "write")
    save("a/P.json", plans())
    save("a/none/P.json", plans())
    assert "no longer" not in check(*arguments).out
    assert "no longer" in check().out


def test_data_that_were_not_read_may_still_be_wrong() -> None:
    save("P.json", plans(BROKEN))
    run("baseline", "write")
    document = json.loads(Path(BASELINE_NAME).read_bytes())
    document["data"] = "all"
    entry = {**document["findings"][0], "code": "PG507", "fingerprint": "0"}
    document["findings"].append(entry)
    save(BASELINE_NAME, document)
    run("baseline", "prune")
    assert [entry["code"] for entry in json.loads(Path(BASELINE_NAME).read_bytes())["findings"]] == ["PG101", "PG507"]


def test_writing_a_part_keeps_the_rest() -> None:
    save("a/P.json", plans(BROKEN))
    save("b/P.json", plans(OTHER))
    assert wrote(run("baseline", "write")) == "3 known findings (3 new, 0 removed)"
    save("b/P.json", plans())
    message = "1 known finding (0 new, 2 removed, 1 of what was not checked now)"
    assert wrote(run("baseline", "write", "b")) == message
    assert [entry["path"] for entry in entries()] == ["a/P.json"]


# --- The file


def test_the_same_findings_give_the_same_bytes() -> None:
    for folder in "bca":
        save(f"{folder}/P.json", plans(BROKEN, OTHER))
    run("baseline", "write")
    before = Path(BASELINE_NAME).read_bytes()
    assert is_baseline(Path(BASELINE_NAME))
    run("baseline", "write")
    assert Path(BASELINE_NAME).read_bytes() == before
    assert [entry["path"] for entry in entries()] == sorted(entry["path"] for entry in entries())


@pytest.mark.parametrize("action", ["write", "prune"])
@pytest.mark.parametrize(
    "content", ["notes\n", "{}\n", '{\n  "schema": "plansguard/report/1",\n}\n', json.dumps(plans())]
)
def test_no_other_file_is_written_over(action: str, content: str) -> None:
    save("P.json", plans(BROKEN))
    content = json.dumps(plans()) if content == "plans" else content
    Path("taken.json").write_text(content)
    done = run("baseline", action, "--baseline", "taken.json")
    assert done.code == 2
    assert "taken.json" in done.err
    assert Path("taken.json").read_text() == content


def test_a_report_does_not_replace_a_baseline() -> None:
    save("P.json", plans(BROKEN))
    run("baseline", "write")
    done = run("check", "--output", f"json={BASELINE_NAME}")
    assert done.code == 2
    assert is_baseline(Path(BASELINE_NAME))


@pytest.mark.parametrize(
    ("change", "place_of_it", "reason"),
    [
        (('"count": 1', '"count": 0'), "8:7", "findings.0.count"),
        (('"count": 1', '"count": 1, "count": 2'), "8:19", "the key 'count' occurs twice"),
        (('"fingerprint"', '"finger"'), "6:5", "findings.0.fingerprint"),
        (("{", "", 1), "2:11", "more text follows"),
        (("baseline/1", "baseline/2"), "2:3", "schema"),
    ],
)
def test_damaged_baselines(change: tuple[Any, ...], place_of_it: str, reason: str) -> None:
    save("P.json", plans(BROKEN))
    run("baseline", "write")
    Path(BASELINE_NAME).write_text(Path(BASELINE_NAME).read_text().replace(*change))
    done = check()
    assert done.code == 2
    assert done.err.startswith(f"plansguard: {BASELINE_NAME}:{place_of_it}")
    assert reason in done.err


def test_a_baseline_that_is_not_there() -> None:
    save("P.json", plans(BROKEN))
    for words in (("check", "--baseline", "x.json"), ("baseline", "prune", "--baseline", "x.json")):
        done = run(*words)
        assert done.code == 2
        assert done.err.splitlines() == [
            "plansguard: x.json: there is no baseline",
            "  write it first: plansguard baseline write --baseline x.json",
        ]


def test_nothing_to_check_writes_nothing() -> None:
    assert run("baseline", "write").code == 3
    assert not Path(BASELINE_NAME).exists()


def test_show() -> None:
    save("a/P.json", plans(BROKEN))
    run("baseline", "write")
    lines = run("baseline", "show").out.splitlines()
    assert lines[0].startswith("PG101 patch-not-divisible at a/P.json (3d_fullres): patch_size [56, 70, 64] is not")
    assert lines[1] == f"1 known finding in {BASELINE_NAME}"
    assert run("baseline", "show", "a").code == 2


def test_it_is_none_of_nnunets_documents() -> None:
    """Beside plans it is not taken for one, whatever messages it contains."""
    shutil.copytree(FIXTURES / "workspace/nnUNet_preprocessed" / DATASET, DATASET)
    put_broken = plans(BROKEN)
    save(f"{DATASET}/nnUNetPlans.json", put_broken)
    before = run("check", DATASET, "--output", "json").json["summary"]["documents"]
    for name in (BASELINE_NAME, "known-plans.json"):
        run("baseline", "write", DATASET, "--baseline", f"{DATASET}/{name}")
    assert run("check", DATASET, "--output", "json").json["summary"]["documents"] == before


# --- Settings and formats


def test_settings_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the settings; --baseline replaces it; commands that start something do not take it."""
    save("plansguard.json", {"baseline": "lists/known.json"})
    save("sub/P.json", plans(BROKEN))
    Path("lists").mkdir()
    assert run("check").code == 2
    assert run("baseline", "write").out == "wrote lists/known.json: 1 known finding (1 new, 0 removed)\n"
    assert run("check").code == 0
    monkeypatch.chdir("sub")
    assert run("check").code == 0
    assert "1 known finding" in run("baseline", "show").out
    assert run("check", "--baseline", "other.json").code == 2


def test_other_formats() -> None:
    save("P.json", plans(BROKEN, OTHER))
    run("baseline", "write")
    save("P.json", plans(("3d_fullres", [56, 72, 64]), OTHER))
    log = check("--output", "sarif").json
    assert_sarif(log)
    states = sorted(result["baselineState"] for result in log["runs"][0]["results"])
    assert states == ["absent", "new", *["unchanged"] * 2]
    assert len(json.loads(check("--output", "gitlab").out)) == 1
    assert check("--output", "github").out.count("::error") == 1
    assert check("--output", "concise").out.count("PG101") == 1
    shown = Page(check("--output", "markdown").out)
    assert len(shown.rows) == 2
    assert "2 known findings (baseline" in shown.text
    assert "[70, 70]" in shown.text
    text = check("--output", "junit").out
    assert text.count("<failure") == 1
    assert f'<skipped message="known: baseline {BASELINE_NAME}">' in text
    verbose = check("--verbose").out
    assert "known: PG101 patch-not-divisible at P.json:" in verbose
    assert "no longer there: PG101 patch-not-divisible at P.json" in verbose


@pytest.mark.parametrize("output", [name for name in FORMATS if name != "html"])
def test_hostile_text_is_harmless(output: str) -> None:
    """In the baseline, in the list of it, and among known findings."""
    save("P.json", evil_plans())
    run("baseline", "write")
    assert entries()
    assert Path(BASELINE_NAME).read_bytes().isascii()
    assert_harmless(run("baseline", "show").out)
    known = check("--fail-on", "info", "--output", output, "--verbose")
    assert known.code == 0
    if output not in AS_JSON:
        assert_harmless(known.out, commands=output == "github")
    save("P.json", plans())
    gone = check("--output", output, "--verbose")
    if output not in AS_JSON:
        assert_harmless(gone.out)
    if output == "markdown":
        assert Page(known.out).mentions() == Page(gone.out).mentions() == []
