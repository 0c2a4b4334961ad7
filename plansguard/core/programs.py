"""Look up the programs that plansguard starts."""

from __future__ import annotations

import os
from pathlib import Path


def find_program(name: str, *first: str) -> str | None:
    """The path of a program in the folders ``first`` or on PATH, or None.

    Relative entries of PATH are skipped, as is the current folder, in which Windows looks too: what lies there may be
    untrusted. A name that contains a folder is not looked up, only checked.
    """
    import shutil  # slow to load, and not needed by most checks

    if Path(name).name != name:
        return shutil.which(name)
    folders = [folder for folder in (*first, *os.get_exec_path()) if Path(folder).is_absolute()]
    found = shutil.which(name, path=os.pathsep.join(folders))
    return found if found is not None and Path(found).is_absolute() else None
