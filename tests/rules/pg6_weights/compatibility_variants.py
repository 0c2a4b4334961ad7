"""PG62x: weights that are to be fine-tuned."""

from __future__ import annotations

from typing import Any

from tests.support.variants import DATASET_JSON, PLANS, RESENC, Edit, Variant, finding, in_both, set_value
from tests.support.weights import CASCADE, CHECKPOINT, CT, FULLRES, MR, WITH, beside, second_channel, weights

NETWORK = f"{FULLRES}/architecture"


def other_input(name: str, pointer: str, value: Any, twin: tuple[Edit, ...] = (weights(),)) -> Variant:
    """A variant whose weights were trained with another value that no shape shows."""
    return Variant(name, CT, (before(pointer, value),), finding("PG625", PLANS, FULLRES), twin, WITH)


def before(pointer: str, value: Any) -> Edit:
    """Write weights of plans that had another value there."""
    return weights(change=lambda plans, _: set_value(plans, pointer, value))


def misfit(name: str, code: str, edit: Edit, *more: Edit, dataset: str = CT, **options: Any) -> Variant:
    """A variant with weights that do not load."""
    expected = finding(code, PLANS, options.pop("at", NETWORK))
    return Variant(name, dataset, (edit, *more), expected, **{"twin": (weights(),), "options": WITH, **options})


VARIANTS: tuple[Variant, ...] = (
    misfit("weights-of-two-channels", "PG621", weights(change=second_channel("PET"))),
    Variant(
        "two-channels-and-another-network",
        CT,
        (weights(of=RESENC, change=second_channel("PET")),),
        finding("PG620", PLANS, NETWORK) | finding("PG621", PLANS, NETWORK),
        (weights(),),
        WITH,
    ),
    misfit(
        "cascade-stage-with-other-labels",
        "PG621",
        weights("3d_cascade_fullres"),
        dataset=CASCADE,
        twin=(weights("3d_cascade_fullres", dataset_json={"labels": {"background": 0, "one": 1, "two": 2}}),),
        at="/configurations/3d_fullres/architecture",
    ),
    misfit(
        "weights-of-slices",
        "PG622",
        weights("2d"),
        options=(*WITH, "-c", "3d_fullres"),
        twin=(weights(),),
    ),
    misfit(
        "other-strides", "PG623", before(f"{NETWORK}/arch_kwargs/strides/4/0", 2), at=f"{NETWORK}/arch_kwargs/strides/4"
    ),
    misfit(
        "other-kernels",
        "PG623",
        before(f"{NETWORK}/arch_kwargs/kernel_sizes/0/0", 1),
        at=f"{NETWORK}/arch_kwargs/kernel_sizes/0",
    ),
    misfit(
        "more-features",
        "PG623",
        before(f"{NETWORK}/arch_kwargs/features_per_stage/4", 256),
        at=f"{NETWORK}/arch_kwargs/features_per_stage/4",
    ),
    misfit(
        "more-convolutions",
        "PG623",
        before(f"{NETWORK}/arch_kwargs/n_conv_per_stage/0", 1),
        at=f"{NETWORK}/arch_kwargs/n_conv_per_stage/0",
    ),
    misfit(
        "bias-here",
        "PG623",
        before(f"{NETWORK}/arch_kwargs/conv_bias", False),
        at=f"{NETWORK}/arch_kwargs/conv_bias",
    ),
    # ----- Other plans are those of the weights
    Variant(
        "p-forgotten-and-other-spacing",
        CT,
        (
            beside(PLANS, "PretrainPlans", spacing=[3.0, 1.2, 1.2]),
            weights(of="preprocessed/PretrainPlans.json"),
        ),
        finding("PG624", PLANS, FULLRES) | finding("PG625", PLANS, FULLRES),
        (beside(PLANS, "PretrainPlans", batch_size=3), weights()),
        WITH,
    ),
    Variant(
        "p-forgotten-and-residual-encoder",
        CT,
        (weights(of=RESENC),),
        finding("PG620", PLANS, NETWORK) | finding("PG624", PLANS, FULLRES),
        (weights(),),
        WITH,
    ),
    # ----- Other input than in the training of the weights
    other_input("coarser-spacing", f"{FULLRES}/spacing/0", 2.0, twin=(before(f"{FULLRES}/spacing/0", 1.5004),)),
    other_input("nearly-the-same-spacing", f"{FULLRES}/spacing/0", 1.6),
    other_input("other-normalization", f"{FULLRES}/normalization_schemes", ["ZScoreNormalization"]),
    other_input("mask-for-normalization", f"{FULLRES}/use_mask_for_norm", [True]),
    other_input("clipped-a-little-otherwise", "/foreground_intensity_properties_per_channel/0/percentile_99_5", 130.0),
    other_input("other-transpose", "/transpose_forward", [1, 0, 2]),
    other_input("other-reader", "/image_reader_writer", "NibabelIO"),
    other_input("other-preprocessor", f"{FULLRES}/preprocessor_name", "NoResamplingPreprocessor"),
    other_input("other-interpolation", f"{FULLRES}/resampling_fn_data_kwargs/order", 1),
    other_input("other-nonlinearity", f"{NETWORK}/arch_kwargs/nonlin", "torch.nn.ReLU"),
    other_input("layers-that-are-dropped", f"{NETWORK}/arch_kwargs/n_conv_per_stage/0", 3),
    other_input("larger-patch", f"{FULLRES}/patch_size", [64, 64, 64], twin=(before(f"{FULLRES}/batch_size", 7),)),
    Variant(
        "other-channel-name",
        CT,
        (weights(dataset_json={"channel_names": {"0": "CBCT"}}),),
        finding("PG625", PLANS, FULLRES),
        (weights(dataset_json={"channel_names": {"0": "ct"}}),),
        WITH,
    ),
    Variant(
        "channels-in-another-order",
        MR,
        (weights(dataset_json={"channel_names": {"0": "T2", "1": "T1"}}),),
        finding("PG626", DATASET_JSON, "/channel_names"),
        (weights(dataset_json={"channel_names": {"a": "T1", "b": "T2"}}),),
        WITH,
    ),
    # ----- Mirroring, labels, earlier results
    Variant(
        "sides-and-no-mirroring",
        CT,
        (
            *in_both("/labels", {"background": 0, "kidney_left": 1}),
            weights(trainer="nnUNetTrainerNoMirroring", mirroring_axes=None),
        ),
        finding("PG627", DATASET_JSON, "/labels/kidney_left"),
        (weights(trainer="nnUNetTrainerNoMirroring", mirroring_axes=None),),
        WITH,
    ),
    Variant(
        "sides-and-mirroring-along-some-axes",
        CT,
        (
            *in_both("/labels", {"background": 0, "left kidney": 1}),
            weights(trainer="nnUNetTrainer_onlyMirror01", mirroring_axes=(0, 1)),
        ),
        finding("PG627", DATASET_JSON, "/labels/left kidney"),
        (
            *in_both("/labels", {"background": 0, "left kidney": 1}),
            weights(trainer="nnUNetTrainer"),
        ),
        WITH,
    ),
    Variant(
        "the-same-labels",
        CT,
        (weights(dataset_json={"labels": {"background": 0, "kidney": 1}}),),
        finding("PG628", DATASET_JSON, "/labels"),
        (weights(),),
        WITH,
    ),
    misfit("trained-before", "PG629", weights(), weights(to=CHECKPOINT), at=FULLRES),
)
