"""PG320, PG321: entries of intensity properties, and rows of the fingerprint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed
from plansguard.nnunet import constants, fields, printed_commands
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import NUMBER, plan_commands, requested_configurations
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.documents import Fingerprint
from plansguard.subjects.plans import Plans

#: nnU-Net's arrays have three axes; 2D images have one slice.
_AXES = 3
_NEEDED_STATISTICS = [key for key, field in fields.FIELDS["IntensityProperties"].items() if field.needed]


@rule(
    "PG320",
    Severity.ERROR,
    message="the intensity properties of channel {channel} have no {lacking}, which {scheme} reads",
    fix="{remedy}",
)
def intensity_property_missing(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """The plans lack intensity properties that preprocessing reads.

    What it checks: for every channel of `normalization_schemes` there is an entry `"0"`, `"1"`, ... in the intensity
    properties, and for CTNormalization it has `mean`, `std`, `percentile_00_5` and `percentile_99_5`. A key that is
    spelt otherwise is named.

    Why it matters: preprocessing deletes the old data and then stops with `KeyError: 'std'` or `KeyError: '1'`.

    How to fix: take the values from the fingerprint of the data that the plans were made from, or plan again.

    Example: `"percentile_005"` in place of `"percentile_00_5"`.

    Evidence: NO-03; measured with nnU-Net 2.8.1.
    """
    properties: Mapping[str, Any] = plans.require(plans.intensity_key)
    schemes: dict[int, str] = {}
    for configuration in requested_configurations(dataset, plans):
        for index, scheme in enumerate(configuration.get("normalization_schemes") or ()):
            schemes[index] = scheme if schemes.get(index) != constants.CT else constants.CT
    at = plans.at(plans.intensity_key)
    if len(properties) == len(schemes):  # PG304 reports another number
        for index, scheme in schemes.items():
            yield from _missing(at, properties, str(index), scheme, lambda: plan_commands(dataset, [plans]))


@rule(
    "PG321",
    Severity.ERROR,
    message="{trouble}",
    fix="extract it again: " + printed_commands.extract_fingerprint(NUMBER, clean=True),
)
def damaged_fingerprint(dataset: Dataset, fingerprint: Fingerprint) -> Iterator[Found]:
    """The fingerprint is damaged.

    What it checks: every entry of `spacings` and `shapes_after_crop` has three numbers, the lists are not empty, and
    the intensity properties have the values of every channel that dataset.json calls CT.

    Why it matters: planning stops, or copies what is incomplete into the plans, with which preprocessing stops.
    Planning stops with `ValueError: all the input array dimensions except for the concatenation axis must match
    exactly`; incomplete properties end preprocessing with `KeyError`.

    How to fix: extract the fingerprint again; `--clean` replaces the old one.

    Example: a row of `spacings` with two numbers.

    Evidence: DS-02; measured with nnU-Net 2.8.1.
    """
    for key in ("spacings", "shapes_after_crop"):
        if key in fingerprint.value:
            yield from _faults_of_rows(fingerprint, key)
    properties = fingerprint.value.get(constants.INTENSITY_KEY)
    channels = fields.ct_channels(known(lambda: dataset.dataset_json.value))
    for channel in (channels or ()) if properties is not None else ():
        for fault in _missing(fingerprint.at(constants.INTENSITY_KEY), properties, channel, constants.CT, str):
            lacking = f"the intensity properties of channel {channel} have no {fault.values['lacking']}"
            yield found(fault.at, trouble=lacking)


def _faults_of_rows(fingerprint: Fingerprint, key: str) -> Iterator[Found]:
    """Yield rows that have not three numbers, and shapes that are not above zero; of each the first."""
    rows = fingerprint.value[key]
    if not rows:
        yield found(fingerprint.at(key), trouble=f"{key} is empty")
    if {*map(len, rows)} - {_AXES}:
        lengths = Counter(map(len, rows))
        case = next(case for case, row in enumerate(rows) if len(row) != _AXES)
        count = f"{len(rows) - lengths[_AXES]} of {len(rows)} cases"
        trouble = f"{key} of case {case} is {brief(rows[case])}: {_AXES} numbers are needed ({count})"
        yield found(fingerprint.at(key, case), trouble=trouble)
    if key != "shapes_after_crop":  # PG301 reports spacings
        return
    low = next((case for case, row in enumerate(rows) if row and min(row) <= 0), None)
    if low is not None:
        trouble = f"the shape of case {low} is {brief(rows[low])}: it must be above zero"
        yield found(fingerprint.at(key, low), trouble=trouble)


def _missing(
    at: Location, properties: Mapping[str, Any], channel: str, scheme: str, remedy: Callable[[], str]
) -> Iterator[Found]:
    """Yield a finding for a channel without an entry, or without a value that its scheme reads."""
    entry = properties.get(channel)
    if entry is None:
        yield found(at, channel=channel, lacking="entry", scheme=scheme, remedy=remedy())
        return
    lacking = [key for key in _NEEDED_STATISTICS if key not in entry] if scheme == constants.CT else []
    if lacking:
        unknown = [key for key in entry if key not in fields.FIELDS["IntensityProperties"]]
        misspelt = next((key for key in unknown if fields.near(key, lacking)), None)
        place = f"{at.pointer}/{channel}" + (f"/{misspelt}" if misspelt else "")
        rename = f"rename {misspelt} to {fields.near(misspelt, lacking)}" if misspelt else remedy()
        yield found(Location(at.path, place), channel=channel, lacking=listed(lacking), scheme=scheme, remedy=rename)
