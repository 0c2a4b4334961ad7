"""Pages of the reference that are made from the code: the commands and the JSON documents."""

from __future__ import annotations

import inspect
from typing import Any

import typer

from plansguard.cli import build_app
from plansguard.cli.help_text import GROUPS
from plansguard.documents.models.schema import SCHEMAS, schema

#: Columns of the help, as on a terminal of usual width.
WIDTH = 80


def commands() -> str:
    """Return the help of every command, in the order and groups of ``plansguard --help``."""
    program: Any = typer.main.get_command(build_app())
    context = program.make_context("plansguard", [], resilient_parsing=True, terminal_width=WIDTH)
    parts = ["# Commands\n\nThe help of every command, as `plansguard COMMAND --help` prints it.\n"]
    for heading, names in GROUPS.items():
        parts.append(f"## {heading}\n")
        for name in names:
            command = program.commands[name]
            own = command.make_context(name, [], parent=context, resilient_parsing=True)
            parts.append(f"### plansguard {name}\n\n```text\n{command.get_help(own).rstrip()}\n```\n")
    return "\n".join(parts)


def schemas() -> str:
    """Return the keys of every document that has a schema."""
    parts = [
        "# JSON documents\n\nThe keys of the documents that plansguard reads and writes, and of `--output json`. The "
        "complete schemas (JSON Schema 2020-12) are in [schemas/](../schemas); `plansguard schema NAME` prints one.\n"
    ]
    for name, source in SCHEMAS.items():
        body = schema(name)
        required = body.get("required", ())
        rows = [
            f"| `{key}`{' (required)' if key in required else ''} | {_description(value, body.get('$defs', {}))} |"
            for key, value in _properties(body).items()
        ]
        parts.append(
            f"## {name}\n\n{_escaped(source.description)} "
            f"Schema: [{name}.schema.json](../schemas/{name}.schema.json).\n\n"
            "| key | contents |\n|---|---|\n" + "\n".join(rows) + "\n"
        )
    return "\n".join(parts)


def _properties(body: dict[str, Any]) -> dict[str, Any]:
    """The keys of an object, or of the objects in a list."""
    if "items" in body:
        return _properties(_resolved(body["items"], body.get("$defs", {})))
    return dict(body["properties"])


def _resolved(value: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = value.get("$ref", "")
    return dict(definitions[reference.rpartition("/")[2]]) if reference else value


def _description(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    """The description of a key, or that of the object which it contains, in one cell of a table."""
    text = value.get("description") or _resolved(value, definitions).get("description", "")
    return _escaped(inspect.cleandoc(text).partition("\n\n")[0].replace("\n", " "))


def _escaped(text: str) -> str:
    """Spell out what Markdown would take for markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
