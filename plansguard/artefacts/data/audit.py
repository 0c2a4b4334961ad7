"""Check every preprocessed case against what nnU-Net makes of it with these plans and dataset.json.

Cases are read and checked one after the other: memory grows only by the name and a digest of eight bytes for each.
Source: preprocessing/preprocessors/default_preprocessor.py and utilities/label_handling/label_handling.py of nnU-Net.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from plansguard.artefacts.data.cases import Case, DataFolder, list_folder, read_case
from plansguard.artefacts.data.expectation import CaseFault, Expectation
from plansguard.artefacts.data.normalization import Evidence, evidence_faults
from plansguard.artefacts.data.workers import Pool
from plansguard.core import disk
from plansguard.core.errors import UsageError
from plansguard.core.text import counted

HEADERS, SAMPLE, ALL = "headers", "sample", "all"
#: Cases of which depth "sample" reads the values, and cases in one chunk of work.
SAMPLED, CHUNK, CHUNK_WITH_VALUES = 8, 64, 2
EXAMPLES = 5
#: Bytes of the digest of one case.
DIGEST = 8


def judge_headers(case: Case, expectation: Expectation) -> list[tuple[str, CaseFault]]:
    """Return the faults of a case by kind: incomplete, channels, shape, segmentation, reader, class-locations."""
    faults = [("incomplete", CaseFault(case.name, clause)) for clause in case.faults]

    def add(kind: str, what: str) -> None:
        faults.append((kind, CaseFault(case.name, what)))

    image = case.image
    if image is not None:
        if expectation.channels is not None and image[0] != expectation.channels:
            declared = counted(expectation.channels, "channel")
            add("channels", f"the array has {counted(image[0], 'channel')}, dataset.json names {declared}")
        spatial = _spatial(case, expectation, add)
        if spatial is not None and image[1:] != spatial:
            add("shape", f"the array is {image}, these plans give {(image[0], *spatial)}")
        if case.segmentation is not None and case.segmentation != (1, *image[1:]):
            add("segmentation", f"the segmentation is {case.segmentation}, the array is {image}")
    if expectation.stuff is not None and case.stuff is not None and expectation.stuff not in case.stuff:
        kept = ", ".join(sorted(case.stuff)) or "nothing"
        add("reader", f"its .pkl keeps {kept} of the reader, and no {expectation.stuff}")
    if expectation.class_keys is not None and case.shape is not None and case.class_keys != expectation.class_keys:
        if case.class_keys is None:
            add("class-locations", f"{case.name}.pkl contains no class_locations")
        else:
            add("class-locations", _differing(case.class_keys, expectation.class_keys))
    return faults


def _spatial(case: Case, expectation: Expectation, add: Callable[[str, str], None]) -> tuple[int, ...] | None:
    """Return the shape (z, y, x) of the array that nnU-Net makes of this case; None where it is unknown.

    With two values of spacing the first axis keeps its own.
    Source: compute_new_shape in preprocessing/resampling/default_resampling.py.
    """
    shape, order = case.shape, expectation.transpose_forward
    if shape is None or not expectation.resampled:
        return shape
    target = expectation.spacing
    if case.spacing is None or target is None:
        return None
    if len(case.spacing) != len(shape) or len(order) != len(shape) or len(target) > len(shape):
        own = f"{len(shape)} axes and {len(case.spacing)} spacings"
        add("shape", f"the .pkl contains {own}, these plans {len(order)} axes")
        return None
    spacing = [case.spacing[axis] for axis in order]
    if len(target) < len(shape):
        target = (spacing[0], *target)
    try:
        return tuple([int(round(a / b * n)) for a, b, n in zip(spacing, target, shape, strict=True)])  # noqa: RUF046
    except (OverflowError, ValueError):
        add("shape", f"spacing {spacing} mm cannot be resampled to {list(target)} mm")
        return None


def _differing(actual: frozenset[Any], expected: frozenset[Any]) -> str:
    """Describe how keys of ``class_locations`` differ, in a clause that is short even for a hundred labels."""
    if len(actual) + len(expected) <= 2 * EXAMPLES:
        return f"class_locations are of {_listed(actual)}, dataset.json's labels give {_listed(expected)}"
    missing, extra = expected - actual, actual - expected
    lacking = f"lack {_listed(missing)} of dataset.json's labels" if missing else ""
    foreign = f"have {_listed(extra)}, which dataset.json's labels do not give" if extra else ""
    return "class_locations " + " and ".join(filter(None, (lacking, foreign)))


def _listed(keys: Iterable[Any]) -> str:
    """List labels, then regions, then other keys."""
    numbers = sorted(key for key in keys if isinstance(key, int))
    others = sorted(str(key) for key in keys if not isinstance(key, int))
    words = [*map(str, numbers), *others]
    return ", ".join(words[: 2 * EXAMPLES]) + (", ..." if len(words) > 2 * EXAMPLES else "") if words else "nothing"


@lru_cache(64)  # nearly all cases of a dataset have the same
def _sorted_keys(keys: frozenset[Any] | None) -> str:
    return "none" if keys is None else " ".join(sorted(map(str, keys)))


def digest_of(case: Case) -> bytes:
    """Return DIGEST bytes of a digest over the case's name, its arrays' shapes and the facts of its .pkl."""
    facts = f"{case.name}\n{(case.image, case.segmentation, case.shape, case.spacing)}\n{_sorted_keys(case.class_keys)}"
    return hashlib.sha256(facts.encode("utf-8", "surrogateescape")).digest()[:DIGEST]


# --- All cases


@dataclass
class Faults:
    """The number of faults of one kind, and the first of them by case name."""

    count: int = 0
    examples: list[CaseFault] = field(default_factory=list)

    def merge(self, other: Faults) -> None:
        """Add those of other cases."""
        self.count += other.count
        self.examples = sorted(self.examples + other.examples)[:EXAMPLES]


@dataclass
class Tally:
    """Results of some cases.

    ``read`` cases were checked, ``valued`` of them with their values. ``faults`` are by kind. ``digests`` are those of
    `digest_of`, in the order of names. ``oldest`` is the earliest time at which a file was last changed, in seconds
    since 1970; None where there are no files.
    """

    read: int = 0
    valued: int = 0
    faults: dict[str, Faults] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)
    digests: bytearray = field(default_factory=bytearray)
    oldest: float | None = None

    def add(self, case: Case, faults: Iterable[tuple[str, CaseFault]]) -> None:
        """Add a case and its faults."""
        self.read += 1
        for kind, fault in faults:
            self.faults.setdefault(kind, Faults()).merge(Faults(1, [fault]))
        self.digests += digest_of(case)
        self._changed(*case.changed)

    def merge(self, other: Tally) -> None:
        """Add the results of the cases that follow."""
        self.read += other.read
        self.valued += other.valued
        for kind, faults in other.faults.items():
            self.faults.setdefault(kind, Faults()).merge(faults)
        self.evidence += other.evidence
        self.digests += other.digests
        self._changed(other.oldest)

    def _changed(self, *times: float | None) -> None:
        self.oldest = min((time for time in (self.oldest, *times) if time is not None), default=None)


@dataclass(kw_only=True)
class Audit(Tally):
    """Results of a folder.

    ``read`` is less than the number of cases only if ``interrupted``. ``suspicions`` are what the values of all cases
    together show against the plans, by kind: evidence, no proof.
    """

    folder: DataFolder
    suspicions: tuple[tuple[str, str], ...] = ()
    interrupted: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The digest of each case that was read, in hexadecimal, by name."""
        places = range(0, len(self.digests), DIGEST)
        named = zip(self.folder.everything, places, strict=False)
        return {name: self.digests[at : at + DIGEST].hex() for name, at in named}


def audit(folder: Path, expectation: Expectation, *, depth: str = HEADERS, pool: Pool, seed: int = 0) -> Audit:
    """Check every case of ``folder``: headers only, also the values of a few (``sample``), or of ``all``.

    The sample depends only on ``seed`` and the names of the cases. Ctrl-C ends the audit with the results so far.
    Raises UnreadableDocument when the folder cannot be read, UsageError where `Pool` does.
    """
    listing = list_folder(folder)
    names = listing.everything
    valued = frozenset(names) if depth == ALL else frozenset()
    if depth == SAMPLE:
        valued = frozenset(random.Random(seed).sample(listing.names, min(SAMPLED, len(listing.names))))
    result = Audit(folder=listing)
    judge = partial(_judge, str(folder), listing.format, expectation, None if depth == ALL else valued)
    try:
        with closing(pool.run(judge, names, CHUNK_WITH_VALUES if depth == ALL else CHUNK)) as tallies:
            for tally in tallies:
                result.merge(tally)
    except KeyboardInterrupt:
        result.interrupted = True
    result.suspicions = tuple(evidence_faults(result.evidence, expectation))
    return result


def _judge(
    folder: str, array: str, expectation: Expectation, valued: frozenset[str] | None, names: Sequence[str]
) -> Tally:
    """Read and check some cases, on any thread, process or machine; with ``valued`` None the values of all."""
    if not disk.is_folder(folder):
        raise UsageError(
            f"the data folder {folder} is gone, or the worker that should read it cannot find it",
            hint="a cluster's workers need the same folder under the same path",
        )
    tally = Tally()
    for name in names:
        case = read_case(folder, name, array)
        faults = judge_headers(case, expectation)
        if not case.faults and (valued is None or name in valued):
            value_faults, evidence = _judge_values(folder, case, expectation)
            faults += value_faults
            tally.evidence += evidence
            tally.valued += 1
        tally.add(case, faults)
    return tally


def _judge_values(folder: str, case: Case, expectation: Expectation) -> tuple[list[tuple[str, CaseFault]], Evidence]:
    try:
        from plansguard.artefacts.data.values import judge_values

        return judge_values(Path(folder), case.name, expectation, shape=case.shape)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the values of arrays cannot be read without the package {error.name}",
            hint="pip install 'plansguard[data]', or read headers only: --data headers",
        ) from None
