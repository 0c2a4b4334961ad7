"""The stored sample findings are those that the rules print."""

from __future__ import annotations

from pathlib import Path

import pytest

from plansguard.rules import RULES
from plansguard.rules.engine.page import samples
from tests.rules import ALL_VARIANTS
from tests.rules.test_rules import NOT_FROM_FILES
from tests.support.samples import sample_of, variants_by_code

VARIANTS = variants_by_code(ALL_VARIANTS)


def test_nearly_every_rule_has_a_sample() -> None:
    """All but those that no variant provokes, and those whose text depends on the machine."""
    codes = {rule.info.code for rule in RULES}
    assert set(samples()) <= codes
    assert len(codes - set(samples()) - set(NOT_FROM_FILES)) <= len(codes) // 10


@pytest.mark.slow
@pytest.mark.parametrize("code", samples())
def test_a_sample_is_what_the_rule_prints(code: str, tmp_path: Path) -> None:
    """``make docs`` writes them."""
    assert samples()[code] == sample_of(VARIANTS[code][0], code, tmp_path)
