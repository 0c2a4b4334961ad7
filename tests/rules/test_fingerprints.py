"""Fingerprints of findings are the same in every copy of a workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules import ALL_VARIANTS
from tests.support.variant_runs import laid_out, prepare, report_of
from tests.support.variants import Variant

pytestmark = pytest.mark.slow
every_variant = pytest.mark.parametrize("variant", ALL_VARIANTS, ids=lambda variant: variant.name)


def fingerprints(variant: Variant, root: Path) -> list[tuple[str, str]]:
    """Code and fingerprint of each finding of the variant, laid out below a folder."""
    root.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        workspace = laid_out(variant, root, patch)
        prepare(workspace, variant, patch)
        patch.chdir(workspace)
        return sorted((finding.code, finding.fingerprint) for finding in report_of(workspace, variant).findings)


@every_variant
def test_a_copy_elsewhere_has_the_same_fingerprints(variant: Variant, tmp_path: Path) -> None:
    first = fingerprints(variant, tmp_path / "one")
    assert first
    assert fingerprints(variant, tmp_path / "another place" / "of the same") == first
