"""The one door to an installed nnU-Net. Only this module imports nnunetv2, inside functions: the check never does."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from pathlib import Path
from typing import Any

from plansguard.errors import UsageError


def installed() -> bool:
    """Whether nnunetv2 can be imported; finding out does not import it."""
    return importlib.util.find_spec("nnunetv2") is not None


def reader_of(dataset_json: dict[str, Any], image: Path) -> str:
    """The class name of the reader with which nnU-Net opens ``image``, chosen as its move command does.

    nnU-Net tries reader after reader and prints a traceback for each that fails; these are kept from the user.
    Raises UsageError when none can open it.
    """
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            chosen = determine_reader_writer_from_dataset_json(
                dataset_json, str(image), allow_nonmatching_filename=True, verbose=False
            )
        except Exception as error:
            raise UsageError(
                f"none of nnU-Net's readers can open {image}: {error}",
                hint="check file_ending in dataset.json and the image itself",
            ) from error
    return str(chosen.__name__)
