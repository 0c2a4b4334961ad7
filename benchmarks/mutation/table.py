"""The table of judged mutants: how many that nnU-Net refuses are called an error, where, and how many others are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import mutants as mutating

RESULTS = Path(__file__).resolve().parent / "results.md"
#: Aims, in percent: refused and called an error; of these at the place; called an error where nothing changes.
FOUND, AT_PLACE, FALSE = 98, 95, 1
#: Code and last key of a field -> why it is an error, although nnU-Net does the same.
REASONS = {
    (
        "PG303",
        "numTraining",
    ): "one of two numbers of cases is wrong; nnU-Net reads this one only to bound the batch size",
    ("PG005", "batch_dice"): "a list or an object in place of a flag, which counts as true",
    ("PG005", "unet_max_num_features"): "a float, which fails only where a stage is cut to it",
    ("PG103", "n_conv_per_stage_decoder"): "true in place of 1, which Python takes for it",
    ("PG103", "n_blocks_per_stage"): "true in place of 1, which Python takes for it",
    ("PG105", "transpose_backward"): "an axis below zero, which numpy counts from the end",
    ("PG105", "transpose_forward"): "an axis below zero, which numpy counts from the end",
    ("PG208", "channel_names"): "names and numbers are exchanged, as far as the keys tell",
    ("PG301", "spacings"): "no image has such a spacing; the median hides it",
    ("PG321", "shapes_after_crop"): "no image has such a shape; the median hides it",
    ("PG321", "spacings"): "no image has such a spacing; the median hides it",
}


class Part(NamedTuple):
    """The description of a part, and its mutants."""

    head: dict[str, Any]
    mutants: list[dict[str, Any]]


def read(path: Path) -> Part:
    """Read a part."""
    head, *mutants = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return Part(head, mutants)


def is_error(mutant: dict[str, Any]) -> bool:
    """Return whether plansguard calls a mutant an error."""
    return any(severity == "error" for _, severity, _, _ in mutant["findings"])


def at_place(mutant: dict[str, Any]) -> bool:
    """Return whether an error names the mutated key or value, what is in it, or the object that lost or got a key."""
    above = mutant["place"].rpartition("/")[0]
    for _, severity, pointers, _ in mutant["findings"]:
        for found in pointers if severity == "error" else ():
            inside = any(found == place or found.startswith(f"{place}/") for place in mutant["places"])
            parent = mutant["operator"] in ("delete", "rename", "unknown_key", "items", "swap") and found == above
            if inside or parent:
                return True
    return False


def table(parts: list[Part]) -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether the aims are reached."""
    results = [mutant for part in parts for mutant in part.mutants]
    refused = [mutant for mutant in results if mutant["outcome"] == "refused"]
    same = [mutant for mutant in results if mutant["outcome"] == "same"]
    errors = [mutant for mutant in refused if is_error(mutant)]
    placed, false = [mutant for mutant in errors if at_place(mutant)], [mutant for mutant in same if is_error(mutant)]
    figures = _percent(errors, refused), _percent(placed, errors), _percent(false, same)
    crashes = [mutant for mutant in results if any(code == "PG000" for code, *_ in mutant["findings"])]
    lines = [
        *_heading(parts, len(results), len(refused), len(same)),
        "| what | mutants | percent | aim |",
        "|---|---|---|---|",
        f"| refused, and called an error | {len(errors)} of {len(refused)} | {figures[0]:.1f} | >= {FOUND} |",
        f"| of these, at the mutated place | {len(placed)} of {len(errors)} | {figures[1]:.1f} | >= {AT_PLACE} |",
        f"| called an error where nothing changes | {len(false)} of {len(same)} | {figures[2]:.1f} | <= {FALSE} |",
        f"| crashes of rules | {len(crashes)} of {len(results)} | {_percent(crashes, results):.1f} | 0 |",
        "",
        *_by_document(results),
        f"The slowest check took {max((mutant['seconds'] for mutant in results), default=0):.1f} s.",
        "",
        "Errors where nothing changes:",
        "",
        *_counted(f"{_codes(mutant)}: {_class(mutant)}: {reason(mutant)}" for mutant in false),
        "",
        "Refused, and no error:",
        "",
        *_counted(_class(mutant) for mutant in refused if not is_error(mutant)),
        "",
        "An error at another place:",
        "",
        *_counted(f"{_codes(mutant)}: {_class(mutant)}" for mutant in errors if not at_place(mutant)),
    ]
    reached = figures[0] >= FOUND and figures[1] >= AT_PLACE and figures[2] <= FALSE and not crashes
    return lines, reached


def reason(mutant: dict[str, Any]) -> str:
    """Return why a mutant is an error, although nnU-Net does the same as before."""
    reasons = {
        REASONS.get((code, key))
        for code, severity, pointers, _ in mutant["findings"]
        for key in "/".join(pointers).split("/")
        if severity == "error"
    } - {None}
    return "; ".join(sorted(map(str, reasons))) or "no reason is known"


def write(lines: list[str]) -> None:
    """Write results.md."""
    RESULTS.write_text("# Mutations\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _heading(parts: list[Part], count: int, refused: int, same: int) -> list[str]:
    seeds = ", ".join(f"{part.head['seed']} ({part.head['commit']})" for part in parts)
    of_corpus = sum(mutant["origin"] != "fixtures" for part in parts for mutant in part.mutants)
    bases = {(mutant["origin"], mutant["dataset"], mutant["plans"]) for part in parts for mutant in part.mutants}
    seconds = [part.head["seconds"] for part in parts]
    return [
        f"{count} mutants of {len(bases)} bases, {of_corpus} of them of the corpus: {refused} refused by nnU-Net, "
        f"{same} the same to it, the others silently different. A part took {min(seconds, default=0)} to "
        f"{max(seconds, default=0)} s. Seeds, with the commit: {seeds}.",
        "",
    ]


def _by_document(results: list[dict[str, Any]]) -> list[str]:
    lines = ["| document | of | refused | called an error | percent |", "|---|---|---|---|---|"]
    for kind in mutating.WEIGHTS:
        for name, of_corpus in (("fixtures", False), ("corpus", True)):
            some = [one for one in results if one["kind"] == kind and (one["origin"] != "fixtures") == of_corpus]
            refused = [one for one in some if one["outcome"] == "refused"]
            found = [one for one in refused if is_error(one)]
            lines.append(f"| {kind} | {name} | {len(refused)} | {len(found)} | {_percent(found, refused):.1f} |")
    return [*lines, ""]


def _percent(some: list[Any], every: list[Any]) -> float:
    return 100 * len(some) / len(every) if every else 0.0


def _counted(classes: Iterable[str]) -> list[str]:
    return [f"- {count} x {what}" for what, count in Counter(classes).most_common()] or ["- none"]


def _class(mutant: dict[str, Any]) -> str:
    return f"{mutant['kind']}, {mutant['field']}: {mutant['operator']}"


def _codes(mutant: dict[str, Any]) -> str:
    return " ".join(sorted({code for code, severity, _, _ in mutant["findings"] if severity == "error"}))
