"""Repositories of git without the configuration of this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

#: Git's own environment: an identity, no configuration but the repository's, messages in English.
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "LC_ALL": "C",
    **{f"GIT_{who}_NAME": "Someone" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "someone@example.org" for who in ("AUTHOR", "COMMITTER")},
}


def use_only_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git read the configuration of the repository alone, in this process's children too."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def git(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run git in a folder (default: the current one)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *arguments], cwd=folder, env={**kept, **ENVIRONMENT}, check=True, capture_output=True, text=True
    )
