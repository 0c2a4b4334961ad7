"""`plansguard fit`: one checkpoint against many datasets; test_weights_nnunet.py types its commands for real."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plansguard.render import Screen
from plansguard.render.fit import text
from plansguard.subjects.fit_result import LOADS, FitResult
from tests.support import checkpoints, safetensors
from tests.support.command import Done, run
from tests.support.data_folders import DATA, preprocessed
from tests.support.models import CHECKPOINT
from tests.support.variants import PLANS, ROOTS, place, put
from tests.support.weights import CT, LABELS, MR, PRETRAINED, beside, second_channel

SLIDES, CASCADE, MICROSCOPY = "Dataset004_Slides2D", "Dataset005_CascadeCT", "Dataset006_Microscopy3D"
Document = dict[str, Any]


pytestmark = [pytest.mark.deep, pytest.mark.workspace(chdir=True)]


def read(workspace: Path, dataset: str, name: str) -> Document:
    document: Document = json.loads(place(workspace, dataset, f"preprocessed/{name}.json").read_bytes())
    return document


def trained(workspace: Path, dataset: str = CT, name: str = "nnUNetPlans", **options: Any) -> str:
    plans, dataset_json = read(workspace, dataset, name), read(workspace, dataset, "dataset")
    dataset_json["labels"] = LABELS
    options.pop("change", lambda *_: None)(plans, dataset_json)
    checkpoints.write(workspace / "my weights.pth", plans, dataset_json, **options)
    return "my weights.pth"


def rows(done: Done) -> list[tuple[str, str, str, str]]:
    """Dataset, plans, configuration, outcome."""
    return [(one["dataset"], one["plans"], one["configuration"], one["outcome"]) for one in done.json["results"]]


def only(done: Done) -> Document:
    (result,) = done.json["results"]
    assert isinstance(result, dict)
    return result


def test_weights_that_fit(workspace: Path) -> None:
    preprocessed(DATA)(workspace, CT)
    done = run("fit", trained(workspace), "-d", "2")
    assert (done.code, done.out) == (
        0,
        "dataset                plans        configuration  needs\n"
        "Dataset002_FinetuneCT  nnUNetPlans  3d_fullres     loads\n"
        "\n"
        "Dataset002_FinetuneCT: network, input and data agree\n"
        "  plansguard gate -- nnUNetv2_train 2 3d_fullres 0 -p nnUNetPlans -tr nnUNetTrainer_250000steps_lr1en3 "
        "-pretrained_weights 'my weights.pth'\n",
    )


def test_data_that_are_not_there(workspace: Path) -> None:
    weights = trained(workspace)
    done = run("fit", weights, "-d", "2", "--json")
    assert (done.code, rows(done)) == (1, [(CT, "nnUNetPlans", "3d_fullres", "preprocess again")])
    assert only(done)["command"] == "plansguard preprocess -d 2 -p nnUNetPlans -c 3d_fullres"
    page = Path("fit.html")
    table = run("fit", weights, "-d", "2", "--output", "text", "--output", f"html={page}").out
    assert re.search(r"3d_fullres +preprocess$", table, re.MULTILINE)
    assert "preprocess again" not in page.read_text()


def test_data_of_other_plans(workspace: Path) -> None:
    """They fit the weights' plans but not the arrays, which were made with a spacing of 1.5 mm."""
    preprocessed(DATA)(workspace, CT)
    plans = read(workspace, CT, "nnUNetPlans")
    plans["configurations"]["3d_fullres"]["spacing"][0] = 3.0
    place(workspace, CT, "preprocessed/nnUNetPlans.json").write_text(json.dumps(plans))
    result = only(run("fit", trained(workspace), "-d", "2", "--json"))
    assert result["outcome"] == "preprocess again"
    assert result["reason"].startswith("nnUNetPlans_3d_fullres/fine_000: the array is ")


def test_cases_that_are_missing(workspace: Path) -> None:
    preprocessed(DATA)(workspace, CT)
    for path in place(workspace, CT, f"preprocessed/{DATA}").glob("fine_001*"):
        path.unlink()
    result = only(run("fit", trained(workspace), "-d", "2", "--json"))
    assert (result["outcome"], "fine_001" in result["reason"]) == ("preprocess again", True)
    assert "  preprocess again\n" in run("fit", "my weights.pth", "-d", "2").out


def test_other_networks_need_a_migration(workspace: Path) -> None:
    weights = trained(workspace, PRETRAINED)
    done = run("fit", weights, "-d", "2", "--json")
    assert rows(done) == [
        (CT, "nnUNetPlans", "3d_fullres", "migrate first"),
        (CT, "nnUNetResEncUNetMPlans", "3d_fullres", "migrate first"),
    ]
    first = done.json["results"][0]
    assert first["reason"].startswith("stage 1 pools [2, 2, 2] here and [1, 2, 2] in the weights")
    assert first["command"] == "plansguard migrate -s 'my weights.pth' -t 2 -tp PretrainPlans"
    assert run(*shlex.split(first["command"])[1:]).code == 0
    done = run("fit", weights, "-d", "2", "--json")
    assert rows(done) == [(CT, "PretrainPlans", "3d_fullres", "preprocess again")]


def test_other_input_needs_a_migration(workspace: Path) -> None:
    def change(plans: Document, _: Document) -> None:
        plans["configurations"]["3d_fullres"]["spacing"] = [1.5, 0.6, 0.6]

    result = only(run("fit", trained(workspace, change=change), "-d", "2", "-p", "nnUNetPlans", "--json"))
    assert result["outcome"] == "migrate first"
    assert result["reason"] == "they load, but saw spacing [1.5, 0.6, 0.6], here [1.5, 1.2, 1.2]"


def test_a_configuration_of_ones_own_comes_with_a_migration(workspace: Path) -> None:
    def change(plans: Document, _: Document) -> None:
        plans["configurations"]["3d_mine"] = {"inherits_from": "3d_fullres", "batch_size": 3}

    weights = trained(workspace, change=change, configuration="3d_mine")
    result = only(run("fit", weights, "-d", "2", "-p", "nnUNetPlans", "--json"))
    assert (result["outcome"], result["reason"]) == ("migrate first", "the plans have no 3d_mine")
    assert run(*shlex.split(result["command"])[1:]).code == 0


@pytest.mark.parametrize(("options", "added"), [((), True), (("-c", "3d_fullres"), False)])
def test_configurations_that_were_added_are_listed(options: tuple[str, ...], added: bool, workspace: Path) -> None:
    """Those that inherit the network of the weights; another network and -c are not meant."""
    preprocessed(DATA)(workspace, CT)
    weights = trained(workspace)
    thin = read(workspace, CT, "nnUNetPlans")["configurations"]["3d_fullres"]["architecture"]
    thin["arch_kwargs"]["features_per_stage"][-1] //= 2
    for name, fields in (("3d_bs4", {"batch_size": 4}), ("3d_thin", {"architecture": thin})):
        put(PLANS, f"/configurations/{name}", {"inherits_from": "3d_fullres", **fields})(workspace, CT)
    done = run("fit", weights, "-d", "2", "-p", "nnUNetPlans", *options, "--json")
    listed = {one["configuration"]: (one["outcome"], one["command"]) for one in done.json["results"]}
    assert set(listed) == {"3d_fullres", *(["3d_bs4"] if added else [])}
    assert {outcome for outcome, _ in listed.values()} == {"loads"}
    assert all(f" 2 {name} 0 " in command for name, (_, command) in listed.items())
    starts = [line.partition(":")[0] for line in run("fit", weights, "-d", "2", *options).out.splitlines()]
    assert (f"3d_bs4 of nnUNetPlans of {CT}" in starts) == added


def test_a_migration_for_several_plans_is_printed_once(workspace: Path) -> None:
    done = run("fit", trained(workspace, PRETRAINED), "-d", "2", "-d", "3")
    assert done.out.count("  migrate first\n") == 2
    assert done.out.count(" -t 2 ") == 1


def test_the_proposed_name_is_free(workspace: Path) -> None:
    for name in ("PretrainPlans", "pretrainplans2"):
        beside("preprocessed/nnUNetPlans.json", name)(workspace, CT)
    result = only(run("fit", trained(workspace, PRETRAINED), "-d", "2", "-p", "nnUNetPlans", "--json"))
    assert result["command"].endswith("-tp PretrainPlans3")
    assert run(*shlex.split(result["command"])[1:]).code == 0


def test_a_dataset_without_plans_needs_a_migration(workspace: Path) -> None:
    for path in place(workspace, CT, "preprocessed").glob("*Plans.json"):
        path.unlink()
    result = only(run("fit", trained(workspace, PRETRAINED), "-d", "2", "--json"))
    assert (result["plans"], result["outcome"], result["reason"]) == (
        "",
        "migrate first",
        "the dataset has no plans",
    )
    assert run(*shlex.split(result["command"])[1:]).code == 0


def test_a_reader_that_a_migration_has_to_name(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net chooses SimpleITKIO for 3D .tif, which loses the spacing: no reason to call the dataset impossible."""
    monkeypatch.setattr("plansguard.nnunet.runtime.installed", lambda: True)
    monkeypatch.setattr("plansguard.nnunet.runtime.reader_of", lambda *_: "SimpleITKIO")
    for path in place(workspace, MICROSCOPY, "preprocessed").glob("*Plans.json"):
        path.unlink()

    def z_score(plans: Document, _: Document) -> None:
        for configuration in plans["configurations"].values():
            configuration["normalization_schemes"] = ["ZScoreNormalization"]

    result = only(run("fit", trained(workspace, PRETRAINED, change=z_score), "-d", "6", "--json"))
    assert (result["outcome"], result["reason"]) == ("migrate first", "the dataset has no plans")
    assert result["command"].endswith(" -t 6 -tp PretrainPlans --reader Tiff3DIO")
    assert run(*shlex.split(result["command"])[1:]).code == 0


@pytest.mark.parametrize(
    ("options", "target", "reason"),
    [
        (
            {},
            "3",
            r"2 input channels here, 1 in the weights .*; no channel has the name of one of the weights: --channel",
        ),
        ({}, "4", "the plans have no 3d_fullres; the plans of the weights cannot come here: .* 1 channel, .* names 3"),
        ({}, "5", "6 stages here, 5 in the weights .* cannot come here: CT channel 0: the plans' range"),
        ({"init_args": None}, "2", "the network is a .*; the file holds no plans that could be migrated"),
    ],
    ids=["channels", "dimensions", "range", "no-plans"],
)
def test_what_cannot_be_mended(workspace: Path, options: Document, target: str, reason: str) -> None:
    name = "nnUNetResEncUNetMPlans" if "init_args" in options else "nnUNetPlans"
    weights = trained(workspace, PRETRAINED, name, **options)
    done = run("fit", weights, "-d", target, "-p", "nnUNetPlans", "--json")
    assert (done.code, only(done)["outcome"]) == (1, "impossible")
    assert re.match(reason, only(done)["reason"])
    assert run(*shlex.split(only(done)["command"])[1:]).code == (0 if "show" in only(done)["command"] else 1)


def test_weights_that_were_adapted_before_keep_their_file(workspace: Path) -> None:
    trained(workspace, CT, change=second_channel("PET"))
    (workspace / "some").mkdir()
    Path("my weights.pth").rename("some/adapted.pth")
    command = only(run("fit", "some/adapted.pth", "-d", "2", "-p", "nnUNetPlans", "--json"))["command"]
    assert command == "plansguard adapt some/adapted.pth -d 2 -p nnUNetPlans -c 3d_fullres -o readapted.pth"


@pytest.mark.parametrize("own_network", [False, True])
@pytest.mark.parametrize("taken", ["same", "otherwise", "other", "link", "folder", "note", "two"])
def test_the_name_of_adapted_weights_is_free(workspace: Path, taken: str, own_network: bool) -> None:
    """Or it is that of the same adaptation, which is written again: the command is not refused."""
    change, source = (one_channel, PRETRAINED) if own_network else (second_channel("PET"), CT)
    weights = trained(workspace, source, change=change)
    words = ("fit", weights, "-d", "3" if own_network else "2", "-p", "nnUNetPlans", "--json")
    adapt = [*shlex.split(only(run(*words))["command"])[1:-2], "--dry-run", "--json"]
    record = run(*adapt, *(["--encoder-only"] if taken in ("otherwise", "two") else [])).json
    if taken in ("same", "otherwise", "two"):
        checkpoints.write(Path("adapted.pth"), {}, {}, parameters={"a": (1,)}, plansguard_adaptation=record)
    if taken in ("other", "two"):
        Path("adapted2.pth" if taken == "two" else "adapted.pth").write_bytes(b"of somebody")
    if taken == "link":
        Path("adapted.pth").symlink_to("nowhere")
    elif taken == "folder":
        Path("adapted.pth").mkdir()
    elif taken == "note":
        Path("adapted.adaptation.json").write_text("{}")
    named = {"same": "adapted.pth", "two": "adapted3.pth"}.get(taken, "adapted2.pth")
    assert only(run(*words))["command"].endswith(f" -o {named}")


def test_channels_of_other_names_are_the_same(workspace: Path) -> None:
    """Once the user says which: nothing else shows it."""
    weights = trained(workspace, PRETRAINED)
    assert "--channel NEW=OLD" in only(run("fit", weights, "-d", "3", "-p", "nnUNetPlans", "--json"))["reason"]
    words = ("adapt", weights, "-d", "3", "-o", "adapted.pth", "--dry-run")
    assert run(*words).code == 2
    assert run(*words, "--channel", "T1=CT").code == 0


def reordered(_: Document, dataset_json: Document) -> None:
    dataset_json["channel_names"] = {"0": "T2", "1": "T1"}


def one_channel(_: Document, dataset_json: Document) -> None:
    dataset_json["channel_names"] = {"0": "T2"}


@pytest.mark.parametrize(
    ("source", "change", "target", "reason", "words"),
    [
        (MR, reordered, "3", "the dataset has the channels of the weights in another order", "-d 3 -p nnUNetPlans"),
        (CT, second_channel("PET"), "2", "1 input channel here, 2 in the weights", "-d 2 -p nnUNetPlans"),
        (PRETRAINED, one_channel, "3", "2 input channels here, 1 in the weights", "-d 3"),
    ],
    ids=["another-order", "one-less", "one-more-and-another-network"],
)
def test_channels_that_can_be_adapted(
    workspace: Path, source: str, change: Callable[..., None], target: str, reason: str, words: str
) -> None:
    """By their names; with the plans of the weights, where these are still to be migrated. Checks name that command."""
    done = run("fit", trained(workspace, source, change=change), "-d", target, "-p", "nnUNetPlans", "--json")
    assert (done.code, only(done)["outcome"]) == (1, "adapt first")
    assert only(done)["reason"].startswith(reason)
    configuration = " -c 3d_fullres" if "-p" in words else ""
    command = f"plansguard adapt 'my weights.pth' {words}{configuration} -o adapted.pth"
    assert only(done)["command"] == command
    assert run(*shlex.split(command)[1:], "--dry-run").code == 0
    assert "  adapt first\n" in run("fit", "my weights.pth", "-d", target, "-p", "nnUNetPlans").out
    check = ("check", "-d", target, "-p", "nnUNetPlans", "-c", "3d_fullres", "-pretrained_weights", "my weights.pth")
    fixes = [one["fix"] for one in run(*check, "--output", "json").json["findings"] if one["code"] == "PG621"]
    assert fixes == ([] if change is reordered else [f"adapt the weights first: {command}"])


def test_no_other_plans_take_weights_of_other_channels(workspace: Path) -> None:
    """Plans of the same network are no fix of PG621, and PG624 is not reported."""
    beside(PLANS, "Other")(workspace, CT)
    weights = trained(workspace, change=second_channel("PET"))
    done = run("check", "-d", "2", "-p", "nnUNetPlans", "-pretrained_weights", weights, "--output", "json")
    fixes = {one["code"]: one["fix"] for one in done.json["findings"]}
    assert "PG624" not in fixes
    assert fixes["PG621"].startswith("adapt the weights first: plansguard adapt ")


def test_what_cannot_be_determined(workspace: Path) -> None:
    """Weights that load and came without plans; plans that cannot be read."""
    done = run("fit", trained(workspace, init_args=None), "-d", "2", "-p", "nnUNetPlans", "--json")
    assert (done.code, only(done)["outcome"], only(done)["configuration"]) == (1, "cannot be told", "3d_fullres")
    assert run(*shlex.split(only(done)["command"])[1:]).code == 0
    weights = trained(workspace)
    plans = read(workspace, CT, "nnUNetPlans")
    plans["configurations"]["3d_fullres"]["patch_size"] = "large"
    place(workspace, CT, "preprocessed/nnUNetPlans.json").write_text(json.dumps(plans))
    done = run("fit", weights, "-d", "2", "-p", "nnUNetPlans", "--json")
    assert only(done)["outcome"] == "cannot be told"
    assert only(done)["reason"] == "configuration 3d_fullres has fields of a wrong type (see PG005)"
    assert "PG005" in run(*shlex.split(only(done)["command"])[1:]).out


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-p", "nnUNetPlans"), ("-p", "nnUNetPlans", "-c", "3d_fullres")])
def test_plans_that_are_too_large_are_named(workspace: Path, options: tuple[str, ...]) -> None:
    """Those of the dataset, not those of the weights, also where a migration would judge them."""
    weights = trained(workspace)
    place(workspace, CT, "preprocessed/nnUNetPlans.json").write_text(
        json.dumps({**read(workspace, CT, "nnUNetPlans"), "long": [1.5] * 2_800_000})
    )
    done = run("fit", weights, "-d", "2", *options, "--json")
    assert done.code == 1
    results = {one["plans"]: one for one in done.json["results"]}
    assert results["nnUNetPlans"]["reason"].startswith("nnUNetPlans.json cannot be read: the plans have 11,")
    assert {one["outcome"] for one in results.values()} == {"cannot be told"}
    for one in results.values():
        assert "nnUNetPlans.json" in one["reason"]
    assert "the plans have 11," in run(*shlex.split(results["nnUNetPlans"]["command"])[1:]).out


def test_another_configuration(workspace: Path) -> None:
    weights = trained(workspace, CASCADE, configuration="3d_lowres")
    done = run("fit", weights, "-d", "5", "-p", "nnUNetPlans", "--json")
    assert rows(done) == [(CASCADE, "nnUNetPlans", "3d_lowres", "preprocess again")]
    done = run("fit", weights, "-d", "5", "-p", "nnUNetPlans", "-c", "3d_fullres", "--json")
    assert rows(done) == [(CASCADE, "nnUNetPlans", "3d_fullres", "migrate first")]
    assert "saw spacing" in only(done)["reason"]
    done = run("fit", weights, "-d", "5", "-p", "nnUNetPlans", "-c", "2d", "--json")
    assert (only(done)["outcome"], only(done)["reason"]) == ("impossible", "2D here, 3D in the weights")


def test_all_datasets_of_the_fixtures(workspace: Path) -> None:
    preprocessed(DATA)(workspace, CT)
    done = run("fit", trained(workspace), "--all", "--json")
    outcomes = {(dataset, outcome) for dataset, _, _, outcome in rows(done) if dataset != MICROSCOPY}
    assert outcomes == {
        (PRETRAINED, "migrate first"),
        (CT, "loads"),
        (MR, "impossible"),
        (SLIDES, "impossible"),
        (CASCADE, "impossible"),
    }
    assert done.code == 1
    assert [row for row in rows(done) if row[0] == CT] == [(CT, "nnUNetPlans", "3d_fullres", "loads")]


def test_every_printed_command_does_what_it_says(workspace: Path) -> None:
    """A proposed migration succeeds, what is impossible is refused or explained; what starts nnU-Net: see above."""
    weights = trained(workspace, PRETRAINED)
    for result in run("fit", weights, "--all", "--json").json["results"]:
        program, *arguments = shlex.split(result["command"])
        if program == "plansguard" and arguments[0] in ("check", "migrate", "show"):
            expected = {"migrate first": (0,), "impossible": (1,), "cannot be told": (1, 2)}[result["outcome"]]
            assert run(*arguments, *(["--dry-run"] if "migrate" in arguments else [])).code in expected


def test_nothing_is_written(workspace: Path) -> None:
    weights = trained(workspace, PRETRAINED)
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}
    run("fit", weights, "--all")
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()} == before


def test_lines_are_not_too_long(workspace: Path) -> None:
    """On a terminal; commands are not wrapped, so that they can be copied. One row for each dataset and plans."""
    done = run("fit", trained(workspace, PRETRAINED), "--all")
    commands = [line for line in done.out.splitlines() if re.match("  (to see why: )?(plansguard|nnUNetv2_)", line)]
    assert all(line.endswith(" --dry-run") for line in commands if "to see why: plansguard migrate" in line)
    assert len(commands) == len(set(commands))
    assert re.search(r"  impossible\n", done.out)
    assert "\x1b" not in done.out
    results = [FitResult(**one) for one in run("fit", "my weights.pth", "--all", "--json").json["results"]]
    table, *reasons = text(results, Screen(width=80)).split("\n\n")
    assert len(table.splitlines()) == 1 + len(results)
    assert all(len(line) <= 80 for reason in reasons for line in reason.splitlines() if line not in commands)


def test_a_damaged_file_hides_no_other(workspace: Path) -> None:
    """The others are listed, each once, and the exit code is that of what cannot be read."""
    preprocessed(DATA)(workspace, CT)
    Path("damaged.pth").write_bytes(b"x" * 100)
    good = trained(workspace)
    done = run("fit", good, "damaged.pth", good, "-d", "2", "-d", CT, "-p", "nnUNetPlans")
    assert done.code == 2
    assert done.out.count(" loads\n") == 1
    assert done.err.startswith("plansguard: damaged.pth: ")


def test_several_weights_are_one_table(workspace: Path) -> None:
    preprocessed(DATA)(workspace, CT)
    done = run("fit", trained(workspace), CHECKPOINT, "-d", "2", "-p", "nnUNetPlans")
    head, fits, other, *_ = done.out.splitlines()
    assert head.split() == ["weights", "dataset", "plans", "configuration", "needs"]
    assert fits.startswith("my weights.pth ")
    assert (fits.split()[-1], other.split()[-2:]) == ("loads", ["migrate", "first"])
    assert done.code == 1


@pytest.mark.parametrize("color", [False, True])
def test_each_has_a_table_where_their_names_have_no_room(color: bool) -> None:
    results = [
        FitResult(f"{'w' * 20}{index}.pth", "Dataset002_FinetuneCT", "nnUNetPlans", "3d_fullres", LOADS, "", "x")
        for index in range(2)
    ]
    wide, narrow = (text(results, Screen(color=color, width=width)).splitlines() for width in (90, 80))
    assert wide[0].split()[0] == "weights"
    assert [narrow[0], narrow[4]] == [result.weights for result in results]
    assert narrow[1].split() == narrow[5].split() == ["dataset", "plans", "configuration", "needs"]


def test_hostile_names_reach_no_terminal(workspace: Path) -> None:
    def change(plans: Document, _: Document) -> None:
        plans["configurations"] = {"\x1b[2J": plans["configurations"]["3d_fullres"]}

    done = run("fit", trained(workspace, change=change, configuration="\x1b[2J"), "-d", "2")
    assert done.code == 1
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["checkpoint_final.pth"], "name the datasets with -d, or give --all"),
        (["checkpoint_final.pth", "-d", "2", "--all"], "name the datasets with -d, or give --all"),
        (["gone.pth", "-d", "2"], "gone.pth: the file does not exist"),
        ([str(CHECKPOINT), "-d", "77"], "no dataset has the id 77"),
        ([str(CHECKPOINT), "-d", "2", "-c", "3d_fulres"], "no plans here have a configuration 3d_fulres"),
    ],
)
def test_wrong_commands(workspace: Path, arguments: list[str], error: str) -> None:
    done = run("fit", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"plansguard: {error}")
    assert len(done.err.splitlines()) >= 2


def test_files_that_nnunet_cannot_load(workspace: Path) -> None:
    wrong: dict[str, Document] = {
        "the names of all parameters begin": {"prefix": "module."},
        "loading it would run code: it names posix.system": {"x": checkpoints.Named("posix", "system")("true")},
        "this is a pickle of a dictionary": {"network_weights": None},
    }
    for reason, options in wrong.items():
        done = run("fit", trained(workspace, **options), "-d", "2")
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"plansguard: my weights.pth: {reason}")
    file = safetensors.write(Path("w.safetensors"), {"a.weight": safetensors.entry("F32", (1,), 0)}, bytes(4))
    assert "plansguard adapt can write a checkpoint of nnU-Net from it" in run("fit", str(file), "-d", "2").err
    checkpoints.without(Path(trained(workspace)), "data/0")
    done = run("fit", "my weights.pth", "-d", "2")
    assert (done.code, done.err.splitlines()[0]) == (
        2,
        "plansguard: my weights.pth: it is not whole: storage 0 is missing (4 bytes)",
    )


@pytest.mark.parametrize(
    ("has_images", "hint"),
    [(True, "plan one first: nnUNetv2_plan_and_preprocess -d 1"), (False, "check nnUNet_preprocessed")],
)
def test_no_dataset_at_all(has_images: bool, hint: str, workspace: Path) -> None:
    weights = trained(workspace)
    (workspace / ROOTS["preprocessed"]).rename(workspace / "away")
    (workspace / ROOTS["preprocessed"]).mkdir()
    if not has_images:
        (workspace / ROOTS["raw"]).rename(workspace / "images")
    done = run("fit", weights, "--all")
    assert (done.code, done.err.splitlines()[1]) == (2, f"  {hint}")


def test_a_reason_names_its_plans_where_others_have_another() -> None:
    """One migration serves all plans of a dataset, whatever is wrong with each."""
    place, command = ("w.pth", "Dataset002_X"), "plansguard migrate -s w.pth -t 2 -tp New"
    results = [FitResult(*place, plans, "2d", "migrate first", why, command) for plans, why in zip("ABC", "xyx")]  # noqa: B905
    said = text(results, Screen())
    assert "\nA of Dataset002_X: x; the same command serves B\n  plansguard" in said
    assert "\nDataset002_X: x\n" in text([results[0], results[2]], Screen())
