"""What nnU-Net finds on this machine: its folders by their environment variables, and the installed packages."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from plansguard.core import disk
from plansguard.core.lazy import cached_property
from plansguard.core.report import Location
from plansguard.nnunet.constants import NNUNET_PACKAGE
from plansguard.nnunet.install.python_sources import folder_of
from plansguard.nnunet.workspace import ROOTS


class NamedFolder(NamedTuple):
    """A folder of nnU-Net by its environment variable; ``value`` is empty where the variable is not set."""

    variable: str
    value: str

    @property
    def path(self) -> Path:
        """The folder that nnU-Net uses: quotes, blanks and ``~`` are parts of its name."""
        return Path(self.value)

    @property
    def at(self) -> Location:
        """The place of findings about the variable."""
        return Location(self.variable)

    @property
    def meant(self) -> Path:
        """The folder that is probably meant: without quotes and blanks, with ``~`` and variables replaced, absolute."""
        words = self.value.strip().strip("\"'").strip()
        return Path(os.path.abspath(os.path.expanduser(os.path.expandvars(words))))  # noqa: PTH100, PTH111 - as shells


@dataclass
class Setup:
    """The environment of nnU-Net's commands. ``at`` is the place of findings about installed packages."""

    environment: Mapping[str, str]
    at: Location

    @classmethod
    def here(cls) -> Setup:
        """The environment of this process."""
        return cls(os.environ, Location(str(folder_of(NNUNET_PACKAGE) or sys.prefix)))

    @cached_property
    def folders(self) -> tuple[NamedFolder, ...]:
        """The three folders of nnU-Net, set or not."""
        return tuple(NamedFolder(name, self.environment.get(name, "")) for name in ROOTS)

    @cached_property
    def present(self) -> tuple[NamedFolder, ...]:
        """Those that exist."""
        return tuple(folder for folder in self.folders if folder.value and disk.is_folder(folder.path))

    def datasets(self) -> dict[str, dict[str, Path]]:
        """Names of datasets by the beginning by which nnU-Net looks them up (``Dataset002``), each with a folder of it.

        Source: utilities/dataset_name_id_conversion.py.
        """
        names: dict[str, Path] = {}
        for folder in self.present:
            for name in sorted(disk.folder_names(folder.path)):
                names.setdefault(name, folder.path / name)
        numbers = {match[1] for name in names if (match := re.match(r"Dataset(\d{3,})_", name))}
        starts = (f"Dataset{int(number):03d}" for number in sorted(numbers))
        return {start: {name: names[name] for name in sorted(names) if name.startswith(start)} for start in starts}
