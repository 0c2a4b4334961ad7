"""``dataset.json``: the channels, labels and files of a dataset."""

from typing import Any

from plansguard.documents.models.document import Document, Given, OneOrMoreInts, optional


class CaseFiles(Document):
    """The files of one training case, as absolute paths or relative to the dataset's raw folder.

    Environment variables in them are expanded.
    """

    images: Given[list[str]] = optional("One image file per channel, in the order of channel_names.")
    label: Given[str] = optional("The file of the reference segmentation.")


class DatasetJson(Document):
    """The dataset.json of nnU-Net v2; ``is_v1`` recognises that of v1.

    The planner reads the copy in nnUNet_raw, training the copy in nnUNet_preprocessed. Sources: LabelManager,
    verify_dataset_integrity, get_filenames_of_train_images_and_targets.
    """

    channel_names: Given[dict[str, str]] = optional(
        "Name of every input channel by channel number: '0', '1', ... The names choose the normalization (CT, noNorm, "
        "zscore, rescale_to_0_1, rgb_to_0_1 in any case; all others mean z-score). nnU-Net uses the order of the "
        "entries and ignores their numbers."
    )
    modality: Given[dict[str, str]] = optional(
        "Name of channel_names in nnU-Net v1. If both are present, channels are counted here."
    )
    labels: Given[dict[str, OneOrMoreInts]] = optional(
        "Value in the segmentations by label name; a list of values makes a region. 'background' must be 0, an "
        "'ignore' label must be the highest value."
    )
    regions_class_order: list[int] | None = optional(
        "Value that each region gets in a predicted segmentation, in the order of the foreground labels; later regions"
        " overwrite earlier ones. Needed if a label is a list of two or more values."
    )
    numTraining: Given[int] = optional("Number of training cases.")
    file_ending: Given[str] = optional("Ending of all image and segmentation files with its dot, such as '.nii.gz'.")
    overwrite_image_reader_writer: Given[str] = optional(
        "Class of nnunetv2.imageio that reads the images, in place of the one found by file ending."
    )
    dataset: Given[dict[str, CaseFiles]] = optional(
        "Files of the training cases by case name, in place of the imagesTr and labelsTr folders."
    )
    name: Any = optional("Name of the dataset; nnU-Net does not read it.")
    description: Any = optional("Free text; nnU-Net does not read it.")
    reference: Any = optional("Origin of the data; nnU-Net does not read it.")
    licence: Any = optional("Licence of the data; nnU-Net does not read it.")
    release: Any = optional("Version of the data; nnU-Net does not read it.")
