"""Write the files that are generated from the code: schemas/ and pages of docs/.

``python tools/generate.py`` writes; with ``--check`` nothing is written and the exit code is 1 if a file is stale.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import reference

from plansguard.documents.models.schema import SCHEMAS, schema_text
from plansguard.rules import RULES
from plansguard.rules.engine.page import page

ROOT = Path(__file__).resolve().parents[1]
#: Schema of a document that people edit -> its name in the catalogue, and the files that editors check with it.
EDITED = {
    "plans": (
        "nnU-Net plans",
        ["nnUNet*Plans.json", "**/nnUNet_preprocessed/Dataset*/*Plans.json", "**/nnUNet_results/Dataset*/*/plans.json"],
    ),
    "dataset": (
        "nnU-Net dataset.json",
        ["**/nnUNet_raw/Dataset*/dataset.json", "**/nnUNet_preprocessed/Dataset*/dataset.json"],
    ),
    "fingerprint": ("nnU-Net dataset fingerprint", ["dataset_fingerprint.json"]),
    "splits": ("nnU-Net splits", ["**/nnUNet_preprocessed/Dataset*/splits_final.json"]),
    "settings": ("plansguard settings", ["plansguard.json"]),
}


def generated() -> dict[Path, str]:
    """Return every generated file, by its path below the project's root."""
    files = {Path("schemas") / f"{name}.schema.json": schema_text(name) for name in SCHEMAS}
    for rule in RULES:
        files[Path("docs/rules") / f"{rule.info.code}-{rule.info.name}.md"] = page(rule)
    files[Path("docs/rules/README.md")] = _index()
    files[Path("docs/coverage.md")] = _coverage()
    files[Path("docs/commands.md")] = reference.commands()
    files[Path("docs/schemas.md")] = reference.schemas()
    files[Path("schemas/catalog.json")] = _catalog()
    return files


def stale(files: dict[Path, str]) -> list[Path]:
    """Return the files that are missing, differ, or are no longer generated."""
    wrong = [path for path, text in files.items() if _read(path) != text]
    folders = (ROOT / "schemas", ROOT / "docs/rules")
    present = {path.relative_to(ROOT) for folder in folders for path in folder.glob("*") if path.is_file()}
    return sorted([*wrong, *(present - set(files))])


def _read(path: Path) -> str | None:
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _index() -> str:
    rows = "\n".join(
        f"| [{info.code}]({info.code}-{info.name}.md) | {info.name} | {info.severity} | {info.summary} |"
        for info in (rule.info for rule in RULES)
    )
    return f"# Rules\n\n| code | name | severity | what it finds |\n|---|---|---|---|\n{rows}\n"


def _catalog() -> str:
    """Return the entries for the catalogue of www.schemastore.org, from which editors take schemas."""
    entries = [
        {"name": name, "description": f"{name} (checked by plansguard)", "fileMatch": files, "url": _url(schema)}
        for schema, (name, files) in EDITED.items()
    ]
    return json.dumps({"version": 1, "schemas": entries}, indent=2) + "\n"


def _url(schema: str) -> str:
    """Return the address of a schema, which is its ``$id``."""
    return str(json.loads(schema_text(schema))["$id"])


def _coverage() -> str:
    """Return the table of failure modes: the rules that find each, or why none does."""
    with (ROOT / "tools/failure_modes.tsv").open(encoding="utf-8", newline="") as stream:
        modes = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = []
    for mode in modes:
        covering = [rule.info for rule in RULES if mode["id"] in rule.info.modes]
        links = ", ".join(f"[{info.code}](rules/{info.code}-{info.name}.md)" for info in covering)
        rows.append(f"| {mode['id']} | {mode['title']} | {links or mode['without a rule']} |")
    covered = sum(any(mode["id"] in rule.info.modes for rule in RULES) for mode in modes)
    return (
        "# Coverage\n\nThe ways in which plans, data, weights and runs of nnU-Net v2 become inconsistent, and the "
        f"rules that find them. {covered} of {len(modes)} have a rule.\n\n"
        "| mode | what goes wrong | found by |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if something is stale")
    files = generated()
    old = stale(files)
    if parser.parse_args().check:
        for path in old:
            print(f"stale: {path} (run make docs)")
        return 1 if old else 0
    for path in old:
        if path in files:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(files[path], encoding="utf-8")
        else:
            (ROOT / path).unlink()
        print(f"{'wrote' if path in files else 'removed'} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
