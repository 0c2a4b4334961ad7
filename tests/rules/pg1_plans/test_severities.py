"""Severities of rules whose finding is an error or a warning, by whether nnU-Net fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plansguard.commands.check import check
from plansguard.core.report import Severity
from tests.rules.pg1_plans.networks import FULLRES, OLD, old_2d
from tests.support.variants import PLANS, put

#: Its only plans are in no other format, and share no data.
ALONE = "Dataset006_Microscopy3D"
pytestmark = pytest.mark.workspace(ALONE)


@pytest.mark.parametrize(
    ("pointer", "value", "code", "severity"),
    [
        (OLD, old_2d(UNet_class_name="PlainConvUNe"), "PG110", Severity.ERROR),
        (OLD, old_2d(UNet_class_name=""), "PG110", Severity.ERROR),
        (OLD, old_2d(UNet_base_num_features=0), "PG121", Severity.ERROR),
        (f"{FULLRES}/architecture/network_class_name", "", "PG116", Severity.ERROR),
        (OLD, old_2d(UNet_class_name="PlainConvUNetMissing"), "PG110", Severity.WARNING),
        (f"{FULLRES}/resampling_fn_seg", "nnUNetPlans_3d_fullres", "PG118", Severity.ERROR),
        (f"{FULLRES}/resampling_fn_seg", "resample_on_gpu", "PG118", Severity.WARNING),
    ],
)
def test_severity(workspace: Path, pointer: str, value: Any, code: str, severity: Severity) -> None:
    put(PLANS, pointer, value)(workspace, ALONE)
    [finding] = [one for one in check(datasets=["6"]).findings if one.code == code]
    assert (finding.location.pointer.startswith(pointer), finding.severity) == (True, severity)
