"""``dataset_fingerprint.json``: what the training images of a dataset are like."""

from pydantic import Field

from plansguard.documents.models.document import Document, Given
from plansguard.documents.models.intensity import IntensityProperties


class Fingerprint(Document):
    """What ``nnUNetv2_extract_fingerprint`` measured; the planner turns it into plans.

    The two lists hold one entry per training case, in the same order. Source: DatasetFingerprintExtractor.
    """

    spacings: Given[list[list[float]]] = Field(
        None,
        description="Voxel spacing of every case in mm, one value per array axis as the reader returns the image, "
        "before transpose_forward. 2D images have [999, 1, 1].",
    )
    shapes_after_crop: Given[list[list[int]]] = Field(
        None,
        description="Size of every case in voxels after cropping to its nonzero region and before resampling, in the "
        "axis order of spacings.",
    )
    foreground_intensity_properties_per_channel: Given[dict[str, IntensityProperties]] = Field(
        None, description="Intensity statistics of the foreground, by channel number: '0', '1', ..."
    )
    median_relative_size_after_cropping: Given[float] = Field(
        None,
        description="Median over the cases of voxels after cropping divided by voxels before, between 0 and 1. Below "
        "0.75 the planner lets ZScoreNormalization look inside the nonzero mask only.",
    )
