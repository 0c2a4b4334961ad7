"""PG410 to PG418: migrations that are refused or doubtful."""

from __future__ import annotations

from tests.support.moves import GIVING, RECEIVING, move
from tests.support.variants import DATASET_JSON, PLANS, Variant, copy, finding, put, remove

MR = "Dataset003_TwoChannelMR"
SLIDES = "Dataset004_Slides2D"
FULLRES = "/configurations/3d_fullres"
RESULT = "preprocessed/X.json"
RECEIVED = f"nnUNet_preprocessed/{RECEIVING}/X.json"
MODEL = "results/nnUNetTrainer__nnUNetPlans__3d_fullres"
MOVE = ("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X")
#: What is found beside a wrong number of channels.
SCHEMES = ("PG304", RESULT, "/configurations/2d/normalization_schemes")
CHANNELS = ("PG414", DATASET_JSON, "/channel_names")

VARIANTS: tuple[Variant, ...] = (
    Variant(
        "moved-to-where-the-plans-come-from",
        RECEIVING,
        (move(),),
        finding("PG410", f"nnUNet_preprocessed/{GIVING}/X.json"),
        command=("migrate", "-s", "2", "-t", "1", "-sp", "PretrainPlans", "-tp", "X"),
        twin=(),
        twin_command=MOVE,
    ),
    Variant(
        "moved-without-any-weights",
        GIVING,
        (remove(MODEL),),
        finding("PG411", RECEIVED),
        command=MOVE,
        also=(RECEIVING,),
    ),
    Variant(
        "moved-onto-other-plans",
        RECEIVING,
        (copy(PLANS, "preprocessed/Mine.json"), put("preprocessed/Mine.json", "/plans_name", "Mine")),
        finding("PG412", "preprocessed/Mine.json"),
        command=("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "Mine"),
    ),
    Variant(
        "moved-under-a-name-of-a-planner",
        RECEIVING,
        (),
        finding("PG413", "preprocessed/nnUNetResEncUNetLPlans.json"),
        command=("migrate", "-s", "1", "-t", "2", "-sp", "nnUNetPlans", "-tp", "nnUNetResEncUNetLPlans"),
        twin_command=MOVE,
    ),
    Variant(
        "moved-to-other-channels",
        RECEIVING,
        (),
        frozenset({SCHEMES, CHANNELS, ("PG411", RESULT, "")}),
        command=("migrate", "-s", "3", "-t", "2", "-sp", "nnUNetPlans", "-tp", "X"),
        twin_command=MOVE,
        also=(MR,),
    ),
    Variant(
        "moved-from-volumes-to-slides",
        SLIDES,
        (),
        frozenset(
            {
                SCHEMES,
                CHANNELS,
                ("PG306", RESULT, "/foreground_intensity_properties_per_channel/0"),
                ("PG309", RESULT, f"{FULLRES}/patch_size"),
                ("PG415", RESULT, ""),
            }
        ),
        command=("migrate", "-s", "1", "-t", "4", "-sp", "nnUNetPlans", "-tp", "X"),
        twin_command=MOVE,
        also=(RECEIVING,),
    ),
    Variant(
        "moved-without-raw-images",
        RECEIVING,
        (remove("raw/"),),
        finding("PG416", RESULT, "/image_reader_writer"),
        command=MOVE,
    ),
    Variant(
        "moved-a-second-time",
        RECEIVING,
        (move(),),
        finding("PG417", RESULT),
        command=MOVE,
        twin=(
            *(move(name="X"), remove("preprocessed/X.plansguard.json")),
            *(copy(RESULT, "preprocessed/Twin.json"), put("preprocessed/Twin.json", "/plans_name", "Twin")),
        ),
    ),
    Variant(
        "moved-after-an-edit-of-what-was-trained",
        GIVING,
        (put(PLANS, f"{FULLRES}/spacing/0", 2.0),),
        finding("PG418", RECEIVED),
        twin=(put(PLANS, f"{FULLRES}/batch_size", 3),),
        command=MOVE,
        also=(RECEIVING,),
    ),
)
