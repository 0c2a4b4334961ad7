"""Settings of Sphinx: ``make site`` writes the documentation as HTML."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from plansguard import __version__

DOCS = Path(__file__).resolve().parent
REPOSITORY = "https://github.com/plansguard/plansguard"

project = "plansguard"
copyright = "The plansguard authors"
release = __version__
extensions = ["myst_parser"]
#: Headings of these levels are places that a link may name, as on GitHub.
myst_heading_anchors = 4
highlight_language = "text"
html_theme = "furo"
html_title = f"plansguard {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
html_show_sourcelink = False
#: Furo writes one link per page to the file that it was made from.
html_theme_options = {"source_repository": f"{REPOSITORY}/", "source_branch": "main", "source_directory": "docs/"}

#: A relative target of a link or an image.
TARGET = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(?=[)#])")
#: Pages of the site that are files of the repository.
FILES = {"overview": "README.md", "contributing": "CONTRIBUTING.md", "changes": "CHANGELOG.md"}
#: All pages of rules are below their table, which GitHub shows without this list.
RULES = "\n```{toctree}\n:hidden:\n:glob:\n\nPG*\n```\n"
#: Page, or "rules" for that of any rule -> the list of pages at its side.
SIDES: dict[str, str] = {}


def prepare(_: Sphinx, docname: str, source: list[str]) -> None:
    """Put in the files of the repository; let links out of docs/ lead to them, or to the repository."""
    here = (DOCS / docname).parent
    folder, text = here, source[0]
    if docname in FILES:
        folder = DOCS.parent
        text = (folder / FILES[docname]).read_text(encoding="utf-8")
    pages = {(DOCS.parent / file): DOCS / f"{name}.md" for name, file in FILES.items()}

    def moved(match: re.Match[str]) -> str:
        file = (folder / match[1]).resolve()
        file = pages.get(file, file)
        if not file.exists():
            return match[1]
        if file.is_relative_to(DOCS):
            return os.path.relpath(file, here)
        kind = "tree" if file.is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/main/{file.relative_to(DOCS.parent).as_posix()}"

    source[0] = TARGET.sub(moved, text) + (RULES if docname == "rules/README" else "")


def adapt(_: Sphinx, pagename: str, _template: str, context: dict[str, Any], _tree: object) -> None:
    """Shorten the list at the side, and let the keyboard scroll code.

    The list does not name the pages of rules, is the same for all of them, and is made once.
    """
    whole = context.get("toctree")

    def at_the_side(**options: Any) -> str:
        key = "rules" if pagename.startswith("rules/PG") else pagename
        if key not in SIDES:
            SIDES[key] = whole(**{**options, "maxdepth": 1}).replace('role="heading"', 'role="heading" aria-level="2"')
        return SIDES[key]

    if whole is not None:
        context["toctree"] = at_the_side
    if "body" in context:
        context["body"] = context["body"].replace("<pre>", '<pre tabindex="0">')


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the functions above."""
    app.connect("source-read", prepare)
    app.connect("html-page-context", adapt, priority=400)  # before the theme's own function
    return {"parallel_read_safe": True, "parallel_write_safe": True}
