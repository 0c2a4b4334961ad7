"""PG116 to PG118: operations, arguments, and names of parts of nnU-Net."""

from __future__ import annotations

from tests.rules.pg1_plans.networks import FULLRES, KWARGS
from tests.support.variants import PLANS, RESENC, Variant, drop, finding, put

CT = "Dataset002_FinetuneCT"
#: No other plans share its data, and must preprocess alike.
ALONE = "Dataset006_Microscopy3D"
IMPORTS = f"{FULLRES}/architecture/_kw_requires_import"
NETWORK = f"{FULLRES}/architecture/network_class_name"
IMAGES = f"{FULLRES}/resampling_fn_data_kwargs"
SEGMENTATIONS = f"{FULLRES}/resampling_fn_seg_kwargs"
PREDICTIONS = f"{FULLRES}/resampling_fn_probabilities_kwargs"

VARIANTS: tuple[Variant, ...] = (
    # PG116 unknown-operation
    Variant(
        "norm-in-another-case",
        CT,
        (put(PLANS, f"{KWARGS}/norm_op", "torch.nn.modules.instancenorm.InstanceNorm3D"),),
        finding("PG116", PLANS, f"{KWARGS}/norm_op"),
        twin=(put(PLANS, f"{KWARGS}/norm_op", "torch.nn.InstanceNorm3d"),),
    ),
    Variant(
        "nonlinearity-of-no-module",
        CT,
        (put(PLANS, f"{KWARGS}/nonlin", "torch.nn.modules.activations.LeakyReLU"),),
        finding("PG116", PLANS, f"{KWARGS}/nonlin"),
        twin=(put(PLANS, f"{KWARGS}/nonlin", "mynets.layers.Swish"),),  # of another package
    ),
    Variant(
        "convolution-null",
        CT,
        (put(PLANS, f"{KWARGS}/conv_op", None),),
        finding("PG116", PLANS, f"{KWARGS}/conv_op"),
    ),
    Variant(
        "convolution-as-normalization",
        CT,
        (put(PLANS, f"{KWARGS}/norm_op", "torch.nn.modules.conv.Conv3d"),),
        finding("PG116", PLANS, f"{KWARGS}/norm_op"),
        twin=(put(PLANS, f"{KWARGS}/norm_op", None),),
    ),
    Variant(
        "operation-is-a-number",
        CT,
        (put(PLANS, f"{KWARGS}/dropout_op", 0),),
        finding("PG116", PLANS, f"{KWARGS}/dropout_op"),
        twin=(
            put(PLANS, f"{KWARGS}/dropout_op", "torch.nn.Dropout3d"),
            put(PLANS, f"{KWARGS}/dropout_op_kwargs", {"p": 0.2, "inplace": True}),
        ),
    ),
    Variant(
        "operation-not-imported",
        CT,
        (put(PLANS, IMPORTS, ["conv_op", "dropout_op", "nonlin"]),),
        finding("PG116", PLANS, IMPORTS),
        twin=(put(PLANS, IMPORTS, ["nonlin", "norm_op", "conv_op"]),),  # dropout_op is null
    ),
    Variant(
        "number-of-stages-imported",
        CT,
        (put(PLANS, f"{IMPORTS}/-", "n_stages"),),
        finding("PG116", PLANS, f"{IMPORTS}/4"),
    ),
    Variant(
        "operation-imported-twice",
        CT,
        (put(PLANS, f"{IMPORTS}/-", "nonlin"),),
        finding("PG116", PLANS, f"{IMPORTS}/4"),
        twin=(put(PLANS, f"{IMPORTS}/-", "dropout_op"),),  # it is null
    ),
    Variant(
        "network-in-another-case",
        CT,
        (put(PLANS, NETWORK, "dynamic_network_architectures.architectures.unet.PlainConvUnet"),),
        finding("PG116", PLANS, NETWORK),
        twin=(put(PLANS, NETWORK, "mynets.PlainConvUnet"),),  # of another package
    ),
    # PG117 wrong-argument
    Variant(
        "argument-of-the-network-misspelt",
        CT,
        (drop(PLANS, f"{KWARGS}/nonlin_kwargs"), put(PLANS, f"{KWARGS}/nonlin_kwarg", {"inplace": True})),
        finding("PG117", PLANS, f"{KWARGS}/nonlin_kwarg"),
        twin=(drop(PLANS, f"{KWARGS}/nonlin_kwargs"),),
    ),
    Variant(
        "argument-of-a-layer-misspelt",
        CT,
        (put(PLANS, f"{KWARGS}/norm_op_kwargs", {"epsilon": 1e-05, "affine": True}),),
        finding("PG117", PLANS, f"{KWARGS}/norm_op_kwargs/epsilon"),
        twin=(put(PLANS, f"{KWARGS}/norm_op_kwargs", {"affine": True}),),
    ),
    Variant(
        "layer-argument-as-text",
        CT,
        (put(PLANS, f"{KWARGS}/norm_op_kwargs/eps", "1e-5"),),
        finding("PG117", PLANS, f"{KWARGS}/norm_op_kwargs/eps"),
        twin=(put(PLANS, f"{KWARGS}/norm_op_kwargs", None),),
    ),
    Variant(
        "arguments-of-the-normalization-as-list",
        "Dataset001_PretrainCT",
        (put(RESENC, f"{KWARGS}/norm_op_kwargs", ["eps", "affine"]),),
        finding("PG117", RESENC, f"{KWARGS}/norm_op_kwargs"),
    ),
    Variant(
        "normalization-of-residual-blocks-without-weights",
        "Dataset001_PretrainCT",
        (put(RESENC, f"{KWARGS}/norm_op_kwargs/affine", False),),
        finding("PG117", RESENC, f"{KWARGS}/norm_op_kwargs/affine"),
    ),
    Variant(
        "arguments-as-list",
        CT,
        (put(PLANS, f"{KWARGS}/nonlin_kwargs", ["inplace"]),),
        finding("PG117", PLANS, f"{KWARGS}/nonlin_kwargs"),
    ),
    Variant(
        "arguments-of-normalization-as-text-in-residual-network",
        CT,
        (put(RESENC, f"{KWARGS}/norm_op_kwargs", "affine"),),
        finding("PG117", RESENC, f"{KWARGS}/norm_op_kwargs"),
    ),
    Variant(
        "unknown-argument-beside-missing-imports",
        CT,
        (drop(PLANS, IMPORTS), put(PLANS, f"{KWARGS}/nonlin_kwarg", {"inplace": True})),
        finding("PG104", PLANS, f"{FULLRES}/architecture")
        | finding("PG116", PLANS, IMPORTS)
        | finding("PG117", PLANS, f"{KWARGS}/nonlin_kwarg"),
    ),
    Variant(
        "dropout-without-arguments",
        CT,
        (put(PLANS, f"{KWARGS}/dropout_op", "torch.nn.Dropout3d"),),
        finding("PG117", PLANS, f"{KWARGS}/dropout_op_kwargs"),
        # beside a null operation nothing reads them
        twin=(put(PLANS, f"{KWARGS}/dropout_op_kwargs", {"probability": 0.2}),),
    ),
    Variant(
        "bias-as-text",
        CT,
        (put(PLANS, f"{KWARGS}/conv_bias", "False"),),
        finding("PG117", PLANS, f"{KWARGS}/conv_bias"),
        twin=(put(PLANS, f"{KWARGS}/conv_bias", 1),),
    ),
    Variant(
        "spline-order-6",
        ALONE,
        (put(PLANS, f"{IMAGES}/order", 6),),
        finding("PG117", PLANS, f"{IMAGES}/order"),
        twin=(put(PLANS, f"{IMAGES}/order", 5),),
    ),
    Variant(
        "spline-order-as-float",
        ALONE,
        (put(PLANS, f"{PREDICTIONS}/order", 1.0),),
        finding("PG117", PLANS, f"{PREDICTIONS}/order"),
    ),
    Variant(
        "spline-order-null",
        ALONE,
        (put(PLANS, f"{IMAGES}/order", None),),
        finding("PG117", PLANS, f"{IMAGES}/order"),
        twin=(put(PLANS, f"{SEGMENTATIONS}/order", None),),
    ),
    Variant(
        "label-maps-by-text",
        ALONE,
        (put(PLANS, f"{IMAGES}/is_seg", "False"),),
        finding("PG117", PLANS, f"{IMAGES}/is_seg"),
        twin=(put(PLANS, f"{SEGMENTATIONS}/is_seg", "True"),),
    ),
    Variant(
        "resampling-argument-misspelt",
        ALONE,
        (put(PLANS, f"{SEGMENTATIONS}/orderz", 0),),
        finding("PG117", PLANS, f"{SEGMENTATIONS}/orderz"),
        # slices are resampled together, so that nothing reads it
        twin=(put(PLANS, "/configurations/2d/resampling_fn_data_kwargs/order_z", 9),),
    ),
    # PG118 unknown-name
    Variant(
        "reader-misspelt",
        ALONE,
        (put(PLANS, "/image_reader_writer", "tiff3dIO"),),
        finding("PG118", PLANS, "/image_reader_writer"),
    ),
    Variant(
        "resampling-function-of-a-fork",
        ALONE,
        (put(PLANS, f"{FULLRES}/resampling_fn_probabilities", "resample_on_gpu"),),
        finding("PG118", PLANS, f"{FULLRES}/resampling_fn_probabilities"),
    ),
    Variant(
        "resampling-function-is-a-folder",
        ALONE,
        (put(PLANS, f"{FULLRES}/resampling_fn_seg", "nnUNetPlans_2d"),),
        finding("PG118", PLANS, f"{FULLRES}/resampling_fn_seg"),
    ),
    Variant(
        "preprocessor-without-a-name",
        ALONE,
        (put(PLANS, f"{FULLRES}/preprocessor_name", ""),),
        finding("PG118", PLANS, f"{FULLRES}/preprocessor_name"),
    ),
)
