"""Plans, their configurations and architectures.

Axis orders: unless a field says otherwise, spatial lists have one value per axis of the arrays on disk, slowest axis
first, that is after transpose_forward. Lists of a 2d configuration leave out the first axis.
"""

from typing import Any

from pydantic import Field

from plansguard.documents.models.document import Document, Given, OneOrMoreInts, OneOrMoreNames, PerStageAndAxis
from plansguard.documents.models.intensity import IntensityProperties


class ArchKwargs(Document):
    """Keyword arguments of a U-Net of dynamic_network_architectures: ``architecture.arch_kwargs``.

    Stages count from the full resolution down. Operations are Python paths, such as torch.nn.modules.conv.Conv3d.
    """

    n_stages: Given[int] = Field(None, description="Number of resolution stages of the encoder.")
    features_per_stage: Given[OneOrMoreInts] = Field(
        None, description="Feature maps (channels) per stage, or one number for all stages."
    )
    conv_op: Given[str] = Field(None, description="Convolution; its name ends in the number of axes: Conv2d or Conv3d.")
    kernel_sizes: Given[PerStageAndAxis] = Field(
        None,
        description="Kernel size of the convolutions in voxels: per stage a list with one value per array axis or one "
        "value for all axes, or one value for everything.",
    )
    strides: Given[PerStageAndAxis] = Field(
        None,
        description="Downsampling factor at the entry of each stage: per stage a list with one value per array axis or "
        "one value for all axes, or one value for everything. That of the first stage is normally 1.",
    )
    n_conv_per_stage: Given[OneOrMoreInts] = Field(
        None, description="PlainConvUNet: convolutions per encoder stage, or one number for all stages."
    )
    n_blocks_per_stage: Given[OneOrMoreInts] = Field(
        None,
        description="ResidualEncoderUNet: residual blocks per encoder stage, or one number for all stages.",
    )
    n_conv_per_stage_decoder: Given[OneOrMoreInts] = Field(
        None,
        description="Convolutions (ResidualUNet: blocks) per decoder stage, from the lowest resolution up, one entry "
        "fewer than stages; or one number for all.",
    )
    conv_bias: Given[bool] = Field(None, description="Whether convolutions have a bias.")
    norm_op: str | None = Field(None, description="Normalisation layer; null for none.")
    norm_op_kwargs: dict[str, Any] | None = Field(None, description="Keyword arguments of norm_op.")
    dropout_op: str | None = Field(None, description="Dropout layer; null for none.")
    dropout_op_kwargs: dict[str, Any] | None = Field(None, description="Keyword arguments of dropout_op.")
    nonlin: str | None = Field(None, description="Nonlinearity; null for none.")
    nonlin_kwargs: dict[str, Any] | None = Field(None, description="Keyword arguments of nonlin.")
    nonlin_first: Given[bool] = Field(
        None, description="PlainConvUNet: whether the nonlinearity comes before the normalisation layer."
    )
    block: Given[str] = Field(None, description="Residual networks: class of a block.")
    bottleneck_channels: OneOrMoreInts | None = Field(
        None,
        description="Residual networks with BottleneckD blocks: channels inside a block per stage, or one number.",
    )
    stem_channels: int | None = Field(
        None, description="Residual networks: channels of the stem; null for those of the first stage."
    )
    deep_supervision: Given[bool] = Field(
        None,
        description="Whether the network returns all resolutions. nnU-Net replaces it by what its trainer wants.",
    )


class Architecture(Document):
    """Which network is built. Sources: get_network_from_plans; nnssl's plans for the two nulls."""

    network_class_name: Given[str] = Field(
        None,
        description="Python path of the network's class. When it cannot be imported, nnU-Net looks for its last part "
        "in dynamic_network_architectures.",
    )
    arch_kwargs: dict[str, Any] | None = Field(
        None,
        description="Keyword arguments of the class besides input_channels and num_classes; null in plans that nnssl "
        "wrote for a network whose size lies in its name.",
    )
    kw_requires_import: list[str] | None = Field(
        None,
        alias="_kw_requires_import",
        description="Names of arch_kwargs that hold a Python path: nnU-Net replaces the path by what it leads to.",
    )


class Configuration(Document):
    """One configuration of the plans, as written or with what it inherits. Source: ConfigurationManager."""

    inherits_from: Given[str] = Field(
        None,
        description="Configuration whose keys hold here unless they are written anew. Keys are replaced, not merged.",
    )
    data_identifier: Given[str] = Field(
        None,
        description="Folder of the preprocessed data, inside the dataset's folder in nnUNet_preprocessed.",
    )
    preprocessor_name: Given[str] = Field(None, description="Class of nnunetv2.preprocessing that writes that folder.")
    batch_size: Given[int] = Field(None, description="Patches per training step, over all GPUs together.")
    patch_size: Given[list[int]] = Field(
        None,
        description="Size of the network's input in voxels, one value per array axis, in the order of the arrays on "
        "disk, that is after transpose_forward. A 2d configuration leaves out the first axis.",
    )
    median_image_size_in_voxels: Given[list[float]] = Field(
        None,
        description="Median image size in voxels after resampling to spacing, in the axis order of patch_size. For "
        "information only; halves occur.",
    )
    spacing: Given[list[float | None]] = Field(
        None,
        description="Target spacing in mm, one value per array axis, in the order of the arrays on disk, that is after "
        "transpose_forward. A 2d configuration leaves out the first axis. Nulls occur in nnssl's plans without "
        "resampling.",
    )
    normalization_schemes: Given[list[str]] = Field(
        None, description="Class of nnunetv2.preprocessing.normalization for each input channel."
    )
    use_mask_for_norm: Given[list[bool]] = Field(
        None,
        description="For each input channel, whether normalisation looks at the nonzero region only and training sets "
        "the rest to 0.",
    )
    resampling_fn_data: Given[str] = Field(
        None, description="Function of nnunetv2.preprocessing.resampling that brings images to spacing."
    )
    resampling_fn_data_kwargs: Given[dict[str, Any]] = Field(None, description="Its keyword arguments.")
    resampling_fn_seg: Given[str] = Field(
        None,
        description="Function of nnunetv2.preprocessing.resampling that brings segmentations to spacing.",
    )
    resampling_fn_seg_kwargs: Given[dict[str, Any]] = Field(None, description="Its keyword arguments.")
    resampling_fn_probabilities: Given[str] = Field(
        None,
        description="Function of nnunetv2.preprocessing.resampling that brings predictions back to the image's own "
        "spacing.",
    )
    resampling_fn_probabilities_kwargs: Given[dict[str, Any]] = Field(None, description="Its keyword arguments.")
    architecture: Given[Architecture] = Field(
        None, description="The network; absent in plans of the old format, whose keys stand below."
    )
    batch_dice: Given[bool] = Field(
        None, description="Whether the Dice loss is computed over the whole batch instead of per patch."
    )
    previous_stage: str | None = Field(
        None,
        description="Cascade: configuration whose predictions are further input channels, one per foreground label.",
    )
    next_stage: OneOrMoreNames | None = Field(
        None,
        description="Cascade: configuration or configurations for which the final validation writes predictions.",
    )

    # The format before 2.3.1 (2024), whose keys nnU-Net reads only where architecture is absent.
    UNet_class_name: Given[str] = Field(None, description="Old format: PlainConvUNet or ResidualEncoderUNet.")
    UNet_base_num_features: Given[int] = Field(
        None, description="Old format: feature maps of the first stage, doubled from stage to stage."
    )
    unet_max_num_features: Given[int] = Field(None, description="Old format: most feature maps of any stage.")
    n_conv_per_stage_encoder: Given[list[int]] = Field(
        None, description="Old format: convolutions or residual blocks per encoder stage."
    )
    n_conv_per_stage_decoder: Given[list[int]] = Field(
        None, description="Old format: convolutions per decoder stage, from the lowest resolution up."
    )
    num_pool_per_axis: Given[list[int]] = Field(
        None, description="Old format: how often each array axis is halved; must be present and is not read."
    )
    pool_op_kernel_sizes: Given[list[list[int]]] = Field(
        None, description="Old format: strides, per stage one value per array axis."
    )
    conv_kernel_sizes: Given[list[list[int]]] = Field(
        None, description="Old format: kernel sizes in voxels, per stage one value per array axis."
    )


class Plans(Document):
    """A plans file, such as nnUNetPlans.json. Source: PlansManager."""

    dataset_name: Given[str] = Field(
        None, description="Dataset that is trained: nnU-Net takes data and results folders from here."
    )
    plans_name: Given[str] = Field(
        None,
        description="Identifier of the plans; part of the results folder's name. Normally the file's name.",
    )
    original_median_spacing_after_transp: Given[list[float]] = Field(
        None,
        description="Median spacing of the training images in mm, per array axis after transpose_forward.",
    )
    original_median_shape_after_transp: Given[list[float]] = Field(
        None,
        description="Median size of the training images in voxels, cropped but not resampled, per array axis after "
        "transpose_forward.",
    )
    image_reader_writer: Given[str] = Field(None, description="Class of nnunetv2.imageio that reads and writes images.")
    transpose_forward: Given[list[int]] = Field(
        None,
        description="Order in which the reader's axes are stored: axis i on disk is axis transpose_forward[i].",
    )
    transpose_backward: Given[list[int]] = Field(
        None, description="The inverse permutation, applied to predictions before they are written."
    )
    configurations: dict[str, dict[str, Any]] = Field(
        description="Configurations by name, as written: one that inherits from another holds only what differs."
    )
    experiment_planner_used: Given[str] = Field(None, description="Class of the planner that wrote the plans.")
    label_manager: Given[str] = Field(None, description="Class that turns labels into targets; absent: LabelManager.")
    foreground_intensity_properties_per_channel: Given[dict[str, IntensityProperties]] = Field(
        None, description="The fingerprint's intensity statistics, by channel number: '0', '1', ..."
    )
    foreground_intensity_properties_by_modality: Given[dict[str, IntensityProperties]] = Field(
        None, description="The same under its old name, read where the new one is absent."
    )
    pretrain_info: Given[dict[str, Any]] = Field(
        None,
        description="nnssl: which self-supervised checkpoint the network starts from, and how it is fitted in.",
    )
