"""A finding of every rule, as the first variant that provokes it prints it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from plansguard.core.report import Report
from plansguard.render import Screen, render
from tests.support.variant_runs import laid_out, prepare, report_of
from tests.support.variants import Variant


def sample_of(variant: Variant, code: str, root: Path) -> str:
    """The finding of this code in a variant that is laid out in ``root``, as it is printed in the workspace."""
    with pytest.MonkeyPatch.context() as patch:
        workspace = laid_out(variant, root, patch)
        prepare(workspace, variant, patch)
        patch.chdir(workspace)
        report = report_of(workspace, variant)
    finding = next(one for one in report.findings if one.code == code)
    alone = Report("check", (), 1, (replace(finding, ignored=None),))
    text = render(alone, "text", Screen(quiet=True)).strip("\n").replace(f"{workspace}/", "")
    return text.replace(str(workspace), ".") + "\n"


def stable_sample(variant: Variant, code: str, folder: Path) -> str | None:
    """The finding, None if its text differs between two folders or contains the date of today."""
    texts = []
    for name in ("a", "other"):
        (folder / name).mkdir()
        texts.append(sample_of(variant, code, folder / name))
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    return texts[0] if texts[0] == texts[1] and today not in texts[0] else None


def variants_by_code(variants: tuple[Variant, ...]) -> dict[str, list[Variant]]:
    """The variants that provoke each code, those with fewest findings first."""
    by_code: dict[str, list[Variant]] = {}
    for variant in variants:
        for code, _, _ in variant.expect:
            by_code.setdefault(code, []).append(variant)
    return {code: sorted(found, key=lambda one: len(one.expect)) for code, found in sorted(by_code.items())}
