"""PG207 to PG210: keys, labels, channels and file ending of dataset.json."""

from __future__ import annotations

from typing import Any

from tests.support.variants import (
    DATASET_JSON,
    FINGERPRINT,
    PLANS,
    RAW_DATASET_JSON,
    RESENC,
    Edit,
    Variant,
    drop,
    finding,
    in_both,
    put,
    remove,
)

CT = "Dataset002_FinetuneCT"
CHANNELS = "/channel_names"
SCHEME = "/configurations/2d/normalization_schemes/0"
REGIONS = {"background": 0, "kidney": [1, 2], "tumor": [2]}


def out_of_both(pointer: str) -> tuple[Edit, Edit]:
    """Delete a key of the raw and the preprocessed dataset.json."""
    return drop(DATASET_JSON, pointer), drop(RAW_DATASET_JSON, pointer)


def labels(name: str, value: Any, *places: str, twin: tuple[Edit, ...] = (), more: tuple[Edit, ...] = ()) -> Variant:
    """Return a variant with these labels, and a finding of PG207 at each place."""
    expected = frozenset({("PG207", DATASET_JSON, place) for place in places})
    return Variant(name, CT, (*in_both("/labels", value), *more), expected, twin=twin)


VARIANTS: tuple[Variant, ...] = (
    # PG209 dataset-key-missing
    Variant(
        "labels-misspelt",
        CT,
        (*out_of_both("/labels"), *in_both("/label", {"background": 0, "kidney": 1})),
        finding("PG209", DATASET_JSON, "/label"),
    ),
    Variant(
        "no-number-of-cases",
        CT,
        out_of_both("/numTraining"),
        finding("PG209", DATASET_JSON),
        twin=out_of_both("/name"),
    ),
    Variant(
        "no-channels",
        CT,
        out_of_both(CHANNELS),
        finding("PG209", DATASET_JSON),
        twin=(*out_of_both(CHANNELS), *in_both("/modality", {"0": "CT"})),
    ),
    Variant(
        "fingerprint-without-relative-size",
        CT,
        (drop(FINGERPRINT, "/median_relative_size_after_cropping"),),
        finding("PG209", FINGERPRINT),
    ),
    # PG210 unknown-file-ending
    Variant(
        "file-ending-misspelt",
        CT,
        (remove("raw"), put(DATASET_JSON, "/file_ending", ".nii.g")),
        finding("PG210", DATASET_JSON, "/file_ending"),
        twin=(remove("raw"), put(DATASET_JSON, "/file_ending", ".NII.GZ")),
    ),
    Variant(
        "file-ending-without-a-dot",
        CT,
        (remove("raw"), put(DATASET_JSON, "/file_ending", "nifti")),
        finding("PG210", DATASET_JSON, "/file_ending"),
        twin=(
            remove("raw"),
            put(DATASET_JSON, "/file_ending", "_image.nii.gz"),
            put(DATASET_JSON, "/overwrite_image_reader_writer", "SimpleITKIO"),
        ),
    ),
    Variant(
        "file-ending-of-a-fork",
        CT,
        (remove("raw"), put(DATASET_JSON, "/file_ending", ".npy")),
        finding("PG210", DATASET_JSON, "/file_ending"),
    ),
    # PG207 invalid-labels
    labels("no-background", {"bg": 0, "kidney": 1}, "/labels"),
    labels("background-in-another-case", {"Background": 0, "kidney": 1}, "/labels/Background"),
    labels("background-is-1", {"background": 1, "kidney": 0}, "/labels/background"),
    labels("gap", {"background": 0, "kidney": 1, "tumor": 3}, "/labels/tumor"),
    labels("label-far-above", {"background": 0, "kidney": 6, "tumor": 2}, "/labels/kidney"),
    labels("nothing-but-background", {"background": 0}, "/labels"),
    labels("two-names-of-one-value", {"background": 0, "kidney": 1, "tumor": 1}, "/labels/tumor"),
    labels("label-without-a-value", {"background": 0, "kidney": 1, "tumor": []}, "/labels/tumor"),
    labels("label-below-zero", {"background": 0, "kidney": 1, "tumor": -1}, "/labels/tumor"),
    labels(
        "ignore-in-between",
        {"background": 0, "ignore": 1, "kidney": 2},
        "/labels/ignore",
        "/labels/kidney",
        twin=in_both("/labels", {"background": 0, "kidney": 1, "ignore": 2}),
    ),
    labels("ignore-is-a-list", {"background": 0, "kidney": 1, "ignore": [2]}, "/labels/ignore"),
    labels(
        "order-reversed",
        REGIONS,
        "/regions_class_order/1",
        more=in_both("/regions_class_order", [2, 1]),
        twin=in_both("/regions_class_order", [2, 1]),  # without regions nothing reads it
    ),
    # PG208 invalid-channels
    Variant(
        "channels-inverted",
        CT,
        in_both(CHANNELS, {"CT": "0"}),
        # its name is a number now, which means a z-score
        frozenset({("PG208", DATASET_JSON, CHANNELS), *(("PG305", file, SCHEME) for file in (PLANS, RESENC))}),
    ),
    Variant("channels-from-1", CT, in_both(CHANNELS, {"1": "CT"}), finding("PG208", DATASET_JSON, CHANNELS)),
    Variant(
        "channels-empty",
        CT,
        in_both(CHANNELS, {}),
        finding("PG208", DATASET_JSON, CHANNELS),
    ),
)
