"""Choose the image reader of migrated plans as nnU-Net does, without opening an image where possible.

Source: nnunetv2/imageio/reader_writer_registry.py (2.8.1), called with ``allow_nonmatching_filename=True``: nnU-Net
tries to read one training image with each reader in turn. For most file endings the result is always the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.nnunet import constants, runtime
from plansguard.nnunet.workspace import RawImages


@dataclass(frozen=True)
class ReaderChoice:
    """A reader class of nnU-Net, and the reason for it."""

    name: str
    because: str


def choose_reader(
    dataset_name: str,
    dataset_json: dict[str, Any],
    *,
    example_image: Path | None,
    own_plans: list[dict[str, Any]],
    asked: str | None,
) -> ReaderChoice:
    """The reader for a dataset's images.

    ``asked`` is the option of the user, if any. ``own_plans`` are existing plans of the dataset, which decide when
    there is no image to open. Raises UsageError when nothing decides.
    """
    if asked is not None:
        if asked not in constants.READERS:
            raise UsageError(f"nnU-Net has no reader {asked!r}", hint=f"readers: {', '.join(constants.READERS)}")
        return ReaderChoice(asked, "from --reader")
    overwrite = dataset_json.get("overwrite_image_reader_writer")
    if isinstance(overwrite, str) and overwrite in constants.READERS:
        return ReaderChoice(str(overwrite), "from overwrite_image_reader_writer in dataset.json")
    ending = str(dataset_json.get("file_ending", "")).lower()
    certain = constants.CERTAIN_READERS.get(ending)
    custom = overwrite not in (None, "None")
    if (certain is None or custom) and example_image is not None and runtime.installed():
        name = runtime.reader_of(dataset_json, example_image)
        return ReaderChoice(name, f"nnU-Net reads {example_image.name} with it")
    if certain is not None:
        return ReaderChoice(certain, f"nnU-Net reads {ending} with it")
    readers = {plans.get("image_reader_writer") for plans in own_plans} - {None}
    if example_image is None and len(readers) == 1:
        return ReaderChoice(str(readers.pop()), f"the plans that {dataset_name} already has use it")
    raise UsageError(
        f"which reader opens the {ending or 'unknown'} images of {dataset_name} cannot be known without opening one",
        hint="name it with --reader (Tiff3DIO for 3D stacks with .json spacing files, NaturalImage2DIO for 2D images, "
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
    return next((path for path in candidates if disk.is_file(path)), None)
