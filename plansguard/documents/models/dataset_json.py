"""``dataset.json``: the channels, labels and files of a dataset."""

from typing import Any

from pydantic import Field

from plansguard.documents.models.document import Document, Given, OneOrMoreInts


class CaseFiles(Document):
    """The files of one training case, as absolute paths or relative to the dataset's raw folder.

    Environment variables in them are expanded.
    """

    images: Given[list[str]] = Field(None, description="One image file per channel, in the order of channel_names.")
    label: Given[str] = Field(None, description="The file of the reference segmentation.")


class DatasetJson(Document):
    """The dataset.json of nnU-Net v2; that of v1 is told apart by ``is_v1``.

    The planner reads the copy in nnUNet_raw, training the copy in nnUNet_preprocessed. Sources: LabelManager,
    verify_dataset_integrity, get_filenames_of_train_images_and_targets.
    """

    channel_names: Given[dict[str, str]] = Field(
        None,
        description="Name of every input channel by channel number: '0', '1', ... The names choose the normalisation "
        "(CT, noNorm, zscore, rescale_to_0_1, rgb_to_0_1 in any case; all others mean z-score). nnU-Net goes by the "
        "order of the entries and does not look at their numbers.",
    )
    modality: Given[dict[str, str]] = Field(
        None,
        description="What channel_names was called in nnU-Net v1. Where both are present, channels are counted here.",
    )
    labels: Given[dict[str, OneOrMoreInts]] = Field(
        None,
        description="Value in the segmentations by label name; a list of values makes a region. 'background' must be "
        "0, an 'ignore' label must be the highest value.",
    )
    regions_class_order: list[int] | None = Field(
        None,
        description="Value that each region gets in a predicted segmentation, in the order of the foreground labels; "
        "later regions overwrite earlier ones. Needed when a label is a list of two or more values.",
    )
    numTraining: Given[int] = Field(None, description="Number of training cases.")
    file_ending: Given[str] = Field(
        None, description="Ending of all image and segmentation files with its dot, such as '.nii.gz'."
    )
    overwrite_image_reader_writer: Given[str] = Field(
        None,
        description="Class of nnunetv2.imageio that reads the images, in place of the one found by file ending.",
    )
    dataset: Given[dict[str, CaseFiles]] = Field(
        None,
        description="Files of the training cases by case identifier, in place of the imagesTr and labelsTr folders.",
    )
    name: Any = Field(None, description="Name of the dataset; nnU-Net does not read it.")
    description: Any = Field(None, description="Free text; nnU-Net does not read it.")
    reference: Any = Field(None, description="Where the data come from; nnU-Net does not read it.")
    licence: Any = Field(None, description="Licence of the data; nnU-Net does not read it.")
    release: Any = Field(None, description="Version of the data; nnU-Net does not read it.")
