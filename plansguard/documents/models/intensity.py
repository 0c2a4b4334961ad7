"""Intensity statistics, which the fingerprint holds and the plans repeat."""

from pydantic import Field

from plansguard.documents.models.document import Document, Given


class IntensityProperties(Document):
    """Statistics over one channel's foreground voxels in all training cases, in the images' intensity unit.

    Of the schemes that nnU-Net knows only CTNormalization reads them: it clips to the two percentiles, subtracts the
    mean and divides by the standard deviation.
    """

    max: Given[float] = Field(None, description="Greatest foreground intensity.")
    mean: Given[float] = Field(None, description="Mean foreground intensity; CTNormalization subtracts it.")
    median: Given[float] = Field(None, description="Median foreground intensity.")
    min: Given[float] = Field(None, description="Least foreground intensity.")
    percentile_00_5: Given[float] = Field(
        None,
        description="0.5th percentile of the foreground intensities; CTNormalization clips below it.",
    )
    percentile_99_5: Given[float] = Field(
        None,
        description="99.5th percentile of the foreground intensities; CTNormalization clips above it.",
    )
    std: Given[float] = Field(
        None, description="Standard deviation of the foreground intensities; CTNormalization divides by it."
    )
