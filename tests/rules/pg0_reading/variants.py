"""PG001 to PG006: files that cannot be read, or are not what they seem."""

from __future__ import annotations

from tests.support.variants import Variant, copy, drop, put, remove, rewrite

PLANS = "preprocessed/nnUNetPlans.json"
CONFIGURATION = "/configurations/3d_fullres"

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "comment",
        "Dataset002_FinetuneCT",
        (rewrite(PLANS, lambda text: text.replace('"batch_size"', '// was 4\n"batch_size"', 1)),),
        frozenset({("PG001", PLANS, "")}),
        twin=(rewrite(PLANS, lambda text: text.replace("\n", "\r\n")),),
    ),
    Variant(
        "truncated",
        "Dataset002_FinetuneCT",
        (rewrite(PLANS, lambda text: text[: len(text) // 2]),),
        frozenset({("PG001", PLANS, "")}),
    ),
    Variant(
        "byte-order-mark",
        "Dataset002_FinetuneCT",
        (rewrite(PLANS, lambda text: "\ufeff" + text),),
        frozenset({("PG001", PLANS, "")}),
        twin=(rewrite(PLANS, lambda text: text + "\n"),),
    ),
    Variant(
        "duplicate-key",
        "Dataset002_FinetuneCT",
        (rewrite(PLANS, lambda text: text.replace('"plans_name"', '"plans_name": "other",\n"plans_name"', 1)),),
        frozenset({("PG002", PLANS, "/plans_name")}),
        twin=(put(PLANS, "/note", "a key that nnU-Net does not know"),),
    ),
    Variant(
        "nan-in-statistics",
        "Dataset003_TwoChannelMR",
        (put(PLANS, "/foreground_intensity_properties_per_channel/0/std", float("nan")),),
        frozenset({("PG003", PLANS, "/foreground_intensity_properties_per_channel/0/std")}),
    ),
    Variant(
        "dataset-json-as-plans",
        "Dataset004_Slides2D",
        (copy("preprocessed/dataset.json", "preprocessed/MyPlans.json"),),
        frozenset({("PG004", "preprocessed/MyPlans.json", "")}),
        twin=(copy("preprocessed/dataset.json", "preprocessed/notes.json"), remove("preprocessed/notes.json")),
    ),
    Variant(
        "plans-without-configurations",
        "Dataset004_Slides2D",
        (copy(PLANS, "preprocessed/OldPlans.json"), drop("preprocessed/OldPlans.json", "/configurations")),
        frozenset({("PG005", "preprocessed/OldPlans.json", "/configurations")}),
    ),
    Variant(
        "batch-size-as-text",
        "Dataset002_FinetuneCT",
        (put(PLANS, f"{CONFIGURATION}/batch_size", "2"),),
        frozenset({("PG005", PLANS, f"{CONFIGURATION}/batch_size")}),
        twin=(put(PLANS, f"{CONFIGURATION}/batch_size", 3),),
    ),
    Variant(
        "patch-size-as-floats",
        "Dataset002_FinetuneCT",
        (put(PLANS, f"{CONFIGURATION}/patch_size/0", 32.0),),
        frozenset({("PG005", PLANS, f"{CONFIGURATION}/patch_size/0")}),
    ),
    Variant(
        "transpose-as-text",
        "Dataset002_FinetuneCT",
        (put(PLANS, "/transpose_forward", "012"),),
        frozenset({("PG005", PLANS, "/transpose_forward")}),
    ),
    Variant(
        "file-ending-as-list",
        "Dataset002_FinetuneCT",
        (
            put("preprocessed/dataset.json", "/file_ending", [".nii.gz"]),
            put("raw/dataset.json", "/file_ending", [".nii.gz"]),
        ),
        frozenset({("PG005", "preprocessed/dataset.json", "/file_ending")}),
    ),
    Variant(
        "no-batch-dice",
        "Dataset002_FinetuneCT",
        (drop(PLANS, f"{CONFIGURATION}/batch_dice"),),
        frozenset({("PG006", PLANS, CONFIGURATION)}),
    ),
    Variant(
        "batch-size-misspelt",
        "Dataset002_FinetuneCT",
        (drop(PLANS, f"{CONFIGURATION}/batch_size"), put(PLANS, f"{CONFIGURATION}/batchsize", 2)),
        frozenset({("PG006", PLANS, f"{CONFIGURATION}/batchsize")}),
        twin=(put(PLANS, f"{CONFIGURATION}/batchsize", 2),),
    ),
    Variant(
        "median-as-text",  # information: nothing reads it
        "Dataset002_FinetuneCT",
        (put(PLANS, f"{CONFIGURATION}/median_image_size_in_voxels", "64 x 64"),),
        frozenset({("PG005", PLANS, f"{CONFIGURATION}/median_image_size_in_voxels")}),
    ),
    Variant(
        "no-transpose-backward",
        "Dataset002_FinetuneCT",
        (drop(PLANS, "/transpose_backward"),),
        frozenset({("PG006", PLANS, "")}),
        twin=(drop(PLANS, "/experiment_planner_used"),),
    ),
)
