"""Constants of nnU-Net, each with its source.

Paths of sources are below ``nnunetv2/`` of the version named here, or below ``dynamic_network_architectures/`` (dna)
0.4.4.
tests/nnunet/test_constants.py compares every table with an installed nnU-Net.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

NNUNET_VERSION: Final = "2.8.1"
NNUNET_PACKAGE: Final = "nnunetv2"
NETWORK_PACKAGE: Final = "dynamic_network_architectures"

Facet = Literal["weights", "input", "training", "bookkeeping"]
Use = Literal["preprocessing", "training", "validation"]

# --- Fields of the plans

INTENSITY_KEY: Final = "foreground_intensity_properties_per_channel"
OLD_INTENSITY_KEY: Final = "foreground_intensity_properties_by_modality"
"""The key of the intensity statistics, in plans and fingerprint. In plans, the old one is read where the new is absent.

utilities/plans_handling/plans_handler.py, PlansManager
"""


def intensity_key(plans: Mapping[str, object]) -> str:
    """The key of the intensity statistics in these plans. Source as above."""
    return OLD_INTENSITY_KEY if INTENSITY_KEY not in plans and OLD_INTENSITY_KEY in plans else INTENSITY_KEY


OLD_CONFIGURATION_KEYS: Final = (
    "UNet_class_name",
    "UNet_base_num_features",
    "unet_max_num_features",
    "n_conv_per_stage_encoder",
    "n_conv_per_stage_decoder",
    "num_pool_per_axis",
    "pool_op_kernel_sizes",
    "conv_kernel_sizes",
)
"""Keys of older plans in place of ``architecture``. All are required; beside ``architecture`` none is read.

utilities/plans_handling/plans_handler.py, ConfigurationManager.__init__
"""

OLD_KEY_OF_KWARG: Final[Mapping[str, str]] = {
    "n_stages": "n_conv_per_stage_encoder",
    "features_per_stage": "UNet_base_num_features",
    "conv_op": "patch_size",
    "kernel_sizes": "conv_kernel_sizes",
    "strides": "pool_op_kernel_sizes",
    "n_conv_per_stage": "n_conv_per_stage_encoder",
    "n_blocks_per_stage": "n_conv_per_stage_encoder",
    "n_conv_per_stage_decoder": "n_conv_per_stage_decoder",
    "norm_op": "patch_size",
}
"""Argument of the network -> the key of the old format that decides it. Same source."""

FACET_OF_FIELD: Final[Mapping[str, Facet]] = {
    # top level
    "dataset_name": "bookkeeping",
    "plans_name": "bookkeeping",
    "original_median_spacing_after_transp": "bookkeeping",
    "original_median_shape_after_transp": "bookkeeping",
    "image_reader_writer": "input",
    "transpose_forward": "input",
    "transpose_backward": "input",
    "experiment_planner_used": "bookkeeping",
    # decides for which voxels preprocessing stores locations for the sampling of patches
    "label_manager": "input",
    INTENSITY_KEY: "input",
    OLD_INTENSITY_KEY: "input",
    # nnssl: the checkpoint and the layers that it is copied into
    "pretrain_info": "weights",
    # configurations
    "inherits_from": "bookkeeping",
    "data_identifier": "bookkeeping",
    "preprocessor_name": "input",
    "batch_size": "training",
    "patch_size": "training",
    "median_image_size_in_voxels": "bookkeeping",
    "spacing": "input",
    "normalization_schemes": "input",
    "use_mask_for_norm": "input",
    "resampling_fn_data": "input",
    "resampling_fn_data_kwargs": "input",
    "resampling_fn_seg": "input",
    "resampling_fn_seg_kwargs": "input",
    "resampling_fn_probabilities": "input",
    "resampling_fn_probabilities_kwargs": "input",
    "architecture": "weights",
    # the trainer replaces it, and a U-Net has the same parameters either way
    "architecture.arch_kwargs.deep_supervision": "training",
    "batch_dice": "training",
    # adds one input channel per foreground label
    "previous_stage": "weights",
    # the final validation writes predictions for it
    "next_stage": "training",
    **dict.fromkeys(OLD_CONFIGURATION_KEYS, "weights"),
}
"""The facet of a field, by its path within the plans or within a configuration.

weights: topology and channels, whether a checkpoint loads. input: what preprocessing writes and export reverses.
training: how training samples and scores. bookkeeping: names, links and medians.
"""

FALSE_WHERE_ABSENT: Final = frozenset(
    f"architecture.arch_kwargs.{name}" for name in ("conv_bias", "deep_supervision", "nonlin_first")
)
"""Fields that are False where plans do not name them; every other field that may be absent is None then.

Source: the networks of dynamic_network_architectures; utilities/plans_handling/plans_handler.py
"""

EXPORT_FIELDS: Final = frozenset(
    {"transpose_backward", "resampling_fn_probabilities", "resampling_fn_probabilities_kwargs"}
)
"""Fields of the facet "input" that only the export of predictions reads. Source: inference/export_prediction.py"""

PRE_FIELDS: Final = frozenset(path for path, facet in FACET_OF_FIELD.items() if facet == "input") - EXPORT_FIELDS
"""Fields that change what preprocessing writes. preprocessing/preprocessors/default_preprocessor.py"""


def facet(path: str) -> Facet:
    """The facet of a field, such as ``spacing`` or ``architecture.arch_kwargs.strides``.

    The path starts in the plans or in a configuration, its keys joined by dots. A part has the facet of the whole
    unless it has one of its own; fields unknown to nnU-Net are bookkeeping.
    """
    while path and path not in FACET_OF_FIELD:
        path = path.rpartition(".")[0]
    return FACET_OF_FIELD.get(path, "bookkeeping")


PLANS_KEYS: Final[Mapping[Use, tuple[str, ...]]] = {
    "preprocessing": (
        "configurations",
        "image_reader_writer",
        "transpose_forward",
        INTENSITY_KEY,  # or OLD_INTENSITY_KEY
    ),
    "training": ("configurations", "dataset_name", "plans_name"),
    "validation": ("image_reader_writer", "transpose_forward", "transpose_backward"),
}
"""Top-level keys without which nnU-Net raises KeyError.

"validation": keys that the final validation, after all epochs, and prediction read in addition to "training".
preprocessing/preprocessors/default_preprocessor.py, training/nnUNetTrainer/nnUNetTrainer.py,
inference/export_prediction.py
"""

CONFIGURATION_KEYS: Final[Mapping[Use, tuple[str, ...]]] = {
    "preprocessing": (
        "architecture",  # or OLD_CONFIGURATION_KEYS: without either, no configuration can be opened
        "preprocessor_name",
        "data_identifier",
        "spacing",
        "normalization_schemes",
        "use_mask_for_norm",
        "resampling_fn_data",
        "resampling_fn_data_kwargs",
        "resampling_fn_seg",
        "resampling_fn_seg_kwargs",
        "patch_size",  # for the chunks of the stored arrays
    ),
    "training": (
        "architecture",
        "data_identifier",
        "patch_size",
        "batch_size",
        "use_mask_for_norm",  # the augmentation sets voxels outside the mask to 0
        "batch_dice",
    ),
    "validation": ("spacing", "resampling_fn_probabilities", "resampling_fn_probabilities_kwargs"),
}
"""Keys of a resolved configuration without which nnU-Net raises KeyError. Sources as for PLANS_KEYS."""

ARCHITECTURE_KEYS: Final = ("network_class_name", "arch_kwargs", "_kw_requires_import")
"""Keys of ``architecture``, all required. utilities/plans_handling/plans_handler.py"""


class StockArchitecture(NamedTuple):
    """A network class: its module, and its keyword arguments besides input_channels and num_classes."""

    module: str
    required: tuple[str, ...]
    optional: tuple[str, ...]


_UNET = f"{NETWORK_PACKAGE}.architectures.unet"
_TOPOLOGY = ("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides")
_OPERATIONS = (
    "conv_bias",
    "norm_op",
    "norm_op_kwargs",
    "dropout_op",
    "dropout_op_kwargs",
    "nonlin",
    "nonlin_kwargs",
    "deep_supervision",
)
_RESIDUAL = StockArchitecture(
    _UNET,
    (*_TOPOLOGY, "n_blocks_per_stage", "n_conv_per_stage_decoder"),
    (*_OPERATIONS, "block", "bottleneck_channels", "stem_channels"),
)
STOCK_ARCHITECTURES: Final[Mapping[str, StockArchitecture]] = {
    "PlainConvUNet": StockArchitecture(
        _UNET, (*_TOPOLOGY, "n_conv_per_stage", "n_conv_per_stage_decoder"), (*_OPERATIONS, "nonlin_first")
    ),
    "ResidualEncoderUNet": _RESIDUAL,
    "ResidualUNet": _RESIDUAL,
}
"""The U-Nets, by class name. nnU-Net's planners write the first two. dna architectures/unet.py"""


class Yardstick(NamedTuple):
    """A planner's reference for GPU memory: feature maps of so many elements take ``gigabytes``.

    A batch has ``batch_2d`` or ``batch_3d`` samples, each with ``elements_2d`` or ``elements_3d`` elements.
    """

    network: str
    gigabytes: int
    elements_2d: int
    elements_3d: int
    batch_2d: int = 12
    batch_3d: int = 2


_PLAIN = Yardstick("PlainConvUNet", 8, 85_000_000, 560_000_000)
_RESIDUAL_M = Yardstick("ResidualEncoderUNet", 8, 135_000_000, 680_000_000)
_RESIDUAL_L = Yardstick("ResidualEncoderUNet", 24, 380_000_000, 2_100_000_000)
YARDSTICKS: Final[Mapping[str, Yardstick]] = {
    "ExperimentPlanner": _PLAIN,
    "nnUNetPlanner_torchres": _PLAIN,
    "ResEncUNetPlanner": _RESIDUAL_M,
    "nnUNetPlannerResEncM": _RESIDUAL_M,
    "nnUNetPlannerResEncL": _RESIDUAL_L,
    "nnUNetPlannerResEncL_torchres": _RESIDUAL_L,
    "nnUNetPlannerResEncL_torchres_sepz": _RESIDUAL_L,
    "nnUNetPlannerResEncL_noResampling": _RESIDUAL_L,
    "nnUNetPlannerResEncXL": Yardstick("ResidualEncoderUNet", 40, 560_000_000, 3_600_000_000),
}
"""Planner -> its UNet_reference_val_* and its network. gpu_memory_target_in_gb is in the same GB.

experiment_planning/experiment_planners/default_experiment_planner.py, resencUNet_planner.py and
residual_unets/residual_encoder_unet_planners.py
"""

YARDSTICK_OF_NETWORK: Final[Mapping[str, str]] = {
    "PlainConvUNet": "ExperimentPlanner",
    "ResidualEncoderUNet": "ResEncUNetPlanner",
}
"""Network -> the planner in YARDSTICKS that is used where the plans name none for it."""

# --- Names in plans and dataset.json

DEFAULT_IDENTIFIER: Final = "nnUNetPlans"
"""The plans that nnU-Net's commands use where none are named."""

USUAL_CONFIGURATION: Final = "3d_fullres"
"""The configuration that is trained first where several are possible. The planner writes it for all 3D images."""

PLANNER_OF_IDENTIFIER: Final[Mapping[str, str]] = {
    DEFAULT_IDENTIFIER: "ExperimentPlanner",
    "nnUNetResEncUNetPlans": "ResEncUNetPlanner",
    "nnUNetResEncUNetMPlans": "nnUNetPlannerResEncM",
    "nnUNetResEncUNetLPlans": "nnUNetPlannerResEncL",
    "nnUNetResEncUNetXLPlans": "nnUNetPlannerResEncXL",
    "nnUNetPlans_torchres": "nnUNetPlanner_torchres",
    "nnUNetResEncUNetLPlans_torchres": "nnUNetPlannerResEncL_torchres",
    "nnUNetResEncUNetLPlans_torchres_sepz": "nnUNetPlannerResEncL_torchres_sepz",
    "nnUNetResEncUNetLPlans_noResampling": "nnUNetPlannerResEncL_noResampling",
}
"""Plans identifier -> the planner that uses it by default. experiment_planning/experiment_planners/"""

CT: Final = "CTNormalization"
"""The only scheme that reads the intensity statistics.

preprocessing/normalization/default_normalization_schemes.py
"""

DEFAULT_NORMALIZATION: Final = "ZScoreNormalization"
"""The scheme of channels with any other name; the only one for which the planner sets use_mask_for_norm.

preprocessing/normalization/map_channel_name_to_normalization.py and default_normalization_schemes.py
"""

NORMALIZATION_OF_CHANNEL: Final[Mapping[str, str]] = {
    "ct": CT,
    "nonorm": "NoNormalization",
    "zscore": DEFAULT_NORMALIZATION,
    "rescale_to_0_1": "RescaleTo01Normalization",
    "rgb_to_0_1": "RGBTo01Normalization",
}
"""Channel name, case folded -> scheme. preprocessing/normalization/map_channel_name_to_normalization.py"""

NORMALIZATIONS: Final = tuple(NORMALIZATION_OF_CHANNEL.values())
"""The schemes that plans may name. preprocessing/normalization/default_normalization_schemes.py"""


def normalization_of(channel_name: str) -> str:
    """The scheme that the planner chooses for a channel of this name."""
    return NORMALIZATION_OF_CHANNEL.get(channel_name.casefold(), DEFAULT_NORMALIZATION)


PREPROCESSORS: Final = ("DefaultPreprocessor",)
"""preprocessing/preprocessors/"""

NO_RESAMPLING: Final = "no_resampling_hack"
"""The function that leaves the shape of images as it is. preprocessing/resampling/no_resampling.py"""

RESAMPLING_FUNCTIONS: Final = (
    "resample_data_or_seg_to_shape",
    "resample_torch_fornnunet",
    NO_RESAMPLING,
)
"""Functions with the parameters that nnU-Net passes: data, new shape, both spacings. preprocessing/resampling/"""

# --- How images are read

READERS: Final[Mapping[str, tuple[str, ...]]] = {
    "NaturalImage2DIO": (".png", ".bmp", ".tif"),
    "SimpleITKIO": (".nii.gz", ".nrrd", ".mha", ".gipl"),
    "Tiff3DIO": (".tif", ".tiff"),
    "NibabelIO": (".nii", ".nii.gz"),
    "NibabelIOWithReorient": (".nii", ".nii.gz"),
}
"""Reader class -> its file endings, in the order in which nnU-Net tries the readers.

imageio/reader_writer_registry.py, LIST_OF_IO_CLASSES
"""

STUFF_OF_READERS: Final[Mapping[str, str]] = {
    "SimpleITKIO": "sitk_stuff",
    "NibabelIO": "nibabel_stuff",
    "NibabelIOWithReorient": "nibabel_stuff",
}
"""Reader class -> the key of a case's properties that it needs to write a prediction. imageio/"""

READERS_OF_2D_IMAGES: Final = frozenset({"NaturalImage2DIO"})
"""Readers that cannot open volumes. imageio/natural_image_reader_writer.py"""

TIFF_ENDINGS: Final = READERS["Tiff3DIO"]

_NIFTI, _OTHER_VOLUMES, _FLAT = (".nii", ".nii.gz"), (".nrrd", ".mha", ".gipl"), (".png", ".bmp")
UNREADABLE_ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "NaturalImage2DIO": (*_NIFTI, *_OTHER_VOLUMES),
    "Tiff3DIO": (*_NIFTI, *_OTHER_VOLUMES, *_FLAT),
    "NibabelIO": (*_OTHER_VOLUMES, *_FLAT, *TIFF_ENDINGS),
    "NibabelIOWithReorient": (*_OTHER_VOLUMES, *_FLAT, *TIFF_ENDINGS),
}
"""Reader class -> known file endings that it cannot open, found by trial; SimpleITKIO opens all of them."""

FOREIGN_ENDINGS: Final = {**UNREADABLE_ENDINGS, "SimpleITKIO": (*_FLAT, *TIFF_ENDINGS)}
"""Reader class -> known file endings for which nnU-Net selects another one."""

CERTAIN_READERS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_FLAT, "NaturalImage2DIO"),
    # except NIfTI images whose axes are not orthogonal: SimpleITK refuses these, and NibabelIO opens them
    **dict.fromkeys((*_NIFTI, *_OTHER_VOLUMES), "SimpleITKIO"),
}
"""File ending -> the reader that nnU-Net's own move of plans selects. For a TIFF it depends on the content.

Found by trial; experiment_planning/plans_for_pretraining/move_plans_between_datasets.py
"""

# --- Trainers

DEFAULT_TRAINER: Final = "nnUNetTrainer"

DEFAULT_EPOCHS: Final = 1000
"""The number of epochs where the trainer's name has none. training/nnUNetTrainer/nnUNetTrainer.py"""

_PRIMUS = (
    *(f"nnUNet_Primus{version}{size}_Trainer" for version in ("V2", "V3", "_") for size in "SBML"),
    "nnUNet_Primus_M_Trainer_BS8",
    "nnUNet_Primus_M_Trainer_BS8_2e4",
)
TRAINERS_WITH_OWN_NETWORK: Final = frozenset({"nnUNetTrainerBN", *_PRIMUS})
"""Trainers that override build_network_architecture, and so build another network than the plans name."""

STOCK_TRAINERS: Final = TRAINERS_WITH_OWN_NETWORK | frozenset(
    """
    nnUNetTrainer nnUNetTrainer_1epoch nnUNetTrainer_5epochs nnUNetTrainer_10epochs nnUNetTrainer_20epochs
    nnUNetTrainer_50epochs nnUNetTrainer_100epochs nnUNetTrainer_250epochs nnUNetTrainer_500epochs
    nnUNetTrainer_750epochs nnUNetTrainer_2000epochs nnUNetTrainer_4000epochs nnUNetTrainer_8000epochs
    nnUNetTrainer_250epochs_NoMirroring nnUNetTrainer_2000epochs_NoMirroring nnUNetTrainer_4000epochs_NoMirroring
    nnUNetTrainer_8000epochs_NoMirroring nnUNetTrainerNoMirroring nnUNetTrainer_onlyMirror01
    nnUNetTrainer_onlyMirror01_1500ep nnUNetTrainer_onlyMirror01_DA5 nnUNetTrainer_onlyMirror01_DASegOrd0
    nnUNetTrainerAdam nnUNetTrainerAdam1en3 nnUNetTrainerAdam3en4 nnUNetTrainerAdan nnUNetTrainerAdan1en1
    nnUNetTrainerAdan1en3 nnUNetTrainerAdan3en4 nnUNetTrainerAdanCosAnneal nnUNetTrainerVanillaAdam
    nnUNetTrainerVanillaAdam1en3 nnUNetTrainerVanillaAdam3en4 nnUNetTrainerCosAnneal nnUNetTrainer_warmup
    nnUNetTrainerBenchmark_5epochs nnUNetTrainerBenchmark_5epochs_noDataLoading nnUNetTrainerCELoss
    nnUNetTrainerCELoss_5epochs nnUNetTrainerDiceCELoss_noSmooth nnUNetTrainerDiceLoss nnUNetTrainerDiceTopK10Loss
    nnUNetTrainerTopk10Loss nnUNetTrainerTopk10LossLS01 nnUNetTrainerDA5 nnUNetTrainerDA5Segord0 nnUNetTrainerDA5ord0
    nnUNetTrainerDA5_10epochs nnUNetTrainer_DASegOrd0 nnUNetTrainer_DASegOrd0_NoMirroring nnUNetTrainerNoDA
    nnUNetTrainer_noDummy2DDA nnUNetTrainerNoDeepSupervision nnUNetTrainer_probabilisticOversampling
    nnUNetTrainer_probabilisticOversampling_010 nnUNetTrainer_probabilisticOversampling_033 nnUNet_Trainer_BS8
    """.split()
)
"""The trainers that nnU-Net finds without nnUNet_extTrainer. training/nnUNetTrainer/ and its sub-packages"""

CHECKPOINT_FINAL: Final = "checkpoint_final.pth"
CHECKPOINT_LATEST: Final = "checkpoint_latest.pth"
CHECKPOINT_BEST: Final = "checkpoint_best.pth"
CHECKPOINTS: Final = (CHECKPOINT_FINAL, CHECKPOINT_LATEST, CHECKPOINT_BEST)
"""Checkpoints of a training, in the order of ``--c``. run/run_training.py, maybe_load_checkpoint"""

DA_PROCESSES: Final = "nnUNet_n_proc_DA"
"""The variable with the number of processes that augment, per GPU. Source: utilities/default_n_proc_DA.py."""
PROCESSES: Final = "nnUNet_def_n_proc"
"""The variable with the number of processes of other work, as of the final validation. Source: configuration.py."""

STEPS: Final = re.compile(r"_[0-9]+steps(?![A-Za-z0-9])")
"""The part of a step trainer's name behind that of its base trainer (plansguard/training/trainer_name.py)."""


def base_trainer(name: str) -> str:
    """The trainer's name without a number of steps: the trainer that nnU-Net itself has."""
    return STEPS.split(name, maxsplit=1)[0]


def planned_epochs(trainer: str | None) -> int | None:
    """The number of epochs of a trainer, by its name; None for one that is not nnU-Net's and has no number."""
    if trainer is None:
        return None
    if match := re.search(r"_(\d{1,9})ep(?:ochs?)?(?:_|$)", trainer):
        return int(match[1])
    return DEFAULT_EPOCHS if trainer in STOCK_TRAINERS else None


# --- Commands

TRAIN: Final = "nnUNetv2_train"
PREPROCESS: Final = "nnUNetv2_preprocess"
FINGERPRINT: Final = "nnUNetv2_extract_fingerprint"
PLAN: Final = "nnUNetv2_plan_experiment"
PLAN_AND_PREPROCESS: Final = "nnUNetv2_plan_and_preprocess"
MOVE: Final = "nnUNetv2_move_plans_between_datasets"
PREDICT: Final = "nnUNetv2_predict"
FIND_BEST: Final = "nnUNetv2_find_best_configuration"
PREDICT_FROM_FOLDER: Final = "nnUNetv2_predict_from_modelfolder"
