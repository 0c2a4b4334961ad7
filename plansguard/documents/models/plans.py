"""Plans, their configurations and architectures.

Axis orders: unless a field declares otherwise, spatial lists have one value per axis of the arrays on disk, slowest
axis first, that is after transpose_forward. Lists of a 2d configuration leave out the first axis.
"""

from typing import Any

from pydantic import Field

from plansguard.documents.models.document import (
    Document,
    Given,
    OneOrMoreInts,
    OneOrMoreNames,
    PerStageAndAxis,
    optional,
)
from plansguard.documents.models.intensity import IntensityProperties


class ArchKwargs(Document):
    """Keyword arguments of a U-Net of dynamic_network_architectures: ``architecture.arch_kwargs``.

    Stages count from the full resolution down. Operations are Python paths, such as torch.nn.modules.conv.Conv3d. One
    number in place of a list applies to all stages.
    """

    n_stages: Given[int] = optional("Number of resolution stages of the encoder.")
    features_per_stage: Given[OneOrMoreInts] = optional("Feature maps (channels) per stage.")
    conv_op: Given[str] = optional("Convolution; its name ends in the number of axes: Conv2d or Conv3d.")
    kernel_sizes: Given[PerStageAndAxis] = optional(
        "Kernel size of the convolutions in voxels: per stage a list with one value per array axis or one value for "
        "all axes, or one value for everything."
    )
    strides: Given[PerStageAndAxis] = optional(
        "Downsampling factor at the entry of each stage, in the form of kernel_sizes. That of the first stage is "
        "normally 1."
    )
    n_conv_per_stage: Given[OneOrMoreInts] = optional("PlainConvUNet: convolutions per encoder stage.")
    n_blocks_per_stage: Given[OneOrMoreInts] = optional("ResidualEncoderUNet: residual blocks per encoder stage.")
    n_conv_per_stage_decoder: Given[OneOrMoreInts] = optional(
        "Convolutions (ResidualUNet: blocks) per decoder stage, from the lowest resolution up, one entry fewer than "
        "stages."
    )
    conv_bias: Given[bool] = optional("Whether convolutions have a bias.")
    norm_op: str | None = optional("Normalization layer; null for none.")
    norm_op_kwargs: dict[str, Any] | None = optional("Keyword arguments of norm_op.")
    dropout_op: str | None = optional("Dropout layer; null for none.")
    dropout_op_kwargs: dict[str, Any] | None = optional("Keyword arguments of dropout_op.")
    nonlin: str | None = optional("Nonlinearity; null for none.")
    nonlin_kwargs: dict[str, Any] | None = optional("Keyword arguments of nonlin.")
    nonlin_first: Given[bool] = optional("PlainConvUNet: whether nonlin comes before norm_op.")
    block: Given[str] = optional("Residual networks: class of a block.")
    bottleneck_channels: OneOrMoreInts | None = optional(
        "Residual networks with BottleneckD blocks: channels inside a block per stage."
    )
    stem_channels: int | None = optional("Residual networks: channels of the stem; null for those of the first stage.")
    deep_supervision: Given[bool] = optional(
        "Whether the network returns all resolutions. nnU-Net replaces it by its trainer's choice."
    )


class Architecture(Document):
    """The network. Sources: get_network_from_plans; nnssl's plans for the two nulls."""

    network_class_name: Given[str] = optional(
        "Python path of the network's class. When it cannot be imported, nnU-Net searches "
        "dynamic_network_architectures for its last part."
    )
    arch_kwargs: dict[str, Any] | None = optional(
        "Keyword arguments of the class besides input_channels and num_classes; null in plans that nnssl wrote for a "
        "network whose name determines its size."
    )
    kw_requires_import: list[str] | None = Field(
        None,
        alias="_kw_requires_import",
        description="Names of arch_kwargs that are Python paths: nnU-Net replaces the path by the object.",
    )


class Configuration(Document):
    """One configuration of the plans, as written or with what it inherits. Source: ConfigurationManager."""

    inherits_from: Given[str] = optional(
        "Parent configuration, whose keys are inherited. A key written here replaces the parent's."
    )
    data_identifier: Given[str] = optional(
        "Folder of the preprocessed data, inside the dataset's folder in nnUNet_preprocessed."
    )
    preprocessor_name: Given[str] = optional("Class of nnunetv2.preprocessing that writes that folder.")
    batch_size: Given[int] = optional("Patches per training step, over all GPUs together.")
    patch_size: Given[list[int]] = optional(
        "Size of the network's input in voxels, one value per array axis, in the order of the arrays on disk, that is "
        "after transpose_forward. A 2d configuration leaves out the first axis."
    )
    median_image_size_in_voxels: Given[list[float]] = optional(
        "Median image size in voxels after resampling to spacing, in the axis order of patch_size. For information "
        "only; halves occur."
    )
    spacing: Given[list[float | None]] = optional(
        "Target spacing in mm, in the axis order of patch_size. Nulls occur in nnssl's plans without resampling."
    )
    normalization_schemes: Given[list[str]] = optional(
        "Class of nnunetv2.preprocessing.normalization for each input channel."
    )
    use_mask_for_norm: Given[list[bool]] = optional(
        "For each input channel, whether normalization uses the nonzero region only and training sets the rest to 0."
    )
    resampling_fn_data: Given[str] = optional(
        "Function of nnunetv2.preprocessing.resampling that resamples images to spacing."
    )
    resampling_fn_data_kwargs: Given[dict[str, Any]] = optional("Its keyword arguments.")
    resampling_fn_seg: Given[str] = optional(
        "Function of nnunetv2.preprocessing.resampling that resamples segmentations to spacing."
    )
    resampling_fn_seg_kwargs: Given[dict[str, Any]] = optional("Its keyword arguments.")
    resampling_fn_probabilities: Given[str] = optional(
        "Function of nnunetv2.preprocessing.resampling that resamples predictions to the image's spacing."
    )
    resampling_fn_probabilities_kwargs: Given[dict[str, Any]] = optional("Its keyword arguments.")
    architecture: Given[Architecture] = optional(
        "The network; absent in plans of the old format, whose keys are below."
    )
    batch_dice: Given[bool] = optional("Whether the Dice loss is computed over the whole batch instead of per patch.")
    previous_stage: str | None = optional(
        "Cascade: configuration whose predictions are further input channels, one per foreground label."
    )
    next_stage: OneOrMoreNames | None = optional(
        "Cascade: configuration or configurations for which the final validation writes predictions."
    )

    # The format before 2.3.1 (2024), whose keys nnU-Net reads only if architecture is absent.
    UNet_class_name: Given[str] = optional("Old format: PlainConvUNet or ResidualEncoderUNet.")
    UNet_base_num_features: Given[int] = optional(
        "Old format: feature maps of the first stage, doubled from stage to stage."
    )
    unet_max_num_features: Given[int] = optional("Old format: most feature maps of any stage.")
    n_conv_per_stage_encoder: Given[list[int]] = optional(
        "Old format: convolutions or residual blocks per encoder stage."
    )
    n_conv_per_stage_decoder: Given[OneOrMoreInts] = optional(
        "Old format: convolutions per decoder stage, from the lowest resolution up."
    )
    num_pool_per_axis: Given[list[int]] = optional(
        "Old format: how often each array axis is halved; must be present and is not read."
    )
    pool_op_kernel_sizes: Given[PerStageAndAxis] = optional("Old format: what strides in arch_kwargs is now.")
    conv_kernel_sizes: Given[PerStageAndAxis] = optional("Old format: what kernel_sizes in arch_kwargs is now.")


class Plans(Document):
    """A plans file, such as nnUNetPlans.json. Source: PlansManager."""

    dataset_name: Given[str] = optional("Dataset that is trained: the name of its data and results folders.")
    plans_name: Given[str] = optional(
        "Identifier of the plans; part of the results folder's name. Normally the file's name."
    )
    original_median_spacing_after_transp: Given[list[float]] = optional(
        "Median spacing of the training images in mm, per array axis after transpose_forward."
    )
    original_median_shape_after_transp: Given[list[float]] = optional(
        "Median size of the training images in voxels, cropped but not resampled, per array axis after "
        "transpose_forward."
    )
    image_reader_writer: Given[str] = optional("Class of nnunetv2.imageio that reads and writes images.")
    transpose_forward: Given[list[int]] = optional(
        "Order in which axes are stored: axis i on disk is the reader's axis transpose_forward[i]."
    )
    transpose_backward: Given[list[int]] = optional(
        "The inverse permutation, applied to predictions before they are written."
    )
    configurations: dict[str, dict[str, Any]] = Field(
        description="Configurations by name, as written: one that inherits from another contains only what differs."
    )
    experiment_planner_used: Given[str] = optional("Class of the planner that wrote the plans.")
    label_manager: Given[str] = optional("Class that turns labels into targets; absent: LabelManager.")
    foreground_intensity_properties_per_channel: Given[dict[str, IntensityProperties]] = optional(
        "The fingerprint's intensity statistics, by channel number: '0', '1', ..."
    )
    foreground_intensity_properties_by_modality: Given[dict[str, IntensityProperties]] = optional(
        "The same under its old name, read if the new one is absent."
    )
    pretrain_info: Given[dict[str, Any]] = optional(
        "nnssl: the self-supervised checkpoint that the network starts from, and its adaptation."
    )
