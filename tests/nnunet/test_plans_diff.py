"""`plansguard diff`: what differs by meaning, what that does, and where the plans come from."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from plansguard.documents.models.diff_document import DiffDocument
from plansguard.nnunet import constants
from plansguard.nnunet.inheritance import modern_architecture, origins
from plansguard.nnunet.plans_diff import CONSEQUENCES, FACETS, compare
from tests.support.command import run, start
from tests.support.variants import FIXTURES, ROOTS

PREPROCESSED = FIXTURES / "workspace" / ROOTS["preprocessed"]
FILES = sorted(PREPROCESSED.glob("*/*Plans.json"))
CT, CASCADE = PREPROCESSED / "Dataset001_PretrainCT", PREPROCESSED / "Dataset005_CascadeCT"

Document = dict[str, Any]


def load(file: Path) -> Document:
    document: Document = json.loads(file.read_bytes())
    return document


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plans() -> Document:
    """Good plans of a CT dataset: 2d and 3d_fullres."""
    return load(CT / "nnUNetPlans.json")


def fullres(plans: Document) -> Document:
    configuration: Document = plans["configurations"]["3d_fullres"]
    return configuration


def edited(plans: Document, change: Callable[[Document], object]) -> Document:
    """A copy in which something differs."""
    result = copy.deepcopy(plans)
    change(result)
    return result


def differing(before: Document, after: Document) -> dict[str, str]:
    """The fields that differ, with their facets."""
    return {str(change.field): change.field.facet for change in compare(before, after)}


def save(place: str | Path, document: Document) -> Path:
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).write_text(json.dumps(document, indent=4))
    return Path(place)


# --- facets and consequences ---


@pytest.mark.parametrize(
    ("key", "value", "facet"),
    [
        ("spacing", [3.0, 0.8, 0.8], "input"),
        ("normalization_schemes", ["ZScoreNormalization"], "input"),
        ("use_mask_for_norm", [True], "input"),
        ("resampling_fn_data_kwargs", {"order": 1}, "input"),
        ("preprocessor_name", "Other", "input"),
        ("patch_size", [32, 96, 112], "training"),
        ("batch_size", 3, "training"),
        ("batch_dice", True, "training"),
        ("previous_stage", "3d_lowres", "weights"),
        ("data_identifier", "elsewhere", "bookkeeping"),
        ("median_image_size_in_voxels", [1.0, 2.0, 3.0], "bookkeeping"),
        ("my_own_key", 1, "bookkeeping"),
    ],
)
def test_facet_of_a_field(plans: Document, key: str, value: Any, facet: str) -> None:
    other = edited(plans, lambda copied: fullres(copied).update({key: value}))
    assert differing(plans, other) == {f"3d_fullres.{key}": facet}
    assert differing(other, plans) == {f"3d_fullres.{key}": facet}


@pytest.mark.parametrize(
    ("key", "value", "facet"),
    [
        ("dataset_name", "Dataset009_Other", "bookkeeping"),
        ("plans_name", "Other", "bookkeeping"),
        ("image_reader_writer", "NibabelIO", "input"),
        ("transpose_forward", [2, 0, 1], "input"),
        ("label_manager", "Other", "input"),
        ("foreground_intensity_properties_per_channel", {}, "input"),
        ("pretrain_info", {"checkpoint": "x"}, "weights"),
        ("original_median_spacing_after_transp", [1.0, 1.0, 1.0], "bookkeeping"),
    ],
)
def test_facet_at_the_top(plans: Document, key: str, value: Any, facet: str) -> None:
    assert differing(plans, {**plans, key: value}) == {key: facet}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_stages", 6),
        ("strides", [[1, 1, 1]]),
        ("conv_op", "torch.nn.modules.conv.Conv2d"),
        ("norm_op_kwargs", {"eps": 1e-06, "affine": True}),
        ("nonlin_first", True),
    ],
)
def test_the_network_decides_the_weights(plans: Document, key: str, value: Any) -> None:
    other = edited(plans, lambda copied: fullres(copied)["architecture"]["arch_kwargs"].update({key: value}))
    assert differing(plans, other) == {f"3d_fullres.architecture.arch_kwargs.{key}": "weights"}


def test_deep_supervision_does_not(plans: Document) -> None:
    """The trainer replaces it."""
    other = edited(plans, lambda copied: fullres(copied)["architecture"]["arch_kwargs"].update(deep_supervision=True))
    assert set(differing(plans, other).values()) == {"training"}


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
        '    plans_name: "nnUNetPlans" -> "Other"\n'
        "\n"
        "3d_fullres\n"
        "  weights: weights trained with one do not load into the other's network\n"
        "    architecture.arch_kwargs.strides:\n"
        "      /1/0: 1 -> 2\n"
        "    architecture.arch_kwargs.dropout_op: null -> (nothing)\n"
        "  input: preprocessed data of one are not those of the other: preprocess again\n"
        "    spacing: [2.5, 0.800000011920929, 0.800000011920929] -> [1.0, 0.800000011920929, 0.800000011920929]\n"
        "\n"
        "differences: 2 fields of weights, 1 field of input, 1 field of bookkeeping\n"
    )


def test_every_consequence_is_told() -> None:
    out = run("diff", CT / "nnUNetPlans.json", PREPROCESSED / "Dataset002_FinetuneCT/nnUNetPlans.json").out
    assert all(f"  {facet}: {CONSEQUENCES[facet]}\n" in out for facet in FACETS)


def test_a_configuration_in_one_of_them(plans: Document) -> None:
    other = edited(plans, lambda copied: copied["configurations"].pop("2d"))
    a, b = save("A.json", plans), save("B.json", other)
    assert run("diff", a, b).out.startswith("2d\n  only in the first plans\n\ndifferences: ")
    assert run("diff", b, a).out.startswith("2d\n  only in the second plans\n\ndifferences: ")
    assert run("diff", a, b, "--fail-on", "weights").code == 1
    assert {str(change.field).partition(".")[0] for change in compare(plans, other)} == {"2d"}


@pytest.mark.parametrize("one", FILES, ids=lambda file: f"{file.parent.name[:10]}-{file.stem}")
def test_any_two_plans_can_be_compared(one: Path) -> None:
    """Also those with next to nothing in common, for which deepdiff would say one word."""
    for other in FILES:
        found = compare(load(one), load(other))
        assert bool(found) is (one != other)
        assert all(change.details for change in found)


# --- by meaning ---


@pytest.mark.parametrize("file", [CASCADE / "nnUNetPlans.json", CASCADE / "nnUNetResEncUNetMPlans.json"])
def test_inheritance_is_resolved(file: Path) -> None:
    """A child that inherits is the same as one that says all by itself."""
    short = load(file)
    child = short["configurations"]["3d_cascade_fullres"]
    parent = short["configurations"][child["inherits_from"]]
    full = edited(
        short,
        lambda copied: copied["configurations"].update(
            {"3d_cascade_fullres": {**parent, **{key: child[key] for key in child if key != "inherits_from"}}}
        ),
    )
    assert compare(short, full) == []
    assert run("diff", file, save("full.json", full)) == (0, "no differences in meaning\n", "")


def test_a_change_of_the_parent_is_one_of_the_child() -> None:
    before = load(CASCADE / "nnUNetPlans.json")
    after = edited(before, lambda copied: fullres(copied).update(spacing=[2.0, 2.0, 2.0]))
    assert differing(before, after) == {"3d_fullres.spacing": "input", "3d_cascade_fullres.spacing": "input"}


def test_another_parent_that_says_the_same(plans: Document) -> None:
    plans["configurations"]["a"] = {"inherits_from": "3d_fullres", "batch_size": 5}
    plans["configurations"]["b"] = {"inherits_from": "3d_fullres"}
    other = edited(plans, lambda copied: copied["configurations"]["a"].update(inherits_from="b"))
    assert compare(plans, other) == []


@pytest.mark.parametrize("broken", [{"inherits_from": "nothing"}, {"inherits_from": "a"}, {"inherits_from": 5}])
def test_broken_inheritance_is_compared_as_written(plans: Document, broken: Document) -> None:
    before = edited(plans, lambda copied: copied["configurations"].update(a={**broken, "batch_size": 2}))
    after = edited(plans, lambda copied: copied["configurations"].update(a={**broken, "batch_size": 3}))
    assert differing(before, after) == {"a.batch_size": "training"}


@pytest.mark.parametrize("configurations", [None, [], 5, "2d", {"2d": 5}, {"2d": None}, {"2d": {"architecture": 3}}])
def test_plans_of_wrong_types(plans: Document, configurations: Any) -> None:
    """A diff is made to see what broke them."""
    broken = {**plans, "configurations": configurations}
    assert compare(broken, broken) == []
    good, bad = save("A.json", plans), save("B.json", broken)
    for sides in ((good, bad), (bad, good)):
        done = run("diff", *sides, "--fail-on", ",".join(FACETS))
        assert done.code == 1
        assert "differences: " in done.out


def in_the_old_format(plans: Document) -> Document:
    """The same plans as nnU-Net wrote them up to version 2.4: no `architecture`, other names for some keys."""
    old = copy.deepcopy(plans)
    old["foreground_intensity_properties_by_modality"] = old.pop("foreground_intensity_properties_per_channel")
    for configuration in old["configurations"].values():
        network = configuration.pop("architecture")
        kwargs = network["arch_kwargs"]
        residual = "n_blocks_per_stage" in kwargs
        configuration |= {
            "UNet_class_name": "ResidualEncoderUNet" if residual else "PlainConvUNet",
            "UNet_base_num_features": kwargs["features_per_stage"][0],
            "unet_max_num_features": max(kwargs["features_per_stage"]),
            "n_conv_per_stage_encoder": kwargs["n_blocks_per_stage" if residual else "n_conv_per_stage"],
            "n_conv_per_stage_decoder": kwargs["n_conv_per_stage_decoder"],
            "num_pool_per_axis": [4] * len(configuration["patch_size"]),
            "pool_op_kernel_sizes": kwargs["strides"],
            "conv_kernel_sizes": kwargs["kernel_sizes"],
        }
    return old


@pytest.mark.parametrize("name", ["nnUNetPlans", "nnUNetResEncUNetMPlans"])
def test_old_and_new_format_are_the_same(name: str) -> None:
    new = load(CT / f"{name}.json")
    old = in_the_old_format(new)
    assert compare(old, new) == compare(new, old) == []
    assert run("diff", save("old.json", old), CT / f"{name}.json").out == "no differences in meaning\n"


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("UNet_base_num_features", 16, "architecture.arch_kwargs.features_per_stage"),
        ("n_conv_per_stage_encoder", [2, 2, 2, 2, 3], "architecture.arch_kwargs.n_conv_per_stage"),
        ("pool_op_kernel_sizes", [[1, 1, 1]] * 5, "architecture.arch_kwargs.strides"),
        ("UNet_class_name", "ResidualEncoderUNet", "architecture.network_class_name"),
    ],
)
def test_a_difference_in_the_old_format(plans: Document, key: str, value: Any, field: str) -> None:
    """It is named as the new format names it."""
    old = in_the_old_format(plans)
    other = edited(old, lambda copied: fullres(copied).update({key: value}))
    found = differing(old, other)
    assert f"3d_fullres.{field}" in found
    assert set(found.values()) == {"weights"}
    assert differing(plans, other) == found


def test_old_plans_that_cannot_be_translated(plans: Document) -> None:
    """Networks of forks, or keys that are missing: compared as written."""
    before = in_the_old_format(plans)
    fullres(before)["UNet_class_name"] = "ForkedUNet"
    after = edited(before, lambda copied: fullres(copied).update(UNet_base_num_features=16))
    assert differing(before, after) == {"3d_fullres.UNet_base_num_features": "weights"}


def test_class_paths(plans: Document) -> None:
    """nnU-Net finds a class under several paths; the class counts."""

    def change(copied: Document) -> None:
        network = fullres(copied)["architecture"]
        network["network_class_name"] = "dynamic_network_architectures.architectures.another_module.PlainConvUNet"
        network["arch_kwargs"] |= {
            "conv_op": "torch.nn.Conv3d",
            "norm_op": "torch.nn.InstanceNorm3d",
            "nonlin": "torch.nn.modules.activation.LeakyReLU",
        }

    assert compare(plans, edited(plans, change)) == []


def test_numbers(plans: Document) -> None:
    """1 and 1.0 are one number; numbers that differ by next to nothing are two."""

    def change(copied: Document) -> None:
        fullres(copied).update(batch_size=2.0, patch_size=[32.0, 96, 96.0], batch_dice=0)

    assert compare(plans, edited(plans, change)) == []
    assert differing({**plans, "eps": 1e-13}, {**plans, "eps": 2e-13}) == {"eps": "bookkeeping"}
    assert differing({**plans, "n": 10**17}, {**plans, "n": 10**17 + 1}) == {"n": "bookkeeping"}
    assert differing({**plans, "n": 2.5}, {**plans, "n": 2.5 + 1e-15}) == {"n": "bookkeeping"}


def test_not_a_number_is_itself(plans: Document) -> None:
    plans["foreground_intensity_properties_per_channel"]["0"]["std"] = float("nan")
    file = save("A.json", plans)
    assert run("diff", file, shutil.copy(file, "B.json")).out == "no differences in meaning\n"


def test_every_key_counts(plans: Document) -> None:
    other = edited(plans, lambda copied: fullres(copied)["resampling_fn_data_kwargs"].update(__order=1))
    (change,) = compare(plans, other)
    assert change.details == ("/__order: (nothing) -> 1",)


# --- any edit of any field ---


class Place(NamedTuple):
    """A field that nnU-Net knows in one of the fixtures: its file, the keys that lead to it, and its facet."""

    file: Path
    keys: tuple[str, ...]
    facet: str


def places() -> list[Place]:
    """All of them; a field is listed where it is written."""
    found = []
    for file in FILES:
        plans = load(file)
        found += [Place(file, (key,), constants.facet(key)) for key in plans if key != "configurations"]
        for name, configuration in plans["configurations"].items():
            here = ("configurations", name)
            network = configuration.get("architecture", {})
            found += [
                Place(file, (*here, key), constants.facet(key))
                for key in configuration
                if key not in ("architecture", "inherits_from")
            ]
            found += [
                Place(
                    file,
                    (*here, "architecture", "arch_kwargs", key),
                    constants.facet(f"architecture.arch_kwargs.{key}"),
                )
                for key in network.get("arch_kwargs", ())
            ]
    return found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def mutated(value: Any) -> st.SearchStrategy[Any]:
    """Another value: anything at all, or one that differs in a single item or number."""
    choices = [VALUES]
    if isinstance(value, (int, float)):
        choices.append(st.sampled_from([value + 1, value * 2 + 1, -value - 1]))
    if isinstance(value, list) and value:
        items = st.integers(0, len(value) - 1)
        choices += [
            items.flatmap(lambda at: mutated(value[at]).map(lambda new: [*value[:at], new, *value[at + 1 :]])),
            items.map(lambda at: [*value[:at], *value[at + 1 :]]),
            items.map(lambda at: [*value, value[at]]),
        ]
    return st.one_of(choices).filter(lambda new: new != value)


@given(st.sampled_from(places()), st.data())
def test_a_single_edit_is_told_in_its_facet(place: Place, data: st.DataObject) -> None:
    before = load(place.file)
    *parents, key = place.keys
    after = copy.deepcopy(before)
    owner = after
    for parent in parents:
        owner = owner[parent]
    new = data.draw(mutated(owner[key]))
    if isinstance(new, str) and isinstance(owner[key], str):
        assume(new.rpartition(".")[2] != owner[key].rpartition(".")[2])
    owner[key] = new
    found = compare(before, after)
    assert {change.field.facet for change in found} == {place.facet}
    assert {change.field.key.rpartition(".")[2] for change in found} == {key}
    told = {change.field.configuration for change in found}
    if parents:
        heirs = {
            name
            for name in before["configurations"]
            if origins(before["configurations"], name).get(parents[2] if parents[2:] else key) == parents[1]
        }
        assert told == heirs >= {parents[1]}
    else:
        assert told == {None}
    assert compare(after, after) == []


@given(st.sampled_from(FILES), VALUES)
def test_nothing_differs_from_itself(file: Path, value: Any) -> None:
    plans = {**load(file), "any": value}
    assert compare(plans, copy.deepcopy(plans)) == []


def test_the_hand_made_old_format_is_nnunets(plans: Document) -> None:
    """The two tests above mean something only if the old format is translated at all."""
    assert modern_architecture(fullres(in_the_old_format(plans))) == fullres(plans)["architecture"]


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
        "details": [': "Dataset001_PretrainCT" -> "Dataset004_Slides2D"'],
    }


def test_json_of_no_difference() -> None:
    document = run("diff", CT / "nnUNetPlans.json", CT / "nnUNetPlans.json", "--output", "json").json
    assert document["changes"] == []
    assert document["facets"] == dict.fromkeys(FACETS, 0)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["A.json", "A.json", "--fail-on", "weigths"], "'weigths' is no facet", ", ".join(FACETS)),
        (["A.json", "A.json", "--output", "github"], "--output github is not known to diff", "text, json"),
        (["A.json", "B.json"], "B.json: the file does not exist", "check the path"),
        (["A.json", "dataset.json"], "dataset.json holds no nnU-Net plans", "give two plans files"),
        (["A.json", "."], ".: this is a folder", "name a JSON file"),
        (["broken.json", "A.json"], "broken.json:1:2: the key oops has no quotes", "double quotes"),
    ],
)
def test_what_cannot_be_compared(plans: Document, arguments: list[str], message: str, hint: str) -> None:
    save("A.json", plans)
    shutil.copy(CT / "dataset.json", "dataset.json")
    Path("broken.json").write_text("{oops")
    done = run("diff", *arguments)
    assert (done.code, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first == f"plansguard: {message}"
    assert hint in second


# --- git ---


GIT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_NAME": "Someone" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "someone@example.org" for who in ("AUTHOR", "COMMITTER")},
}


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
    """A copy of it, as the current folder."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("LC_ALL", "C")
    shutil.copytree(history, "repository")
    monkeypatch.chdir("repository")
    return Path.cwd()


def git(*arguments: str, folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *arguments], cwd=folder, env={**environment, **GIT}, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git("add", ".", folder=folder)
    git("commit", "--quiet", "--message", "a change", folder=folder)


def batch_sizes(*sides: str | Path) -> list[Any]:
    """The batch sizes on both sides, when that is all that differs."""
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
    """Paths start at the current folder, as paths do; git's own start at the top."""
    monkeypatch.chdir("study")
    for path in ("plans/P.json", "../study/plans/P.json", f"{repository}/study/plans/P.json"):
        assert batch_sizes(f"HEAD:{path}", "plans/P.json") == [(3, 4)]
    assert run("diff", "HEAD:study/plans/P.json", "plans/P.json").code == 2


def test_a_file_goes_before_a_revision(repository: Path) -> None:
    """A file that is really called like that is what was meant."""
    if os.name == "nt":
        pytest.skip("Windows has no such file names")
    shutil.copytree("study", "HEAD:study")
    assert batch_sizes("HEAD:study/plans/P.json", "study/plans/P.json") == []


def test_plans_in_git_that_are_no_json(repository: Path) -> None:
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
def test_revisions_that_git_does_not_know(repository: Path, place: str, message: str) -> None:
    """One line; a revision that looks like an option is none, and writes nothing."""
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
    assert done.stderr.startswith("plansguard: git cannot be run: ")
