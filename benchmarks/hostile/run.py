"""Run commands on hostile documents: no crash of a rule, no traceback, at most 2 s and 500 MB.

``make hostile`` judges 100,000 documents (hours) and writes benchmarks/hostile/results.md:

    python benchmarks/hostile/run.py [--seed 1] [--documents 100000] [--state FOLDER] [--no-table]

With ``--state``, a run that was stopped continues where it was: ``progress.json`` has the counts, ``faults.jsonl`` one
line for each fault, with the number of its document. After a repair, ``--again`` first judges the documents in that
file again, and keeps the faults that are still there. ``--only NUMBER`` judges one document, and prints what commands
print.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import documents
import typer.main

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results.md"
WORKSPACE = ROOT / "fixtures" / "workspace"
ROOTS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
#: Documents by how often they are made.
WEIGHTS = {"plans": 6, "dataset.json": 2, "fingerprint": 1, "splits": 1}
NAMES = {"dataset.json": "dataset.json", "fingerprint": "dataset_fingerprint.json", "splits": "splits_final.json"}
#: One document in so many also goes through the gate, which costs as much as two other commands.
GATED = 4
SECONDS, MEGABYTES = 2.0, 500
SAVED_EVERY = 100


class Outcome(NamedTuple):
    """What a command did: its exit code or None after an exception, its output, its time, and the memory it took.

    ``seconds`` are of the processor: other programs do not make a command slow. ``megabytes`` is the peak, without what
    the process had before.
    """

    code: Any
    output: str
    seconds: float
    megabytes: float


@dataclass
class Progress:
    """What was done so far, and what was found."""

    seed: int
    documents: int = 0
    judged_again: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    peak: float = 0.0
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path | None, seed: int) -> Progress:
        """Return the progress in a file of the same seed, or none yet."""
        if path is None or not path.is_file():
            return cls(seed)
        known = json.loads(path.read_bytes())
        if known["seed"] != seed:
            sys.exit(f"{path} is of the seed {known['seed']}")
        return cls(**{key: Counter(value) if isinstance(value, dict) else value for key, value in known.items()})


class Bench:
    """A workspace of good documents, in which one is replaced by a hostile one at a time."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        shutil.copytree(WORKSPACE, folder, dirs_exist_ok=True)
        empty = folder / "bin"
        empty.mkdir()
        os.environ.update({root: str(folder / root) for root in ROOTS}, PATH=str(empty))
        os.chdir(folder)  # away from the settings in the project's pyproject.toml
        self.preprocessed = folder / ROOTS[1]
        self.plans = sorted(self.preprocessed.glob("*/*Plans.json"))
        self.good = folder / "good.json"

    def cases(self, seed: int, number: int) -> Iterator[tuple[str, str, Outcome]]:
        """Make one document; yield the name of each command, the exact command, and its outcome."""
        chance = random.Random(f"{seed}-{number}")
        plans = chance.choice(self.plans)
        folder = plans.parent
        places = {"plans": plans, **{kind: folder / name for kind, name in NAMES.items()}}
        kinds = [kind for kind in WEIGHTS if places[kind].is_file()]
        [kind] = chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])
        place = places[kind]
        good = place.read_bytes()
        self.good.write_bytes(good)
        try:
            place.write_bytes(documents.document(kind, json.loads(good), chance))
            for words in self._commands(plans, place, chance):
                yield words[0], " ".join(words), run_command(words)
        finally:
            place.write_bytes(good)

    def _commands(self, plans: Path, place: Path, chance: random.Random) -> Iterator[list[str]]:
        """Yield the commands that read the document at a place, with options that differ from document to document."""
        dataset, identifier = plans.parent.name, plans.stem
        other = chance.choice([one for one in self.plans if one.parent != plans.parent])
        output = ["--output", chance.choice(("text", "json", "github", "html"))]
        compared = chance.choice(([place, self.good], [self.good, place]))
        yield ["check", str(plans.parent), *output]
        yield ["diff", *map(str, compared), *([] if "github" in output else output)]
        yield ["show", str(place), *chance.choice(([], ["--json"], ["--output", "html"]))]
        pair = [(dataset, identifier, other.parent.name), (other.parent.name, other.stem, dataset)]
        source, moved, target = chance.choice(pair)
        workflow = ["--workflow", chance.choice(("finetune", "finetune", "pretrain"))]
        yield ["migrate", "--dry-run", "-s", source, "-t", target, "-sp", moved, "-tp", "Moved", *workflow, *output]
        if chance.randrange(GATED) == 0:
            configuration = chance.choice(("2d", "3d_fullres", "3d_lowres", "3d_cascade_fullres"))
            training = ["nnUNetv2_train", dataset, configuration, "0", "-p", identifier]
            yield ["gate", "--dry-run", *output, "--", *training]


def parse_once(build_app: Callable[[list[str]], typer.Typer]) -> Callable[[list[str]], Any]:
    """Return what builds the options of each command once: typer takes 3 ms for it, and documents change none."""
    commands: dict[str, Any] = {}

    def built(words: list[str]) -> Any:
        if words[0] not in commands:
            commands[words[0]] = typer.main.get_command(build_app(words))
        return commands[words[0]]

    return built


def run_command(words: list[str]) -> Outcome:
    """Run a command in this process as the console script does; an exception is part of its output."""
    from plansguard import cli

    if cli.build_app.__name__ == "build_app":
        cli.build_app = parse_once(cli.build_app)
    streams, arguments = (sys.stdout, sys.stderr), sys.argv
    raw = io.BytesIO()
    written = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)  # closes ``raw`` when it is collected
    sys.stdout = sys.stderr = written
    sys.argv = ["plansguard", *words]
    before = reset_peak()
    start, code = time.process_time(), None
    try:
        cli.main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001 - this is what is looked for
        raw.write(traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        taken = time.process_time() - start
        (sys.stdout, sys.stderr), sys.argv = streams, arguments
    written.detach()
    return Outcome(code, raw.getvalue().decode("utf-8", "replace"), taken, peak() - before)


def reset_peak() -> float:
    """Let the peak of memory start again where the memory is; return it. Linux only."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak()


def peak() -> float:
    """Return the peak of memory since it was reset, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def faults_of(words: str, outcome: Outcome) -> Iterator[str]:
    """Yield the kinds of faults of an outcome."""
    if outcome.code not in (0, 1, 2, 3) or "Traceback (most recent call last)" in outcome.output:
        yield "exception"
    if "PG000" in outcome.output:
        yield "PG000"
    if outcome.megabytes > MEGABYTES:
        yield f"over {MEGABYTES} MB"
    if outcome.seconds > SECONDS and min(outcome.seconds, run_command(words.split(" ")).seconds) > SECONDS:
        yield f"over {SECONDS:g} s"


def judge_document(bench: Bench, progress: Progress, number: int, state: Path | None) -> list[tuple[str, Outcome]]:
    """Judge one document; note and print its faults. Return the names of the commands, and their outcomes."""
    outcomes = []
    for name, words, outcome in bench.cases(progress.seed, number):
        outcomes.append((name, outcome))
        for fault in faults_of(words, outcome):
            progress.faults[fault] += 1
            said = next((line for line in outcome.output.splitlines() if " failed with " in line), "").strip()
            said = said or outcome.output[-1000:]
            report(state, {"document": number, "fault": fault, "command": words, "said": said})
    return outcomes


def judge(bench: Bench, progress: Progress, last: int, state: Path | None) -> None:
    """Judge documents up to a number, and save the progress now and then."""
    while progress.documents < last:
        start = time.perf_counter()
        for name, outcome in judge_document(bench, progress, progress.documents, state):
            progress.commands[name] += 1
            progress.codes[str(outcome.code)] += 1
            progress.slowest = max(progress.slowest, outcome.seconds)
            progress.peak = max(progress.peak, outcome.megabytes)
        progress.documents += 1
        progress.seconds += time.perf_counter() - start
        if state is not None and progress.documents % SAVED_EVERY == 0:
            save(progress, state)


def judge_again(bench: Bench, progress: Progress, state: Path) -> None:
    """Judge the documents with faults again, and keep the faults that are left."""
    path = state / "faults.jsonl"
    known = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    path.unlink(missing_ok=True)
    progress.faults.clear()
    numbers = sorted({fault["document"] for fault in known})
    progress.judged_again += len(numbers)
    for number in numbers:
        judge_document(bench, progress, number, state)
    save(progress, state)


def report(state: Path | None, fault: dict[str, Any]) -> None:
    """Print a fault, and append it to the file of faults."""
    print(f"document {fault['document']}: {fault['fault']}: {fault['command']}\n  {fault['said']}", flush=True)
    if state is not None:
        with (state / "faults.jsonl").open("a", encoding="utf-8") as file:
            print(json.dumps(fault), file=file)


def save(progress: Progress, state: Path) -> None:
    """Write the progress, in whole or not at all."""
    unfinished = state / "progress.part"
    unfinished.write_text(json.dumps(vars(progress), indent=1), encoding="utf-8")
    unfinished.replace(state / "progress.json")


def table(progress: Progress) -> list[str]:
    """Return lines of Markdown."""
    pace = progress.documents / progress.seconds if progress.seconds else 0
    commands = ", ".join(f"{count:,} {name}" for name, count in progress.commands.items())
    codes = ", ".join(f"{code}: {count:,}" for code, count in sorted(progress.codes.items()))
    kinds = ("PG000", "exception", f"over {SECONDS:g} s", f"over {MEGABYTES} MB")
    return [
        f"Seed {progress.seed}: {progress.documents:,} documents, {pace:.0f} a second; {commands}.",
        "",
        "| what | commands | limit |",
        "|---|---|---|",
        *(f"| {kind} | {progress.faults[kind]} | 0 |" for kind in kinds),
        "",
        f"{progress.judged_again} documents had faults, and were judged again after a repair. As first judged, the "
        f"slowest command took {progress.slowest:.1f} s, and the most memory was {progress.peak:.0f} MB. Exit codes: "
        f"{codes}.",
    ]


def main() -> int:
    """Run, print, and write the table; return 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--again", action="store_true", help="first judge the documents with faults again")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="judge one document, and print the output")
    parser.add_argument("--no-table", action="store_true", help="do not write results.md")
    given = parser.parse_args()
    if given.state is not None:
        given.state = given.state.absolute()
        given.state.mkdir(parents=True, exist_ok=True)
    progress = Progress.read(given.state and given.state / "progress.json", given.seed)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder).resolve() / "workspace")
        if given.only is not None:
            for _, words, outcome in bench.cases(given.seed, given.only):
                print(f"$ plansguard {words}\n{outcome.output}({outcome.code}, {outcome.seconds:.2f} s)\n")
            return 0
        if given.again and given.state is not None:
            judge_again(bench, progress, given.state)
        judge(bench, progress, given.documents, given.state)
    if given.state is not None:
        save(progress, given.state)
    lines = table(progress)
    print(*lines, sep="\n")
    if not given.no_table:
        RESULTS.write_text("# Hostile documents\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return 1 if progress.faults else 0


if __name__ == "__main__":
    sys.exit(main())
