"""The preprocessing record: which data are the same, and the state of the data that a record describes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plansguard.artefacts.data.listing import Listing, listing
from plansguard.commands.check import check
from plansguard.core.report import Report, Severity
from plansguard.documents import json_document
from plansguard.documents.models.preprocessing_record import PreprocessingRecord as PreprocessingRecordModel
from plansguard.documents.recognise import recognise
from plansguard.documents.validation import surely_valid
from plansguard.nnunet import constants
from plansguard.nnunet.inheritance import resolve_configuration
from plansguard.records.preprocessing import DataState, PreprocessingRecord, finished_record, unfinished_record
from plansguard.records.preprocessing_inputs import dataset_changes, differing, input_fields, place_in_plans
from plansguard.subjects.discovery import expected_kind
from plansguard.subjects.request import Reading
from tests.support.preprocessing_records import CT, FOLDER, KWARGS, MEAN, RECORD, RECORDED, data, record
from tests.support.variants import FIXTURES, PLANS, RESENC, place, put, resolve, rewrite
from tests.support.variants import copy as copied

PLANS_OF_CT = FIXTURES / "workspace/nnUNet_preprocessed" / CT / "nnUNetPlans.json"
CASE = {"a.b2nd": 100, "a_seg.b2nd": 10, "a.pkl": 5}


#: Dataset002, not preprocessed yet.
pytestmark = pytest.mark.workspace(CT)


@pytest.fixture
def recorded(workspace: Path) -> Path:
    """Dataset002 with data in 3d_fullres, and their preprocessing record."""
    for edit in RECORDED:
        edit(workspace, CT)
    return workspace


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


# ---------------------------------------------------------------------------------------------------------------------
# Inputs of preprocessing
# ---------------------------------------------------------------------------------------------------------------------


def fields(change: dict[str, Any] | None = None, configuration: str = "3d_fullres") -> dict[str, Any]:
    """``input_fields`` of the fixture's plans with other values at some pointers."""
    plans = json_document.read(PLANS_OF_CT).value
    for pointer, value in (change or {}).items():
        *parents, last = json_document.tokens(pointer)
        inside = resolve(plans, json_document.pointer(*parents))
        inside[int(last) if isinstance(inside, list) else last] = value
    return input_fields(plans, resolve_configuration(plans["configurations"], configuration))


CONFIGURATION = "/configurations/3d_fullres"


@pytest.mark.parametrize(
    ("pointer", "value", "field"),
    [
        (f"{CONFIGURATION}/spacing", [1.5, 1.2, 1.3], "spacing"),
        (f"{CONFIGURATION}/use_mask_for_norm", [True], "use_mask_for_norm"),
        (f"{CONFIGURATION}/preprocessor_name", "Mine", "preprocessor_name"),
        (f"{KWARGS}/order", 1, "resampling_fn_data_kwargs"),
        (KWARGS, {"order": 1, "force_separate_z": None}, "resampling_fn_data_kwargs"),
        ("/transpose_forward", [1, 0, 2], "transpose_forward"),
        ("/image_reader_writer", "NibabelIO", "image_reader_writer"),
        (MEAN, 70.0, "mean of channel 0"),
    ],
)
def test_fields_that_change_the_arrays(pointer: str, value: Any, field: str) -> None:
    assert [one.field for one in differing(fields(), fields({pointer: value}))] == [field]


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        (f"{CONFIGURATION}/spacing", [1.5, 1.2, 1.2]),  # nnU-Net wrote the float32 of it
        (f"{CONFIGURATION}/patch_size", [32, 32, 32]),
        (f"{CONFIGURATION}/batch_size", 9),
        (f"{CONFIGURATION}/resampling_fn_probabilities_kwargs/order", 3),  # only export reads it
        (f"{KWARGS}/of_a_newer_release", None),
        # the function's own defaults
        (KWARGS, {"is_seg": False, "force_separate_z": None}),
        ("/foreground_intensity_properties_per_channel/0/median", 3.0),
        ("/plans_name", "Mine"),
    ],
)
def test_fields_that_do_not_change_the_arrays(pointer: str, value: Any) -> None:
    assert differing(fields(), fields({pointer: value})) == []


def test_statistics_count_only_for_ct() -> None:
    z_score = {f"{CONFIGURATION}/normalization_schemes": ["ZScoreNormalization"]}
    assert differing(fields(z_score), fields({**z_score, MEAN: 70.0})) == []


def test_statistics_under_the_old_key() -> None:
    plans = json_document.read(PLANS_OF_CT).value
    plans[constants.OLD_INTENSITY_KEY] = plans.pop(constants.INTENSITY_KEY)
    configuration = resolve_configuration(plans["configurations"], "3d_fullres")
    assert input_fields(plans, configuration) == fields()
    assert place_in_plans(plans, "mean of channel 0") == (constants.OLD_INTENSITY_KEY, "0", "mean")


def test_every_field_has_a_place() -> None:
    plans = json_document.read(PLANS_OF_CT).value
    for configuration in plans["configurations"]:
        for field, value in fields(configuration=configuration).items():
            place = place_in_plans(plans, field) or ("configurations", configuration, field)
            assert resolve(plans, json_document.pointer(*place)) == value


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
NAMES = st.sampled_from(["order", "spacing", "kwargs"])
VALUES = st.recursive(
    NUMBERS | st.none() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=6,
)
FIELDS = st.dictionaries(NAMES, VALUES)


@given(FIELDS, FIELDS)
def test_differing(then: dict[str, Any], now: dict[str, Any]) -> None:
    """Nothing differs from itself, and the comparison is symmetric."""
    assert differing(then, json.loads(json.dumps(then))) == []
    there_and_back = {(one.field, str(one.then), str(one.now)) for one in differing(then, now)}
    assert there_and_back == {(one.field, str(one.now), str(one.then)) for one in differing(now, then)}


DATASET_JSON = {
    "labels": {"background": 0, "liver": 1, "tumour": 2},
    "channel_names": {"0": "T1", "1": "T2"},
    "file_ending": ".nii.gz",
}


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        ({"labels": {"background": 0, "liver": 1, "tumour": 2, "cyst": 3}}, Severity.ERROR),
        ({"labels": {"background": 0, "liver": [1, 2], "tumour": 2}}, Severity.ERROR),
        ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, Severity.ERROR),
        ({"channel_names": {"0": "T1"}}, Severity.ERROR),
        ({"labels": {"background": 0, "liver": 2, "tumour": 1}}, Severity.WARNING),
        ({"channel_names": {"0": "T2", "1": "T1"}}, Severity.WARNING),
        ({"labels": {"background": 0, "liver": 1, "tumor": 2}}, Severity.INFO),
        ({"channel_names": {"0": "T1", "1": "T2w"}}, Severity.INFO),
        ({"file_ending": ".nrrd"}, Severity.INFO),
    ],
)
def test_changes_of_dataset_json(change: dict[str, Any], severity: Severity) -> None:
    [doubt] = dataset_changes(DATASET_JSON, {**DATASET_JSON, **change})
    assert doubt.severity is severity
    assert {doubt.difference.field} == set(change)


@pytest.mark.parametrize(
    "same",
    [
        {"labels": {"tumour": 2, "background": 0, "liver": 1}},
        {"channel_names": {"00": "T1", "01": "T2"}},  # nnU-Net ignores the keys
        {"numTraining": 7},
    ],
)
def test_equivalent_dataset_json(same: dict[str, Any]) -> None:
    assert dataset_changes(DATASET_JSON, {**DATASET_JSON, **same}) == []


def test_channels_in_older_files() -> None:
    older = {key: value for key, value in DATASET_JSON.items() if key != "channel_names"}
    assert dataset_changes(DATASET_JSON, {**older, "modality": {"0": "T1", "1": "T2"}}) == []


# ---------------------------------------------------------------------------------------------------------------------
# Files of a data folder
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "cases"),
    [
        (CASE, {"a"}),
        ({**CASE, "b.npz": 1, "b.pkl": 1}, {"a", "b"}),
        ({**CASE, "a_seg.b2nd": 0}, set()),
        ({**CASE, "b.b2nd": 1, "b.pkl": 1}, {"a"}),
        ({"a.b2nd": 100, "a_seg.b2nd": 10}, set()),
        ({}, set()),
    ],
)
def test_complete_cases(sizes: dict[str, int], cases: set[str]) -> None:
    assert Listing(sizes).cases == cases


SIZES = st.dictionaries(st.text(min_size=1), st.integers(min_value=0))


@given(SIZES, SIZES)
def test_the_digest_is_that_of_names_and_sizes(one: dict[str, int], other: dict[str, int]) -> None:
    assert Listing(one).sha256 == Listing(dict(reversed(one.items()))).sha256
    assert (Listing(one).sha256 == Listing(other).sha256) is (one == other)


def test_listing(tmp_path: Path) -> None:
    for name, size in {**CASE, "a.npy": 7, ".DS_Store": 3, "log.txt": 2}.items():
        (tmp_path / name).write_bytes(bytes(size))
    assert listing(tmp_path).sizes == CASE
    assert listing(tmp_path).bytes == sum(CASE.values())
    with pytest.raises(FileNotFoundError):
        listing(tmp_path / "nothing")


def make_bad_links(folder: Path) -> None:
    """Dangling and circular links, named like members of a case."""
    try:
        (folder / "gone.b2nd").symlink_to(folder / "nothing")
        (folder / "circle.pkl").symlink_to("circle.pkl")
    except OSError:  # pragma: no cover
        pytest.skip("links cannot be made here")


def test_bad_links_do_not_prevent_a_listing(tmp_path: Path) -> None:
    for name, size in CASE.items():
        (tmp_path / name).write_bytes(bytes(size))
    make_bad_links(tmp_path)
    assert listing(tmp_path).sizes == {**CASE, "gone.b2nd": 0, "circle.pkl": 0}
    assert listing(tmp_path).cases == {"a"}


@pytest.mark.skipif(os.name == "nt", reason="links and words of POSIX")
def test_a_folder_in_a_circle_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to("folder")
    with pytest.raises(OSError, match="symbolic link") as caught:
        listing(tmp_path / "folder")
    assert not isinstance(caught.value, FileNotFoundError)


# ---------------------------------------------------------------------------------------------------------------------
# States
# ---------------------------------------------------------------------------------------------------------------------

OLD, NEW, HALF = Listing(CASE), Listing({**CASE, "a.pkl": 6}), Listing({"a.b2nd": 40})


def begun(present: Listing | None, before: PreprocessingRecord | None, spacing: float = 1.0) -> dict[str, Any]:
    return unfinished_record(
        nnunet_version=None,
        now="2026-05-04T09:00:00+00:00",
        plans="nnUNetPlans",
        configuration="3d_fullres",
        data_identifier=FOLDER,
        fields={"spacing": [spacing]},
        dataset=DATASET_JSON,
        cases=1,
        present=present,
        before=before,
    )


def whole(files: Listing, spacing: float = 1.0) -> PreprocessingRecord:
    return PreprocessingRecord(
        finished_record(begun(None, None, spacing), now="2026-05-04T09:30:00+00:00", files=files)
    )


@pytest.mark.parametrize(
    ("value", "files", "state", "spacing"),
    [
        (whole(OLD).value, OLD, DataState.UNCHANGED, 1.0),
        (whole(OLD).value, NEW, DataState.CHANGED, 1.0),
        # killed before nnU-Net deleted anything: what was known of the old data is still true
        (begun(OLD, whole(OLD, 3.0)), OLD, DataState.UNCHANGED, 3.0),
        (begun(OLD, whole(NEW, 3.0)), OLD, DataState.UNRECORDED, 1.0),
        (begun(OLD, None), OLD, DataState.UNRECORDED, 1.0),
        # killed later
        (begun(OLD, whole(OLD, 3.0)), HALF, DataState.UNFINISHED, 1.0),
        (begun(None, None), HALF, DataState.UNFINISHED, 1.0),
        (begun(OLD, PreprocessingRecord(begun(OLD, whole(OLD, 3.0)))), OLD, DataState.UNCHANGED, 3.0),
        # killed twice, the second time before nnU-Net deleted what the first left
        (begun(HALF, PreprocessingRecord(begun(OLD, whole(OLD, 3.0)))), HALF, DataState.UNFINISHED, 1.0),
    ],
)
def test_states(value: dict[str, Any], files: Listing, state: DataState, spacing: float) -> None:
    present, described_by = PreprocessingRecord(value).state_of(files)
    assert (present, described_by.input["spacing"]) == (state, [spacing])


def test_the_record_matches_its_model() -> None:
    for value in (whole(OLD).value, begun(None, None), begun(OLD, whole(OLD))):
        assert recognise(value) == "stamp"
        PreprocessingRecordModel.model_validate(value)
        assert surely_valid("PreprocessingRecord", value)
        assert not surely_valid("PreprocessingRecord", {**value, "cases": "1"})


def test_digests_differ() -> None:
    assert whole(OLD).value["input_sha256"] == begun(HALF, None)["input_sha256"]
    assert whole(OLD).value["input_sha256"] != whole(OLD, 3.0).value["input_sha256"]


def test_the_name_of_a_record() -> None:
    assert expected_kind("nnUNetPlans_3d_fullres.stamp.json") == "stamp"


# ---------------------------------------------------------------------------------------------------------------------
# Findings
# ---------------------------------------------------------------------------------------------------------------------


def test_copied_data_are_the_same_data(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "nnUNet_preprocessed"
    shutil.copytree(recorded / "nnUNet_preprocessed", elsewhere, copy_function=shutil.copyfile)
    assert codes(check([elsewhere])) == []
    path = elsewhere / CT / "nnUNetPlans.json"
    plans = json.loads(path.read_bytes())
    plans["configurations"]["3d_fullres"]["resampling_fn_data_kwargs"]["order"] = 1
    path.write_bytes(json_document.dumps(plans))
    assert codes(check([elsewhere])) == ["PG540"]


def test_all_plans_that_read_a_folder_are_checked(recorded: Path) -> None:
    """Other plans that read the same folder and would write other data are reported as well."""
    copied("preprocessed/nnUNetPlans.json", RESENC)(recorded, CT)
    put(RESENC, "/plans_name", "nnUNetResEncUNetMPlans")(recorded, CT)
    for file in (PLANS, RESENC):
        put(file, f"{KWARGS}/order", 1)(recorded, CT)
    report = check(datasets=[CT])
    reported = [Path(finding.location.path).name for finding in report.findings if finding.code == "PG540"]
    assert reported == ["nnUNetPlans.json", "nnUNetResEncUNetMPlans.json"]
    assert "order" in report.findings[0].message
    narrowed = check(datasets=[CT], plans="nnUNetResEncUNetMPlans")
    assert [Path(finding.location.path).name for finding in narrowed.findings] == ["nnUNetResEncUNetMPlans.json"]


def test_a_changed_folder_proves_nothing(recorded: Path) -> None:
    """The plans were edited and the data preprocessed again, in an unknown order."""
    put(PLANS, f"{KWARGS}/order", 1)(recorded, CT)
    with (place(recorded, CT, f"preprocessed/{FOLDER}") / "fine_000.pkl").open("ab") as stream:
        stream.write(b"\0")
    assert codes(check(datasets=[CT])) == ["PG541"]


def test_fields_and_both_values_are_named(recorded: Path) -> None:
    put(PLANS, MEAN, 79.0)(recorded, CT)
    put(PLANS, "/foreground_intensity_properties_per_channel/0/std", 25.0)(recorded, CT)
    [cause] = check(datasets=[CT]).causes
    finding = cause.finding
    assert [(finding.code, *(one.code for one in cause.consequences))] == [("PG540", "PG313")]
    assert "mean of channel 0 was 79.87077, is 79.0 and 1 more" in finding.message
    assert finding.location.line is not None
    lines = place(recorded, CT, PLANS).read_text(encoding="utf-8").splitlines()
    assert lines[finding.location.line - 1].strip() == '"mean": 79.0,'
    [related] = finding.related
    assert related.location.pointer == "/input"


def test_a_record_without_its_folder(recorded: Path) -> None:
    """As in a repository with only the documents."""
    put(PLANS, f"{KWARGS}/order", 1)(recorded, CT)
    shutil.rmtree(place(recorded, CT, f"preprocessed/{FOLDER}"))
    shutil.rmtree(place(recorded, CT, "preprocessed/gt_segmentations"))
    assert codes(check(datasets=[CT])) == []


def test_data_that_are_not_to_be_read(recorded: Path) -> None:
    put(PLANS, f"{KWARGS}/order", 1)(recorded, CT)
    report = check(datasets=[CT], reading=Reading(depth="none"))
    assert codes(report) == []
    assert {"PG540", "PG541", "PG542"} <= {one.code for one in report.not_checked}


def test_no_record_is_not_reported(workspace: Path) -> None:
    report = check(datasets=[CT])
    assert codes(report) == []
    assert not [one for one in report.not_checked if one.code in ("PG540", "PG541", "PG542")]


def test_all_cases_there_and_still_unfinished(workspace: Path) -> None:
    """Killed at the very end, or preprocessed by hand since: a warning, not an error."""
    for edit in (*RECORDED[:2], data(2), record(finished=False), data()):
        edit(workspace, CT)
    [finding] = check(datasets=[CT]).findings
    assert (finding.code, finding.severity) == ("PG542", Severity.WARNING)
    assert "did not finish: 5 of 5 cases" in finding.message


@pytest.mark.parametrize("pointer", ["/files/sha256", "/input", "/cases"])
def test_a_damaged_record_is_reported(recorded: Path, pointer: str) -> None:
    put(RECORD, pointer, None)(recorded, CT)
    [finding] = check(datasets=[CT]).findings
    assert (finding.code, finding.location.pointer) == ("PG005", pointer)


def test_a_record_that_cannot_be_read(recorded: Path) -> None:
    rewrite(RECORD, lambda text: text[:-100])(recorded, CT)
    assert codes(check(datasets=[CT])) == ["PG001"]


def test_a_damaged_earlier_record(workspace: Path) -> None:
    for edit in (*RECORDED, record(finished=False)):
        edit(workspace, CT)
    put(RECORD, "/before/stamp", {"schema": "plansguard/stamp/1"})(workspace, CT)
    report = check(datasets=[CT])
    assert codes(report) == []
    assert "an earlier preprocessing record that is damaged" in next(
        one.reason for one in report.not_checked if one.code == "PG540"
    )


def test_another_document_under_the_name_of_a_record(workspace: Path) -> None:
    copied(PLANS, RECORD)(workspace, CT)
    assert "PG004" in codes(check(datasets=[CT]))


def test_bad_links_are_reported(recorded: Path) -> None:
    make_bad_links(place(recorded, CT, f"preprocessed/{FOLDER}"))
    put(PLANS, f"{KWARGS}/order", 1)(recorded, CT)
    report = check(datasets=[CT])
    assert "PG541" in codes(report)
    assert not [one for one in report.not_checked if one.code in ("PG540", "PG541", "PG542")]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever may read everything meets no such folder")
def test_a_folder_that_cannot_be_listed(recorded: Path) -> None:
    folder = place(recorded, CT, f"preprocessed/{FOLDER}")
    folder.chmod(0)
    try:
        report = check(datasets=[CT])
    finally:
        folder.chmod(0o755)
    assert "cannot be listed" in next(one.reason for one in report.not_checked if one.code == "PG540")
