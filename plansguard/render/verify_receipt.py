"""Result of ``verify-receipt`` as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plansguard.core.text import counted
from plansguard.nnunet import printed_commands
from plansguard.records.verify import DocumentState, Row, Verification
from plansguard.render import plain_json, printable
from plansguard.render.html.section import Section

SCHEMA = "plansguard/verification/1"
#: Differences of one document that are listed before the rest is only counted.
_LISTED = 4


def text(verifications: Sequence[Verification]) -> str:
    """Render one block per training record, one line per document."""
    return "\n".join(line for verification in verifications for line in _block(verification)) + "\n"


def summary(verifications: Sequence[Verification]) -> str:
    """Render one line per training record, and below them the command that shows the differences of one."""
    lines = [f"{verification.receipt.parent}: {_verdict(verification)}" for verification in verifications]
    changed = next((each for each in verifications if not each.holds), None)
    if changed is not None:
        lines += ["", "Next:", f"  {printed_commands.verify_receipt(changed.receipt.parent)}"]
    return "\n".join(map(printable, lines)) + "\n"


def sections(verifications: Sequence[Verification]) -> list[Section]:
    """Return the tables of a page: one for each training record."""
    result = []
    for one in verifications:
        starts = [f"{start['started']}: {' '.join(start['command'])}" for start in one.starts]
        accepted = [f"accepted {finding}: {reason}" for finding, reason in one.accepted]
        lines = [_verdict(one), *starts, f"compared with {one.compared}", *accepted]
        rows = [(row.document, row.state.value, "; ".join(row.details)) for row in one.rows]
        result.append(Section(str(one.receipt.parent), lines, ("document", "state", "differences"), rows))
    return result


def _verdict(verification: Verification) -> str:
    """The documents that have changed, or that none has."""
    states = {row.document: row.state for row in verification.changed}
    if states:
        return ", ".join(f"{document} {state.value}" for document, state in states.items())
    compared = all(row.state is not DocumentState.OUTSIDE for row in verification.rows)
    return "everything is unchanged" if compared else "everything that was compared is unchanged"


def as_json(verifications: Sequence[Verification]) -> str:
    """Render the same as JSON, with the same keys for every result."""
    receipts = [
        {
            "receipt": str(verification.receipt),
            "compared_with": str(verification.compared),
            "holds": verification.holds,
            "starts": [
                {key: start[key] for key in ("started", "last", "times", "command")} for start in verification.starts
            ],
            "accepted": [{"finding": finding, "because": reason} for finding, reason in verification.accepted],
            "documents": [
                {
                    "document": row.document,
                    "state": row.state.name.lower(),
                    "holds": row.state.holds,
                    "details": list(row.details),
                    "started": row.started,
                }
                for row in verification.rows
            ],
        }
        for verification in verifications
    ]
    return plain_json({"schema": SCHEMA, "holds": all(each.holds for each in verifications), "receipts": receipts})


def _block(verification: Verification) -> Iterator[str]:
    yield printable(str(verification.receipt))
    for start in verification.starts:
        begun = "continued" if start["training"]["continues"] else "started"
        times = f", {start['times']} times until {start['last']}" if start["times"] > 1 else ""
        yield printable(f"  {begun} {start['started']}{times}: {' '.join(start['command'])}")
    yield printable(f"  compared with {verification.compared}")
    for row in verification.rows:
        yield from _row(row, several=len(verification.starts) > 1)
    for finding, reason in verification.accepted:
        yield printable(f"  accepted {finding}: {reason}")
    changed = len(verification.changed)
    yield f"  {counted(changed, 'document')} changed or missing" if changed else f"  {_verdict(verification)}"
    yield ""


def _row(row: Row, *, several: bool) -> Iterator[str]:
    """The state and the first difference on one line, further ones below."""
    details = [*row.details[:_LISTED]]
    if len(row.details) > _LISTED:
        details.append(f"and {len(row.details) - _LISTED} more")
    since = f" since {row.started}" if several and not row.state.holds else ""
    first = f" ({details[0]})" if row.state is DocumentState.SAME and details else f": {details[0]}" if details else ""
    yield printable(f"  {row.document:<25} {row.state.value}{since}{first}")
    yield from (printable(f"  {'':<25} {detail}") for detail in details[1:])
