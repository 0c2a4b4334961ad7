"""Pixels of slices as PNG images. Needs Pillow (the extra ``report``)."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

from plansguard.subjects.figures.slices import SliceFigure

#: Colours of the outlines, by label; the legend of the page has the same.
COLORS = ((255, 176, 0), (0, 200, 255), (255, 80, 160), (120, 255, 120), (190, 140, 255), (255, 110, 60))


def png(figure: SliceFigure) -> str:
    """Return the slice, with the outlines of its labels, as a data URL."""
    from PIL import Image

    size = figure.columns, figure.rows
    image = Image.frombytes("L", size, figure.grey).convert("RGB")
    for label in figure.labels:
        mask = Image.frombytes("L", size, bytes(255 * (value == label) for value in figure.outline))
        image.paste(COLORS[(label - 1) % len(COLORS)], mask=mask)
    content = BytesIO()
    image.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(content.getvalue()).decode("ascii")
