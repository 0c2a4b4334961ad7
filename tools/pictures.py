"""Draw what commands show on a terminal, as SVG: docs/pictures/check.svg of the README, and others to look at.

``python tools/pictures.py`` writes the one of the README. ``--all FOLDER`` draws every main output, 80, 100 and 140
columns wide, on a dark and on a light terminal, in 16 colours and without colours (NO_COLOR).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI, TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "docs/pictures/check.svg"
THEMES = {"dark": MONOKAI, "light": DEFAULT_TERMINAL_THEME}


def picture(command: str, shown: str, columns: int, theme: TerminalTheme) -> str:
    """Return an SVG of a terminal on which the command was typed."""
    console = Console(record=True, width=columns, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="bold"))
    for line in shown.rstrip("\n").split("\n"):
        text = Text.from_ansi(line)
        for part in text.divide(range(columns, len(text), columns)):  # as a terminal divides it, not at words
            console.print(part, soft_wrap=True)
    return console.export_svg(title="plansguard", theme=theme, unique_id="terminal")


def main() -> None:
    """Write the picture of the README, or all of them."""
    sys.path.insert(0, str(ROOT))
    from tests.support.outputs import OUTPUTS, prepare, shown

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        variables = prepare(Path(folder))

        def drawn(name: str, columns: int, theme: str, **environment: str) -> str:
            command = " ".join(["plansguard", *OUTPUTS[name]])
            text = shown(name, Path(folder), variables, columns, **environment)
            return picture(command, text, columns, THEMES[theme])

        if given.all is None:
            PLACE.parent.mkdir(exist_ok=True)
            PLACE.write_text(drawn("check", 100, "dark"), encoding="utf-8")
            return
        given.all.mkdir(parents=True, exist_ok=True)
        for name in OUTPUTS:
            for columns in (80, 100, 140):
                for theme in THEMES:
                    path = given.all / f"{name}-{columns}-{theme}.svg"
                    path.write_text(drawn(name, columns, theme), encoding="utf-8")
            plain = drawn(name, 80, "dark", NO_COLOR="1")
            (given.all / f"{name}-80-no-color.svg").write_text(plain, encoding="utf-8")


if __name__ == "__main__":
    main()
