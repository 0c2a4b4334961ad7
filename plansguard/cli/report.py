"""``plansguard report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from plansguard.cli.common_options import SettingsFile, load_settings, print_line
from plansguard.cli.progress_bar import progress_bar
from plansguard.core.atomic_files import assert_writable, write_atomically
from plansguard.core.errors import UsageError
from plansguard.core.text import counted
from plansguard.nnunet.workspace import Workspace
from plansguard.render import is_report
from plansguard.render.html.page import assert_possible

Folder = Annotated[Path, Option("-o", metavar="FOLDER", help="Where the pages go; it is made if it is not there.")]


def report(folder: Folder = Path("plansguard-report"), settings: SettingsFile = None) -> None:
    """Write an overview of all datasets as HTML pages.

    One page has the datasets below nnU-Net's folders with their plans, data and models, and which weights fit where.
    Each dataset has a page of its own, with its findings and pictures. Exit code: 0 written, 2 there are no
    datasets, or the pages cannot be written.

    Examples:
        plansguard report
        plansguard report -o overview
    """
    from plansguard.cli import html_page
    from plansguard.commands.report import overview

    assert_possible()
    index = folder / "index.html"
    assert_writable(index, is_report)
    workspace = Workspace.from_environment()
    if not workspace.dataset_names():
        raise UsageError("there are no datasets in nnU-Net's folders", hint="see what it finds: plansguard doctor")
    active = load_settings(settings, [workspace.preprocessed or Path()])
    with progress_bar("reading nnU-Net's folders") as progress:
        found = overview(workspace, active, progress.report)
        pages = html_page.of_overview(found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{folder} cannot be a folder: a file is there", hint="name another with -o") from None
    for name, page in pages.items():
        write_atomically(folder / name, page.encode(), is_report)
    print_line(f"wrote {index} and {counted(len(pages) - 1, 'page')} of datasets")
