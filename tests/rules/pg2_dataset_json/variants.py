"""PG2xx."""

from __future__ import annotations

from pathlib import Path

from tests.support.variants import Edit, Variant, copy, drop, place, put, remove

HERE = "preprocessed/dataset.json"
RAW = "raw/dataset.json"
PLANS = "preprocessed/nnUNetPlans.json"
RESENC = "preprocessed/nnUNetResEncUNetMPlans.json"
CT = "Dataset002_FinetuneCT"
MR = "Dataset003_TwoChannelMR"
REGIONS = {"background": 0, "kidney": [1, 2], "cyst": 2}


def both(pointer: str, value: object) -> tuple[Edit, Edit]:
    """The same value in the raw and in the preprocessed dataset.json."""
    return put(HERE, pointer, value), put(RAW, pointer, value)


def listed(label: str) -> dict[str, dict[str, object]]:
    """The cases of Dataset002 as dataset.json may list them; the first one's label is called ``label``."""
    cases = [f"fine_{number:03d}" for number in range(5)]
    files: dict[str, dict[str, object]] = {
        case: {"images": [f"imagesTr/{case}_0000.nii.gz"], "label": f"labelsTr/{case}.nii.gz"} for case in cases
    }
    files[cases[0]]["label"] = label
    return files


def empty(folder: str) -> Edit:
    """The folder stays, its files go away."""

    def edit(workspace: Path, dataset: str) -> None:
        for path in place(workspace, dataset, folder).iterdir():
            path.unlink()

    return edit


def finding(code: str, file: str, pointer: str = "") -> frozenset[tuple[str, str, str]]:
    return frozenset({(code, file, pointer)})


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "dataset-json-missing",
        CT,
        (remove(HERE),),
        finding("PG201", "preprocessed"),
        # before planning the folder holds a fingerprint only
        twin=(remove(HERE), remove(PLANS), remove(RESENC)),
    ),
    Variant(
        "label-added-here",
        CT,
        (put(HERE, "/labels/cyst", 2),),
        finding("PG202", HERE, "/labels"),
        twin=both("/labels/cyst", 2),
    ),
    Variant(
        "label-value-changed-in-raw",
        CT,
        (put(RAW, "/labels", {"background": 0, "cyst": 1}),),
        finding("PG202", HERE, "/labels"),
        twin=(put(RAW, "/labels", {"kidney": 1, "background": 0}),),
    ),
    Variant(
        "regions-in-another-order",
        CT,
        (
            *both("/regions_class_order", [1, 2]),
            put(RAW, "/labels", REGIONS),
            put(HERE, "/labels", {"background": 0, "cyst": 2, "kidney": [1, 2]}),
        ),
        finding("PG202", HERE, "/labels"),
        twin=(*both("/regions_class_order", [1, 2]), *both("/labels", REGIONS)),
    ),
    Variant(
        "field-only-in-raw",
        CT,
        (put(RAW, "/overwrite_image_reader_writer", "NibabelIO"),),
        finding("PG202", HERE),
        twin=(put(RAW, "/overwrite_image_reader_writer", "None"),),
    ),
    Variant(
        "reader-only-here",
        CT,
        (put(HERE, "/overwrite_image_reader_writer", "NibabelIO"),),
        finding("PG202", HERE, "/overwrite_image_reader_writer"),
    ),
    Variant(
        "channel-renamed-here",
        MR,
        (put(HERE, "/channel_names/1", "FLAIR"),),
        finding("PG202", HERE, "/channel_names"),
        # older files say modality, and nnU-Net ignores the keys
        twin=(drop(RAW, "/channel_names"), put(RAW, "/modality", {"first": "T1", "second": "T2"})),
    ),
    Variant(
        "number-of-cases-differs",
        CT,
        (put(HERE, "/numTraining", 9),),
        finding("PG202", HERE, "/numTraining"),
        twin=(put(HERE, "/description", "another text"),),
    ),
    Variant(
        "copied-from-other-dataset",
        CT,
        (copy(RAW, HERE, of="Dataset001_PretrainCT"),),
        finding("PG203", HERE),
        twin=(copy(RAW, HERE),),
    ),
    Variant(
        "labels-of-version-1",
        CT,
        both("/labels", {"0": "background", "1": "kidney"}),
        finding("PG204", HERE, "/labels"),
        # what a conversion leaves behind
        twin=both("/tensorImageSize", "4D"),
    ),
    Variant(
        "wrong-file-ending",
        CT,
        both("/file_ending", ".nii"),
        finding("PG205", HERE, "/file_ending"),
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
        twin=(copy(RAW, "raw/imagesTr/fine_000.json"),),
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
        both("/channel_names/2", "FLAIR"),
        frozenset(
            {
                ("PG205", HERE, "/channel_names"),
                ("PG304", PLANS, "/configurations/2d/normalization_schemes"),
                ("PG304", RESENC, "/configurations/2d/normalization_schemes"),
            }
        ),
    ),
    Variant(
        "one-image-file-for-two-channels",
        CT,
        both("/channel_names/1", "PET"),
        frozenset(
            {
                ("PG205", HERE, "/channel_names"),
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
        both("/dataset", listed("labelsTr/nowhere.nii.gz")),
        finding("PG205", HERE, "/dataset"),
        twin=both("/dataset", listed("labelsTr/fine_000.nii.gz")),
    ),
)
