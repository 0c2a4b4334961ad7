"""Every preprocessed case against what plans and dataset.json make of it.

A fold: each case is read, judged and forgotten, so memory does not grow with the number of cases, their names and a
digest of eight bytes apart.
Source: preprocessing/preprocessors/default_preprocessor.py and utilities/label_handling/label_handling.py of nnU-Net.
"""

from __future__ import annotations

import hashlib
import random
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plansguard.artefacts.data.cases import Case, DataFolder, list_folder, read_case
from plansguard.artefacts.data.expectation import CaseFault, Expectation
from plansguard.artefacts.data.normalization import Evidence, evidence_faults
from plansguard.artefacts.data.workers import Pool
from plansguard.core.errors import UsageError
from plansguard.core.text import counted

if TYPE_CHECKING:
    from plansguard.artefacts.data.values import Judged


HEADERS, SAMPLE, ALL = "headers", "sample", "all"
#: Cases of which depth "sample" reads the values, and cases in one piece of work.
SAMPLED, CHUNK, CHUNK_WITH_VALUES = 8, 64, 2
EXAMPLES = 5
#: Bytes of the digest of one case.
DIGEST = 8


def judge_headers(case: Case, expectation: Expectation) -> list[tuple[str, CaseFault]]:
    """Faults of a case by kind: incomplete, channels, shape, segmentation, reader, class-locations."""
    found = [("incomplete", CaseFault(case.name, clause)) for clause in case.faults]

    def add(kind: str, what: str) -> None:
        found.append((kind, CaseFault(case.name, what)))

    image = case.image
    if image is not None:
        if expectation.channels is not None and image[0] != expectation.channels:
            named = counted(expectation.channels, "channel")
            add("channels", f"the array has {counted(image[0], 'channel')}, dataset.json names {named}")
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
            add("class-locations", f"{case.name}.pkl holds no class_locations")
        else:
            add("class-locations", _differing(case.class_keys, expectation.class_keys))
    return found


def _spatial(case: Case, expectation: Expectation, add: Callable[[str, str], None]) -> tuple[int, ...] | None:
    """The shape (z, y, x) of the array that nnU-Net makes of this case; None where that cannot be told.

    Source: compute_new_shape in preprocessing/resampling/default_resampling.py. With two values of spacing the first
    axis keeps its own.
    """
    shape, order = case.shape, expectation.transpose_forward
    if shape is None or not expectation.resampled:
        return shape
    target = expectation.spacing
    if case.spacing is None or target is None:
        return None
    if len(case.spacing) != len(shape) or len(order) != len(shape) or len(target) > len(shape):
        add(
            "shape", f"the .pkl tells {len(shape)} axes and {len(case.spacing)} spacings, these plans {len(order)} axes"
        )
        return None
    own = [case.spacing[axis] for axis in order]
    if len(target) < len(shape):
        target = (own[0], *target)
    try:
        return tuple([int(round(a / b * n)) for a, b, n in zip(own, target, shape, strict=True)])  # noqa: RUF046
    except (OverflowError, ValueError):
        add("shape", f"spacing {own} mm cannot be resampled to {list(target)} mm")
        return None


def _differing(seen: frozenset[Any], due: frozenset[Any]) -> str:
    """How keys of ``class_locations`` differ, in a clause that stays short for a hundred labels."""
    if len(seen) + len(due) <= 2 * EXAMPLES:
        return f"class_locations are of {_listed(seen)}, dataset.json's labels give {_listed(due)}"
    lacking = f"lack {_listed(due - seen)} of dataset.json's labels" if due - seen else ""
    foreign = f"have {_listed(seen - due)}, which dataset.json's labels do not give" if seen - due else ""
    return "class_locations " + " and ".join(filter(None, (lacking, foreign)))


def _listed(keys: Iterable[Any]) -> str:
    """Labels first, then regions, then what is neither."""
    numbers = sorted(key for key in keys if isinstance(key, int))
    others = sorted(str(key) for key in keys if not isinstance(key, int))
    words = [*map(str, numbers), *others]
    return ", ".join(words[: 2 * EXAMPLES]) + (", ..." if len(words) > 2 * EXAMPLES else "") if words else "nothing"


@lru_cache(64)  # nearly all cases of a dataset have the same
def _sorted_keys(keys: frozenset[Any] | None) -> str:
    return "none" if keys is None else " ".join(sorted(map(str, keys)))


def digest_of(case: Case) -> bytes:
    """DIGEST bytes that stay the same while the case's name, its arrays' shapes and the facts of its .pkl do."""
    facts = f"{case.name}\n{(case.image, case.segmentation, case.shape, case.spacing)}\n{_sorted_keys(case.class_keys)}"
    return hashlib.sha256(facts.encode("utf-8", "surrogateescape")).digest()[:DIGEST]


# ---------------------------------------------------------------------------------------------------------------------
# All cases
# ---------------------------------------------------------------------------------------------------------------------


@dataclass
class Faults:
    """How many faults of one kind there are, and the first of them by case name."""

    count: int = 0
    examples: list[CaseFault] = field(default_factory=list)

    def add(self, fault: CaseFault) -> None:
        """Count one more."""
        self.count += 1
        insort(self.examples, fault)
        del self.examples[EXAMPLES:]


@dataclass
class Audit:
    """What was found in a folder.

    ``read`` cases were judged; fewer than there are only where ``interrupted``. ``valued`` are those of them whose
    values were judged too. ``faults`` are by kind. ``suspicions`` are what the values of all these cases together tell
    against the plans, by kind too: clues, no proof. ``digests`` are those of `digest_of`, one behind the other, in the
    order of names. ``oldest`` is the time, in seconds since 1970, before which no file was changed last; None where
    there are no files.
    """

    folder: DataFolder
    faults: dict[str, Faults] = field(default_factory=dict)
    read: int = 0
    valued: int = 0
    evidence: Evidence = field(default_factory=Evidence)
    suspicions: tuple[tuple[str, str], ...] = ()
    digests: bytearray = field(default_factory=bytearray)
    oldest: float | None = None
    interrupted: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The digest of each case that was read, in hexadecimal, by name: the same however the cases were read."""
        places = range(0, len(self.digests), DIGEST)
        named = zip(self.folder.everything, places, strict=False)
        return {name: self.digests[at : at + DIGEST].hex() for name, at in named}


def audit(folder: Path, expectation: Expectation, *, depth: str = HEADERS, pool: Pool, seed: int = 0) -> Audit:
    """Judge every case of ``folder``: headers only, values of a few as well (``sample``), or of ``all``.

    Which cases are the sample depends on ``seed`` and their names only. Ctrl-C ends the audit with what was found so
    far. Raises UnreadableDocument when the folder cannot be read, UsageError where `Pool` does.
    """
    listing = list_folder(folder)
    names = listing.everything
    valued = frozenset(names) if depth == ALL else frozenset()
    if depth == SAMPLE:
        valued = frozenset(random.Random(seed).sample(listing.names, min(SAMPLED, len(listing.names))))
    result = Audit(listing)
    judge = partial(_judge, str(folder), listing.format, expectation, None if depth == ALL else valued)
    try:
        with closing(pool.run(judge, names, CHUNK_WITH_VALUES if depth == ALL else CHUNK)) as pieces:
            for piece in pieces:
                piece.add_to(result)
    except KeyboardInterrupt:
        result.interrupted = True
    result.suspicions = tuple(evidence_faults(result.evidence, expectation))
    return result


@dataclass
class _Piece:
    """What a chunk of cases adds to an audit."""

    read: int
    valued: int
    faults: dict[str, Faults]
    evidence: Evidence
    digests: bytes
    oldest: float | None

    def add_to(self, result: Audit) -> None:
        """Fold it in."""
        result.read += self.read
        result.valued += self.valued
        result.evidence += self.evidence
        result.digests += self.digests
        for kind, faults in self.faults.items():
            whole = result.faults.setdefault(kind, Faults())
            whole.count += faults.count
            whole.examples = sorted(whole.examples + faults.examples)[:EXAMPLES]
        result.oldest = min((when for when in (result.oldest, self.oldest) if when is not None), default=None)


def _judge(
    folder: str, array: str, expectation: Expectation, valued: frozenset[str] | None, names: Sequence[str]
) -> _Piece:
    """Read and judge some cases; runs on any thread, process or machine. ``valued`` None: the values of all."""
    if not Path(folder).is_dir():
        raise UsageError(
            f"the data folder {folder} is gone, or the worker that should read it does not see it",
            hint="a cluster's workers need the same folder under the same path",
        )
    faults: dict[str, Faults] = {}
    changed: list[float] = []
    evidence = Evidence()
    digests: list[bytes] = []
    read_values = 0
    for name in names:
        case = read_case(folder, name, array)
        found = judge_headers(case, expectation)
        if not case.faults and (valued is None or name in valued):
            judged = _judge_values(folder, case, expectation)
            found += judged.faults
            evidence += judged.evidence
            read_values += 1
        for kind, fault in found:
            faults.setdefault(kind, Faults()).add(fault)
        digests.append(digest_of(case))
        changed.extend(case.changed)
    return _Piece(
        read=len(names),
        valued=read_values,
        faults=faults,
        evidence=evidence,
        digests=b"".join(digests),
        oldest=min(changed, default=None),
    )


def _judge_values(folder: str, case: Case, expectation: Expectation) -> Judged:
    from plansguard.artefacts.data.values import judge_values

    try:
        return judge_values(Path(folder), case.name, expectation, shape=case.shape)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the values of arrays cannot be read without the package {error.name}",
            hint="pip install 'plansguard[data]', or read headers only: --data headers",
        ) from None
