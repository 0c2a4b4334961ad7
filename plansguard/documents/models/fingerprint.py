"""``dataset_fingerprint.json``: measurements of the training images of a dataset."""

from plansguard.documents.models.document import Document, Given, optional
from plansguard.documents.models.intensity import IntensityProperties


class Fingerprint(Document):
    """The output of ``nnUNetv2_extract_fingerprint``, from which the planner makes plans.

    The two lists have one entry per training case, in the same order. Source: DatasetFingerprintExtractor.
    """

    spacings: Given[list[list[float]]] = optional(
        "Voxel spacing of every case in mm, one value per array axis as the reader returns the image, before "
        "transpose_forward. 2D images have [999, 1, 1]."
    )
    shapes_after_crop: Given[list[list[int]]] = optional(
        "Size of every case in voxels after cropping to its nonzero region and before resampling, in the axis order of"
        " spacings."
    )
    foreground_intensity_properties_per_channel: Given[dict[str, IntensityProperties]] = optional(
        "Intensity statistics of the foreground, by channel number: '0', '1', ..."
    )
    median_relative_size_after_cropping: Given[float] = optional(
        "Median over the cases of voxels after cropping divided by voxels before, between 0 and 1. Below 0.75 the "
        "planner restricts ZScoreNormalization to the nonzero mask."
    )
