"""Slices of preprocessed cases as the network gets them: normalized, with the outlines of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

from plansguard.core.errors import Absent
from plansguard.nnunet import constants
from plansguard.nnunet.intensity import ClippedRange
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration

#: Cases that are shown, and the largest side of a picture; larger slices are thinned out.
_CASES, _LARGEST = 2, 256
#: Percentiles of the values that are black and white, where the plans do not clip.
_BLACK, _WHITE = 0.5, 99.5


@dataclass(frozen=True)
class SliceFigure:
    """The middle slice of a case along the first axis.

    ``grey`` has one byte per pixel, row by row; ``outline`` the label whose border the pixel is, or 0. ``aspect`` is
    the width in mm by the height in mm. ``black`` and ``white`` are the normalized values at the ends of the greys.
    """

    case: str
    rows: int
    columns: int
    aspect: float
    grey: bytes
    outline: bytes
    black: float
    white: float

    @property
    def labels(self) -> list[int]:
        """The labels that have an outline."""
        return sorted(set(self.outline) - {0})

    @property
    def is_flat(self) -> bool:
        """Whether all values of the slice are shown alike."""
        return len(set(self.grey)) < 2


def slice_figures(dataset: Dataset, configuration: Configuration) -> tuple[SliceFigure, ...]:
    """Slices of the first and the last case. Absent where there are no data, or without the extra ``data``."""
    if dataset.request.reading.depth == "none":
        raise Absent("preprocessed data are not read with --data none")
    folder = dataset.data_folder(configuration)
    from plansguard.artefacts.data.cases import list_folder

    names = list_folder(folder).names
    if not names:
        raise Absent(f"{folder.name} contains no case")
    chosen = dict.fromkeys((names[0], names[-1]))
    return tuple(_figure(folder, name, configuration) for name in list(chosen)[:_CASES])


def _figure(folder: Path, case: str, configuration: Configuration) -> SliceFigure:
    from plansguard.artefacts.data.array_headers import BrokenArray

    try:
        import numpy as np

        from plansguard.artefacts.data.values import middle_slice

        image, segmentation = middle_slice(folder, case)
    except ModuleNotFoundError as error:
        raise Absent(f"slices need {error.name}: pip install 'plansguard[data]'") from error
    except BrokenArray as error:
        raise Absent(str(error)) from error
    step = max(1, -(-max(image.shape) // _LARGEST))
    values, labels = np.nan_to_num(image[::step, ::step].astype(np.float32)), segmentation[::step, ::step]
    black, white = _window(configuration) or tuple(map(float, np.percentile(values, (_BLACK, _WHITE))))
    span = 1.0 if isclose(black, white) else white - black
    grey = (np.clip((values - black) / span, 0, 1) * 255).astype(np.uint8)
    spacing = configuration.require("spacing")
    height, width = (extent * mm for extent, mm in zip(image.shape, spacing[-2:], strict=True))
    outline = _outline(np.clip(labels, 0, 255).astype(np.uint8))
    rows, columns = grey.shape
    return SliceFigure(case, rows, columns, width / height, grey.tobytes(), outline.tobytes(), black, white)


def _window(configuration: Configuration) -> tuple[float, float] | None:
    """The ends of the normalized range of the first channel, where the plans clip it."""
    plans = configuration.plans
    clipped = ClippedRange.of(plans.value.get(plans.intensity_key), 0)
    if configuration.require("normalization_schemes")[0] != constants.CT or clipped is None or clipped.std <= 0:
        return None
    return (clipped.low - clipped.mean) / clipped.std, (clipped.high - clipped.mean) / clipped.std


def _outline(labels: Any) -> Any:
    """The labels at pixels that have a neighbour of another label, and 0 elsewhere."""
    import numpy as np

    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    border = np.zeros(labels.shape, bool)
    for neighbour in neighbours:
        border |= neighbour != inner
    return np.where(border, labels, 0).astype(np.uint8)
