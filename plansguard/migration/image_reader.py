"""Which image reader nnU-Net would write into moved plans, found without opening an image where that is possible.

Source: nnunetv2/imageio/reader_writer_registry.py (2.8.1), called with ``allow_nonmatching_filename=True``: nnU-Net
tries to read one training image with each reader in turn. For most file endings the outcome is always the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plansguard.core.errors import UsageError
from plansguard.nnunet import constants, runtime
from plansguard.nnunet.workspace import RawImages


@dataclass(frozen=True)
class Reader:
    """A reader class of nnU-Net, and what decided for it."""

    name: str
    because: str


def choose_reader(
    dataset_name: str,
    dataset_json: dict[str, Any],
    *,
    example_image: Path | None,
    own_plans: list[dict[str, Any]],
    asked: str | None,
) -> Reader:
    """The reader for a dataset's images.

    ``asked`` is what the user typed, if anything; ``own_plans`` are plans that stand in the receiving folder already
    and decide when there is no image to ask. Raises UsageError when nothing decides.
    """
    if asked is not None:
        if asked not in constants.READERS:
            raise UsageError(f"nnU-Net has no reader {asked!r}", hint=f"readers: {', '.join(constants.READERS)}")
        return Reader(asked, "--reader says so")
    overwrite = dataset_json.get("overwrite_image_reader_writer")
    if isinstance(overwrite, str) and overwrite in constants.READERS:
        return Reader(str(overwrite), "dataset.json says so in overwrite_image_reader_writer")
    ending = str(dataset_json.get("file_ending", "")).lower()
    foreign = overwrite not in (None, "None")
    if ending in constants.CERTAIN_READERS and not foreign:
        return Reader(constants.CERTAIN_READERS[ending], f"nnU-Net reads {ending} with it")
    if example_image is not None and runtime.installed():
        return Reader(runtime.reader_of(dataset_json, example_image), f"nnU-Net reads {example_image.name} with it")
    if ending in constants.CERTAIN_READERS:
        return Reader(constants.CERTAIN_READERS[ending], f"nnU-Net reads {ending} with it")
    readers = {plans.get("image_reader_writer") for plans in own_plans} - {None}
    if example_image is None and len(readers) == 1:
        return Reader(str(readers.pop()), f"the plans that {dataset_name} already has use it")
    raise UsageError(
        f"which reader opens the {ending or 'unknown'} images of {dataset_name} cannot be known without opening one",
        hint="say it with --reader (Tiff3DIO for 3D stacks with .json spacing files, NaturalImage2DIO for 2D images, "
        "SimpleITKIO otherwise), or install plansguard[train], which lets nnU-Net try",
    )


def example_image(raw_folder: Path, dataset_json: dict[str, Any]) -> Path | None:
    """The image that nnU-Net would open: the first channel of the first case, or None when there is none."""
    listed = dataset_json.get("dataset")
    if isinstance(listed, dict) and listed:
        images = next(iter(listed.values())).get("images", [])
        candidates = [raw_folder / images[0]] if images else []
    else:
        ending = str(dataset_json.get("file_ending", ""))
        candidates = [raw_folder / "imagesTr" / name for name in RawImages(raw_folder).images if name.endswith(ending)]
    return next((path for path in candidates if path.is_file()), None)
