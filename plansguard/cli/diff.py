"""``plansguard diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from plansguard.cli.common_options import TextJsonOrHtml, emit_text_or_json, page, text_or_json
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.errors import UsageError

FailOnFacets = Annotated[
    str | None,
    Option(
        "--fail-on",
        metavar="FACETS",
        help="Exit with 1 when a field of these differs: weights, input, training, bookkeeping. A configuration that "
        "only B has is no difference.",
    ),
]


def diff(
    before: Annotated[str, Argument(metavar="A", help="Plans: a file, or REV:path for a git revision.")],
    after: Annotated[str, Argument(metavar="B", help="The plans to compare them with.")],
    fail_on: FailOnFacets = None,
    output: TextJsonOrHtml = [],  # noqa: B006 - typer copies it
) -> None:
    """Show how two plans differ in meaning.

    Differences are grouped by what they matter for: weights, preprocessed data, or the training.

    Examples:
        plansguard diff nnUNetPlans.json PretrainPlans.json
        plansguard diff HEAD~1:nnUNetPlans.json nnUNetPlans.json --fail-on weights,input
    """
    from plansguard.commands.diff import diff as run_diff
    from plansguard.nnunet import plans_diff
    from plansguard.render import diff as rendering

    wanted = [facet.strip() for facet in (fail_on or "").split(",") if facet.strip()]
    for facet in wanted:
        if facet not in plans_diff.FACETS:
            raise UsageError(f"{facet!r} is not a facet", hint=f"facets: {', '.join(plans_diff.FACETS)}")
    outputs = text_or_json(output, html=True)
    with progress_bar("comparing the plans"):
        difference = run_diff(before, after)
    old, new, changes = difference.before.value, difference.after.value, difference.changes
    channels = _channels_beside(after)
    emit_text_or_json(
        outputs,
        lambda _: rendering.text(old, new, changes, channels),
        lambda: rendering.as_json(before, after, changes),
        page("difference", (before, old), (after, new), changes, channels),
    )
    added = plans_diff.added_configurations(old, new)
    counts = rendering.count([change for change in changes if change.field.configuration not in added])
    raise typer.Exit(1 if any(counts[facet] for facet in wanted) else 0)


def _channels_beside(path: str) -> list[str]:
    """Names of the channels from the dataset.json beside plans; none where it cannot be read."""
    from plansguard.core.errors import UnreadableDocument, known
    from plansguard.documents import size_limits
    from plansguard.documents.file_names import CANONICAL_NAMES
    from plansguard.subjects.documents import DatasetJson

    try:
        document = size_limits.read(Path(path).parent / CANONICAL_NAMES["dataset.json"])
    except UnreadableDocument:
        return []
    return known(lambda: DatasetJson(document).channels) or [] if document.kind == "dataset.json" else []
