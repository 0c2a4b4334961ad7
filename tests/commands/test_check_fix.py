"""``plansguard check --fix`` and ``--diff``."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from plansguard.commands.corrections import corrections_of, write
from plansguard.core.errors import WriteRefused
from plansguard.documents import json_document
from plansguard.rules import RULES
from tests.rules import ALL_VARIANTS
from tests.support.command import run
from tests.support.moves import move
from tests.support.variant_runs import laid_out, prepare, report_of
from tests.support.variants import DATASET_JSON, FIXTURES, PLANS, RAW_DATASET_JSON, Variant, in_both, place, put

CT = "Dataset002_FinetuneCT"
#: Rules that declare a correction.
CORRECTING = {"PG105", "PG112", "PG113", "PG206"}
#: One fault of each kind that is corrected, in two files.
FAULTS = (
    put(PLANS, "/plans_name", "Other"),
    put(PLANS, "/dataset_name", "Dataset001_PretrainCT"),
    put(PLANS, "/transpose_backward", [1, 2, 0]),
    *in_both("/labels", {"background": 0, "kidney": [1, 2]}),
)
#: Variants of rules with a correction in which it is not certain.
UNCERTAIN = {
    "transpose-with-an-axis-twice",
    "transpose-with-an-axis-that-images-lack",
    "transposes-of-two-axes",
    "regions-with-too-short-an-order",
}

checks = [variant for variant in ALL_VARIANTS if variant.command == ("check",) and not variant.training]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*.json"))}


# --- every variant ---


@pytest.mark.slow
@pytest.mark.parametrize("variant", checks, ids=lambda variant: variant.name)
def test_after_a_correction_the_finding_is_gone_and_none_is_new(
    variant: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = laid_out(variant, tmp_path, monkeypatch)
    prepare(workspace, variant, monkeypatch)
    report, before = report_of(workspace, variant), contents(workspace)
    corrections = corrections_of(report)
    write(corrections)
    corrected = [finding for finding in report.active if finding.corrections]
    assert not corrections.refused
    assert {finding.code for finding in corrected} <= CORRECTING
    assert bool(corrected) is (
        bool({code for code, *_ in variant.expect} & CORRECTING) and variant.name not in UNCERTAIN
    )
    remaining = [(one.code, one.location.pointer) for one in report_of(workspace, variant).active]
    assert remaining == [(one.code, one.location.pointer) for one in report.active if one not in corrected]
    changed = {path for path, content in contents(workspace).items() if before.get(path) != content}
    assert changed == {file.path for file in corrections.files}


@pytest.mark.parametrize("code", sorted(CORRECTING))
def test_every_correction_has_a_variant(code: str) -> None:
    assert any(code in {one for one, *_ in variant.expect} and variant.name not in UNCERTAIN for variant in checks)
    assert code in {rule.info.code for rule in RULES}


# --- the command ---


@pytest.mark.workspace(CT, edits=FAULTS, chdir=True)
def test_fix(workspace: Path) -> None:
    done = run("check", "-d", "2", "--fix")
    folder = f"{workspace}/nnUNet_preprocessed/{CT}"
    assert done.code == 0, done.out
    *lines, last = done.out.splitlines()
    assert lines[0] == (
        f"corrected {folder}/dataset.json: PG206 regions-without-order"
        if "dataset.json" in lines[0]
        else f"corrected {folder}/nnUNetPlans.json: PG105 transposes-not-inverse, PG112 plans-name-differs, "
        "PG113 dataset-name-differs"
    )
    assert len([line for line in lines if line.startswith("corrected ")]) == 3
    assert last.startswith("no findings in ")
    fixture = FIXTURES / "workspace/nnUNet_preprocessed" / CT / "nnUNetPlans.json"
    assert place(workspace, CT, PLANS).read_bytes() == fixture.read_bytes()
    for file in (DATASET_JSON, RAW_DATASET_JSON):
        assert json.loads(place(workspace, CT, file).read_bytes())["regions_class_order"] == [1]
    assert not list(Path(folder).glob(".*"))


@pytest.mark.workspace(CT, edits=FAULTS, chdir=True)
def test_diff_writes_nothing_and_shows_what_fix_writes(workspace: Path) -> None:
    before = contents(workspace)
    done = run("check", "nnUNet_preprocessed", "--diff", "--output", "text", "--output", "json=report.json")
    assert done.code == 1
    assert {path: content for path, content in contents(workspace).items() if path.name != "report.json"} == before
    assert done.err == "4 of 4 findings can be corrected by --fix\n"
    corrections = [one["corrections"] for one in json.loads(Path("report.json").read_bytes())["findings"]]
    assert [len(edits) for edits in corrections].count(2) == 1
    copy = workspace / "copy"
    shutil.copytree(workspace / "nnUNet_preprocessed", copy / "nnUNet_preprocessed")
    shutil.copytree(workspace / "nnUNet_raw", copy / "nnUNet_raw")
    patch = done.out.replace(f"{workspace}/", "")
    applied = subprocess.run(
        ["git", "apply", "-p0"], cwd=copy, input=patch, text=True, capture_output=True, check=False
    )
    assert applied.returncode == 0, applied.stderr
    assert run("check", "nnUNet_preprocessed", "--fix").code == 0
    fixed = {path.relative_to(workspace): content for path, content in contents(workspace).items()}
    assert {path.relative_to(copy): content for path, content in contents(copy).items()}.items() <= fixed.items()


@pytest.mark.workspace(CT, chdir=True)
def test_without_findings(workspace: Path) -> None:
    before = contents(workspace)
    assert run("check", "-d", "2", "--fix") == run("check", "-d", "2")
    done = run("check", "-d", "2", "--diff")
    assert (done.code, done.out, done.err) == (0, "", "0 of 0 findings can be corrected by --fix\n")
    assert contents(workspace) == before


@pytest.mark.workspace(CT, chdir=True)
def test_a_difference_of_findings_that_no_correction_has(workspace: Path) -> None:
    """The exit code is that of the findings, which the difference does not show."""
    done = run("check", "-d", "2", "-c", "nope", "--diff")
    assert (done.code, done.out) == (2, "")
    assert done.err == "0 of 1 finding can be corrected by --fix; without --diff, all are listed\n"


@pytest.mark.workspace(CT, edits=FAULTS, chdir=True)
def test_a_report_says_how_many_can_be_corrected(workspace: Path) -> None:
    assert ", 4 to be corrected by --fix in " in run("check", "-d", "2").out


def test_fix_and_diff() -> None:
    done = run("check", "--fix", "--diff")
    assert (done.code, done.out) == (2, "")


@pytest.mark.workspace(CT, "Dataset003_TwoChannelMR", chdir=True)
def test_several_paths(workspace: Path) -> None:
    """Two files of one folder, and a folder; all else stays."""
    paths = [place(workspace, CT, PLANS), place(workspace, "Dataset003_TwoChannelMR", "preprocessed")]
    put(PLANS, "/plans_name", "x")(workspace, CT)
    put(PLANS, "/dataset_name", "x")(workspace, "Dataset003_TwoChannelMR")
    done = run("check", *paths, "--fix")
    assert done.code == 0, done.out
    assert done.out.count("corrected ") == 2


@pytest.mark.workspace(CT, edits=(put(PLANS, "/plans_name", "x"),), chdir=True)
@pytest.mark.parametrize("layout", [{"indent": 1}, {"separators": (",", ":")}, {"indent": "\t"}], ids=str)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_all_other_bytes_stay(workspace: Path, layout: dict[str, object], line_end: str) -> None:
    path = place(workspace, CT, PLANS)
    text = json.dumps(json.loads(path.read_bytes()), **layout).replace("\n", line_end) + line_end  # type: ignore[arg-type]
    path.write_bytes(text.encode())
    path.chmod(0o640)
    assert run("check", "-d", "2", "--fix").code == 0
    assert path.read_bytes().decode() == text.replace('"x"', '"nnUNetPlans"')
    assert path.stat().st_mode & 0o777 == 0o640


# --- what is not written ---


def refused(workspace: Path, *arguments: str | Path) -> None:
    """A check with --fix writes nothing, and its findings remain."""
    before = contents(workspace)
    done = run("check", *arguments, "--fix", "--output", "json")
    assert done.code == 1
    assert {
        code: edits for code, edits in ((one["code"], one["corrections"]) for one in done.json["findings"]) if edits
    } == {}
    assert contents(workspace) == before


@pytest.mark.workspace(CT, edits=(put(PLANS, "/plans_name", "x"),))
def test_not_through_a_link_to_a_file(workspace: Path) -> None:
    path = place(workspace, CT, PLANS)
    path.rename(workspace / "elsewhere.json")
    path.symlink_to(workspace / "elsewhere.json")
    refused(workspace, "-d", "2")


@pytest.mark.workspace(CT)
def test_not_through_a_link_to_the_folder_of_another_dataset(workspace: Path) -> None:
    link = workspace / "nnUNet_preprocessed/Dataset009_Alias"
    link.symlink_to(place(workspace, CT, "preprocessed"))
    refused(workspace, link)


@pytest.mark.workspace(CT)
def test_no_plans_of_a_trained_model(workspace: Path) -> None:
    folder = workspace / "nnUNet_results" / CT / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    folder.mkdir(parents=True)
    put(PLANS, "/transpose_backward", [1, 2, 0])(workspace, CT)
    for name in ("dataset.json", "nnUNetPlans.json"):
        shutil.copy(place(workspace, CT, f"preprocessed/{name}"), folder / name.replace("nnUNetPlans", "plans"))
    refused(workspace, folder)


@pytest.mark.workspace(CT, "Dataset001_PretrainCT", edits=(move(),))
def test_migrated_plans_become_what_the_migration_wrote(workspace: Path) -> None:
    path = place(workspace, CT, "preprocessed/PretrainPlans.json")
    written = path.read_bytes()
    put("preprocessed/PretrainPlans.json", "/plans_name", "x")(workspace, CT)
    assert run("check", "-d", "2", "-p", "PretrainPlans", "--fix").code == 0
    assert path.read_bytes() == written


@pytest.mark.workspace(CT, "Dataset001_PretrainCT", edits=(move(),))
def test_no_migrated_plans_whose_record_would_not_hold(workspace: Path) -> None:
    """A copy with the record beside it: what the record describes has another name."""
    folder = place(workspace, CT, "preprocessed")
    for ending in (".json", ".plansguard.json"):
        shutil.copy(folder / f"PretrainPlans{ending}", folder / f"Copy{ending}")
    refused(workspace, "-d", "2", "-p", "Copy")


@pytest.mark.workspace(CT, edits=(put(PLANS, "/plans_name", "Trained"),))
def test_no_file_that_was_renamed_after_a_training(workspace: Path) -> None:
    fold = workspace / "nnUNet_results" / CT / "nnUNetTrainer__Trained__3d_fullres/fold_0"
    fold.mkdir(parents=True)
    (fold / "checkpoint_final.pth").touch()
    refused(workspace, "-d", "2", "-p", "nnUNetPlans")


@pytest.mark.workspace(CT, edits=FAULTS)
def test_a_file_that_was_changed_meanwhile(workspace: Path) -> None:
    from plansguard.commands.check import check

    corrections = corrections_of(check(datasets=["2"]))
    path = place(workspace, CT, PLANS)
    path.write_bytes(json_document.dumps({"mine": 1}))
    with pytest.raises(WriteRefused, match="was changed while it was checked"):
        write(corrections)
    assert json.loads(path.read_bytes()) == {"mine": 1}
