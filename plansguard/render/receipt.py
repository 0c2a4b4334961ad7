"""What `verify-receipt` found, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plansguard.core.text import counted
from plansguard.records.verify import DocumentState, Row, Verification
from plansguard.render import plain_json, printable

SCHEMA = "plansguard/verification/1"
#: Differences of one document that are listed before the rest is only counted.
_TOLD = 4


def text(verdicts: Sequence[Verification]) -> str:
    """One block per receipt, one line per document."""
    return "\n".join(line for verdict in verdicts for line in _block(verdict)) + "\n"


def as_json(verdicts: Sequence[Verification]) -> str:
    """The same for programs; the keys are the same whatever was found."""
    receipts = [
        {
            "receipt": str(verdict.receipt),
            "compared_with": str(verdict.compared),
            "holds": verdict.holds,
            "starts": [
                {key: start[key] for key in ("started", "last", "times", "command")} for start in verdict.starts
            ],
            "accepted": [{"finding": finding, "because": reason} for finding, reason in verdict.accepted],
            "documents": [
                {
                    "document": row.document,
                    "state": row.state.name.lower(),
                    "holds": row.state.holds,
                    "details": list(row.details),
                    "started": row.started,
                }
                for row in verdict.rows
            ],
        }
        for verdict in verdicts
    ]
    return plain_json({"schema": SCHEMA, "holds": all(one.holds for one in verdicts), "receipts": receipts})


def _block(verdict: Verification) -> Iterator[str]:
    yield printable(str(verdict.receipt))
    for start in verdict.starts:
        begun = "continued" if start["training"]["continues"] else "started"
        times = f", {start['times']} times until {start['last']}" if start["times"] > 1 else ""
        yield printable(f"  {begun} {start['started']}{times}: {' '.join(start['command'])}")
    yield printable(f"  compared with {verdict.compared}")
    for row in verdict.rows:
        yield from _row(row, several=len(verdict.starts) > 1)
    for finding, reason in verdict.accepted:
        yield printable(f"  accepted {finding}: {reason}")
    changed = [row for row in verdict.rows if not row.state.holds]
    yield f"  {counted(len(changed), 'thing')} no longer as it was" if changed else "  all of it holds"
    yield ""


def _row(row: Row, *, several: bool) -> Iterator[str]:
    """The state and the first difference on one line, further ones below."""
    details = [*row.details[:_TOLD]]
    if len(row.details) > _TOLD:
        details.append(f"and {len(row.details) - _TOLD} more")
    since = f" since {row.started}" if several and not row.state.holds else ""
    joint = f" ({details[0]})" if row.state is DocumentState.SAME and details else f": {details[0]}" if details else ""
    yield printable(f"  {row.document:<25} {row.state.value}{since}{joint}")
    yield from (printable(f"  {'':<25} {detail}") for detail in details[1:])
