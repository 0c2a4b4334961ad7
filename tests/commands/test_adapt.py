"""`plansguard adapt` without torch: what is planned, what is printed, and what is refused."""

from __future__ import annotations

import copy
import json
import struct
from math import nan
from pathlib import Path
from typing import Any

import pytest

from plansguard.commands.adapt import next_commands, task_of
from plansguard.records.adaptation import classes_of_head
from plansguard.subjects.adaptation import AdaptationChoices
from tests.support import checkpoints
from tests.support.command import Done, run
from tests.support.variants import place, put

CT, MR = "Dataset002_FinetuneCT", "Dataset003_TwoChannelMR"
SLIDES, PRETRAINED = "Dataset004_Slides2D", "Dataset001_PretrainCT"
PLANS = ("-d", "3", "-p", "nnUNetPlans", "--dry-run")
FIRST = "encoder.stages.0.0.convs.0.conv.weight"
Document = dict[str, Any]

pytestmark = pytest.mark.workspace(MR, CT, chdir=True)


def weights(workspace: Path, dataset: str = MR, **changes: Any) -> Path:
    """Write weights of a training with a dataset's own plans and with these fields in dataset.json."""
    files = [place(workspace, dataset, f"preprocessed/{name}.json") for name in ("nnUNetPlans", "dataset")]
    plans, dataset_json = (json.loads(file.read_bytes()) for file in files)
    options = changes.pop("options", {})
    dataset_json.update(changes)
    return checkpoints.write(Path("old.pth"), plans, dataset_json, **options)


def adapt(*options: str) -> Done:
    return run("adapt", "old.pth", *PLANS, *options)


def fillings(done: Done, name: str = FIRST) -> list[tuple[str, str, int | None]]:
    """Name, filling and source of the parts of one parameter."""
    (row,) = (row for row in done.json["rows"] if row["name"] == name)
    return [(part["name"], part["filling"], part["source"]) for part in row["parts"]]


def test_what_is_printed(workspace: Path) -> None:
    weights(workspace, channel_names={"0": "T2"}, labels={"background": 0, "core": 1, "lesion": 2})
    done = adapt()
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "old.pth adapted to Dataset003_TwoChannelMR, 3d_fullres of nnUNetPlans\n"
        "\n"
        "channel  from\n"
        "T1       zero\n"
        "T2       number 0 of the weights (T2)\n"
        "\n"
        "class       from\n"
        "background  number 0 of the weights (background)\n"
        "lesion      number 2 of the weights (lesion)\n"
        "\n"
        "parameter                                           shape               from\n"
        "encoder.stages.0.0.convs.0.conv.weight              32 x 2 x 3 x 3 x 3  the weights, channel by channel\n"
        "encoder.stages.0.0.convs.0.conv.bias and 60 others                      the weights\n"
        "decoder.seg_layers.0.weight and 5 others                                the weights, class by class\n"
    )
    assert len(adapt("--verbose").out.splitlines()) == len(done.out.splitlines()) + 60 + 5
    assert not Path("old.adaptation.json").exists()


def test_names_in_the_weights_that_differ(workspace: Path) -> None:
    weights(workspace, channel_names={"0": "t2w"}, labels={"background": 0, "tumour": 1})
    options = ("--channel", "T2=t2w", "--label", "lesion=tumour", "--output", "json")
    done = adapt(*options)
    assert fillings(done) == [("T1", "zero", None), ("T2", "kept", 0)]
    heads = {row["action"] for row in done.json["rows"] if ".seg_layers." in row["name"]}
    assert heads == {"kept"}


def test_regions_are_no_labels(workspace: Path) -> None:
    """A region has a sigmoid, labels share a softmax: a layer of the one is of no use to the other."""
    regions = {"background": 0, "whole": [1, 2], "lesion": 2}
    weights(workspace, labels=regions, regions_class_order=[1, 2])
    record = adapt("--json").json
    assert {row["action"] for row in record["rows"] if ".seg_layers." in row["name"]} == {"initialised"}
    assert record["from"]["labels"] == ["whole", "lesion"]
    assert record["to"]["labels"] == ["background", "lesion"]
    refused = adapt("--label", "lesion=whole")
    assert (refused.code, "lesion=whole: the dataset has labels and the weights have regions; " in refused.err) == (
        2,
        True,
    )
    assert "leave --label out: " in refused.err
    for document in ("raw/dataset.json", "preprocessed/dataset.json"):
        put(document, "/labels", regions)(workspace, MR)
        put(document, "/regions_class_order", [1, 2])(workspace, MR)
    weights(workspace, labels={"background": 0, "core": 1})
    refused = adapt("--label", "lesion=core")
    assert (refused.code, "lesion=core: the dataset has regions and the weights have labels; " in refused.err) == (
        2,
        True,
    )


def test_a_file_without_names(workspace: Path) -> None:
    weights(workspace, channel_names={"0": "T2"}, options={"init_args": None})
    done = adapt("-c", "3d_fullres")
    assert (done.code, "--old-channel NAME" in done.err) == (2, True)
    named = adapt("-c", "3d_fullres", "--old-channel", "T2", "--old-label", "background", "--old-label", "x", "--json")
    assert fillings(named) == [("T1", "zero", None), ("T2", "kept", 0)]
    assert fillings(named, "decoder.seg_layers.0.bias") == [("background", "kept", 0), ("lesion", "initialised", None)]
    mean = adapt("-c", "3d_fullres", "--new-channels", "averaged", "--json")
    assert {filling for _, filling, _ in fillings(mean)} == {"averaged"}
    for option in ("--channel", "--label"):
        refused = adapt("-c", "3d_fullres", "--new-channels", "averaged", option, "T1=T2")
        assert (refused.code, f"{option} T1=T2: the weights have no names" in refused.err) == (2, True)


def test_segmentation_layers_of_no_shape(workspace: Path) -> None:
    """A damaged or hostile file: the layers are not used."""
    files = [place(workspace, MR, f"preprocessed/{name}.json") for name in ("nnUNetPlans", "dataset")]
    stored = checkpoints.shapes(*(json.loads(file.read_bytes()) for file in files))
    parameters = {name: () if ".seg_layers." in name else shape for name, shape in stored.items()}
    weights(workspace, options={"parameters": parameters})
    done = adapt("--json")
    assert done.code == 0, done.err
    assert {row["action"] for row in done.json["rows"] if ".seg_layers." in row["name"]} == {"initialised"}


def test_the_encoder_alone(workspace: Path) -> None:
    weights(workspace)
    rows = adapt("--encoder-only", "--json").json["rows"]
    by_part = {(row["name"].partition(".")[0], row["action"]) for row in rows}
    assert by_part == {("encoder", "kept"), ("decoder", "initialised")}


def test_a_class_is_not_chosen_where_no_layers_are_taken(workspace: Path) -> None:
    weights(workspace)
    done = adapt("--encoder-only", "--label", "lesion=background")
    assert (done.code, "leave --label out, or --encoder-only" in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    ("changes", "options", "reason", "hint"),
    [
        ({"channel_names": {"0": "CT"}}, (), "no channel here (T1, T2) has the name of one", "--channel T1=CT;"),
        ({"channel_names": {"0": "a'; b"}}, (), "the name of one", """--channel 'T1=a'"'"'; b';"""),
        ({}, ("--channel", "T3=T2"), "the dataset has no T3", "names there: T1, T2"),
        ({}, ("--label", "lesion=x"), "the weights have no x", "names there: background, lesion"),
        ({}, ("--label", "lesion"), "is not NAME=OLD", "lesion=tumour"),
        ({}, ("--old-channel", "T1"), "the weights have 2 input channels, and 1 are named", "in their order"),
        ({}, ("--old-label", "a"), "the weights have 2 output maps, and 1 are named", "background included"),
        ({}, ("--stem", "035"), "the weights have no stem 035", "stems there: one without a name"),
        ({}, ("-c", "3d_fulres"), "there is no configuration 3d_fulres", "did you mean 3d_fullres?"),
    ],
)
def test_choices_that_are_missing_or_impossible(
    workspace: Path, changes: Document, options: tuple[str, ...], reason: str, hint: str
) -> None:
    weights(workspace, **changes)
    done = adapt(*options)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert hint in done.err


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("adapted.bin", "-o adapted.pth"),
        (".", "-o adapted.pth"),
        ("", "-o adapted.pth"),
        ("..", "-o ../adapted.pth"),
        ("/", "-o /adapted.pth"),
    ],
)
def test_outputs_that_are_no_files_of_weights(workspace: Path, output: str, hint: str) -> None:
    weights(workspace)
    done = run("adapt", "old.pth", *PLANS[:-1], "-o", output)
    assert (done.code, done.out, hint in done.err) == (2, "", True), done.err


def test_another_network_is_not_adapted(workspace: Path) -> None:
    weights(workspace, CT, channel_names={"0": "T2"})
    done = adapt()
    assert (done.code, done.out) == (2, "")
    assert "the networks differ: " in done.err
    assert "leave -p out" in done.err


def test_a_network_of_another_kind_is_not_a_file_without_names(workspace: Path) -> None:
    """A residual encoder has another first layer, so the names of channels do not matter."""
    weights(workspace)
    for options in ((), ("--channel", "T2=T1"), ("--new-channels", "averaged")):
        done = run("adapt", "old.pth", "-d", "3", "-p", "nnUNetResEncUNetMPlans", "--dry-run", *options)
        assert (done.code, "the networks differ: " in done.err, "name the" in done.err) == (2, True, False), done.err


def test_the_option_that_chose_another_network_is_named(workspace: Path) -> None:
    weights(workspace, CT, channel_names={"0": "T2"})
    done = run("adapt", "old.pth", "-d", "3", "-c", "2d", "--dry-run")
    assert (done.code, "leave -c out, and the network is that of the weights' own plans" in done.err) == (2, True)


def test_the_network_of_the_weights_themselves(workspace: Path) -> None:
    """Before their plans are migrated: the dataset names channels and classes only."""
    weights(workspace, CT, channel_names={"0": "T2"})
    done = run("adapt", "old.pth", "-d", "3", "--dry-run", "--json")
    assert done.code == 0, done.err
    assert fillings(done) == [("T1", "zero", None), ("T2", "kept", 0)]
    to = done.json["to"]
    assert (to["plans"], to["configuration"], to["channels"]) == (None, "3d_fullres", ["T1", "T2"])
    weights(workspace, CT, channel_names={"0": "T2"}, options={"init_args": None})
    done = run("adapt", "old.pth", "-d", "3", "--dry-run")
    assert (done.code, "name plans of the dataset that have it, with -p" in done.err) == (2, True)


def test_several_stems_need_a_choice(workspace: Path) -> None:
    files = [place(workspace, MR, f"preprocessed/{name}.json") for name in ("nnUNetResEncUNetMPlans", "dataset")]
    plans, dataset_json = (json.loads(file.read_bytes()) for file in files)
    whole = checkpoints.shapes(plans, dataset_json)
    stems = ("035", "351_5")
    stored = {
        name.replace("encoder.stem.", f"encoder.stem.{stem}."): shape for name, shape in whole.items() for stem in stems
    }
    checkpoints.write(Path("old.pth"), plans, dataset_json, parameters=stored)
    words = ("adapt", "old.pth", "-d", "3", "-p", "nnUNetResEncUNetMPlans", "--dry-run")
    done = run(*words)
    assert (done.code, "2 stems: 035, 351_5" in done.err) == (2, True), done.err
    chosen = (*words, "--stem", "351_5", "--old-channel", "T1", "--old-channel", "T2", "--json")
    rows = run(*chosen).json["rows"]
    assert {row["action"] for row in rows} == {"kept"}
    assert rows[0]["source"] == "encoder.stem.351_5.convs.0.conv.weight"


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("old.pth", "is the file that is adapted"),
        ("adapted.pt", "is no name of a checkpoint"),
        ("other.pth", "exists, and is not known to be written by plansguard"),
        ("noted.pth", "noted.adaptation.json exists, and is not known"),
    ],
)
def test_files_that_are_not_written_over(workspace: Path, output: str, reason: str) -> None:
    weights(workspace)
    Path("other.pth").write_bytes(Path("old.pth").read_bytes())
    Path("noted.adaptation.json").write_text("{}")
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    done = run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans", "-o", output)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


def test_weights_of_another_adaptation_are_not_replaced(workspace: Path) -> None:
    weights(workspace)
    weights(workspace, options={"plansguard_adaptation": adapt("--encoder-only", "--json").json}).rename("adapted.pth")
    weights(workspace)
    before = Path("adapted.pth").read_bytes()
    done = run("adapt", "old.pth", *PLANS[:-1], "-o", "adapted.pth")
    assert (done.code, done.out) == (2, "")
    assert "adapted.pth exists already and contains weights of another adaptation" in done.err
    assert "give another name, or --force, which keeps a backup of it" in done.err
    assert Path("adapted.pth").read_bytes() == before
    for options in (("--force",), ("--force", "-o", "adapted.pth", "--dry-run")):
        done = run("adapt", "old.pth", *PLANS[:-1], *options)
        assert (done.code, "--force replaces a file, and none is written" in done.err) == (2, "-o" in options), done.err


def test_a_migration_names_the_command(workspace: Path) -> None:
    weights(workspace, channel_names={"0": "T2"})
    migrate = ("migrate", "-s", "old.pth", "-t", "3", "-tp", "X")
    done = run(*migrate)
    assert done.code == 1
    assert "error[PG414] another number of channels: T2 in " in done.out
    assert "fix: adapt the weights, and move the plans of the new file: plansguard adapt old.pth -d 3" in done.out
    weights(workspace, channel_names={"0": "CT"})  # only the user knows which of T1 and T2 is like it
    assert "fix: plans cannot move between them; plan the receiving dataset by itself" in run(*migrate).out


@pytest.mark.workspace(MR, "Dataset001_PretrainCT", chdir=True)
@pytest.mark.parametrize(
    ("options", "is_named"),
    [
        ((), True),
        (("--workflow", "graft"), True),
        (("--workflow", "pretrain"), False),
        (("-sp", "nnUNetResEncUNetMPlans"), False),
    ],
)
def test_a_migration_from_a_dataset_names_its_trained_weights(
    options: tuple[str, ...], is_named: bool, workspace: Path
) -> None:
    """For a pretraining the weights are still to be made; the model was trained with other plans than the last."""
    put("raw/dataset.json", "/channel_names", {"0": "CT", "1": "T2"})(workspace, MR)
    put("preprocessed/dataset.json", "/channel_names", {"0": "CT", "1": "T2"})(workspace, MR)
    done = run("migrate", "-s", "1", "-t", "3", "-tp", "X", *options)
    assert "[PG414] another number of channels" in done.out
    assert ("fix: adapt the weights, and move the plans of the new file: plansguard adapt " in done.out) is is_named


def test_weights_that_are_no_numbers(workspace: Path) -> None:
    weights(workspace, options={"value": struct.pack("<f", nan)})
    done = adapt("--dry-run")
    assert (done.code, done.out) == (2, "")
    assert "parameters contain NaN or infinity, such as " in done.err
    assert "use an earlier checkpoint of that training" in done.err


def test_a_file_has_to_be_named(workspace: Path) -> None:
    weights(workspace)
    done = run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans")
    assert (done.code, "add -o adapted.pth, or --dry-run" in done.err) == (2, True)


@pytest.mark.parametrize("option", [("--dry-run",), ("-o", "adapted.pth")])
def test_the_intensities_of_a_new_channel_are_needed(workspace: Path, option: tuple[str, ...]) -> None:
    """Of a dataset that was not planned, raw images alone name channels and classes."""
    weights(workspace, channel_names={"0": "T2"})
    place(workspace, MR, "preprocessed/dataset.json").unlink()
    words = ("adapt", "old.pth", "-d", "3")
    assert fillings(run(*words, "--dry-run", "--json")) == [("T1", "zero", None), ("T2", "kept", 0)]
    place(workspace, MR, "preprocessed/dataset_fingerprint.json").unlink()
    done = run(*words, *option)
    assert (done.code, done.out) == (2, "")
    assert "no fingerprint with the intensities of T1" in done.err
    assert "nnUNetv2_extract_fingerprint -d 3\n" in done.err


def test_nnunet_is_needed_to_write(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plansguard.nnunet.runtime.installed", lambda: False)
    weights(workspace)
    done = run("adapt", "old.pth", "-d", "3", "-p", "nnUNetPlans", "-o", "adapted.pth")
    assert (done.code, "pip install 'plansguard[train]'" in done.err) == (2, True)
    assert not Path("adapted.pth").exists()


@pytest.mark.parametrize(
    ("labels", "first", "kept", "others"),
    [
        ({"background": 0, "lesion": 1}, ("--encoder-only",), [], ["background", "lesion"]),
        ({"background": 0, "whole": [1, 2], "core": 2}, (), [], ["background", "lesion"]),
        ({"background": 0, "x": 1}, (), ["background"], ["lesion"]),
        ({"background": 0, "x": 1}, ("--label", "lesion=x"), ["background", "lesion"], []),
    ],
)
def test_initial_values_of_an_earlier_adaptation_are_not_kept(
    workspace: Path, labels: Document, first: tuple[str, ...], kept: list[str], others: list[str]
) -> None:
    """The weights name these classes, and their record says that no training has made their layers."""
    weights(workspace, labels=labels, regions_class_order=[1, 2])
    record = adapt("--json", *first).json
    weights(workspace, options={"plansguard_adaptation": record})
    again = adapt("--json").json
    classes = classes_of_head(again)
    assert classes is not None
    assert (classes.kept, classes.initial) == (kept, others)
    decoder = {row["action"] for row in again["rows"] if row["name"].startswith("decoder.stages.")}
    assert decoder == {"initialised" if "--encoder-only" in first else "kept"}
    out = adapt().out.splitlines()
    for name in (*kept, *others):
        where = "nnU-Net's initial values" if name in others else "the weights, unchanged"
        if kept and others and name in kept:
            where = f"number 0 of the weights ({name})"
        assert [line.split(maxsplit=1)[1] for line in out if line.startswith(f"{name} ")] == [where]
        chosen = adapt("--label", f"{name}={name}")
        assert chosen.code == (2 if name in others else 0)
        assert (f"the segmentation layers of {name} in the weights have nnU-Net's" in chosen.err) is (name in others)


@pytest.mark.workspace(SLIDES, PRETRAINED, chdir=True)
def test_a_3d_network_is_not_adapted_to_2d_images(workspace: Path) -> None:
    """No plans of 2D images have such a network, and its own cannot be migrated there."""
    weights(workspace, PRETRAINED)
    averaged = ("--new-channels", "averaged", "--dry-run")
    done = run("adapt", "old.pth", "-d", "4", *averaged)
    assert done.code == 2
    assert "the network of 3d_fullres is for 3D images, and Dataset004_Slides2D has 2D images" in done.err
    fitted = run("fit", "old.pth", "-d", "4", "--json").json["results"]
    assert {one["outcome"] for one in fitted} == {"impossible"}
    assert run("adapt", "old.pth", "-d", "4", "-c", "2d", *averaged).err.startswith("plansguard: the networks differ")
    moved = json.loads(place(workspace, PRETRAINED, "preprocessed/nnUNetPlans.json").read_bytes())
    place(workspace, SLIDES, "preprocessed/Moved.json").write_text(json.dumps(moved))
    assert run("adapt", "old.pth", "-d", "4", *averaged).code == 0  # somebody wants to train it


@pytest.mark.workspace(SLIDES, PRETRAINED, chdir=True)
@pytest.mark.parametrize("same_network", [True, False])
def test_what_is_next_for_a_2d_network_and_3d_images(workspace: Path, same_network: bool) -> None:
    """A 2d configuration of the dataset with their network trains them; else their plans are migrated."""
    plans, dataset_json, ours = (
        json.loads(place(workspace, dataset, f"preprocessed/{name}.json").read_bytes())
        for dataset, name in ((SLIDES, "nnUNetPlans"), (SLIDES, "dataset"), (PRETRAINED, "nnUNetPlans"))
    )
    architecture = copy.deepcopy(ours["configurations"]["2d"]["architecture"])
    if not same_network:
        architecture["arch_kwargs"]["features_per_stage"][0] = 16
    plans["configurations"]["2d"]["architecture"] = architecture
    checkpoints.write(Path("old.pth"), plans, dataset_json, "2d")
    task = task_of(Path("old.pth"), "1", None, None, AdaptationChoices("averaged"))
    lines = next_commands(task, Path("adapted.pth"))
    if same_network:
        assert lines[0] == "plansguard preprocess -d 1 -p nnUNetPlans -c 2d"
        assert lines[1].startswith("plansguard gate -- nnUNetv2_train 1 2d 0 -p nnUNetPlans ")
        return
    assert lines == [
        "# the plans of the weights are for 2D images and the dataset has 3D images, or the reverse (PG415)",
        "plansguard migrate -s adapted.pth -t 1 -tp PretrainPlans",
    ]
