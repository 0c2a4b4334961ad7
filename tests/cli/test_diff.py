"""`plansguard diff`: output, exit codes, and plans in git."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from plansguard.documents.models.diff_document import DiffDocument
from plansguard.nnunet.plans_diff import CONSEQUENCES, FACETS, compare
from tests.support.command import run, start
from tests.support.git import git, use_only_the_repository
from tests.support.plans_files import CT, PREPROCESSED, Document, edited, fullres, load, save

pytestmark = pytest.mark.deep


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plans() -> Document:
    """Healthy plans of a CT dataset: 2d and 3d_fullres."""
    return load(CT / "nnUNetPlans.json")


def test_text(plans: Document) -> None:
    def change(copied: Document) -> None:
        copied["plans_name"] = "Other"
        fullres(copied)["spacing"][0] = 1.0
        fullres(copied)["architecture"]["arch_kwargs"]["strides"][1] = [2, 2, 2]
        fullres(copied)["architecture"]["arch_kwargs"].pop("dropout_op")

    done = run("diff", CT / "nnUNetPlans.json", save("B.json", edited(plans, change)))
    assert done.code == 0
    assert done.out == (
        "all configurations\n"
        "  bookkeeping: nothing that is trained or preprocessed\n"
        '    plans_name  "nnUNetPlans" -> "Other"\n'
        "\n"
        "3d_fullres\n"
        "  weights: weights trained with one do not load into the other's network\n"
        "    strides of stage 1, axis 0  1    -> 2\n"
        "    dropout_op                  null -> (nothing)\n"
        "  input: preprocessed data of one are not those of the other: preprocess for each\n"
        "    spacing  [2.5, 0.8, 0.8] -> [1, 0.8, 0.8]\n"
        "\n"
        "differences: 2 fields of weights, 1 field of input, 1 field of bookkeeping\n"
    )


def test_every_consequence_is_printed() -> None:
    out = run("diff", CT / "nnUNetPlans.json", PREPROCESSED / "Dataset002_FinetuneCT/nnUNetPlans.json").out
    assert all(f"  {facet}: {CONSEQUENCES[facet]}\n" in out for facet in FACETS)


def test_statistics_are_named_by_their_channel(plans: Document) -> None:
    """By the dataset.json beside the second plans, else by their number."""
    other = edited(plans, lambda copied: copied["foreground_intensity_properties_per_channel"]["0"].update(max=160.0))
    save("B.json", other)
    assert "    channel 0.max  148 -> 160\n" in run("diff", CT / "nnUNetPlans.json", "B.json").out
    save("dataset.json", load(CT / "dataset.json"))
    assert "    CT.max  148 -> 160\n" in run("diff", CT / "nnUNetPlans.json", "B.json").out


def test_statistics_of_a_channel_that_one_side_has(plans: Document) -> None:
    """The row named the channel alone, as if it were a field."""
    field = "foreground_intensity_properties_per_channel"
    save("B.json", edited(plans, lambda copied: copied[field].update({"1": copied[field]["0"]})))
    assert f"    {field} of channel 1  (nothing) -> " in run("diff", CT / "nnUNetPlans.json", "B.json").out


@pytest.mark.parametrize(
    ("scheme", "facet"),
    [
        ("CTNormalization", "input"),
        ("ZScoreNormalization", "bookkeeping"),
        ("RGBTo01Normalization", "bookkeeping"),
        ("OfSomeoneElse", "input"),
    ],
)
def test_statistics_that_nothing_reads_are_bookkeeping(plans: Document, scheme: str, facet: str) -> None:
    for configuration in plans["configurations"].values():
        configuration["normalization_schemes"] = [scheme]
    other = edited(plans, lambda copied: copied["foreground_intensity_properties_per_channel"]["0"].update(mean=1.0))
    assert [change.facet for change in compare(plans, other)] == [facet]
    other["configurations"]["2d"]["normalization_schemes"] = ["CTNormalization"]
    assert compare(plans, other)[0].facet == "input"


@pytest.mark.parametrize("beside", ["[]", "3", "null", '"x"', "{", '{"channel_names": ["CT"], "labels": {}}'])
def test_a_strange_dataset_json_gives_no_names(plans: Document, beside: str) -> None:
    other = edited(plans, lambda copied: copied["foreground_intensity_properties_per_channel"]["0"].update(max=160.0))
    save("B.json", other)
    Path("dataset.json").write_text(beside)
    assert "    channel 0.max  148 -> 160\n" in run("diff", CT / "nnUNetPlans.json", "B.json").out


def test_a_channel_of_many_digits(plans: Document) -> None:
    other = edited(plans, lambda copied: copied["foreground_intensity_properties_per_channel"].update({"9" * 5000: 1}))
    assert run("diff", CT / "nnUNetPlans.json", save("B.json", other)).code == 0


# --- exit codes, output ---


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [
        (None, 0),
        ("input", 1),
        ("weights", 0),
        ("weights,input", 1),
        (" weights , input ", 1),
        ("bookkeeping", 0),
        ("weights,training,bookkeeping", 0),
        ("", 0),
    ],
)
@pytest.mark.parametrize("output", ["text", "json"])
def test_fail_on(plans: Document, fail_on: str | None, code: int, output: str) -> None:
    other = save("B.json", edited(plans, lambda copied: fullres(copied)["spacing"].__setitem__(0, 1.0)))
    options = [] if fail_on is None else ["--fail-on", fail_on]
    assert run("diff", CT / "nnUNetPlans.json", other, "--output", output, *options).code == code


@pytest.mark.parametrize(
    ("addition", "removal"),
    [
        pytest.param({"inherits_from": "3d_fullres", "batch_size": 4}, False, id="inherited"),
        pytest.param({"inherits_from": "3d_fullres", "spacing": [1.0, 1.0, 1.0]}, False, id="other-input"),
        pytest.param({"inherits_from": "3d_fullres"}, True, id="removed"),
    ],
)
def test_fail_on_with_a_configuration_of_one_side(plans: Document, addition: Document, removal: bool) -> None:
    """Weights and data of the first plans do not depend on a configuration that only the second plans have."""
    longer = save("B.json", edited(plans, lambda copied: copied["configurations"].update(extra=addition)))
    sides = [longer, CT / "nnUNetPlans.json"] if removal else [CT / "nnUNetPlans.json", longer]
    done = run("diff", *sides, "--fail-on", ",".join(FACETS))
    assert (done.code, "1 configuration only in one of them" in done.out) == (int(removal), True)


def test_json() -> None:
    sides = [str(CT / "nnUNetPlans.json"), str(PREPROCESSED / "Dataset004_Slides2D/nnUNetPlans.json")]
    text = run("diff", *sides, "--output", "json").out
    document = DiffDocument.model_validate_json(text)
    assert (document.schema_, document.before, document.after) == ("plansguard/diff/1", *sides)
    found = compare(*(load(Path(side)) for side in sides))
    assert [(one.configuration, one.field, one.facet) for one in document.changes] == [
        (change.field.configuration, change.field.key, change.field.facet) for change in found
    ]
    assert sum(document.facets.values()) == len(found) > 20
    first = json.loads(text)["changes"][0]
    assert first == {
        "configuration": None,
        "field": "dataset_name",
        "facet": "bookkeeping",
        "before": "Dataset001_PretrainCT",
        "after": "Dataset004_Slides2D",
        "parts": [{"pointer": "", "before": "Dataset001_PretrainCT", "after": "Dataset004_Slides2D"}],
        "summary": "",
    }


def test_json_of_no_difference() -> None:
    document = run("diff", CT / "nnUNetPlans.json", CT / "nnUNetPlans.json", "--output", "json").json
    assert document["changes"] == []
    assert document["facets"] == dict.fromkeys(FACETS, 0)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["A.json", "A.json", "--fail-on", "weigths"], "'weigths' is not a facet", ", ".join(FACETS)),
        (["A.json", "A.json", "--output", "github"], "--output github is not known", "text, json"),
        (["A.json", "B.json"], "B.json: the file does not exist", "check the path"),
        (["A.json", "dataset.json"], "dataset.json holds no nnU-Net plans", "give two plans files"),
        (["A.json", "."], ".: this is a folder", "name a JSON file"),
        (["broken.json", "A.json"], "broken.json:1:2: the key oops has no quotes", "double quotes"),
    ],
)
def test_arguments_that_cannot_be_compared(plans: Document, arguments: list[str], message: str, hint: str) -> None:
    save("A.json", plans)
    shutil.copy(CT / "dataset.json", "dataset.json")
    Path("broken.json").write_text("{oops")
    done = run("diff", *arguments)
    assert (done.code, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first == f"plansguard: {message}"
    assert hint in second


# --- git ---


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with plans: a batch size of 2 in the first commit, of 3 in the second, of 4 in the working tree."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("history")
    plans = load(CT / "nnUNetPlans.json")
    git("init", "--quiet", folder=folder)
    for size in (2, 3, 4):
        fullres(plans)["batch_size"] = size
        save(folder / "study/plans/P.json", plans)
        if size < 4:
            commit(folder)
    git("tag", "v1", "HEAD~1", folder=folder)
    return folder


@pytest.fixture
def repository(history: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that repository as the current folder."""
    use_only_the_repository(monkeypatch)
    shutil.copytree(history, "repository")
    monkeypatch.chdir("repository")
    return Path.cwd()


def commit(folder: Path) -> None:
    git("add", ".", folder=folder)
    git("commit", "--quiet", "--message", "a change", folder=folder)


def batch_sizes(*sides: str | Path) -> list[Any]:
    """The batch sizes on both sides, where they differ."""
    done = run("diff", *sides, "--output", "json")
    assert done.code == 0, done.err
    return [(change["before"], change["after"]) for change in done.json["changes"] if change["field"] == "batch_size"]


@pytest.mark.parametrize(
    ("before", "after", "sizes"),
    [
        ("HEAD:study/plans/P.json", "study/plans/P.json", [(3, 4)]),
        ("HEAD~1:study/plans/P.json", "HEAD:study/plans/P.json", [(2, 3)]),
        ("v1:study/plans/P.json", "study/plans/P.json", [(2, 4)]),
        ("HEAD@{0}:study/plans/P.json", "HEAD:./study/plans/P.json", []),
    ],
)
def test_revisions(repository: Path, before: str, after: str, sizes: list[Any]) -> None:
    assert batch_sizes(before, after) == sizes


def test_revisions_from_a_folder_inside(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to the current folder, else, as for git, to the top folder."""
    monkeypatch.chdir("study")
    paths = ("plans/P.json", "../study/plans/P.json", f"{repository}/study/plans/P.json", "study/plans/P.json")
    for path in paths:
        assert batch_sizes(f"HEAD:{path}", "plans/P.json") == [(3, 4)]


def test_a_file_takes_precedence_over_a_revision(repository: Path) -> None:
    """A file whose name looks like a revision is read."""
    if os.name == "nt":
        pytest.skip("Windows has no such file names")
    shutil.copytree("study", "HEAD:study")
    assert batch_sizes("HEAD:study/plans/P.json", "study/plans/P.json") == []


def test_invalid_json_in_git(repository: Path) -> None:
    Path("P.json").write_text('{\n  "plans_name": oops\n}')
    commit(repository)
    done = run("diff", "HEAD:P.json", "study/plans/P.json")
    assert done.code == 2
    assert done.err.startswith("plansguard: HEAD:P.json:2:17: oops has no quotes\n")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nothing:study/plans/P.json", "git has no nothing:study/plans/P.json: "),
        ("HEAD:study/plans/Q.json", "git has no HEAD:study/plans/Q.json: "),
        ("HEAD~9:study/plans/P.json", "git has no HEAD~9:study/plans/P.json: "),
        ("HEAD:study", "git has no HEAD:study: "),
        ("HEAD:", "HEAD:: the file does not exist"),
        (":study/plans/P.json", ":study/plans/P.json: the file does not exist"),
        ("-p:study/plans/P.json", "git has no -p:study/plans/P.json: "),
        ("--help:study/plans/P.json", "git has no --help:study/plans/P.json: "),
        ("--output=stolen:study/plans/P.json", "git has no --output=stolen:study/plans/P.json: "),
    ],
)
def test_unknown_revisions(repository: Path, place: str, message: str) -> None:
    """The message has one line; a revision that looks like an option is not passed as one."""
    done = run("diff", "--", place, "study/plans/P.json")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0].startswith(f"plansguard: {message}")
    assert len(done.err.splitlines()) == 2
    assert "usage:" not in done.err
    assert sorted(path.name for path in repository.iterdir()) == [".git", "study"]


def test_revisions_outside_a_repository(plans: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(Path.cwd().parent))
    save("P.json", plans)
    done = run("diff", "HEAD:P.json", "P.json")
    assert done.code == 2
    assert "not a git repository" in done.err


def test_revisions_without_git(plans: Document) -> None:
    save("P.json", plans)
    done = start("diff", "HEAD:P.json", "P.json", environment={"PATH": str(Path.cwd())})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("plansguard: git is not installed, or not on PATH\n")


# --- long values ---


@pytest.mark.parametrize("count", [5, 100_000])
def test_a_long_list_is_summarised(plans: Document, count: int) -> None:
    a, b = (save(f"{value}.json", {**plans, "long": [0, *[value] * count]}) for value in (1, 2))
    started = time.perf_counter()
    out = run("diff", a, b).out
    seconds = time.perf_counter() - started
    if count == 5:
        assert "    long  [0, 1, 1, 1, 1, 1] -> [0, 2, 2, 2, 2, 2]\n" in out
        return
    assert "    long  100,000 of 100,001 values differ, first at /1: 1 -> 2\n" in out
    assert len(out.splitlines()) < 10
    assert seconds < 5
    (change,) = run("diff", a, b, "--output", "json").json["changes"]
    assert (change["before"], change["after"], change["parts"]) == (None, None, [])


def test_many_fields_are_cut(plans: Document) -> None:
    a, b = (save(f"{value}.json", {**plans, **dict.fromkeys(map(str, range(20_000)), value)}) for value in (1, 2))
    out = run("diff", a, b).out
    assert "    and 19800 more fields\n" in out
    assert len(out.splitlines()) < 210


@pytest.mark.parametrize(
    ("before", "after", "detail"),
    [
        ([1] * 2000, [1] * 1999, "1 of 2,000 values differ, first at /1999: 1 -> (nothing)"),
        ([float("nan")] * 2000, [float("nan")] * 1999 + [1], "1 of 2,000 values differ, first at /1999: NaN -> 1"),
        ({"a": [[1] * 2000]}, {"a": [[1] * 1999 + [{}]]}, "1 of 2,000 values differ, first at /a/0/1999: 1 -> {}"),
        ([1] * 2000, None, None),
        ([1] * 2000, [1.0] * 2000, None),
    ],
    ids=["shorter", "nan", "nested", "another-type", "equal-numbers"],
)
def test_the_summary_of_a_long_value(plans: Document, before: Any, after: Any, detail: str | None) -> None:
    found = compare({**plans, "long": before}, {**plans, "long": after})
    if detail is not None:
        assert (found[0].summary, found[0].parts) == (detail, ())
    elif after is None:
        assert found[0].summary.startswith("[1, 1, ")
        assert found[0].summary.endswith("... -> null")
    else:
        assert found == []


@pytest.mark.parametrize("threads", ["4,2", "x", ""])
def test_threads_that_numexpr_refuses(threads: str) -> None:
    """deepdiff loads pandas, which loads numexpr: a list is a value that OpenMP allows."""
    files = (CT / "nnUNetPlans.json", CT / "nnUNetResEncUNetMPlans.json")
    done = start("diff", *files, environment={"OMP_NUM_THREADS": threads})
    assert (done.returncode, done.stderr) == (0, "")
