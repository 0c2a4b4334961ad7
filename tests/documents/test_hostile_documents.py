"""Documents that are far too large: each command ends soon with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.core.errors import UnreadableDocument
from plansguard.documents import json_document, size_limits
from plansguard.documents.validation import MOST_PROBLEMS, problems, shortened
from tests.documents.test_validation import accepts
from tests.support.attacks import confined
from tests.support.command import run
from tests.support.models import CHECKPOINT, FIXTURE, stored
from tests.support.torchlike import T, save
from tests.support.variants import place

#: Separate processes on documents of many megabytes.
pytestmark = [pytest.mark.slow, pytest.mark.workspace(chdir=True)]

CT = "Dataset001_PretrainCT"
MEMBER = f"{CT}/nnUNetTrainer__nnUNetPlans__3d_fullres"
PLANS: dict[str, Any] = json.loads((FIXTURE / "plans.json").read_bytes())
DATASET_JSON: dict[str, Any] = json.loads((FIXTURE / "dataset.json").read_bytes())
FULLRES: dict[str, Any] = PLANS["configurations"]["3d_fullres"]
CONFINED = """
from plansguard.cli import main
sys.argv = ["plansguard", *sys.argv[1:]]
sys.stderr = sys.stdout
try:
    main()
except SystemExit as end:
    print("exit code", end.code or 0)
"""

Document = dict[str, Any]


def of(configurations: Document, **others: Any) -> Document:
    return {**deepcopy(PLANS), "configurations": {"3d_fullres": FULLRES, **configurations}, **others}


def children(number: int, **fields: Any) -> Document:
    return {f"c{index}": {"inherits_from": "3d_fullres", **fields} for index in range(number)}


PLANS_ATTACKS: dict[str, tuple[Callable[[], Document], str]] = {
    "many configurations": (lambda: of({f"c{index}": {} for index in range(400_000)}), "the plans have 400,001 conf"),
    "many numbers for configurations": (lambda: of(dict.fromkeys(map(str, range(400_000)), 1)), "400,001 configura"),
    "a long chain": (
        lambda: of({f"c{index}": {"inherits_from": f"c{index + 1}"} for index in range(20_000)}),
        "the plans have 20,001 configurations, more than 300",
    ),
    "children of a long list": (
        lambda: of({**children(200), "3d_fullres": {**FULLRES, "patch_size": [64] * 100_000}}),
        "characters with all that configurations inherit, more than 1,048,576",
    ),
    "a chain that grows": (
        lambda: of({f"c{n}": {"inherits_from": f"c{n - 1}", **{f"{n}_{k}": 0 for k in range(50)}} for n in range(299)}),
        "characters with all that configurations inherit, more than 1,048,576",
    ),
    "values of a wrong type": (lambda: of({"x": {**FULLRES, "patch_size": ["x"] * 400_000}}), "characters with all"),
    "many fields": (lambda: of({}, **{f"field {index}": index for index in range(400_000)}), "characters with all"),
    "a long key": (lambda: of({"k" * 8_000_000: FULLRES}), "characters with all"),
    "a long name": (lambda: of({}, plans_name="k" * 8_000_000), "characters with all"),
}
DATASET_ATTACKS: dict[str, tuple[Callable[[], Document], str]] = {
    "labels": (lambda: {"labels": {f"label {index}": index for index in range(100_000)}}, "labels has"),
    "labels of a wrong type": (lambda: {"labels": {f"label {index}": "x" for index in range(300_000)}}, "labels has"),
    "one region of many": (lambda: {"labels": {"background": 0, "all": [*range(500_000)]}}, "labels has"),
    "channels": (lambda: {"channel_names": {str(index): "CT" for index in range(100_000)}}, "channel_names has"),
    "old channels": (lambda: {"modality": {str(index): "CT" for index in range(100_000)}}, "modality has"),
    "order of regions": (lambda: {"regions_class_order": [*range(200_000)]}, "regions_class_order has"),
    "file ending": (lambda: {"file_ending": "." + "x" * 8_000_000}, "file_ending has"),
}


def run_confined(*arguments: str | Path) -> str:
    """The output of the command, with at most 5 seconds of processor time and 500 MiB."""
    return confined(CONFINED, *arguments)


def as_zip(plans: Document, dataset_json: Document) -> Path:
    members = {"plans.json": plans, "dataset.json": dataset_json}
    packed = {f"{MEMBER}/{name}": json.dumps(document).encode() for name, document in members.items()}
    return stored(Path("model.zip"), {**packed, f"{MEMBER}/fold_0/checkpoint_final.pth": CHECKPOINT.read_bytes()})


def as_checkpoint(plans: Document, dataset_json: Document) -> Path:
    arguments = {"plans": plans, "dataset_json": dataset_json, "configuration": "3d_fullres", "fold": 0}
    value = {"network_weights": {"a.weight": T("0", (4, 1, 3, 3, 3))}, "trainer_name": "nnUNetTrainer"}
    return save(Path("weights.pth"), {**value, "init_args": arguments, "current_epoch": 1})


# ---------------------------------------------------------------------------------------------------------------------
# Every command
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", PLANS_ATTACKS)
def test_a_check_reports_plans_that_are_too_large(attack: str, workspace: Path) -> None:
    make, reason = PLANS_ATTACKS[attack]
    folder = place(workspace, CT, "preprocessed/.").resolve()
    (folder / "nnUNetPlans.json").write_text(json.dumps(make()))
    output = run_confined("check", folder)
    assert "PG001" in output
    assert reason in output
    assert output.endswith("exit code 2\n")


@pytest.mark.parametrize("attack", ["many configurations", "a chain that grows"])
@pytest.mark.parametrize(
    "command", [("show",), ("diff", FIXTURE / "plans.json"), ("migrate", "-t", "2", "-tp", "X", "-s")]
)
def test_every_command_refuses_such_plans(command: tuple[str | Path, ...], attack: str, workspace: Path) -> None:
    make, reason = PLANS_ATTACKS[attack]
    Path("plans.json").write_text(json.dumps(make()))
    output = run_confined(*command, "plans.json")
    assert reason in output
    assert output.endswith("exit code 2\n")


@lru_cache(maxsize=1)  # tests of one model follow each other
def packed(pack: Callable[[Document, Document], Path], attack: str) -> tuple[str, bytes]:
    """The name and the content of the model that ``pack`` writes into the current folder."""
    model = pack(PLANS_ATTACKS[attack][0](), DATASET_JSON)
    return model.name, model.read_bytes()


@pytest.mark.parametrize(
    "command", [("show",), ("extract",), ("fit", "-d", "2"), ("migrate", "-t", "2", "-tp", "X", "-s")]
)
@pytest.mark.parametrize("attack", ["many configurations", "a chain that grows"])
@pytest.mark.parametrize("pack", [as_zip, as_checkpoint])
def test_every_command_refuses_such_plans_in_a_model(
    pack: Callable[[Document, Document], Path], command: tuple[str, ...], attack: str, workspace: Path
) -> None:
    reason = PLANS_ATTACKS[attack][1]
    name, content = packed(pack, attack)
    Path(name).write_bytes(content)
    output = run_confined(*command, name)
    if pack is as_checkpoint and attack == "many configurations":
        reason = "more than"  # the reader of pickles has limits of its own
    assert reason in output
    by_the_rest = {"show": 0, "fit": 1} if pack is as_checkpoint and attack != "many configurations" else {}
    assert output.endswith(f"exit code {by_the_rest.get(command[0], 2)}\n")


@pytest.mark.parametrize("attack", ["a long chain", "children of a long list", "values of a wrong type"])
def test_weights_with_such_plans_are_checked_without_them(attack: str, workspace: Path) -> None:
    make, _ = PLANS_ATTACKS[attack]
    output = run_confined(
        "check", "-d", "1", "-p", "nnUNetPlans", "-pretrained_weights", as_checkpoint(make(), DATASET_JSON)
    )
    assert "PG000" not in output
    assert output.endswith(("exit code 1\n", "exit code 2\n"))


@pytest.mark.parametrize("attack", DATASET_ATTACKS)
def test_a_check_reports_a_dataset_json_that_is_too_large(attack: str, workspace: Path) -> None:
    make, reason = DATASET_ATTACKS[attack]
    folder = place(workspace, CT, "preprocessed/.").resolve()
    (folder / "dataset.json").write_text(json.dumps({**DATASET_JSON, **make()}))
    output = run_confined("check", folder)
    assert "PG001" in output
    assert reason in output
    assert "more than 262,144" in output
    assert output.endswith("exit code 2\n")


@pytest.mark.parametrize("attack", ["labels", "one region of many"])
def test_a_zip_with_such_a_dataset_json_is_refused(attack: str, workspace: Path) -> None:
    make, reason = DATASET_ATTACKS[attack]
    output = run_confined("fit", as_zip(PLANS, {**DATASET_JSON, **make()}), "-d", "2")
    assert reason in output
    assert output.endswith("exit code 2\n")


def test_a_migration_record_of_such_plans_is_refused(workspace: Path) -> None:
    assert run("migrate", "-s", "1", "-t", "2", "-tp", "Moved").code == 0
    path = place(workspace, "Dataset002_FinetuneCT", "preprocessed/Moved.plansguard.json")
    record = json.loads(path.read_bytes())
    older = {**record, "migrated": PLANS_ATTACKS["a long chain"][0]()}
    path.write_text(json.dumps({**record, "replaced": {"sha256": "0", "backup": None, "lineage": older}}))
    done = run("check", "-d", "2")
    assert "the plans have 20,001 configurations" in done.out
    assert done.code == 2
    undone = run("migrate", "-t", "2", "--undo")
    assert (undone.code, "the plans have 20,001 configurations" in undone.err) == (2, True)


def test_long_settings_are_refused(workspace: Path) -> None:
    ignore = [{"rule": "PG001", "path": "*", "reason": "none"}] * 20_000
    Path("plansguard.json").write_text(json.dumps({"ignore": ignore}))
    done = run("check", "-d", "2")
    assert (done.code, "settings have at most 512 KiB" in done.err) == (2, True)


# ---------------------------------------------------------------------------------------------------------------------
# The limits
# ---------------------------------------------------------------------------------------------------------------------


def refusal(value: Any) -> str:
    """Why the document is refused; empty if it is not."""
    try:
        size_limits.parse(json.dumps(value).encode(), "plans.json")
    except UnreadableDocument as error:
        assert error.hint
        return error.reason
    return ""


def test_as_many_configurations_as_are_allowed() -> None:
    assert refusal(of(children(size_limits.MAX_CONFIGURATIONS - 1))) == ""
    assert refusal(of(children(size_limits.MAX_CONFIGURATIONS))) == "the plans have 301 configurations, more than 300"


def test_inherited_keys_count_in_each_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = of(children(3))
    once, parent = (len(json.dumps(value, separators=(",", ":"))) for value in (plans, FULLRES))
    monkeypatch.setattr(size_limits, "MAX_PLANS", once + 3 * parent)
    assert refusal(plans) == ""
    monkeypatch.setattr(size_limits, "MAX_PLANS", once + 3 * parent - 1)
    assert refusal(plans).startswith(f"the plans have {once + 3 * parent:,} characters")


def test_a_cycle_of_inheritance_ends() -> None:
    circle = {f"c{index}": {"inherits_from": f"c{(index + 1) % 250}", "x": "y" * 4000} for index in range(250)}
    assert "characters with all that configurations inherit" in refusal(of(circle))


def test_a_dataset_json_may_list_many_cases() -> None:
    cases = {f"case_{index:05d}": {"images": [f"{index}.nii.gz"], "label": "a.nii.gz"} for index in range(20_000)}
    assert refusal({**DATASET_JSON, "dataset": cases, "training": [*cases]}) == ""


def test_objects_and_lists_are_counted_before_they_are_made() -> None:
    few = b"[" + b",".join([b"[]"] * (json_document.MAX_CONTAINERS - 1)) + b"]"
    assert len(json_document.parse(few, "x.json").value) == json_document.MAX_CONTAINERS - 1
    with pytest.raises(UnreadableDocument, match="more than 1,000,000 objects and lists"):
        json_document.parse(few[:-1] + b",{}]", "x.json")


def test_a_document_of_many_values_has_no_places() -> None:
    few = json.dumps([1] * json_document.MAX_PLACED_VALUES).encode()
    assert json_document.parse(few, "x.json").position("/1") == (1, 5)
    assert json_document.parse(few[:-1] + b", 1]", "x.json").position("/1") is None


def test_the_first_of_many_non_finite_numbers_is_noted() -> None:
    many = json.dumps([float("inf")] + [float("nan")] * json_document.MAX_PLACED_VALUES).encode()
    (notice,) = json_document.parse(many, "x.json").notices
    assert notice == ("non-finite", "", "Infinity")


# ---------------------------------------------------------------------------------------------------------------------
# Values of a wrong type
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("dataset.json", {**DATASET_JSON, "dataset": dict.fromkeys(map(str, range(200_000)), 1)}, "dataset"),
        ("splits_final.json", [{"train": ["a"], "val": ["b"]}, {"train": [1] * 500_000, "val": []}], "1"),
        ("splits_final.json", [{"train": ["a"], "val": ["b"]}, *[1] * 500_000], "100"),
    ],
    ids=["cases", "splits", "folds"],
)
def test_the_first_faults_are_listed(name: str, value: Any, place: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FIXTURE, tmp_path / "data")
    (folder / name).write_text(json.dumps(value))
    output = run_confined("check", folder)
    assert output.count("error[PG005]") == MOST_PROBLEMS + 1
    assert output.count(f"{place}: only the first 100 values of a wrong type are listed") == 1


def test_as_many_faults_as_are_listed() -> None:
    splits = [{"train": [1] * MOST_PROBLEMS, "val": ["a"]}]
    assert len(problems("Splits", splits)) == MOST_PROBLEMS
    splits[0]["val"] = [2]
    found = problems("Splits", splits)
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1].expected == "only the first 100 values of a wrong type are listed"


VALUES = st.recursive(
    st.sampled_from([None, True, 1, 1.5, "a"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["train", "val", "labels", "dataset", "images", "0"]), inner, max_size=4)
    ),
    max_leaves=25,
)


@given(model=st.sampled_from(["Splits", "DatasetJson", "Fingerprint", "Plans", "Configuration"]), value=VALUES)
def test_a_shortened_value_is_as_faulty(model: str, value: Any) -> None:
    for faults in (1, 3):
        assert accepts(model, shortened(model, value, faults)) == accepts(model, value)
    assert shortened(model, value, 1000) is value


@given(places=st.lists(st.integers(0, 30), min_size=1, max_size=10, unique=True), faults=st.integers(1, 10))
def test_no_fault_moves_when_others_are_left_out(places: list[int], faults: int) -> None:
    folds = [{"train": [1 if case in places else "a" for case in range(31)], "val": ["b"]}]
    listed = [problem.tokens for problem in problems("Splits", shortened("Splits", folds, faults))]
    assert listed == [(0, "train", case) for case in sorted(places)[:faults]]
