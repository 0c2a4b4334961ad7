"""The thresholds for values, on data that nnU-Net itself made: no false alarm, and enough is found.

tools/calibrate.py draws the data and writes the figures into docs/calibration.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tools.calibrate import Made, Verdict

from tests.conftest import ROOT

#: tests/rules tries the same rules on a few cases of every scheme.
pytestmark = [pytest.mark.nnunet, pytest.mark.slow, pytest.mark.long]

#: Data, and the plans they are judged by: the shares of cases and of datasets in which at least something is found. The
#: last digits depend on the versions of what draws and resamples.
FOUND = {
    ("CT", "z-score"): (0.8, 0.95),
    ("CT", "[0, 1]"): (0.95, 1),
    ("CT", "RGB"): (0.95, 1),
    ("z-score", "CT"): (0.95, 1),
    ("z-score", "[0, 1]"): (1, 1),
    ("z-score", "RGB"): (1, 1),
    ("z-score of heads", "CT"): (0.6, 0.85),
    ("z-score of heads", "z-score in the mask"): (0.85, 0.85),
    ("z-score of heads", "[0, 1]"): (1, 1),
    ("z-score of heads", "RGB"): (1, 1),
    ("z-score in the mask", "CT"): (0.85, 0.95),
    ("z-score in the mask", "z-score"): (0.85, 0.85),
    ("z-score in the mask", "[0, 1]"): (1, 1),
    ("z-score in the mask", "RGB"): (1, 1),
    ("[0, 1]", "CT"): (0.15, 0.4),
    ("[0, 1]", "z-score"): (0.95, 0.95),
    ("[0, 1]", "RGB"): (0, 0),
    ("RGB", "CT"): (0, 0),
    ("RGB", "z-score"): (0.9, 0.9),
    ("RGB", "[0, 1]"): (0.2, 0.2),
    ("none", "CT"): (0.95, 1),
    ("none", "z-score"): (0.95, 1),
    ("none", "[0, 1]"): (0.95, 1),
    ("none", "RGB"): (0.95, 1),
    ("CT", "CT, statistics 1% off"): (0.65, 0.9),
    ("CT", "CT, statistics 5% off"): (0.7, 0.9),
    ("CT", "CT, statistics 20% off"): (0.75, 0.9),
    ("CT", "CT, statistics 50% off"): (0.8, 0.9),
    ("CT", "CT, statistics of another dataset"): (0.5, 0.7),
    ("CT", "CT, two channels swapped"): (0.9, 1),
}


@pytest.fixture(scope="module")
def study() -> tuple[list[Made], dict[str, list[Verdict]]]:
    from tools.calibrate import study as made

    return made()


def test_no_false_alarm_in_two_hundred_cases_of_every_scheme(
    study: tuple[list[Made], dict[str, list[Verdict]]],
) -> None:
    from tools.calibrate import GROUPS

    _, own = study
    assert list(own) == [group.name for group in GROUPS]
    assert all(sum(verdict.cases for verdict in verdicts) >= 200 for verdicts in own.values())
    assert [text for verdicts in own.values() for verdict in verdicts for text in verdict.texts] == []


def test_the_cases_are_as_different_as_they_claim(study: tuple[list[Made], dict[str, list[Verdict]]]) -> None:
    from tools.calibrate import GEOMETRIES, GROUPS, HEADS, TEXTURES

    everything, _ = study
    for group in GROUPS:
        made = [one for one in everything if one.group == group]
        assert {one.geometry for one in made} == {geometry.name for geometry in GEOMETRIES}
        assert {texture for one in made for texture in one.textures} == set(HEADS if group.heads else TEXTURES)
        assert {len(one.textures) for one in made} == {1, 2}
        measured = [pair for one in made for pair in one.measured]
        assert any(case.shape != shape for case, shape in measured)
        assert any(case.shape == shape for case, shape in measured)
        assert group.heads or any(channel.constant for case, _ in measured for channel in case.channels)


def test_real_mismatches_are_found(study: tuple[list[Made], dict[str, list[Verdict]]]) -> None:
    from tools.calibrate import mismatches

    everything, _ = study
    found = {(one.made, one.judged): (one.cases, one.datasets) for one in mismatches(everything)}
    assert found.keys() == FOUND.keys()
    missed = {key: found[key] for key, least in FOUND.items() if found[key][0] < least[0] or found[key][1] < least[1]}
    assert missed == {}


def test_the_page_tells_these_figures(study: tuple[list[Made], dict[str, list[Verdict]]]) -> None:
    """The same rows; shares may differ by a few per cent with the versions of what draws and resamples."""
    from tools.calibrate import page

    number = re.compile(r"\d+(?:\.\d+)?")
    ours = page(*study).rpartition("Written with")[0]
    theirs = (ROOT / "docs/calibration.md").read_text(encoding="utf-8").rpartition("Written with")[0]
    assert number.sub("#", ours) == number.sub("#", theirs)
    pairs = zip(number.findall(ours), number.findall(theirs), strict=True)
    assert [(one, other) for one, other in pairs if abs(float(one) - float(other)) > 5] == []
