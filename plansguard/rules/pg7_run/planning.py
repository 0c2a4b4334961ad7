"""PG751, PG752, PG756, PG757: plans that planning would overwrite, and reasons why no plans can be made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from plansguard.core.errors import known
from plansguard.core.report import Location, Severity
from plansguard.core.text import counted, listed, nearest, quoted
from plansguard.nnunet import printed_commands
from plansguard.nnunet.constants import DA_PROCESSES, NNUNET_PACKAGE
from plansguard.records.migration import DERIVE
from plansguard.rules.engine.declare import Found, found, rule
from plansguard.rules.engine.helpers import NUMBER, yielded
from plansguard.subjects.trained_models import trained_with

if TYPE_CHECKING:
    from plansguard.subjects.planning import Planning


@rule(
    "PG751",
    Severity.ERROR,
    message="planning would overwrite {identifier}, which {made} ({workflow})",
    fix="name the new plans with -overwrite_plans_name {better}; if the present ones are not needed: "
    + printed_commands.undo(NUMBER, yielded("typed")),
)
def planning_replaces_migrated_plans(planning: Planning) -> Iterator[Found]:
    """Planning would overwrite migrated or derived plans.

    What it checks: the plans that a planner is about to write, by their name, were not written by `plansguard migrate`
    or `plansguard derive`.
    The name is that of `-overwrite_plans_name`, else the default of the planner that `-pl` names.

    Why it matters: nnU-Net overwrites them without asking, and weights that are for them no longer load, or get other
    images. Configurations of another name stay in the file and belong to other plans.

    How to fix: `-overwrite_plans_name` writes the new plans beside them. Better still, never give migrated plans the
    default name of a planner (PG413).

    Example: plans were migrated to Dataset002 as `nnUNetPlans`, and then `nnUNetv2_plan_and_preprocess -d 2` runs.

    Evidence: MV-03, MV-14; save_plans in default_experiment_planner.py of nnU-Net 2.8.1.
    """
    plans = planning.present
    if plans is None or not planning.now.has_record(plans):
        return
    record = known(lambda: planning.now.migration_record(plans))
    made, workflow = "was migrated from elsewhere", "its record is damaged"
    if record is not None:
        derived = record.workflow == DERIVE
        made = f"was derived from {record.value['from']['plans']}" if derived else f"was migrated from {record.giving}"
        workflow = "plansguard derive" if derived else f"--workflow {record.workflow}"
    yield found(
        plans.at(),
        identifier=plans.identifier,
        made=made,
        workflow=workflow,
        better=f"{plans.identifier}_planned",
        typed=quoted(plans.identifier),
    )


@rule(
    "PG752",
    Severity.WARNING,
    message="planning would overwrite {identifier}, with which {users}",
    fix="name the new plans with -overwrite_plans_name {better}; if they may be replaced, {again} again afterwards",
)
def planning_replaces_plans_in_use(planning: Planning) -> Iterator[Found]:
    """Planning would overwrite plans that models or data were made with.

    What it checks: if plans of the name that a planner is about to write exist, no model was trained with them, and no
    preprocessed data that they name are left. Data that the same command preprocesses again do not count.

    Why it matters: with another fingerprint, version or memory target, no plans describe the old models and data any
    more. With the same fingerprint and planner the plans stay the same. New trainings go into the same folders of
    results.

    How to fix: `-overwrite_plans_name`, or preprocess and train again.

    Example: `nnUNetv2_plan_experiment -d 2 -gpu_memory_target 24` after `nnUNetPlans` were trained.

    Evidence: MV-14; nnU-Net's own help advises `-overwrite_plans_name` with changed settings.
    """
    plans = planning.present
    if plans is None or planning.now.has_record(plans):
        return
    models = known(lambda: trained_with(planning.now, plans.identifier)) or []
    remade = {folder.name for _, folder in planning.replaced_data()}
    data = [name for name in planning.data_present if name not in remade]
    users = []
    if models:
        names = listed([model.folder.name for model in models], shown=1)
        users.append(f"{counted(len(models), 'model')} {_was(models)} trained ({names})")
    if data:
        users.append(f"data were preprocessed ({listed(data, shown=2)})")
    if users:
        yield found(
            plans.at(),
            identifier=plans.identifier,
            users=", and ".join(users),
            better=f"{plans.identifier}_planned",
            again=" and ".join(["preprocess"] * bool(data) + ["train"] * bool(models)),
        )


@rule(
    "PG756",
    Severity.ERROR,
    message="nnUNet_n_proc_DA is {value}, and planning needs 1 or more",
    fix="it is for trainings alone; plan without it: {command}",
)
def no_thread_for_planning(planning: Planning) -> Iterator[Found]:
    """The variable that trains without processes for augmentation is set while plans are made.

    What it checks: before plans are made, that `nnUNet_n_proc_DA` is unset, or 1 or more.

    Why it matters: the planner stops with `set_num_threads expects a positive integer`, perhaps after hours of
    fingerprint extraction. It sets as many threads before it estimates the memory of a network, and torch refuses 0. 0
    is usual for trainings, where it means that the main process augments. With `nnUNetv2_plan_and_preprocess` this
    happens after the fingerprint was extracted, which takes minutes to hours.

    How to fix: set the variable for trainings only.

    Example: `export nnUNet_n_proc_DA=0` in the profile of a container.

    Evidence: measured with nnU-Net 2.8.1; static_estimate_VRAM_usage in default_experiment_planner.py.
    """
    from plansguard.subjects.planning import has_no_threads  # only before a planning

    if planning.planner and has_no_threads(planning.environment):
        words = [word for word in planning.words if not word.startswith(f"{DA_PROCESSES}=")]
        yield found(
            Location(str(planning.now.folder)),
            value=quoted(planning.environment[DA_PROCESSES]),
            command=printed_commands.gate(words, planning.options, before=["env", "-u", DA_PROCESSES]),
        )


def _was(things: Sequence[object]) -> str:
    return "was" if len(things) == 1 else "were"


@rule(
    "PG757",
    Severity.ERROR,
    message="the installed nnU-Net{version} has no experiment planner {planner}{near}",
    fix="name one that it has, or update: pip install --upgrade nnunetv2",
)
def planner_not_found(planning: Planning) -> Iterator[Found]:
    """The experiment planner is not in the installed nnU-Net.

    What it checks: a module of nnU-Net's folder `experiment_planning` has a class of the name that `-pl` gives. The
    sources are read, not run.

    Why it matters: nnU-Net stops: `TypeError: 'NoneType' object is not callable`, which does not name the planner.
    Presets such as nnUNetPlannerResEncL came with 2.4.

    How to fix: correct the name, or update nnU-Net. nnU-Net does not search other folders: a planner of your own has to
    be put into this one.

    Example: `-pl nnUNetPlannerResEncL` with nnU-Net 2.2.

    Evidence: VR-04; nnU-Net issues 2279, 2314, 2475.
    """
    if not planning.planner:
        return
    from plansguard.nnunet.install.packages import version
    from plansguard.nnunet.install.trainer_search import finds_planner, planner_names

    if finds_planner(planning.planner) is False:
        near, installed = nearest(planning.planner, planner_names()), version(NNUNET_PACKAGE)
        yield found(
            Location(str(planning.now.folder)),
            planner=planning.planner,
            near=f"; did you mean {near}?" if near else "",
            version=f" {installed}" if installed else "",
        )
