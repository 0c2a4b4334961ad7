"""The messages of a migration: its direction and purpose, and the commands to run after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from plansguard.core import disk
from plansguard.core.errors import known
from plansguard.migration.plan import Migration
from plansguard.nnunet import plans_diff, printed_commands
from plansguard.nnunet.constants import CHECKPOINT_FINAL, DEFAULT_TRAINER, USUAL_CONFIGURATION
from plansguard.nnunet.printed_commands import CHECKPOINT, Word
from plansguard.nnunet.workspace import ALL, TrainedModel
from plansguard.records.migration import DERIVE
from plansguard.records.preprocessing import DataState
from plansguard.records.preprocessing_inputs import differing, input_fields
from plansguard.subjects.discovery import configuration_of
from plansguard.subjects.external_plans import ExternalDataset, ExternalModel
from plansguard.subjects.pair import Pair
from plansguard.subjects.plans import Configuration
from plansguard.subjects.pretraining import (
    Pretraining,
    data_first,
    loading_into,
    packed,
    pretraining_among,
    usual_fold,
)
from plansguard.subjects.trained_models import trained_with

#: Workflow -> the role of the giving dataset, that of the receiving one, and the purpose.
_ROLES = {
    "finetune": (
        "pretraining",
        "fine-tuning",
        "weights of {giving} keep their network and preprocessing",
    ),
    "pretrain": ("fine-tuning", "pretraining", "train a network on {receiving} that fits {giving}"),
    "graft": (
        "pretraining",
        "fine-tuning",
        "weights of {giving} get the spacing and normalization of {receiving}",
    ),
}


def opening(pair: Pair) -> Iterator[str]:
    """The direction and purpose of a migration in three lines: from, to, why."""
    giver, receiver, purpose = _ROLES[pair.workflow]
    giving, receiving = pair.giving.name, pair.receiving.name
    artefact = f", {pair.giving.artefact}" if isinstance(pair.giving, ExternalDataset) else ""
    yield f"from  {pair.plans.identifier} of {giving} ({giver}{artefact})"
    yield f"to    {pair.result.identifier} of {receiving} ({receiver})"
    yield f"why   {pair.workflow}: {purpose.format(giving=giving, receiving=receiving)}"


def left_out(pair: Pair) -> Iterator[str]:
    """The configurations that a graft does not take over, in one line. Other workflows take plans whole."""
    written = {one.name for one in pair.result.configurations}
    names = [one.name for one in pair.plans.configurations if one.name not in written]
    if names:
        yield f"left out: {', '.join(names)} (the own plans of {pair.receiving.name} have none of that name)"


def next_title(migration: Migration, *, dry_run: bool) -> str:
    """Return what stands above the commands that follow: after a dry run the migration itself comes first."""
    return "Next, after the same without --dry-run" if dry_run and migration.writes else "Next"


def next_commands(migration: Migration) -> Iterator[str]:
    """The commands to run next, with real names, in order."""
    pair = migration.pair
    receiving, identifier, name = pair.receiving.name, pair.result.identifier, _configuration(pair)
    if known(lambda: pair.receiving.fingerprint) is None:
        yield printed_commands.extract_fingerprint(receiving)
    trained = configuration_of(pair.result, name)
    named = [configuration_of(pair.result, one) for one in pair.configurations if one != name]
    missing = [one.name for one in (trained, *trained.next_stages, *named) if not has_data(pair, one)]
    if missing:
        yield printed_commands.preprocess(receiving, identifier, *dict.fromkeys(missing))
    yield printed_commands.check(receiving, plans=identifier, configuration=name)
    if pair.workflow == "pretrain":
        yield printed_commands.train(receiving, name, ALL, plans=identifier)
        weights = (receiving, f"{DEFAULT_TRAINER}__{identifier}__{name}", f"fold_{ALL}", CHECKPOINT_FINAL)
        pretraining = Pretraining(_in_results(pair, Path(*weights)))
        yield from data_first(pair.giving, pair.plans.identifier, name)
        fine_tuned = configuration_of(pair.plans, name)
        yield from pretraining.commands_for(pair.giving, fine_tuned, usual_fold(pair.giving))
    else:
        pretraining = weights_of(pair, loading_into(pair.result, name))
        yield from pretraining.commands_for(pair.receiving, trained, usual_fold(pair.receiving))


def _in_results(pair: Pair, path: Path) -> Word:
    """The path of a file below the folder of results, which need not be known."""
    results = pair.receiving.workspace.results
    return printed_commands.below("nnUNet_results", path) if results is None else results / path


def _configuration(pair: Pair) -> str:
    """The configuration that was trained, else 3d_fullres, else the first; of a cascade the first stage, if it can."""
    names = [one.name for one in pair.result.configurations if pair.asks_for(one.name)]
    trained = [model.configuration for model in _trained(pair) if model.configuration in names]
    trained.sort(key=lambda name: configuration_of(pair.result, name).get("previous_stage") is not None)
    return (trained or [name for name in names if name == USUAL_CONFIGURATION] or names)[0]


def weights_of(pair: Pair, configurations: Sequence[str]) -> Pretraining:
    """The weights that the plans belong to: of the first of these configurations that was trained.

    Else those of another one, unless they do not fit the first as far as is known: another network, stage of a
    cascade or input, such as the spacing.
    """
    order = {name: place for place, name in enumerate(configurations)}
    trained = [
        model
        for model in _trained(pair)
        if model.configuration in order or _may_fit(pair, model.configuration, configurations[0])
    ]
    trained.sort(key=lambda model: order.get(model.configuration, len(order)))
    if not trained:
        return Pretraining(CHECKPOINT)
    model, checkpoint = trained[0], trained[0].checkpoints[0]
    if not isinstance(model, ExternalModel):
        return pretraining_among(trained, pair.giving.name, model.configuration) or Pretraining(CHECKPOINT)
    if model.archive is None:
        return Pretraining(checkpoint, model.trainer)
    return packed(model.archive, checkpoint, model.trainer, pair.receiving.workspace.results)


def _trained(pair: Pair) -> list[TrainedModel]:
    return known(lambda: trained_with(pair.giving, pair.plans.identifier)) or []


def _may_fit(pair: Pair, trained: str, wanted: str) -> bool:
    """Whether weights of a configuration fit another one, which the migrated plans, or those that result, have."""
    known_ones = [{one.name: one for one in plans.configurations} for plans in (pair.plans, pair.result)]
    giver, ours = known_ones[0].get(trained), next((found[wanted] for found in known_ones if wanted in found), None)
    if giver is None or ours is None:
        return True
    return known(lambda: _network_and_input(giver) == _network_and_input(ours)) is not False


def _network_and_input(configuration: Configuration) -> tuple[object, ...]:
    """What weights of a configuration depend on."""
    plans = configuration.plans.value
    network = plans_diff.networks(plans).get(configuration.name)
    return network, configuration.previous_stage is None, input_fields(plans, configuration.resolved)


def has_data(pair: Pair, configuration: Configuration) -> bool:
    """Whether the data of the result exist: unchanged data of `plansguard preprocess`.

    For a graft, and for a derivation that keeps the folder of the plans before, a folder.
    """
    identifier = configuration.get("data_identifier")
    own = {one.get("data_identifier") for one in pair.plans.configurations if pair.workflow == DERIVE}
    if pair.workflow == "graft" or identifier in own:
        return disk.is_folder(pair.receiving.folder / str(identifier))
    wanted = input_fields(pair.result.value, configuration.resolved)
    return any(
        folder.record_file.identifier == identifier
        and folder.state is DataState.UNCHANGED
        and not differing(folder.record.input, wanted)
        for folder in known(lambda: pair.receiving.preprocessing_records) or ()
    )
