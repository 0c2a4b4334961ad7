"""Intensity statistics, which the fingerprint contains and the plans repeat."""

from plansguard.documents.models.document import Document, Given, optional


class IntensityProperties(Document):
    """Statistics over one channel's foreground voxels in all training cases, in the images' intensity unit.

    Of nnU-Net's schemes only CTNormalization reads them: it clips to the two percentiles, subtracts the mean and
    divides by the standard deviation.
    """

    max: Given[float] = optional("Greatest foreground intensity.")
    mean: Given[float] = optional("Mean foreground intensity.")
    median: Given[float] = optional("Median foreground intensity.")
    min: Given[float] = optional("Least foreground intensity.")
    percentile_00_5: Given[float] = optional("0.5th percentile of the foreground intensities.")
    percentile_99_5: Given[float] = optional("99.5th percentile of the foreground intensities.")
    std: Given[float] = optional("Standard deviation of the foreground intensities.")
