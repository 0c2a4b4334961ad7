"""PG54x: preprocessed data with a preprocessing record."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.data_folders import append
from tests.support.preprocessing_records import ALONE, CT, FOLDER, KWARGS, MEAN, RECORD, RECORDED, data, record
from tests.support.variants import DATASET_JSON, PLANS, Variant, drop, finding, in_both, place, put

MR = "Dataset003_TwoChannelMR"


def touched(workspace: Path, dataset: str) -> None:
    """Set the times of all files of the data to now, as a copy does."""
    for path in place(workspace, dataset, f"preprocessed/{FOLDER}").iterdir():
        os.utime(path)


VARIANTS: tuple[Variant, ...] = (
    Variant(
        "resampling-edited-after-preprocessing",
        CT,
        (*RECORDED, put(PLANS, f"{KWARGS}/order", 1)),
        finding("PG540", PLANS, f"{KWARGS}/order"),
        # a keyword that is absent is null; the other fields decide nothing that is written
        twin=(*RECORDED, drop(PLANS, f"{KWARGS}/force_separate_z"), put(PLANS, "/note", "edited")),
    ),
    Variant(
        "mean-edited-after-preprocessing",
        CT,
        (*RECORDED, put(PLANS, MEAN, 79.0)),
        finding("PG540", PLANS, MEAN),
        # nothing uses the median, and data that were copied are the same data
        twin=(*RECORDED, put(PLANS, MEAN.replace("mean", "median"), 79.0), touched),
    ),
    Variant(
        "child-of-an-edited-parent",
        CT,
        (
            put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}),
            *RECORDED,
            put(PLANS, f"{KWARGS}/order_z", 1),
        ),
        finding("PG540", PLANS, f"{KWARGS}/order_z"),
        twin=(put(PLANS, "/configurations/3d_bs4", {"inherits_from": "3d_fullres", "batch_size": 4}), *RECORDED),
    ),
    Variant(
        "channels-swapped-after-preprocessing",
        MR,
        (
            *RECORDED,
            *in_both("/channel_names", {"0": "T2", "1": "T1"}),
        ),
        finding("PG540", DATASET_JSON, "/channel_names"),
        twin=RECORDED,
    ),
    Variant(
        "other-files-of-the-same-cases",
        CT,
        (*RECORDED, append(f"preprocessed/{FOLDER}/fine_003.pkl")),
        finding("PG541", RECORD, "/files"),
        # nnU-Net reads neither
        twin=(*RECORDED, append(f"preprocessed/{FOLDER}/x.npy")),
    ),
    Variant(
        "other-data-asked-for-another-configuration",
        CT,
        (*RECORDED, append(f"preprocessed/{FOLDER}/fine_003.pkl")),
        finding("PG541", RECORD, "/files"),
        twin=RECORDED,
        options=("-c", "3d_fullres"),
    ),
    Variant(
        "preprocessing-that-never-ended",
        CT,
        (*ALONE, data(2), record(finished=False), data()),
        finding("PG542", RECORD, "/finished"),
        # killed before nnU-Net touched the data, whose origin is not recorded
        twin=(*ALONE, data(), record(finished=False)),
    ),
)
