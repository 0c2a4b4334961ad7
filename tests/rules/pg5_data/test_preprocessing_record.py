"""Records of preprocessing: what they say of the run that made the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from plansguard.commands.check import check
from tests.support.preprocessing_records import ALONE, CT, RECORD, data, record
from tests.support.variants import PLANS, copy, put

pytestmark = pytest.mark.workspace(CT)


@pytest.mark.parametrize("plans", ["nnUNetPlans", "SamePlans"])
def test_what_was_begun_is_begun_again(plans: str, workspace: Path) -> None:
    """With the plans of the run that stopped: others that read the same folder would be in its record."""
    same = "preprocessed/SamePlans.json"
    for edit in (*ALONE, copy(PLANS, same), put(same, "/plans_name", "SamePlans"), data(2), record(finished=False)):
        edit(workspace, CT)
    data()(workspace, CT)
    put(RECORD, "/plans", plans)(workspace, CT)
    (finding,) = (one for one in check(datasets=["2"]).findings if one.code == "PG542")
    assert f" -p {plans} " in finding.fix
