"""PG201 to PG206: dataset.json and the raw files."""

from __future__ import annotations

from pathlib import Path

from tests.support.variants import (
    DATASET_JSON,
    PLANS,
    RAW_DATASET_JSON,
    RESENC,
    Edit,
    Variant,
    copy,
    drop,
    finding,
    in_both,
    place,
    put,
    remove,
)

CT = "Dataset002_FinetuneCT"
MR = "Dataset003_TwoChannelMR"
REGIONS = {"background": 0, "kidney": [1, 2], "cyst": 2}


def listed(label: str) -> dict[str, dict[str, object]]:
    """Return the cases of Dataset002 in the form of dataset.json; the label of the first is ``label``."""
    cases = [f"fine_{number:03d}" for number in range(5)]
    files: dict[str, dict[str, object]] = {
        case: {"images": [f"imagesTr/{case}_0000.nii.gz"], "label": f"labelsTr/{case}.nii.gz"} for case in cases
    }
    files[cases[0]]["label"] = label
    return files


def empty(folder: str) -> Edit:
    """Delete the files in a folder."""

    def edit(workspace: Path, dataset: str) -> None:
        for path in place(workspace, dataset, folder).iterdir():
            path.unlink()

    return edit


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "one-region-without-order",
        CT,
        in_both("/labels", {"background": 0, "kidney": [1, 2]}),
        finding("PG206", DATASET_JSON, "/labels"),
        twin=in_both("/labels", {"background": 0, "kidney": [1], "ignore": 2}),
    ),
    Variant(
        "regions-with-too-short-an-order",
        CT,
        (*in_both("/labels", REGIONS), *in_both("/regions_class_order", [1])),
        finding("PG206", DATASET_JSON, "/regions_class_order"),
        twin=(*in_both("/labels", REGIONS), *in_both("/regions_class_order", [1, 2])),
    ),
    Variant(
        "dataset-json-missing",
        CT,
        (remove(DATASET_JSON),),
        finding("PG201", "preprocessed"),
        # before planning, the folder has only a fingerprint
        twin=(remove(DATASET_JSON), remove(PLANS), remove(RESENC)),
    ),
    Variant(
        "label-added-here",
        CT,
        (put(DATASET_JSON, "/labels/cyst", 2),),
        finding("PG202", DATASET_JSON, "/labels"),
        twin=in_both("/labels/cyst", 2),
    ),
    Variant(
        "label-value-changed-in-raw",
        CT,
        (put(RAW_DATASET_JSON, "/labels", {"background": 0, "cyst": 1}),),
        finding("PG202", DATASET_JSON, "/labels"),
        twin=(put(RAW_DATASET_JSON, "/labels", {"kidney": 1, "background": 0}),),
    ),
    Variant(
        "regions-in-another-order",
        CT,
        (
            *in_both("/regions_class_order", [1, 2]),
            put(RAW_DATASET_JSON, "/labels", REGIONS),
            put(DATASET_JSON, "/labels", {"background": 0, "cyst": 2, "kidney": [1, 2]}),
        ),
        frozenset({("PG202", DATASET_JSON, "/labels"), ("PG207", DATASET_JSON, "/regions_class_order/0")}),
        twin=(*in_both("/regions_class_order", [1, 2]), *in_both("/labels", REGIONS)),
    ),
    Variant(
        "field-only-in-raw",
        CT,
        (put(RAW_DATASET_JSON, "/overwrite_image_reader_writer", "NibabelIO"),),
        finding("PG202", DATASET_JSON),
        twin=(put(RAW_DATASET_JSON, "/overwrite_image_reader_writer", "None"),),
    ),
    Variant(
        "reader-only-here",
        CT,
        (put(DATASET_JSON, "/overwrite_image_reader_writer", "NibabelIO"),),
        finding("PG202", DATASET_JSON, "/overwrite_image_reader_writer"),
    ),
    Variant(
        "channel-renamed-here",
        MR,
        (put(DATASET_JSON, "/channel_names/1", "FLAIR"),),
        finding("PG202", DATASET_JSON, "/channel_names"),
        # older files have modality, and nnU-Net ignores the keys
        twin=(
            drop(RAW_DATASET_JSON, "/channel_names"),
            put(RAW_DATASET_JSON, "/modality", {"first": "T1", "second": "T2"}),
        ),
    ),
    Variant(
        "number-of-cases-differs",
        CT,
        (put(DATASET_JSON, "/numTraining", 9),),
        finding("PG202", DATASET_JSON, "/numTraining"),
        twin=(put(DATASET_JSON, "/description", "another text"),),
    ),
    Variant(
        "copied-from-other-dataset",
        CT,
        (copy(RAW_DATASET_JSON, DATASET_JSON, of="Dataset001_PretrainCT"),),
        finding("PG203", DATASET_JSON),
        twin=(copy(RAW_DATASET_JSON, DATASET_JSON),),
    ),
    Variant(
        "labels-of-version-1",
        CT,
        in_both("/labels", {"0": "background", "1": "kidney"}),
        finding("PG204", DATASET_JSON, "/labels"),
        # a key that conversions keep
        twin=in_both("/tensorImageSize", "4D"),
    ),
    Variant(
        "wrong-file-ending",
        CT,
        in_both("/file_ending", ".nii"),
        finding("PG205", DATASET_JSON, "/file_ending"),
    ),
    Variant(
        "empty-file-ending",
        CT,
        in_both("/file_ending", ""),
        finding("PG205", DATASET_JSON, "/file_ending"),
    ),
    Variant(
        "no-images",
        CT,
        (empty("raw/imagesTr"),),
        finding("PG205", "raw/imagesTr"),
    ),
    Variant(
        "image-without-channel-number",
        CT,
        (copy("raw/imagesTr/fine_000_0000.nii.gz", "raw/imagesTr/fine_extra.nii.gz"),),
        finding("PG205", "raw/imagesTr"),
        twin=(copy(RAW_DATASET_JSON, "raw/imagesTr/fine_000.json"),),
    ),
    Variant(
        "channel-file-missing",
        MR,
        (remove("raw/imagesTr/head_001_0001.nii.gz"),),
        finding("PG205", "raw/imagesTr"),
    ),
    Variant(
        "fewer-image-files-than-channels",
        MR,
        in_both("/channel_names/2", "FLAIR"),
        frozenset(
            {
                ("PG205", DATASET_JSON, "/channel_names"),
                ("PG304", PLANS, "/configurations/2d/normalization_schemes"),
                ("PG304", RESENC, "/configurations/2d/normalization_schemes"),
            }
        ),
    ),
    Variant(
        "one-image-file-for-two-channels",
        CT,
        in_both("/channel_names/1", "PET"),
        frozenset(
            {
                ("PG205", DATASET_JSON, "/channel_names"),
                ("PG304", PLANS, "/configurations/2d/normalization_schemes"),
                ("PG304", RESENC, "/configurations/2d/normalization_schemes"),
            }
        ),
    ),
    Variant(
        "segmentation-missing",
        CT,
        (remove("raw/labelsTr/fine_002.nii.gz"),),
        finding("PG205", "raw/labelsTr"),
    ),
    Variant(
        "listed-file-missing",
        CT,
        in_both("/dataset", listed("labelsTr/nowhere.nii.gz")),
        finding("PG205", DATASET_JSON, "/dataset"),
        twin=in_both("/dataset", listed("labelsTr/fine_000.nii.gz")),
    ),
)
