"""The structure of a report for people, whatever its format: repeats gathered, reasons grouped, and the counts."""

from __future__ import annotations

from typing import NamedTuple

from plansguard.core.report import Comparison, Finding, Location, Report, SkippedRules
from plansguard.core.text import counted, listed
from plansguard.nnunet.workspace import displayed
from plansguard.render import printable

#: What stands before the counts where there was nothing to check.
NOTHING, NO_PLANS = "nothing to check: ", "there are no plans to check: "
#: A line about findings that are known, at its beginning.
KNOWN = r"\d+ known findings? \("
#: How many places of the same fault are listed before the rest is only counted, and consequences of a cause.
PLACES = 5


class Fault(NamedTuple):
    """All findings with the same text, and what follows from them. ``why`` is empty where it was said before."""

    severity: str
    code: str
    findings: tuple[Finding, ...]
    consequences: tuple[Finding, ...]
    why: str

    @property
    def also(self) -> list[str]:
        """One line for each consequence, those with the same text once; of many, the first and the codes of all."""
        texts = list(
            dict.fromkeys(
                f"also {one.code}{f' ({one.configuration})' if one.configuration else ''}: {one.message}"
                for one in self.consequences
            )
        )
        if len(texts) <= PLACES:
            return texts
        codes = sorted({one.code for one in self.consequences})
        return [*texts[:PLACES], f"... and {len(texts) - PLACES} more: {listed(codes, shown=len(codes))}"]


class Reason(NamedTuple):
    """Why rules could not run, over all datasets, with the codes of these rules, each once."""

    reason: str
    codes: list[str]
    records: tuple[SkippedRules, ...]

    @property
    def text(self) -> str:
        """The reason, the rules, and at how many places."""
        places = len(self.records)
        codes = ", ".join(self.codes) if len(self.codes) <= 2 else f"{len(self.codes)} rules"
        where = f" at {places} places" if places > 1 else ""
        return f"not checked: {self.reason} ({codes}{where})"


class Counts(NamedTuple):
    """The closing line of a report: ``before`` the result, the result, and what was checked."""

    before: str
    result: str
    after: str
    severity: str

    def __str__(self) -> str:
        return f"{self.before}{self.result}{self.after}"


def shown_place(location: Location) -> str:
    """The file as people know it, with line and column where they are known."""
    position = "".join(f":{number}" for number in (location.line, location.column) if number is not None)
    return printable(f"{displayed(location.path)}{position}")


def faults(report: Report) -> list[Fault]:
    """The causes of a report, those with the same text together, in the order of the first."""
    groups: dict[tuple[str, str, str, str], tuple[list[Finding], list[Finding]]] = {}
    for cause in report.causes:
        key = (str(cause.severity), cause.finding.code, cause.finding.message, cause.finding.fix)
        findings, consequences = groups.setdefault(key, ([], []))
        findings.append(cause.finding)
        consequences.extend(cause.consequences)
    explained: set[str] = set()
    result = []
    for (severity, code, _, _), (findings, consequences) in groups.items():
        why = "" if code in explained else findings[0].why
        explained.add(code)
        result.append(Fault(severity, code, tuple(findings), tuple(consequences), why))
    return result


def reasons(report: Report) -> list[Reason]:
    """What was not checked by reason, that of most rules first."""
    by_reason: dict[str, list[SkippedRules]] = {}
    for record in report.skipped:
        by_reason.setdefault(record.reason, []).append(record)
    grouped = [
        Reason(reason, sorted({code for record in group for code, _ in record.rules}), tuple(group))
        for reason, group in by_reason.items()
    ]
    return sorted(grouped, key=lambda one: (-len(one.codes), one.reason))


def known_lines(report: Report) -> list[str]:
    """How many findings are known and from where, and how many of those are no longer there."""
    compared = report.compared
    if compared is None:
        return []
    gone = sum(entry.count for entry in compared.absent)
    lines = [printable(f"{counted(len(report.known), 'known finding')} ({source_of(compared)})")]
    if gone and compared.is_revision:
        lines.append(f"{counted(gone, 'finding')} of then {'is' if gone == 1 else 'are'} no longer there")
    elif gone:
        what = f"{counted(gone, 'finding')} of the baseline {'is' if gone == 1 else 'are'} no longer there"
        lines.append(f"{what}; to remove: plansguard baseline prune")
    return lines


def source_of(compared: Comparison) -> str:
    """What the findings are compared with."""
    return f"git revision {compared.source}" if compared.is_revision else f"baseline {compared.source}"


def known_text(finding: Finding) -> str:
    """A known finding on one line."""
    return printable(f"{finding.code} {finding.name} at {shown_place(finding.location)}: {finding.message}")


def counts(report: Report) -> Counts:
    """The number of findings by severity, and of what was checked."""
    numbers = report.summary()
    if not numbers["documents"]:
        return Counts(NOTHING, "no plans, dataset.json, fingerprint or splits were found", "", "")
    found = [counted(numbers[key], key) for key in ("error", "warning") if numbers[key]]
    if numbers["info"]:
        found.append(f"{numbers['info']} for information")
    severity = next((key for key in ("error", "warning", "info") if numbers[key]), "")
    ignored = f", {numbers['ignored']} ignored" if numbers["ignored"] else ""
    ignored += f", {numbers['baseline']} known" if numbers["baseline"] else ""
    correctable = sum(bool(finding.corrections) for finding in report.active) if report.command == "check" else 0
    corrected = f", {correctable} to be corrected by --fix" if correctable else ""
    units = [counted(numbers["datasets"], "dataset")] if numbers["datasets"] else []
    units.append(counted(numbers["documents"], report.unit))
    before = NO_PLANS if report.lacks_plans else ""
    return Counts(before, ", ".join(found) or "no findings", f"{corrected}{ignored} in {', '.join(units)}", severity)
