"""The tutorial and the how-to guides show what their commands print."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.guides import GUIDES, ON_CLUSTER, play, unmarked

every_page = pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
with_nnunet = [pytest.mark.nnunet, pytest.mark.long]
every_played = pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=with_nnunet if page == ON_CLUSTER else []) for page in GUIDES],
)


@pytest.mark.slow
@every_played
@pytest.mark.skipif(os.name == "nt", reason="the commands are those of a POSIX shell")
def test_a_page_shows_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    played = play(page, tmp_path)
    assert played
    for step in played:
        assert step.is_as_shown, f"$ {step.command}\n{step.printed}"
        assert step.code in (0, 1), step


@every_page
def test_every_other_block_says_why_it_is_not_run(page: Path) -> None:
    assert unmarked(page) == []
