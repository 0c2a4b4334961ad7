"""``plansguard derive`` without nnU-Net: what is set, what follows, what is refused, the record and its undo."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from plansguard.documents import json_document
from plansguard.migration.assignments import parsed
from plansguard.nnunet.constants import STOCK_ARCHITECTURES
from tests.conftest import ROOT
from tests.support.command import Done, run
from tests.support.git import git
from tests.support.moves import GIVING, RECEIVING, move
from tests.support.variants import PLANS, RESENC, place, put, set_value

NEW, RECORD = "preprocessed/My.json", "preprocessed/My.plansguard.json"
pytestmark = [pytest.mark.deep, pytest.mark.workspace(RECEIVING, GIVING, chdir=True)]


def derive(*options: str, plans: str = "nnUNetPlans", to: str = "My") -> Done:
    return run("derive", "-d", "2", "-p", plans, "-tp", to, *options)


def read(workspace: Path, file: str = NEW) -> Any:
    return json.loads(place(workspace, RECEIVING, file).read_bytes())


def expected(workspace: Path, *edits: tuple[str, Any]) -> Any:
    """The plans before, with another name and these values at these pointers."""
    plans = read(workspace, PLANS) | {"plans_name": "My"}
    for pointer, value in edits:
        set_value(plans, pointer, value)
    return plans


def state(workspace: Path) -> dict[str, bytes]:
    folder = place(workspace, RECEIVING, PLANS).parent
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FULLRES = "/configurations/3d_fullres"
OWN_DATA = (f"{FULLRES}/data_identifier", "My_3d_fullres")
TORCH = {"is_seg": False, "force_separate_z": False, "memefficient_seg_resampling": False}


@pytest.mark.parametrize(
    "words",
    [
        ("derive", "-d", "2", "-tp", "My", "--set", "3d_fullres.patch_size=[50,64,64]", "--network", "keep"),
        ("derive", "-d", "2", "-tp", "My", "--set", "3d_fullres.nothing=1"),
        ("derive", "-d", "2", "-tp", "My", "--undo"),
        ("migrate", "-s", "1", "-t", "2", "-tp", "nnUNetPlans"),
        ("migrate", "-t", "2", "-tp", "My", "--undo"),
    ],
)
def test_what_is_refused_leaves_no_file(words: tuple[str, ...], workspace: Path) -> None:
    """No lock either."""
    before = set(workspace.rglob("*"))
    assert run(*words).code in (1, 2)
    assert set(workspace.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "edits"),
    [
        (["--set", "3d_fullres.batch_size=4"], [(f"{FULLRES}/batch_size", 4)]),
        (["--set", "3d_fullres.batch_dice=true"], [(f"{FULLRES}/batch_dice", True)]),
        (
            ["--set", "3d_fullres.normalization_schemes[0]=ZScoreNormalization"],
            [(f"{FULLRES}/normalization_schemes", ["ZScoreNormalization"]), OWN_DATA],
        ),
        (
            ["--set", "3d_fullres.resampling_fn_data=resample_torch_fornnunet"],
            [
                (f"{FULLRES}/resampling_fn_data", "resample_torch_fornnunet"),
                (f"{FULLRES}/resampling_fn_data_kwargs", TORCH),
                OWN_DATA,
            ],
        ),
        (
            ["--set", "3d_fullres.resampling_fn_data_kwargs.order=1"],
            [(f"{FULLRES}/resampling_fn_data_kwargs/order", 1), OWN_DATA],
        ),
        (
            ["--set", "3d_fullres.architecture.arch_kwargs.nonlin=torch.nn.ReLU"],
            [(f"{FULLRES}/architecture/arch_kwargs/nonlin", "torch.nn.ReLU")],
        ),
        (
            ["--set", "image_reader_writer=NibabelIO"],
            [("/image_reader_writer", "NibabelIO"), OWN_DATA, ("/configurations/2d/data_identifier", "My_2d")],
        ),
        (
            ["--set", "3d_small.batch_size=4", "--like", "3d_fullres"],
            [("/configurations/3d_small", {"inherits_from": "3d_fullres", "batch_size": 4})],
        ),
        (
            ["--set", "3d_z.normalization_schemes.0=ZScoreNormalization", "--like", "3d_fullres"],
            [
                (
                    "/configurations/3d_z",
                    {
                        "inherits_from": "3d_fullres",
                        "normalization_schemes": ["ZScoreNormalization"],
                        "data_identifier": "My_3d_z",
                    },
                )
            ],
        ),
        (
            ["--set", "3d_fullres.data_identifier=Mine", "--set", "3d_fullres.preprocessor_name=DefaultPreprocessor"],
            [(f"{FULLRES}/data_identifier", "Mine")],
        ),
        (
            ["--set", "3d_fullres.patch_size=[48,64,64]", "--network", "keep"],
            [(f"{FULLRES}/patch_size", [48, 64, 64])],
        ),
    ],
)
def test_what_is_set_and_what_follows(options: list[str], edits: list[tuple[str, Any]], workspace: Path) -> None:
    """Every other field stays; no rule has an error about the result, then and later."""
    before = place(workspace, RECEIVING, PLANS).read_bytes()
    done = derive(*options)
    assert (done.code, done.err) == (0, "")
    assert read(workspace) == expected(workspace, *edits)
    assert place(workspace, RECEIVING, PLANS).read_bytes() == before
    checked = run("check", "-d", "2", "--output", "json").json
    assert {finding["severity"] for finding in checked["findings"]} <= {"info"}


@pytest.mark.parametrize(("present", "example"), [(2, 4), (4, 2)])
def test_the_value_that_a_hint_names_is_another_one(workspace: Path, present: int, example: int) -> None:
    put(PLANS, f"{FULLRES}/batch_size", present)(workspace, RECEIVING)
    words = ("derive", "-d", "2", "-p", "nnUNetPlans", "-tp", "Mine")
    assert f"such as --set 3d_fullres.batch_size={example}, or" in run(*words).err


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([], "nothing is to be changed"),
        (["--set", "3d_fullres.batch_size=2"], "nothing would change: nnUNetPlans has these values"),
        (["--set", "3d_fullres.batch_size"], "names no value"),
        (["--set", "3d_fullres=4"], "names a configuration, and no field of it"),
        (["--set", "3d_fullres..batch_size=4"], "is no path"),
        (["--set", "3d_fullres.batch_size=4", "--set", "3d_fullres.batch_size=5"], "is given twice"),
        (["--set", "3d_fullres.batch_siz=4"], "did you mean 3d_fullres.batch_size?"),
        (["--set", "batch_size=4"], "did you mean 3d_fullres.batch_size?"),
        (["--set", "3d_fullres.strides=1"], "did you mean 3d_fullres.architecture.arch_kwargs.strides?"),
        (["--set", "3d_fullres.architecture.arch_kwarg.x=1"], "3d_fullres.architecture.arch_kwargs?"),
        (["--set", "3d_fullres.architecture.strides=1"], "3d_fullres.architecture.arch_kwargs.strides?"),
        (["--set", "3d_fullres.architecture.arch_kwargs.stride=1"], "arch_kwargs.strides?"),
        (["--set", "3d_fulres.batch_size=4"], "did you mean 3d_fullres.batch_size?"),
        (["--set", "4d.batch_size=4"], "to make a new one, name with --like"),
        (["--set", "4d.batch_size=4", "--like", "3d_fulres"], "did you mean 3d_fullres?"),
        (["--set", "3d_fullres.batch_size=4", "--like", "3d_fullres"], "is for a new configuration"),
        (["--set", "3d_fullres.batch_size=two"], '"two" should be a valid integer'),
        (["--set", "3d_fullres.batch_size=2.0"], "2.0 should be a valid integer"),
        (["--set", "3d_fullres.batch_size=true"], "true should be a valid integer"),
        (["--set", "3d_fullres.batch_size=null"], "null should be a valid integer"),
        (["--set", "3d_fullres.batch_size=NaN"], "should be a valid integer"),
        (["--set", "3d_fullres.spacing=[1e999,1,1]"], "is too large"),
        (["--set", "3d_fullres.patch_size=[32,32"], "is no JSON value"),
        (["--set", "3d_fullres.patch_size=" + "[" * 100_000], "is no JSON value"),
        (["--set", "3d_fullres.patch_size=[32,32]"], "needs 3 numbers"),
        (["--set", "3d_fullres.patch_size=[32,32,0]"], "0 is not above 0"),
        (["--set", "3d_fullres.patch_size=[32,32,-8]", "--network", "keep"], "-8 is not above 0"),
        (["--set", "3d_fullres.spacing=[1,1,0]"], "0 is not above 0"),
        (["--set", "3d_fullres.normalization_schemes.1=NoNormalization"], "has no part 1: it has 1 entries"),
        (["--set", "3d_fullres.batch_size.0=4"], "has no part 0: it is 2"),
        (["--set", "3d_fullres.inherits_from=3d_fullres"], "inherits_from goes in a circle"),
        (["--set", "2d.inherits_from=3d_fullres", "--set", "3d_fullres.inherits_from=2d"], "goes in a circle"),
        (["--set", "2d.inherits_from=4d"], "there is no configuration 4d"),
        (["--set", "plans_name=x"], "it is the name of the new plans"),
        (["--set", "dataset_name=x"], "derived plans stay in it"),
        (["--set", "transpose_forward=[0,1,2]"], "plan again to change it"),
        (["--set", "3d_fullres.median_image_size_in_voxels=[1,2,3]"], "set the spacing; it follows"),
        (["--set", "original_median_spacing_after_transp=[1,1,1]"], "describes the images"),
        (["--set", "experiment_planner_used=x"], "names the planner"),
        (["--set", "foreground_intensity_properties_per_channel.0.mean=1"], "has the statistics of the images"),
        (["--set", "3d_fullres.architecture.arch_kwargs.deep_supervision=true"], "is decided by the trainer"),
        (["--set", "3d_fullres.num_pool_per_axis=[1,1,1]"], "is a field of plans of the old format"),
        (["--set", "3d_fullres.patch_size=[56,64,72]", "--network", "keep"], "use 64 or 80 on axis 2"),
        (["--fit-memory", "big"], "is no memory of a GPU"),
        (["--fit-memory", "0GB"], "is no memory of a GPU"),
        (["--set", "3d_fullres.batch_size=4", "-c", "2d"], "-c names configurations for --fit-memory"),
        (["--fit-memory", "24GB", "-c", "4d"], "there is no configuration 4d"),
        (["--fit-memory", "24GB", "--set", "2d.patch_size=[32,32]"], "2d.patch_size is set, and --fit-memory makes it"),
        (["--fit-memory", "24GB", "--network", "keep"], "and the network is kept"),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_what_cannot_be_set_is_refused(options: list[str], error: str, dry: bool, workspace: Path) -> None:
    before = state(workspace)
    done = derive(*options, *(["--dry-run"] if dry else []))
    assert done.code == 2
    assert error in done.err
    assert done.err.count("plansguard: ") == 1
    assert state(workspace) == before


def test_rules_judge_the_result_before_it_is_written(workspace: Path) -> None:
    before = state(workspace)
    done = derive("--set", "3d_fullres.architecture.arch_kwargs.n_stages=4")
    assert done.code == 1
    assert "error[PG103]" in done.out
    assert "Nothing was written." in done.out
    assert state(workspace) == before


def test_only_what_is_touched_is_judged(workspace: Path) -> None:
    """A fault of another configuration does not prevent a derivation."""
    put(PLANS, "/configurations/2d/normalization_schemes", [])(workspace, RECEIVING)
    assert derive("--set", "3d_fullres.batch_size=4").code == 0


def test_a_dry_run_writes_nothing_and_says_the_same(workspace: Path) -> None:
    before = state(workspace)
    dry = derive("--set", "3d_fullres.batch_size=4", "--dry-run")
    assert state(workspace) == before
    done = derive("--set", "3d_fullres.batch_size=4")
    assert dry.code == done.code == 0
    assert dry.out.replace("would write", "wrote").replace("Next, after the same without --dry-run", "Next") == done.out


def test_the_record_keeps_what_was_set(workspace: Path) -> None:
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    record = read(workspace, RECORD)
    assert record["workflow"] == "derive"
    assert (record["from"]["dataset"], record["from"]["plans"]) == (RECEIVING, "nnUNetPlans")
    assert (record["to"]["dataset"], record["to"]["plans"]) == (RECEIVING, "My")
    assert record["migrated"] == read(workspace)
    assert record["derivation"] == {
        "set": {"3d_fullres.batch_size": 4},
        "like": None,
        "fit_memory": None,
        "network": "follow",
        "brought_by": None,
    }


@pytest.mark.parametrize(("source", "network"), [(PLANS, "PlainConvUNet"), (RESENC, "ResidualEncoderUNet")])
def test_every_argument_of_a_network_can_be_set(source: str, network: str, workspace: Path) -> None:
    """All but the one that the trainer decides. Some have the names of fields of the old format."""
    path = "3d_fullres.architecture.arch_kwargs."
    present = read(workspace, source)
    stock = STOCK_ARCHITECTURES[network]
    for name in {*stock.required, *stock.optional} - {"deep_supervision"}:
        (one,) = parsed([f"{path}{name}=1"], present, None)
        assert one.path == f"{path}{name}"


def test_a_value_that_differs_in_late_digits_is_shown_with_them(workspace: Path) -> None:
    """The planner keeps 1.2 as image headers store it."""
    done = derive("--set", "2d.spacing.0=1.2", "--dry-run")
    assert re.search(r"set +2d\.spacing +\[1\.2000000476837158, .* -> \[1\.2, ", done.out), done.out


def test_the_same_derivation_twice_writes_once(workspace: Path) -> None:
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    before = state(workspace)
    again = derive("--set", "3d_fullres.batch_size=4")
    assert again.code == 0
    assert "These plans have been derived already" in again.out
    assert state(workspace) == before


def test_a_derivation_of_a_derivation_keeps_both(workspace: Path) -> None:
    assert derive("--set", "3d_fullres.normalization_schemes.0=ZScoreNormalization").code == 0
    done = derive("--set", "3d_fullres.batch_size=4", plans="My", to="Mine")
    assert done.code == 0
    record = read(workspace, "preprocessed/Mine.plansguard.json")
    assert set(record["derivation"]["set"]) == {"3d_fullres.normalization_schemes.0", "3d_fullres.batch_size"}
    assert read(workspace, "preprocessed/Mine.json")["configurations"]["3d_fullres"]["data_identifier"] == OWN_DATA[1]
    assert run("check", "-d", "2", "--fail-on", "warning").code == 0


def test_other_plans_are_not_overwritten(workspace: Path) -> None:
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    first = state(workspace)
    other = derive("--set", "3d_fullres.batch_size=5")
    assert other.code == 1
    assert "error[PG412]" in other.out
    assert other.out.endswith("\nNothing was written.\n")  # this error cannot be accepted
    assert state(workspace) == first
    assert derive("--set", "3d_fullres.batch_size=5", "--force").code == 0
    (backup,) = place(workspace, RECEIVING, NEW).parent.glob("My.json.*.bak")
    assert backup.read_bytes() == first["My.json"]
    assert run("derive", "-d", "2", "-tp", "My", "--undo").code == 0
    assert {name: state(workspace)[name] for name in first} == first


@pytest.mark.parametrize("name", ["nnUNetPlans", "dataset", "a/b", "plans.json", ""])
def test_names_that_cannot_be_given(name: str, workspace: Path) -> None:
    before = state(workspace)
    assert derive("--set", "3d_fullres.batch_size=4", "--force", to=name).code == 2
    assert state(workspace) == before


@pytest.mark.parametrize("words", [("derive", "-d", "2", "-tp", "My"), ("migrate", "-t", "2", "-tp", "My")])
def test_undo(words: tuple[str, ...], workspace: Path) -> None:
    before = state(workspace)
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    done = run(*words, "--undo")
    assert done.code == 0
    assert "kept the derived plans as My.json." in done.out
    left = state(workspace)
    assert {name: content for name, content in left.items() if not name.endswith(".undone")} == before


def test_undo_of_the_last_migration_leaves_derivations(workspace: Path) -> None:
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    assert run("migrate", "-t", "2", "--undo").code == 2
    assert place(workspace, RECEIVING, NEW).exists()
    assert run("derive", "-d", "2", "-tp", "My", "--undo", "--set", "3d_fullres.batch_size=4").code == 2


def test_an_edited_derivation_is_undone_only_with_force(workspace: Path) -> None:
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    put(NEW, "/configurations/3d_fullres/batch_size", 6)(workspace, RECEIVING)
    refused = run("derive", "-d", "2", "-tp", "My", "--undo")
    assert refused.code == 2
    assert "was edited after the derivation" in refused.err
    assert run("derive", "-d", "2", "-tp", "My", "--undo", "--force").code == 0
    assert not place(workspace, RECEIVING, NEW).exists()


def test_next_names_only_what_is_needed(workspace: Path) -> None:
    """Data that the plans before have are not preprocessed again."""
    place(workspace, RECEIVING, "preprocessed/nnUNetPlans_3d_fullres").mkdir()
    after = derive("--set", "3d_fullres.batch_size=4").out.partition("Next:\n")[2]
    assert after.split("\n") == ["  plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p My", ""]
    option = "3d_fullres.resampling_fn_data=resample_torch_fornnunet"
    after = derive("--set", option, to="Other").out.partition("Next:\n")[2]
    assert after.split("\n") == [
        "  plansguard preprocess -d 2 -p Other -c 3d_fullres",
        "  plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p Other",
        "",
    ]


def test_a_plans_file_without_a_dataset(workspace: Path) -> None:
    Path("repo").mkdir()
    Path("repo/nnUNetPlans.json").write_bytes(place(workspace, RECEIVING, PLANS).read_bytes())
    done = run("derive", "repo/nnUNetPlans.json", "-tp", "My", "--set", "3d_fullres.batch_size=4")
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in Path("repo").iterdir()} == {"nnUNetPlans.json", "My.json", "My.plansguard.json"}
    assert json.loads(Path("repo/My.json").read_bytes()) == expected(workspace, (f"{FULLRES}/batch_size", 4))
    assert done.out.startswith("from  repo/nnUNetPlans.json\nto    repo/My.json\n")
    assert done.out.endswith("Next:\n  plansguard diff repo/nnUNetPlans.json repo/My.json\n")
    record = json.loads(Path("repo/My.plansguard.json").read_bytes())
    assert (record["from"]["dataset"], record["to"]["dataset"]) == (None, None)  # the folder is no dataset
    assert run("check", "repo").code == 0
    again = run("derive", "repo/My.json", "-tp", "Ours", "--set", "3d_fullres.batch_size=5")
    assert (again.code, again.err) == (0, "")
    assert run("derive", "repo/My.json", "-tp", "Ours", "--set", "3d_fullres.batch_size=6").code == 1
    assert run("derive", "repo/nnUNetPlans.json", "-tp", "Ours", "--undo").code == 0
    undone = run("derive", "repo/nnUNetPlans.json", "-tp", "My", "--undo")
    assert (undone.code, "The derivation of My in repo is undone:" in undone.out) == (0, True)
    left = {path.name for path in Path("repo").iterdir() if path.suffix != ".undone"}
    assert left == {"nnUNetPlans.json"}


def test_what_the_documentation_says_to_ignore_in_a_repository(workspace: Path) -> None:
    """Nothing is left to be committed by derivations, replacements and undoing."""
    guide = (ROOT / "docs/howto/edit-plans.md").read_text()
    (ignored,) = re.findall(r"```text\n(\*\.undone\n.*?)```", guide, re.DOTALL)
    Path("repo").mkdir()
    Path("repo/nnUNetPlans.json").write_bytes(place(workspace, RECEIVING, PLANS).read_bytes())
    Path("repo/.gitignore").write_text(ignored)
    git("init", folder=Path("repo"))
    git("add", "-A", folder=Path("repo"))
    git("commit", "-m", "Plans", folder=Path("repo"))
    words = ("derive", "repo/nnUNetPlans.json", "-tp", "My")
    for size in ("4", "5"):
        assert run(*words, "--set", f"3d_fullres.batch_size={size}", "--force").code == 0
    assert run(*words, "--undo").code == 0
    assert run(*words, "--undo").code == 0
    Path("repo/.plansguard.lock").touch()  # of a command that was killed
    assert {path.suffix for path in Path("repo").iterdir()} >= {".undone", ".bak"}
    assert git("status", "--porcelain", folder=Path("repo")).stdout == ""


@pytest.mark.parametrize("name", ["Dataset002_FinetuneCT", "repo"])
def test_a_folder_of_plans_is_a_dataset_by_its_name(workspace: Path, name: str) -> None:
    Path("plans").mkdir()
    folder = Path("plans") / name
    folder.mkdir()
    (folder / "nnUNetPlans.json").write_bytes(place(workspace, RECEIVING, PLANS).read_bytes())
    done = run("derive", folder / "nnUNetPlans.json", "-tp", "My", "--set", "3d_fullres.batch_size=4")
    assert (f" of {name}" in done.out) is (name != "repo")
    record = json.loads((folder / "My.plansguard.json").read_bytes())
    assert record["to"]["dataset"] == (None if name == "repo" else name)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["-tp", "My"], "no plans are named"),
        (["x.json", "-d", "2", "-tp", "My"], "stands in place of -d and -p"),
        (["x.json", "-tp", "My"], "x.json"),
        ([".", "-tp", "My"], ". is no file"),
        (["-d", "9", "-tp", "My"], "no dataset has the id 9"),
        (["-d", "2", "-p", "nnUNetPlan", "-tp", "My"], "did you mean nnUNetPlans?"),
    ],
)
@pytest.mark.usefixtures("workspace")
def test_sources_that_are_not_there(words: list[str], error: str) -> None:
    done = run("derive", *words, "--set", "3d_fullres.batch_size=4")
    assert done.code == 2
    assert error in done.err


def test_plans_for_weights_stay_for_them(workspace: Path) -> None:
    """Plans that were migrated keep their network, and the weights are still asked for."""
    move()(workspace, RECEIVING)
    done = derive("--set", "3d_fullres.patch_size=[32,32,32]", plans="PretrainPlans")
    assert done.code == 0
    assert "kept     the network" in done.out
    assert "-pretrained_weights" in done.out.partition("Next:")[2]
    assert read(workspace, RECORD)["derivation"]["brought_by"]["workflow"] == "finetune"
    gate = run("gate", "--dry-run", "--", "nnUNetv2_train", "2", "3d_fullres", "0", "-p", "My")
    assert f"[PG737] My were migrated from {GIVING} for its weights" in gate.out
    assert not [one for one in run("check", "-d", "2", "--output", "json").json["findings"] if one["code"] == "PG311"]


def test_another_network_is_for_no_weights(workspace: Path) -> None:
    move()(workspace, RECEIVING)
    option = "3d_fullres.architecture.arch_kwargs.features_per_stage=[8,16,32,64,64]"
    done = derive("--set", option, plans="PretrainPlans")
    assert done.code == 0
    assert "kept     the network" not in done.out
    assert "-pretrained_weights" not in done.out.partition("Next:")[2]
    gate = run("gate", "--dry-run", "--", "nnUNetv2_train", "2", "3d_fullres", "0", "-p", "My")
    assert "[PG737]" not in gate.out


@pytest.mark.parametrize(
    ("option", "is_kept"),
    [
        ("3d_fullres.batch_size=4", True),
        ("3d_fullres.architecture.arch_kwargs.n_conv_per_stage_decoder=[1,1,1,1]", False),
        ("2d.architecture.arch_kwargs.conv_bias=false", False),
    ],
)
def test_the_network_is_said_to_be_kept_only_where_weights_load(option: str, is_kept: bool, workspace: Path) -> None:
    done = derive("--set", option, "--set", "3d_fullres.patch_size=[48,64,64]", "--network", "keep")
    assert ("kept     the network" in done.out) is is_kept


ARGUMENT = "3d_fullres.architecture.arch_kwargs."
SMALL_PATCH = "3d_fullres.patch_size=[16,16,16]"


@pytest.mark.nnunet
@pytest.mark.parametrize("argument", ["conv_bias=false", "nonlin=torch.nn.ReLU", "features_per_stage=[8,16,32]"])
def test_the_network_follows_the_patch_whatever_else_is_set(argument: str, workspace: Path) -> None:
    """As after two derivations, one after the other; features are for the stages that the patch has."""
    assert derive("--set", SMALL_PATCH, to="Patch").code == 0
    assert derive("--set", f"{ARGUMENT}{argument}", plans="Patch", to="Both").code == 0
    done = derive("--set", SMALL_PATCH, "--set", f"{ARGUMENT}{argument}")
    assert done.code == 0, done.out
    at_once, in_turn = (read(workspace, f"preprocessed/{name}.json") for name in ("My", "Both"))
    assert at_once["configurations"]["3d_fullres"] == in_turn["configurations"]["3d_fullres"]
    assert len(at_once["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"]) == 3


@pytest.mark.nnunet
def test_strides_that_are_set_are_not_made_again(workspace: Path) -> None:
    strides = "[[1,1,1],[2,2,2],[2,2,2],[1,2,2],[1,1,1]]"
    done = derive("--set", SMALL_PATCH, "--set", f"{ARGUMENT}strides={strides}")
    assert done.code == 0, done.out
    written = read(workspace)["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert written["strides"] == json.loads(strides)


@pytest.mark.parametrize("source", ["nnUNetPlans", "PretrainPlans"])
def test_later_edits_are_reported(source: str, workspace: Path) -> None:
    """For information in plans of the dataset itself, as an error in plans for weights."""
    move()(workspace, RECEIVING)
    assert derive("--set", "3d_fullres.batch_size=4", plans=source).code == 0
    put(NEW, "/configurations/3d_fullres/architecture/arch_kwargs/conv_bias", False)(workspace, RECEIVING)
    findings = run("check", "-d", "2", "-p", "My", "--output", "json").json["findings"]
    (edit,) = [one for one in findings if one["code"] == "PG401"]
    assert "was edited after the plans were derived" in edit["message"]
    assert edit["severity"] == ("info" if source == "nnUNetPlans" else "error")


def test_a_damaged_record_in_the_record(workspace: Path) -> None:
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    put(RECORD, "/derivation/brought_by", {"workflow": "finetune"})(workspace, RECEIVING)
    assert run("check", "-d", "2").code == 0


def test_written_plans_have_nnunets_format(workspace: Path) -> None:
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    content = place(workspace, RECEIVING, NEW).read_bytes()
    assert content == json_document.dumps(json.loads(content))
    (line,) = (
        set(content.decode().splitlines())
        - set(place(workspace, RECEIVING, PLANS).read_text().splitlines())
        - {'    "plans_name": "My",'}
    )
    assert line.strip() == '"batch_size": 4,'


def test_planning_over_derived_plans(workspace: Path) -> None:
    """They are reported as derived, and the command that undoes them works."""
    assert derive("--set", "3d_fullres.batch_size=4").code == 0
    words = ("nnUNetv2_plan_experiment", "-d", "2", "-overwrite_plans_name", "My")
    findings = run("gate", "--dry-run", "--output", "json", "--", *words).json["findings"]
    (finding,) = [one for one in findings if one["code"] == "PG751"]
    assert "My, which was derived from nnUNetPlans (plansguard derive)" in finding["message"]
    assert run("migrate", "-t", "2", "-tp", "My", "--undo").code == 0


@pytest.mark.parametrize("trained", [False, True])
def test_plans_for_a_pretraining_are_used_by_a_derivation(trained: bool, workspace: Path) -> None:
    """A training of the dataset's own plans is reported until the migrated plans, or derived ones, were trained."""
    move("pretrain", GIVING, "Pretrain")(workspace, RECEIVING)
    assert derive("--set", "3d_fullres.batch_size=4", plans="Pretrain").code == 0
    if trained:
        fold = Path("nnUNet_results") / RECEIVING / "nnUNetTrainer__My__3d_fullres/fold_0"
        fold.mkdir(parents=True)
        (fold / "checkpoint_final.pth").write_bytes(b"")
    words = ("nnUNetv2_train", "2", "3d_fullres", "0")
    findings = run("gate", "--dry-run", "--output", "json", "--", *words).json["findings"]
    assert ("PG736" in {one["code"] for one in findings}) == (not trained)
