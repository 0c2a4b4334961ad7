"""Mutate good documents, and compare what plansguard finds with what the real nnU-Net does.

``make mutation`` judges 300 mutants of seed 1, some minutes with the preparation of every dataset:

    python benchmarks/mutation/run.py [--seed 1] [--parts 1] [--mutants 300] [--details FOLDER] [--table]

Each part has a seed of its own, the first ``--seed``. With ``--details`` a part is a file of the folder, with a line of
JSON for each mutant; a run that was stopped continues with the first part that has none. ``--table`` writes all parts
of the folder into benchmarks/mutation/results.md, and with ``--parts 0`` nothing else. Rules are tuned on the seeds
below 300, and measured on others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bases as good
import judge as judging
import mutants as mutating
import table as tabling

PROCESSES = 2
#: Of the bases of the corpus, so many are mutated in each part: preparing one takes seconds.
OF_CORPUS = 16
#: A dataset of more files gets no raw images.
MOST_FILES = 400


class Unfit(Exception):
    """nnU-Net refuses the documents as they are, or plansguard reports an error."""


class Source:
    """The good documents of one dataset, and its judge. Raises Unfit if they are not good."""

    def __init__(self, base: good.Base, scratch: Path, number: int = 0) -> None:
        """``number`` tells apart the raw datasets of one process."""
        self.base = base
        self.documents = base.documents
        self.place = scratch / f"checked{number}"
        self.preprocessed = self.place / "nnUNet_preprocessed" / base.dataset
        self.preprocessed.mkdir(parents=True)
        self._written: dict[Path, Any] = {}
        raw = self._raw()
        planned = judging.prepare(scratch, raw, f"Dataset{number:03}_Mutated")
        try:
            self.judge = judging.Judge(self._given(self.documents), scratch, planned)
        except KeyError as key:
            raise Unfit(f"the plans have no {key}") from key
        self.good = self.judge.results(self._given(self.documents))
        if base.is_of_corpus and self._left_out():
            self.good = self.judge.results(self._given(self.documents))
        refused = {step: result for step, result in self.good.items() if result.startswith("refused")}
        self.usual = self._found(self.documents, set())
        errors = sorted(f"{code} at {pointers[0]}" for code, severity, pointers, _ in self.usual if severity == "error")
        if refused or errors:
            raise Unfit("; ".join([*(f"{step}: {result}" for step, result in refused.items()), *errors]))

    def _raw(self) -> Path:
        """Give a dataset without images those of another one: nnU-Net opens the first of them."""
        base, raw = self.base, self.place / "nnUNet_raw" / self.base.dataset
        if base.raw is not None:
            return Path(shutil.copytree(base.raw, raw))
        dataset_json = self.documents["dataset.json"]
        channels = dataset_json.get("channel_names", dataset_json.get("modality", {"0": ""}))
        cases = dataset_json.get("numTraining", 1)
        if cases * len(channels) > MOST_FILES:
            raw, cases = self.place / "unchecked" / base.dataset, 1
        ending = dataset_json.get("file_ending", ".nii.gz")
        if ending not in good.IMAGES:
            raise Unfit(f"there is no image that ends with {ending}")
        for folder in ("imagesTr", "labelsTr"):
            (raw / folder).mkdir(parents=True)
        image = good.WORKSPACE / "nnUNet_raw" / good.IMAGES[ending]
        first = Path(shutil.copy(image, self.place / image.name))
        for case in range(cases):
            os.link(first, raw / "labelsTr" / f"case_{case:03}{ending}")
            for channel in range(len(channels)):
                os.link(first, raw / "imagesTr" / f"case_{case:03}_{channel:04}{ending}")
        return raw

    def _left_out(self) -> bool:
        """Leave out configurations that nnU-Net refuses, such as those with networks of forks, if there are any."""
        plans = self.documents["plans"]
        refused = {step.partition(" ")[2] for step, result in self.good.items() if result.startswith("refused")}
        known = {name: value for name, value in plans["configurations"].items() if name not in refused}
        self.documents = {**self.documents, "plans": {**plans, "configurations": known or plans["configurations"]}}
        return bool(known) and len(known) < len(plans["configurations"])

    def mutant(self, chance: random.Random) -> mutating.Mutant:
        """Mutate one of the documents."""
        kinds = {kind: weight for kind, weight in mutating.WEIGHTS.items() if kind in self.base.kinds}
        [kind] = chance.choices(list(kinds), list(kinds.values()))
        return mutating.mutant(kind, self.documents[kind], chance)

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
            "origin": self.base.origin,
            "dataset": self.base.dataset,
            "plans": self.base.identifier,
            "kind": mutant.kind,
            "field": mutating.field_of(mutant),
            "place": mutating.pointer(mutant.place),
            "places": mutant.places,
            "operator": mutant.operator,
            "written": _short(mutant.written),
            "outcome": "refused" if refused else "changed" if changed else "same",
            "steps": refused or changed,
            "findings": sorted(found),
            "seconds": time.perf_counter() - start,
        }

    def _found(self, documents: dict[str, Any], usual: Iterable[Any]) -> set[tuple[str, str, tuple[str, ...], str]]:
        """Return code, severity, pointers and message of the findings that the good documents do not have."""
        from plansguard.commands.check import check
        from plansguard.rules.engine.settings import ActiveSettings

        for kind, name in {**good.NAMES, "plans": f"{self.base.identifier}.json"}.items():
            if documents[kind] is not None:
                self._write(self.preprocessed / name, documents[kind])
        raw = self.place / "nnUNet_raw" / self.base.dataset
        if raw.is_dir():
            self._write(raw / "dataset.json", documents["dataset.json"])
        findings = check([self.preprocessed], settings=ActiveSettings()).findings
        found = set()
        for one in findings:
            pointers = tuple(place.pointer for place in (one.location, *(other.location for other in one.related)))
            found.add((one.code, one.severity.value, pointers, one.message))
        return {one for one in found if one[:3] not in {each[:3] for each in usual}}

    def _write(self, path: Path, document: Any) -> None:
        """Write a document, unless it is the one that was written last."""
        if self._written.get(path) is not document:
            path.write_text(json.dumps(document, indent=4), encoding="utf-8")
        self._written[path] = document

    def _given(self, documents: dict[str, Any]) -> judging.Documents:
        dataset_json = documents["dataset.json"]
        return judging.Documents(documents["plans"], dataset_json, documents["fingerprint"], documents["splits"])


def _short(written: Any) -> Any:
    """Return what was written, without the ten thousand cases of a fingerprint."""
    text = json.dumps(written, default=str)
    return written if len(text) < 2000 else f"{text[:200]} ..."


def start() -> None:
    """Prepare one process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def judged(base: good.Base, numbers: list[int], seed: int, folder: str) -> tuple[str, list[dict[str, Any]]]:
    """Judge mutants of one base, in a new folder. Returns why there are none, or an empty text, and the mutants."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            source = Source(base, Path(scratch), os.getpid() % 1000)
        except (Unfit, judging.Undecided) as reason:
            return str(reason) or "too large", []
        chances = (random.Random(f"{seed}-{number}") for number in numbers)
        results = [source.judged(source.mutant(chance)) for chance in chances]
    return "", [result for result in results if result is not None]


def run(seed: int, count: int) -> Iterator[tuple[good.Base, str, list[dict[str, Any]]]]:
    """Yield each base, why it has no mutants, and its judged mutants. Half of them are of the corpus, if it is there.

    The mutants of a base of the corpus that is not good are those of the next one.
    """
    chance = random.Random(seed)
    own, others = list(good.fixtures()), list(good.corpus())
    chance.shuffle(others)
    taken = others[:OF_CORPUS]
    waiting = iter(others[OF_CORPUS:])
    numbers: dict[int, list[int]] = {}
    for number in range(count):
        half = taken if taken and number % 2 else own
        numbers.setdefault(id(chance.choice(half)), []).append(number)
    tasks = {id(base): (base, numbers[id(base)]) for base in (*taken, *own) if id(base) in numbers}
    with tempfile.TemporaryDirectory() as scratch, _pool() as pool:
        running = {pool.submit(judged, *task, seed, scratch): task for task in tasks.values()}
        while running:
            done = next(as_completed(running))
            base, of_base = running.pop(done)
            reason, results = done.result()
            yield base, reason, results
            following = next(waiting, None) if reason else None
            if following is not None:
                running[pool.submit(judged, following, of_base, seed, scratch)] = following, of_base


@contextlib.contextmanager
def _pool() -> Iterator[ProcessPoolExecutor]:
    """Processes that end at once where the run is stopped."""
    pool = ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn"), start)
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def part(seed: int, count: int) -> list[dict[str, Any]]:
    """Return a description of a part, and its mutants."""
    begun, commit, mutants, left_out = time.monotonic(), _commit(), [], {}
    for base, reason, results in run(seed, count):
        mutants += results
        if reason:
            left_out[base.origin] = reason
    head = {"seed": seed, "commit": commit, "corpus": good.CORPUS.is_dir(), "left_out": left_out}
    return [{**head, "seconds": round(time.monotonic() - begun)}, *mutants]


def _commit() -> str:
    command = ("git", "-C", str(good.ROOT), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> int:
    """Run, print, and write the table if it is wanted; return 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--details", type=Path)
    parser.add_argument("--table", action="store_true", help="write results.md")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not good.CORPUS.is_dir():
        print(f"There is no {good.CORPUS}: only fixtures are mutated.")
    with tempfile.TemporaryDirectory() as folder:
        details = given.details or Path(folder)
        details.mkdir(parents=True, exist_ok=True)
        for seed in range(given.seed, given.seed + given.parts):
            path = details / f"{seed}.jsonl"
            if not path.exists():
                lines = [json.dumps(line, default=str) for line in part(seed, given.mutants)]
                path.with_suffix(".new").write_text("\n".join(lines) + "\n", encoding="utf-8")
                path.with_suffix(".new").rename(path)
                print(f"Seed {seed}: {len(lines) - 1} mutants.", flush=True)
        lines, reached = tabling.table([tabling.read(path) for path in sorted(details.glob("*.jsonl"))])
    print(*lines, sep="\n")
    if given.table:
        tabling.write(lines)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
