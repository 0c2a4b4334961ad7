"""Mutate good documents, and compare what plansguard finds with what the real nnU-Net does.

``make mutation`` judges 2,000 mutants of one seed and writes benchmarks/mutation/results.md:

    python benchmarks/mutation/run.py [--seed 1] [--mutants 2000] [--details FILE] [--no-table]

With ``--details`` every mutant is written as a line of JSON. Rules are tuned on the seeds below 100, and measured on
others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import judge as judging
import mutants as mutating

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = ROOT / "fixtures" / "workspace"
RESULTS = Path(__file__).resolve().parent / "results.md"
NAMES = {"dataset.json": "dataset.json", "fingerprint": "dataset_fingerprint.json", "splits": "splits_final.json"}
IMAGES = "Dataset002_FinetuneCT"
PROCESSES = 2
#: Aims, in percent: refused and called an error; of these at the place; called an error where nothing changes.
FOUND, AT_PLACE, FALSE = 98, 95, 1


class Source:
    """The good documents of one dataset, and its judge."""

    def __init__(self, folder: Path, plans: str, scratch: Path) -> None:
        self.name, self.identifier = folder.name, Path(plans).stem
        self.documents: dict[str, Any] = {"plans": _read(folder / plans), "fingerprint": None, "splits": None}
        for kind, name in NAMES.items():
            if (folder / name).is_file():
                self.documents[kind] = _read(folder / name)
        self.place = scratch / "checked" / f"{self.name}-{self.identifier}"
        self.preprocessed = self.place / "nnUNet_preprocessed" / self.name
        self.preprocessed.mkdir(parents=True)
        raw = self.place / "nnUNet_raw" / self.name
        shutil.copytree(WORKSPACE / "nnUNet_raw" / self.name, raw)
        self._complete(raw)
        self.judge = judging.Judge(self._given(self.documents), scratch, judging.prepare(scratch, raw))
        self.good = self.judge.results(self._given(self.documents))
        refused = {step: result for step, result in self.good.items() if result.startswith("refused")}
        assert not refused, (self.name, refused)
        self.usual = self._found(self.documents, set())

    def _complete(self, raw: Path) -> None:
        """Give a dataset without images those of another one: nnU-Net opens the first of them."""
        for folder in ("imagesTr", "labelsTr") if not (raw / "imagesTr").is_dir() else ():
            (raw / folder).mkdir()
            images = sorted((WORKSPACE / "nnUNet_raw" / IMAGES / folder).iterdir())
            for image in images[: self.documents["dataset.json"]["numTraining"]]:
                shutil.copy(image, raw / folder)

    def kinds(self) -> dict[str, int]:
        """Return the kinds of its documents, with their weights."""
        return {kind: weight for kind, weight in mutating.WEIGHTS.items() if self.documents[kind] is not None}

    def judged(self, mutant: mutating.Mutant) -> dict[str, Any] | None:
        """Return one mutant with what nnU-Net does and what plansguard finds; None if that depends on the machine."""
        documents = {**self.documents, mutant.kind: mutant.document}
        try:
            results = self.judge.results(self._given(documents))
        except judging.Undecided:
            return None
        refused = {step: result for step, result in results.items() if result.startswith("refused")}
        changed = sorted(step for step in {*results, *self.good} if results.get(step) != self.good.get(step))
        start = time.perf_counter()
        found = self._found(documents, self.usual)
        return {
            "dataset": self.name,
            "plans": self.identifier,
            "kind": mutant.kind,
            "field": mutating.field_of(mutant),
            "place": mutating.pointer(mutant.place),
            "places": mutant.places,
            "operator": mutant.operator,
            "written": mutant.written,
            "outcome": "refused" if refused else "changed" if changed else "same",
            "steps": refused or changed,
            "findings": sorted(found),
            "seconds": time.perf_counter() - start,
        }

    def _found(self, documents: dict[str, Any], usual: Iterable[Any]) -> set[tuple[str, str, str, str]]:
        """Return code, severity, pointer and message of the findings that the good documents do not have."""
        from plansguard.commands.check import check
        from plansguard.rules.engine.settings import ActiveSettings

        for kind, name in {**NAMES, "plans": f"{self.identifier}.json"}.items():
            if documents[kind] is not None:
                (self.preprocessed / name).write_text(json.dumps(documents[kind], indent=4), encoding="utf-8")
        raw = self.place / "nnUNet_raw" / self.name / "dataset.json"
        raw.write_text(json.dumps(documents["dataset.json"], indent=4), encoding="utf-8")
        findings = check([self.preprocessed], settings=ActiveSettings()).findings
        found = set()
        for one in findings:
            places = [one.location, *(related.location for related in one.related)]
            pointers = " ".join(place.pointer for place in places)
            found.add((one.code, one.severity.value, pointers, one.message))
        return {one for one in found if one[:3] not in {each[:3] for each in usual}}

    def _given(self, documents: dict[str, Any]) -> judging.Documents:
        dataset_json = documents["dataset.json"]
        return judging.Documents(documents["plans"], dataset_json, documents["fingerprint"], documents["splits"])


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


_SOURCES: list[Source] = []


def start(scratch: str) -> None:
    """Prepare one process: the sources, with the results of the good documents."""
    import os

    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    for dataset in sorted((WORKSPACE / "nnUNet_preprocessed").iterdir()):
        for plans in sorted(dataset.glob("*Plans.json")):
            _SOURCES.append(Source(dataset, plans.name, folder))  # noqa: PERF401 - one after the other


def one(number: int, seed: int) -> dict[str, Any] | None:
    """Make and judge one mutant."""
    chance = random.Random(f"{seed}-{number}")
    source = chance.choice(_SOURCES)
    kinds = source.kinds()
    [kind] = chance.choices(list(kinds), list(kinds.values()))
    return source.judged(mutating.mutant(kind, source.documents[kind], chance))


def run(seed: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield the judged mutants."""
    with tempfile.TemporaryDirectory() as scratch:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(PROCESSES, context, start, (scratch,)) as pool:
            judged = pool.map(partial(one, seed=seed), range(count), chunksize=10)
            yield from (mutant for mutant in judged if mutant is not None)


def is_error(mutant: dict[str, Any]) -> bool:
    """Return whether plansguard calls a mutant an error."""
    return any(severity == "error" for _, severity, _, _ in mutant["findings"])


def at_place(mutant: dict[str, Any]) -> bool:
    """Return whether an error names the mutated key or value, what is in it, or the object it was taken out of."""
    above = mutant["place"].rpartition("/")[0]
    for _, severity, pointers, _ in mutant["findings"]:
        for found in pointers.split(" ") if severity == "error" else ():
            inside = any(found == place or found.startswith(f"{place}/") for place in mutant["places"])
            parent = mutant["operator"] in ("delete", "rename", "items", "swap") and found == above
            if inside or parent:
                return True
    return False


def table(results: list[dict[str, Any]], seed: int, seconds: float) -> tuple[list[str], bool]:
    """Return lines of Markdown, and whether the aims are reached."""
    refused = [mutant for mutant in results if mutant["outcome"] == "refused"]
    same = [mutant for mutant in results if mutant["outcome"] == "same"]
    errors = [mutant for mutant in refused if is_error(mutant)]
    placed, false = [mutant for mutant in errors if at_place(mutant)], [mutant for mutant in same if is_error(mutant)]
    figures = _percent(errors, refused), _percent(placed, errors), _percent(false, same)
    lines = [
        f"Seed {seed}: {len(results)} mutants, {len(refused)} refused by nnU-Net, {len(same)} the same to it, the "
        f"others silently different; {seconds:.0f} s.",
        "",
        "| what | mutants | percent | aim |",
        "|---|---|---|---|",
        f"| refused, and called an error | {len(errors)} of {len(refused)} | {figures[0]:.1f} | >= {FOUND} |",
        f"| of these, at the mutated place | {len(placed)} of {len(errors)} | {figures[1]:.1f} | >= {AT_PLACE} |",
        f"| called an error where nothing changes | {len(false)} of {len(same)} | {figures[2]:.1f} | <= {FALSE} |",
        "",
        "| document | refused | called an error | percent |",
        "|---|---|---|---|",
    ]
    for kind in mutating.WEIGHTS:
        of_kind = [mutant for mutant in refused if mutant["kind"] == kind]
        found = [mutant for mutant in of_kind if is_error(mutant)]
        lines.append(f"| {kind} | {len(of_kind)} | {len(found)} | {_percent(found, of_kind):.1f} |")
    crashes = [mutant for mutant in results if any(code == "PG000" for code, *_ in mutant["findings"])]
    slowest = max((mutant["seconds"] for mutant in results), default=0)
    lines += ["", f"Crashes of rules: {len(crashes)}. The slowest check took {slowest:.1f} s.", ""]
    lines += ["Errors where nothing changes:", ""]
    lines += [f"- {_described(mutant)}: {_codes(mutant)}" for mutant in false] or ["- none"]
    lines += ["", "Refused, and no error, by field:", ""]
    missed = Counter(
        f"{mutant['kind']}: {mutant['field']}, {mutant['operator']}" for mutant in refused if not is_error(mutant)
    )
    lines += [f"- {count} x {what}" for what, count in missed.most_common()] or ["- none"]
    reached = figures[0] >= FOUND and figures[1] >= AT_PLACE and figures[2] <= FALSE and not crashes
    return lines, reached


def _percent(some: list[Any], every: list[Any]) -> float:
    return 100 * len(some) / len(every) if every else 0.0


def _described(mutant: dict[str, Any]) -> str:
    return (
        f"{mutant['plans']} of {mutant['dataset']}, {mutant['place']}: {mutant['operator']} {mutant['written']!r:.60}"
    )


def _codes(mutant: dict[str, Any]) -> str:
    return ", ".join(f"{code} {severity}" for code, severity, _, _ in mutant["findings"])


def main() -> int:
    """Run, print, and write the table; return 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--details", type=Path)
    parser.add_argument("--no-table", action="store_true", help="do not write results.md")
    given = parser.parse_args()
    start_time, results = time.monotonic(), []
    with contextlib.ExitStack() as stack:
        details = stack.enter_context(given.details.open("w", encoding="utf-8")) if given.details else None
        for mutant in run(given.seed, given.mutants):
            results.append(mutant)
            if details is not None:
                print(json.dumps(mutant, default=str), file=details, flush=True)
    lines, reached = table(results, given.seed, time.monotonic() - start_time)
    print(*lines, sep="\n")
    if not given.no_table:
        RESULTS.write_text("# Mutations\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
