"""Commands after *Next*, and in errors and notes of commands, typed in the situation that printed them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hints.situations import SITUATIONS, Situation, printed_in
from tests.support.printed import commands, obstacle
from tests.support.typed_commands import Typed


@pytest.mark.slow
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_commands_of_a_situation(situation: Situation, tmp_path: Path) -> None:
    with printed_in(situation, tmp_path / "the state") as (text, typed):
        chains = commands(text)
        assert len(chains) >= situation.commands, text
        problems = [why for chain in chains for words in chain if (why := obstacle(words)) is not None]
        assert not problems, "\n".join(problems)
        assert not (failed := [*_failures(typed, chains, situation)]), f"{text}\n" + "\n".join(failed)


def _failures(typed: Typed, chains: Sequence[Sequence[Sequence[str]]], situation: Situation) -> list[str]:
    found = [(words, typed.failure(words)) for chain in chains for words in chain]
    return [
        f"{shlex.join(words)}: {why}"
        for words, why in found
        if why and not any(allowed in why for allowed in situation.allowed)
    ]
