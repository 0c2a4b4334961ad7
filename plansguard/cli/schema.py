"""``plansguard schema``."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument

from plansguard.core.errors import UsageError


def schema(
    name: Annotated[str | None, Argument(help="The document; without it the names are listed.")] = None,
) -> None:
    """Print the JSON Schema of a document, or list the documents.

    Examples:
        plansguard schema
        plansguard schema plans
    """
    from plansguard.documents.models.schema import SCHEMAS, schema_text

    if name is None:
        for known, title in SCHEMAS.items():
            typer.echo(f"{known:<20} {title.description}")
        return
    if name not in SCHEMAS:
        raise UsageError(f"there is no schema {name!r}", hint=f"schemas: {', '.join(SCHEMAS)}")
    typer.echo(schema_text(name), nl=False)
