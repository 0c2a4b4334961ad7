"""`plansguard check` finds nnU-Net's files, checks those of a dataset together, and ends with an exit code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plansguard.commands.check import check
from plansguard.core.errors import UsageError
from plansguard.render import render
from plansguard.subjects import discovery
from tests.support.command import run, start
from tests.support.permissions import bound_by_permissions, closed, posix_permissions
from tests.support.variants import FIXTURES, ROOTS, place, point_to, put, remove

CT, OTHER_CT = "Dataset001_PretrainCT", "Dataset002_FinetuneCT"
PLANS = "preprocessed/nnUNetPlans.json"
#: One fault, reported at one place: the sign that a file has been checked.
FAULT = put(PLANS, "/configurations/3d_fullres/patch_size/1", 70)
FAULT_CODE = "PG101"


pytestmark = [pytest.mark.usefixtures("nowhere"), pytest.mark.workspace(CT, OTHER_CT, variables=False)]


class Judged(NamedTuple):
    """How a check ended: exit code, (code, file) of every finding, number of documents, the whole report."""

    code: int
    found: list[tuple[str, str]]
    documents: int
    report: dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The preprocessed folder of a dataset, copied to a folder of another name: as in a repository."""
    return Path(shutil.copytree(FIXTURES / "workspace" / ROOTS["preprocessed"] / OTHER_CT, "plans/kidney"))


@pytest.fixture
def variables(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace with the variables set."""
    point_to(workspace, monkeypatch)
    return workspace


def judge(
    *paths: str | Path, datasets: tuple[str, ...] = (), plans: str | None = None, configuration: str | None = None
) -> Judged:
    """Check through the library and through the command line: both must give the same result."""
    report = check(paths, datasets=datasets, plans=plans, configuration=configuration)
    options = [word for one in datasets for word in ("-d", one)]
    options += ["-p", plans] if plans else []
    options += ["-c", configuration] if configuration else []
    done = run("check", *paths, *options, "--output", "json")
    assert done.json == json.loads(render(report, "json"))
    assert done.code == report.exit_code()
    found = [(finding["code"], Path(finding["path"]).as_posix()) for finding in done.json["findings"]]
    return Judged(done.code, found, done.json["summary"]["documents"], done.json)


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a JSON file at any place."""
    document = json.loads(file.read_bytes())
    change(document)
    file.write_text(json.dumps(document))


def break_patch(file: Path) -> None:
    """The same fault as FAULT, in plans at another place."""
    edit(file, lambda plans: plans["configurations"]["3d_fullres"]["patch_size"].__setitem__(1, 70))


def reasons(judged: Judged) -> set[str]:
    return {one["reason"] for one in judged.report["not_checked"]}


def link(place: Path, target: str | Path) -> None:
    """A symbolic link, or a skipped test where the system has none for us."""
    try:
        place.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not let us make links")


# --- one file ---


def test_plans_alone(folder: Path) -> None:
    shutil.copy(folder / "nnUNetPlans.json", "mine.json")
    judged = judge("mine.json")
    assert (judged.code, judged.found, judged.documents) == (0, [], 1)
    assert "there is no dataset.json beside the plans: put it there" in reasons(judged)
    break_patch(Path("mine.json"))
    judged = judge("mine.json")
    assert (judged.code, judged.found) == (1, [(FAULT_CODE, "mine.json")])


@pytest.mark.parametrize("named", ["nnUNetPlans.json", "dataset.json", "splits_final.json"])
def test_a_file_is_judged_with_what_lies_beside_it(folder: Path, named: str) -> None:
    edit(folder / "dataset.json", lambda document: document["channel_names"].update({"1": "CT"}))
    judged = judge(folder / named)
    here = "plans/kidney"
    expected = {("PG304", f"{here}/nnUNetPlans.json"), ("PG304", f"{here}/nnUNetResEncUNetMPlans.json")}
    assert expected <= set(judged.found)
    assert (judged.code, judged.documents) == (1, 5)


def test_a_folder_named_several_times_is_judged_once(folder: Path) -> None:
    break_patch(folder / "nnUNetPlans.json")
    judged = judge(folder / "nnUNetPlans.json", folder, folder / "dataset.json", "plans", "plans/../plans/kidney")
    assert (judged.found, judged.documents) == ([(FAULT_CODE, "plans/kidney/nnUNetPlans.json")], 5)


def test_a_file_under_another_name(folder: Path) -> None:
    """Files are recognized by their content: a renamed dataset.json is used as long as it is the only one."""
    edit(folder / "dataset.json", lambda document: document["channel_names"].update({"1": "CT"}))
    (folder / "dataset.json").rename(folder / "kidney.json")
    assert ("PG304", "plans/kidney/nnUNetPlans.json") in judge(folder).found
    shutil.copy(folder / "kidney.json", folder / "kidney_old.json")
    judged = judge(folder)
    assert "PG304" not in {code for code, _ in judged.found}
    assert "several files could be dataset.json: keep one beside the plans" in reasons(judged)


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UsageError, match="there is no plans"):
        check(["plans/nothing.json"])
    done = run("check", "plans/nothing.json", folder)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plansguard: there is no plans/nothing.json\n")


def test_a_named_file_that_is_not_nnunets() -> None:
    """`no findings` would sound as if it had been judged."""
    Path("package.json").write_text(OTHER_FILES["package.json"])
    assert judge("package.json")[:3] == (3, [], 0)
    Path("broken.json").write_text("{")
    assert judge("broken.json")[:3] == (3, [], 0)
    Path("broken.json").write_text('{"plans_name": "mine", "configurations": {')
    assert judge("broken.json")[:3] == (2, [("PG001", "broken.json")], 1)


def test_a_named_file_with_the_content_of_another(folder: Path) -> None:
    shutil.copy(folder / "dataset.json", "MyPlans.json")
    judged = judge("MyPlans.json")
    assert (judged.code, judged.found) == (1, [("PG004", "MyPlans.json")])


# --- folders ---


def test_dataset_folder(workspace: Path) -> None:
    here = f"{ROOTS['preprocessed']}/{OTHER_CT}"
    assert judge(here)[:3] == (0, [], 5)
    FAULT(workspace, OTHER_CT)
    assert judge(here)[:3] == (1, [(FAULT_CODE, f"{here}/nnUNetPlans.json")], 5)


def test_preprocessed_root(workspace: Path) -> None:
    root = ROOTS["preprocessed"]
    FAULT(workspace, OTHER_CT)
    assert judge(root)[:3] == (1, [(FAULT_CODE, f"{root}/{OTHER_CT}/nnUNetPlans.json")], 10)


def test_workspace(workspace: Path) -> None:
    """Raw dataset.json, preprocessed folders and the trained model, each judged for what it is."""
    assert judge(workspace)[:3] == (0, [], 2 + 10 + 3)
    FAULT(workspace, OTHER_CT)
    put("raw/dataset.json", "/numTraining", "7")(workspace, CT)
    found = judge(workspace).found
    assert (FAULT_CODE, f"{workspace.as_posix()}/{ROOTS['preprocessed']}/{OTHER_CT}/nnUNetPlans.json") in found
    assert ("PG005", f"{workspace.as_posix()}/{ROOTS['raw']}/{CT}/dataset.json") in found


def test_current_folder_if_nothing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_patch(folder / "nnUNetPlans.json")
    assert judge()[:3] == (1, [(FAULT_CODE, "plans/kidney/nnUNetPlans.json")], 5)
    monkeypatch.chdir(folder)
    assert judge()[:3] == (1, [(FAULT_CODE, "nnUNetPlans.json")], 5)


def test_several_paths(workspace: Path) -> None:
    put(PLANS, "/configurations/2d/patch_size/1", 100)(workspace, CT)
    FAULT(workspace, OTHER_CT)
    paths = [f"{ROOTS['preprocessed']}/{dataset}" for dataset in (CT, OTHER_CT)]
    assert judge(*paths).found == [(FAULT_CODE, f"{path}/nnUNetPlans.json") for path in paths]


def test_model_folder(workspace: Path) -> None:
    """There the plans are called plans.json, whatever their plans_name; -p goes by the name in them."""
    model = place(workspace, CT, "results/nnUNetTrainer__nnUNetPlans__3d_fullres")
    assert judge(model)[:3] == (0, [], 3)
    assert judge(model, plans="nnUNetPlans", configuration="3d_fullres").found == []
    break_patch(model / "plans.json")
    assert judge(model, plans="nnUNetPlans").found == [
        (FAULT_CODE, f"{model.as_posix()}/plans.json"),
        ("PG610", f"{model.as_posix()}/fold_0/checkpoint_final.pth"),  # the weights were trained without the fault
    ]
    assert [code for code, _ in judge(model, plans="OtherPlans").found] == ["PG114", "PG610"]


def test_folders_of_arrays_and_images_are_not_searched(workspace: Path) -> None:
    """They hold thousands of files, and what looks like plans there is none of nnU-Net's."""
    for hidden in (f"preprocessed/{name}" for name in ("nnUNetPlans_of_old", "gt_segmentations")):
        place(workspace, OTHER_CT, hidden).mkdir()
        place(workspace, OTHER_CT, f"{hidden}/OddPlans.json").write_text("{")
    for hidden in ("imagesTr", "labelsTr"):
        place(workspace, OTHER_CT, f"raw/{hidden}/OddPlans.json").write_text("{")
    Path(".git").mkdir()
    Path(".git/OddPlans.json").write_text("{")
    assert judge()[:2] == (0, [])


# --- files of other programs ---


OTHER_FILES = {
    "package.json": '{"name": "x", "configurations": {}}',
    "tsconfig.json": '{\n  // comments are fine there\n  "compilerOptions": {},\n}',
    "instances_train.json": '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "labels"}]}',
    "broken.json": "{",
    "dataset.json": '{"name": "a data set of another kind", "columns": []}',
    "floorplans.json": '{"rooms": 4}',
    "plans.json": '[{"price": 10}]',
}


def test_a_repository_with_other_json(folder: Path) -> None:
    for name, content in OTHER_FILES.items():
        Path(name).write_text(content)
    Path("pictures.json").write_bytes(b"\xff\xfe\x00")
    assert judge()[:3] == (0, [], 5)
    break_patch(folder / "nnUNetPlans.json")
    assert judge()[:3] == (1, [(FAULT_CODE, "plans/kidney/nnUNetPlans.json")], 5)


def test_a_repository_with_nothing_but_other_json() -> None:
    for name, content in OTHER_FILES.items():
        Path(name).write_text(content)
    assert judge()[:3] == (3, [], 0)


def test_a_named_file_that_is_called_like_plans() -> None:
    """As pre-commit names all changed JSON files."""
    Path("pricing_plans.json").write_text(OTHER_FILES["floorplans.json"])
    assert judge("pricing_plans.json")[:3] == (3, [], 0)
    Path("pricing_plans.json").rename("MyPlans.json")
    assert judge("MyPlans.json")[:2] == (1, [("PG004", "MyPlans.json")])


def test_names_that_count_where_nnunets_documents_are(folder: Path) -> None:
    """The same files beside real plans are what nnU-Net would open."""
    for name in ("floorplans.json", "plans.json", "package.json", "tsconfig.json"):
        (folder / name).write_text(OTHER_FILES[name])
    (folder / "splits_final.json").write_text("{")
    judged = judge(folder)
    here = "plans/kidney"
    assert sorted(judged.found) == [
        ("PG001", f"{here}/splits_final.json"),
        ("PG004", f"{here}/floorplans.json"),
        ("PG004", f"{here}/plans.json"),
    ]
    assert judged.code == 2


def test_a_broken_file_with_a_name_of_nnunets() -> None:
    """Where nothing else is, a name has to be telling; in a dataset's folder every name of nnU-Net's is."""
    Path("here").mkdir()
    for name in ("dataset.json", "plans.json"):
        Path("here", name).write_text("{")
    assert judge("here").code == 3
    Path("here/nnUNetPlans.json").write_text("{")
    assert judge("here")[:2] == (2, [("PG001", "here/nnUNetPlans.json")])
    Path("here").rename("Dataset007_Mine")
    assert judge().found == [
        ("PG001", f"Dataset007_Mine/{name}") for name in ("dataset.json", "nnUNetPlans.json", "plans.json")
    ]


def test_the_settings_are_no_plans(folder: Path) -> None:
    """plansguard.json has 'plans' in its name, and a pre-commit hook hands it over by name."""
    (folder / "plansguard.json").write_text('{"fail_on": "warning"}')
    assert judge(folder)[:3] == (0, [], 5)
    assert judge(folder / "plansguard.json")[:3] == (0, [], 5)
    Path("plansguard.json").write_text("{}")
    assert judge("plansguard.json")[:3] == (3, [], 0)


# --- nothing to check ---


def test_nothing_found() -> None:
    assert judge()[:3] == (3, [], 0)
    done = run("check")
    assert done.out == "nothing to check: no plans, dataset.json, fingerprint or splits were found\n"
    assert run("check", "--allow-empty") == (0, done.out, "")


def test_allow_empty_hides_nothing_else(folder: Path) -> None:
    break_patch(folder / "nnUNetPlans.json")
    assert run("check", "--allow-empty").code == 1
    (folder / "nnUNetPlans.json").write_text("{")
    assert run("check", "--allow-empty").code == 2


# --- -d, -p, -c ---


@pytest.mark.parametrize("dataset", ["2", "002", OTHER_CT])
def test_dataset_by_id_or_name(variables: Path, dataset: str) -> None:
    FAULT(variables, OTHER_CT)
    judged = judge(datasets=(dataset,))
    assert judged[:3] == (1, [(FAULT_CODE, place(variables, OTHER_CT, PLANS).as_posix())], 5)
    assert judged.report["inputs"] == [dataset]


def test_several_datasets_and_a_path(variables: Path, folder: Path) -> None:
    FAULT(variables, OTHER_CT)
    break_patch(folder / "nnUNetPlans.json")
    judged = judge(folder, datasets=("1", OTHER_CT))
    assert judged[:3] == (
        1,
        [
            (FAULT_CODE, place(variables, OTHER_CT, PLANS).as_posix()),
            (FAULT_CODE, "plans/kidney/nnUNetPlans.json"),
        ],
        15,
    )
    assert judged.report["inputs"] == ["plans/kidney", "1", OTHER_CT]


def test_a_dataset_named_several_ways_is_judged_once(variables: Path) -> None:
    FAULT(variables, OTHER_CT)
    judged = judge(place(variables, OTHER_CT, PLANS), datasets=("2", OTHER_CT, "002"))
    assert judged[:3] == (1, [(FAULT_CODE, place(variables, OTHER_CT, PLANS).as_posix())], 5)


@pytest.mark.parametrize("where", ["", ROOTS["preprocessed"], f"{ROOTS['preprocessed']}/{OTHER_CT}"])
def test_settings_beside_the_data_hold_for_dataset_ids(
    variables: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the check is started from."""
    FAULT(variables, OTHER_CT)
    Path(where, "plansguard.json").write_text('{"severity": {"PG101": "warning"}}')
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert judge(datasets=("2",)).code == 0


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("9", "no dataset has the id 9"),
        ("Dataset009_Nothing", "Dataset009_Nothing has no folder in"),
        ("kidney", "'kidney' is neither a dataset id (2) nor a dataset name"),
    ],
)
def test_unknown_dataset(variables: Path, dataset: str, message: str) -> None:
    done = run("check", "-d", dataset)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert OTHER_CT in done.err


def test_part_of_a_name_is_not_told_to_be_planned(variables: Path) -> None:
    """Planning again would delete the data of the dataset that is meant."""
    done = run("check", "-d", OTHER_CT[:10])
    assert (done.code, done.out) == (2, "")
    assert f"did you mean {OTHER_CT}?" in done.err
    assert "nnUNetv2_plan" not in done.err


def test_dataset_without_the_variables(workspace: Path) -> None:
    done = run("check", "-d", "2")
    assert done.code == 2
    assert "nnUNet_preprocessed=(not set)" in done.err
    assert "nnUNet_preprocessed is not set" in run("check", "-d", OTHER_CT).err


def test_one_of_several_plans(variables: Path) -> None:
    FAULT(variables, OTHER_CT)
    assert [code for code, _ in judge(datasets=("2",), plans="nnUNetPlans").found] == [FAULT_CODE]
    assert judge(datasets=("2",), plans="nnUNetResEncUNetMPlans").found == []


def test_one_configuration(variables: Path) -> None:
    FAULT(variables, OTHER_CT)
    judged = judge(datasets=("2",), configuration="3d_fullres")
    assert [code for code, _ in judged.found] == [FAULT_CODE]
    assert judged.report["findings"][0]["configuration"] == "3d_fullres"
    assert judge(datasets=("2",), configuration="2d").found == []


def test_unknown_plans_and_configuration(variables: Path) -> None:
    judged = judge(datasets=("2",), plans="nnUNetPlan")
    assert judged[:2] == (2, [("PG114", place(variables, OTHER_CT, "preprocessed").as_posix())])
    assert "use -p nnUNetPlans" in judged.report["findings"][0]["fix"]
    judged = judge(datasets=("2",), configuration="3d_fulres")
    assert judged[:2] == (2, [("PG107", place(variables, OTHER_CT, PLANS).as_posix())])
    assert judged.report["findings"][0]["fix"] == "use -c 3d_fullres"


# --- links, permissions, odd files ---


def test_linked_dataset_folders(workspace: Path) -> None:
    """Data on another disk: the folder is followed, keeps the name it has here, and is judged once."""
    FAULT(workspace, OTHER_CT)
    real = place(workspace, OTHER_CT, "preprocessed")
    real.rename("elsewhere")
    link(real, workspace / "elsewhere")
    link(Path("again"), "elsewhere")
    here = f"{ROOTS['preprocessed']}/{OTHER_CT}"
    judged = judge(ROOTS["preprocessed"], "again")
    assert judged[:3] == (1, [(FAULT_CODE, f"{here}/nnUNetPlans.json")], 10)


def test_links_in_a_circle(folder: Path) -> None:
    link(folder / "up", "..")
    link(folder / "self", ".")
    link(folder / "loop", "loop")
    link(folder / "LoopPlans.json", "LoopPlans.json")
    judged = judge()
    assert judged[:3] == (2, [("PG001", "plans/kidney/LoopPlans.json")], 6)


def test_a_link_to_a_folder_above(folder: Path, workspace: Path) -> None:
    """It leads to more than what was named, in the end to the whole disk."""
    FAULT(workspace, CT)
    for name, target in (("up", "../.."), ("top", str(workspace)), ("disk", "/")):
        link(folder / name, target)
    judged = judge(str(folder))
    assert judged[:3] == (0, [], 5)
    link(folder / "beside", f"../../{ROOTS['preprocessed']}")
    assert judge(str(folder)).code == 1


def test_dangling_link(folder: Path) -> None:
    link(folder / "LostPlans.json", "nowhere.json")
    link(folder / "lost.json", "nowhere.json")
    judged = judge()
    assert judged[:2] == (2, [("PG001", "plans/kidney/LostPlans.json")])
    assert "the link leads to a file that does not exist" in judged.report["findings"][0]["message"]


@posix_permissions
def test_without_permission(folder: Path) -> None:
    """A folder or file that may not be read is a finding; the others are checked as well."""
    before = bound_by_permissions()
    folders = [Path(shutil.copytree(folder, f"plans/{name}")) for name in ("closed", OTHER_CT)]
    with closed(folder / "nnUNetPlans.json", *folders):
        done = start("check", "--output", "json", before=before)
        named = start("check", folders[0] / "nnUNetPlans.json", before=before)
    report = json.loads(done.stdout)
    assert [(finding["code"], finding["path"], finding["message"]) for finding in report["findings"]] == [
        ("PG001", f"plans/{OTHER_CT}", "the folder cannot be listed: Permission denied"),
        ("PG001", "plans/closed", "the folder cannot be listed: Permission denied"),
        ("PG001", "plans/kidney/nnUNetPlans.json", "there is no permission to read this file"),
    ]
    assert (done.returncode, report["summary"]["documents"]) == (2, 7)
    assert (named.returncode, named.stdout) == (2, "")
    assert named.stderr.splitlines() == [
        "plansguard: plans/closed/nnUNetPlans.json: Permission denied",
        "  give a plans file, a dataset folder or a folder above them",
    ]


def test_path_that_is_too_long() -> None:
    done = run("check", "x" * 5000)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plansguard: ")


def test_file_that_is_too_large(folder: Path) -> None:
    os.truncate(folder / "nnUNetPlans.json", 16 * 1024**2 + 1)
    judged = judge(folder)
    assert judged[:2] == (2, [("PG001", "plans/kidney/nnUNetPlans.json")])
    assert judged.report["findings"][0]["message"] == "the file is larger than 16 MiB"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_pipes(folder: Path) -> None:
    """Opening one would wait for ever."""
    os.mkfifo(folder / "pipe.json")
    assert judge(folder)[:2] == (0, [])
    assert judge(folder / "pipe.json")[:2] == (2, [("PG001", "plans/kidney/pipe.json")])
    os.mkfifo(folder / "PipedPlans.json")
    assert judge(folder)[:2] == (2, [("PG001", "plans/kidney/PipedPlans.json")])


def test_folders_called_like_files(folder: Path) -> None:
    """They are folders: searched, not read."""
    inside = Path(shutil.copytree(folder, folder / "x.json"))
    break_patch(inside / "nnUNetPlans.json")
    expected = [(FAULT_CODE, "plans/kidney/x.json/nnUNetPlans.json")]
    assert judge(folder)[:3] == (1, expected, 10)
    assert judge(inside)[:3] == (1, expected, 5)


def test_unicode_and_blanks_in_paths(folder: Path) -> None:
    break_patch(folder / "nnUNetPlans.json")
    folder.rename("plans/Größe 名前")
    assert judge("plans/Größe 名前").found == [(FAULT_CODE, "plans/Größe 名前/nnUNetPlans.json")]


# --- what is incomplete ---


@pytest.mark.parametrize(
    ("missing", "code"), [("dataset.json", "PG201"), ("dataset_fingerprint.json", "PG302"), ("splits_final.json", None)]
)
def test_missing_documents(workspace: Path, missing: str, code: str | None) -> None:
    """Training cannot do without the first two; it makes the splits itself."""
    remove(f"preprocessed/{missing}")(workspace, OTHER_CT)
    judged = judge(place(workspace, OTHER_CT, "preprocessed"))
    assert {found for found, _ in judged.found} == ({code} if code else set())
    assert judged.documents == 4


def test_nothing_but_a_dataset_json(workspace: Path) -> None:
    judged = judge(place(workspace, CT, "raw"))
    assert judged[:3] == (3, [], 1)
    assert reasons(judged) == set()  # raw data have no fingerprint, and no preprocessed cases


def test_plans_that_lack_nearly_everything(folder: Path) -> None:
    """Whatever two of nnU-Net's keys are left, the file is still known as plans, and no rule crashes on it."""
    (folder / "nnUNetPlans.json").write_text('{"plans_name": "nnUNetPlans", "transpose_forward": null}')
    judged = judge(folder)
    assert judged.code == 1
    assert ("PG005", "plans/kidney/nnUNetPlans.json") in judged.found


def test_paths_do_not_need_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that leads nowhere matters only to those who go by it."""
    monkeypatch.setenv("nnUNet_raw", "/no/such/folder")
    monkeypatch.setenv("nnUNet_preprocessed", "/no/such/folder")
    assert judge(folder).code == 0


def test_plans_that_one_dataset_of_many_has(workspace: Path) -> None:
    """Below a root, -p means the datasets that have these plans; a dataset that is named must have them."""
    root = workspace / ROOTS["preprocessed"]
    shutil.copy(root / CT / "nnUNetPlans.json", root / CT / "Mine.json")
    edit = json.loads((root / CT / "Mine.json").read_bytes()) | {"plans_name": "Mine"}
    (root / CT / "Mine.json").write_text(json.dumps(edit))
    assert "PG114" not in {code for code, _ in judge(root, plans="Mine").found}
    assert "PG114" in {code for code, _ in judge(root / CT, root / OTHER_CT, plans="Mine").found}
    assert "PG114" in {code for code, _ in judge(root, plans="Nobodys").found}


def test_who_needs_another_folder_for_its_data(variables: Path) -> None:
    """Of two that share one, the one that it is not called after."""
    put("preprocessed/nnUNetResEncUNetMPlans.json", "/configurations/2d/spacing", [1.0, 1.0])(variables, CT)
    for plans in ("nnUNetPlans", "nnUNetResEncUNetMPlans"):
        (finding,) = judge(datasets=("1",), plans=plans, configuration="2d").report["findings"]
        assert finding["code"] == "PG501"
        assert 'give 2d of nnUNetResEncUNetMPlans its own "data_identifier": ' in finding["fix"]
        assert (
            '"nnUNetResEncUNetMPlans_2d", then plansguard preprocess -d 1 -p nnUNetResEncUNetMPlans -c 2d'
            in finding["fix"]
        )


def test_geometry_without_the_package_that_reads_it(variables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the light installation, where raw images are there and nothing is preprocessed yet."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    done = run("check", "-d", "2", "--data", "all", "--output", "json")
    assert done.code == 0, done.out + done.err
    (reason,) = (one["reason"] for one in done.json["not_checked"] if one["code"] == "PG524")
    assert "pip install 'plansguard[data]'" in reason


def test_a_tree_of_too_many_folders_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MAX_FOLDERS", 5)
    for index in range(4):
        (tmp_path / "few" / str(index)).mkdir(parents=True)
    assert run("check", tmp_path / "few").code == 3
    (tmp_path / "few" / "more").mkdir()
    done = run("check", tmp_path / "few")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        f"plansguard: there are more than 5 folders below {tmp_path / 'few'}",
        "  name the folders of datasets, or datasets with -d",
    ]
