"""PG130, PG131: what remains in plans that were copied or edited by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plansguard.core.report import Severity
from plansguard.core.text import differ, listed
from plansguard.nnunet import constants, plans_diff
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans

#: Another key of nnU-Net's documents for the class of the network.
_CLASS_KEYS = ("UNet_class_name", "network_arch_class_name")
_CONVOLUTIONS = ("n_conv_per_stage", "n_blocks_per_stage")


@rule(
    "PG130",
    Severity.ERROR,
    message="nnU-Net ignores {keys} of {configuration}, which has an architecture{contradiction}",
    fix="write what is meant under architecture: the class as network_class_name, the others in arch_kwargs; then "
    "delete {keys}",
)
def old_keys_ignored(plans: Plans, configuration: Configuration) -> Iterator[Found]:
    """Keys of the old format stand beside an architecture, and have no effect.

    What it checks: a configuration whose network is described under `architecture`, its own or an inherited one, writes
    no key of the old format (`UNet_class_name`, `pool_op_kernel_sizes`, ...). Where the values agree with the
    architecture, or cannot be compared, this is a warning.

    Why it matters: nnU-Net reads these keys only where there is no `architecture`: it trains another network than they
    name. That is so since 2.3.1. Several of its documents still name them: who follows the example for residual
    networks trains a plain U-Net, without a message.

    How to fix: move the values into `architecture`.

    Example: `{"inherits_from": "3d_fullres", "UNet_class_name": "ResidualEncoderUNet"}`.

    Evidence: PL-04; nnU-Net issues 2322, 2482, 2830; measured with nnU-Net 2.8.1.
    """
    written = plans.written[configuration.name]
    keys = [key for key in (*constants.OLD_CONFIGURATION_KEYS, _CLASS_KEYS[1]) if key in written]
    if not keys or configuration.has_old_format:
        return
    wrong = [key for key in keys if _contradicts(configuration.architecture, key, written[key])]
    yield found(
        configuration.at(keys[0]),
        severity=None if wrong else Severity.WARNING,
        keys=listed(keys),
        contradiction=f"; {differ(wrong)}" if wrong else "",
    )


def _contradicts(architecture: Mapping[str, Any], key: str, value: Any) -> bool:
    """Return whether a key of the old format says something else than the architecture."""
    kwargs = architecture["arch_kwargs"]
    if key in _CLASS_KEYS:
        return bool(str(architecture.get("network_class_name")).rpartition(".")[2] != value)
    convolutions = next((kwargs[name] for name in _CONVOLUTIONS if name in kwargs), None)
    effective = {
        "pool_op_kernel_sizes": kwargs.get("strides"),
        "conv_kernel_sizes": kwargs.get("kernel_sizes"),
        "n_conv_per_stage_encoder": convolutions,
        "n_conv_per_stage_decoder": kwargs.get("n_conv_per_stage_decoder"),
    }.get(key)
    return effective is not None and bool(effective != value)


@rule(
    "PG131",
    Severity.INFO,
    message="{one} and {other} are both called {name}, and {difference}",
    fix="give one of them another plans_name, that of its file",
    roles=frozenset({"loose"}),
)
def plans_share_a_name(dataset: Dataset) -> Iterator[Found]:
    """Two different plans of one dataset have the same name.

    What it checks: outside of nnU-Net's folders, such as in a repository, no two files in one folder have the same
    `plans_name` and `dataset_name`, and differ in the network, the input or the training. PG112 reports it where
    nnU-Net reads them.

    Why it matters: both trainings go into the same folder, and the second replaces the first. nnU-Net names results by
    `plans_name`.

    How to fix: set `plans_name` to the name of the file.

    Example: a copy of nnUNetPlans.json with another batch size, to compare both.

    Evidence: MV-04; nnU-Net issues 1650, 2339.
    """
    first: dict[tuple[str, str], Plans] = {}
    for plans in dataset.judged_plans:
        name, owner = plans.value.get("plans_name"), plans.value.get("dataset_name")
        if not isinstance(name, str) or not isinstance(owner, str) or plans.problems:
            continue
        other = first.setdefault((name, owner), plans)
        fields = _differences(other, plans) if other is not plans else []
        if fields:
            yield found(
                plans.at("plans_name"),
                related=[(other.at("plans_name"), "the other one")],
                one=other.path.name,
                other=plans.path.name,
                name=name,
                dataset=owner,
                difference=differ(fields),
            )


def _differences(one: Plans, other: Plans) -> list[str]:
    """Return the fields of the network, the input and the training in which two plans differ."""
    changes = plans_diff.edited_since_migration(one.value, other.value)
    return [str(change.field) for change in changes if change.field.facet != "bookkeeping"]
