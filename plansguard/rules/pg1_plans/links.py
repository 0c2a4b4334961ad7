"""PG119 to PG121: links of cascades, misspelt keys, and counts of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plansguard.core.report import Location, Severity
from plansguard.core.text import brief, listed
from plansguard.nnunet import fields
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import reported_before, requested_configurations
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans

#: Keys without which nnU-Net silently does something else: no inheritance, no cascade, labels without an order.
_SILENT_WITHOUT = ("inherits_from", "previous_stage", "next_stage")


@rule("PG119", Severity.ERROR, message="{key} of {name} is {value}, {trouble}", fix="{remedy}")
def broken_cascade(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """The stages of a cascade do not fit each other.

    What it checks: `previous_stage` and `next_stage` name other configurations of these plans, and each other: the
    second stage is in the `next_stage` of the first. A `next_stage` whose configuration has no `previous_stage` is a
    warning: predictions are written that nothing reads.

    Why it matters: the second stage stops without predictions, or the first ends with an error after the whole
    training. The second stage reads predictions that the final validation of the first writes for each configuration in
    its `next_stage`. A missing name ends that validation with `Requested configuration ... not found in plans`. Without
    `next_stage` nothing is written, and the second stage stops with `FileNotFoundError`.

    How to fix: name the two configurations in each other, as the planner does.

    Example: `3d_lowres` was copied without its `"next_stage": "3d_cascade_fullres"`.

    Evidence: CA-03; measured with nnU-Net 2.8.1.
    """
    names = list(plans.written)
    for configuration in requested_configurations(dataset, plans):
        previous = configuration.get("previous_stage")
        if previous is not None and not _inherited_from_reported(configuration, "previous_stage"):
            trouble = _trouble_of_previous(configuration, previous, plans)
            if trouble:
                at = configuration.at("previous_stage")
                yield _cascade(at, configuration.name, "previous_stage", previous, trouble, names)
        following = configuration.get("next_stage")
        if following is None:
            continue
        stages = following if isinstance(following, list) else [following]
        for index, stage in enumerate(stages):
            at = configuration.at("next_stage", *((index,) if isinstance(following, list) else ()))
            if stage not in names:
                yield _cascade(at, configuration.name, "next_stage", stage, "which is not in these plans", names)
            elif stage == configuration.name or not _follows(plans, stage, configuration.name):
                trouble = "whose previous_stage is another one"
                yield _cascade(at, configuration.name, "next_stage", stage, trouble, names, Severity.WARNING)


@rule("PG120", Severity.ERROR, message="{key} is no key of nnU-Net, {known} is{effect}", fix="{remedy}")
def misspelt_key(plans: Plans) -> Iterator[Found]:
    """A key is misspelt.

    What it checks: keys of the plans and of configurations that nnU-Net does not know, where a key that it reads is
    missing and differs by one or two characters. An error where nnU-Net silently does something else without that key,
    as without `previous_stage`; a warning where it does nearly the same; information where it does not read the key.
    PG006 reports keys without which nnU-Net fails. Other unknown keys are fine: nnU-Net ignores them.

    Why it matters: nnU-Net ignores unknown keys: the setting has no effect, and nothing is printed.

    How to fix: rename the key.

    Example: `"previous_stagee": "3d_lowres"` makes the second stage of a cascade an ordinary configuration.

    Evidence: PL-04; measured with nnU-Net 2.8.1.
    """
    for at, model, written, present in _objects(plans):
        known = fields.FIELDS[model]
        if written.keys() <= known.keys():
            continue
        absent = [key for key in known if key not in present and not known[key].needed]
        for key in written:
            meant = fields.near(key, absent) if key not in known else None
            if meant is None:
                continue
            silent = meant in _SILENT_WITHOUT
            read = bool(known[meant].steps)
            yield found(
                plans.at(*at, key),
                severity=None if silent else Severity.WARNING if read else Severity.INFO,
                key=brief(key),
                known=meant,
                effect="" if read else ", which it does not read",
                remedy=f"rename it to {meant}",
            )


#: Numbers of features in plans of the old format.
_OLD_COUNTS = ("UNet_base_num_features", "unet_max_num_features")


@rule("PG121", Severity.ERROR, message="{key} is {value}, and must be above zero", fix="write a positive integer")
def invalid_count(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The batch, the patch or the network is empty.

    What it checks: `batch_size` and every number in `patch_size` are above zero, and in plans of the old format
    `UNet_base_num_features` and `unet_max_num_features`.

    Why it matters: training stops at the first batch, with an error that does not name the field. It is
    `AttributeError: 'NoneType' object has no attribute 'to'` or `ValueError: negative dimensions are not allowed`.

    How to fix: write a positive integer.

    Example: `"batch_size": 0`.

    Evidence: PL-11; measured with nnU-Net 2.8.1.
    """
    patch = configuration.get("patch_size") or ()
    for key in ("batch_size", *(_OLD_COUNTS if configuration.has_old_format else ())):
        value = configuration.get(key)
        if value is not None and value <= 0 and not reported_before(dataset, configuration, key):
            yield found(configuration.at(key), key=key, value=value)
    low = [axis for axis, size in enumerate(patch) if size <= 0]
    if low and not reported_before(dataset, configuration, "patch_size"):
        yield found(configuration.at("patch_size", *low[: len(low) == 1]), key="patch_size", value=brief(patch))


class _Object(NamedTuple):
    """An object of the plans: the keys that lead to it, its model, its own keys, and those that it inherits too."""

    at: tuple[str, ...]
    model: str
    written: Mapping[str, Any]
    present: Mapping[str, Any]


def _objects(plans: Plans) -> Iterator[_Object]:
    yield _Object((), "Plans", plans.value, plans.value)
    for configuration in plans.configurations:
        written, at = plans.written[configuration.name], ("configurations", configuration.name)
        present = written if configuration.broken_inheritance else configuration.resolved
        yield _Object(at, "Configuration", written, present)
        architecture = written.get("architecture")
        if isinstance(architecture, dict):
            yield _Object((*at, "architecture"), "Architecture", architecture, architecture)


def _inherited_from_reported(configuration: Configuration, key: str) -> bool:
    """Return whether an ancestor writes the key: the fault is reported there."""
    return configuration.origin(key) != configuration.name


def _trouble_of_previous(configuration: Configuration, previous: str, plans: Plans) -> str | None:
    """Return what is wrong with the first stage of a configuration."""
    if previous not in plans.written:
        return "which is not in these plans"
    if previous == configuration.name:
        return "which is itself"
    first = next(stage for stage in plans.configurations if stage.name == previous)
    if not first.is_usable or configuration.name in {stage.name for stage in first.next_stages}:
        return None
    return f"whose next_stage is not {configuration.name}"


def _follows(plans: Plans, stage: str, first: str) -> bool:
    """Return whether a configuration names another one as its previous stage, or cannot be read."""
    following = next(configuration for configuration in plans.configurations if configuration.name == stage)
    return not following.is_usable or following.get("previous_stage") == first


def _cascade(
    at: Location, name: str, key: str, value: str, trouble: str, names: list[str], severity: Severity | None = None
) -> Found:
    meant = fields.near(value, [other for other in names if other != name])
    remedy = (
        f"write {meant}" if meant and meant != value else f"name the other stage; here are {listed(names, shown=6)}"
    )
    return found(at, severity=severity, name=name, key=key, value=brief(value), trouble=trouble, remedy=remedy)
