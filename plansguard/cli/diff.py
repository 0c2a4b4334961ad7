"""``plansguard diff``."""

from __future__ import annotations

from typing import Annotated

import typer

from plansguard.core.errors import UsageError


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="Plans: a file, or REV:path for a git revision.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The plans to compare them with.")],
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="FACETS",
            help="Exit with 1 when a field of these differs: weights, input, training, bookkeeping.",
        ),
    ] = None,
    output: Annotated[str, typer.Option("--output", metavar="FORMAT", help="text or json.")] = "text",
) -> None:
    """Show how two plans differ, by meaning: what it does to weights, to preprocessed data, to the training."""
    from plansguard.documents import git_revisions
    from plansguard.documents.recognise import recognise
    from plansguard.nnunet import plans_diff
    from plansguard.render import diff as rendering

    wanted = [facet.strip() for facet in (fail_on or "").split(",") if facet.strip()]
    for facet in wanted:
        if facet not in plans_diff.FACETS:
            raise UsageError(f"{facet!r} is no facet", hint=f"facets: {', '.join(plans_diff.FACETS)}")
    if output not in ("text", "json"):
        raise UsageError(f"--output {output} is not known to diff", hint="formats: text, json")
    documents = [git_revisions.read(place) for place in (before, after)]
    for document in documents:
        if recognise(document.value) != "plans":
            raise UsageError(f"{document.path} holds no nnU-Net plans", hint="give two plans files")
    old, new = (document.value for document in documents)
    found = plans_diff.compare(old, new)
    rendered = rendering.text(old, new, found) if output == "text" else rendering.as_json(before, after, found)
    typer.echo(rendered, nl=False)
    counts = rendering.count(found)
    raise typer.Exit(1 if any(counts[facet] for facet in wanted) else 0)
