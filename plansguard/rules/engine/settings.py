"""Read ``plansguard.json`` and apply it to findings: severities, and entries under ``ignore``."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.core.report import NOT_JUDGED, Finding, Location, RuleInfo, Severity
from plansguard.core.text import nearest
from plansguard.documents import json_document
from plansguard.documents.file_names import SETTINGS_NAME
from plansguard.documents.json_document import JsonDocument, pointer
from plansguard.nnunet import printed_commands

if TYPE_CHECKING:
    from plansguard.documents.models.settings import Ignore, Settings


MAX_BYTES = 512 * 1024
"""Enough for thousands of accepted findings."""
#: Replaces pydantic's messages, which do not name the key.
_WORDS = {"missing": "is missing", "extra_forbidden": "is not known"}


class IdleIgnore(NamedTuple):
    """An entry under ``ignore`` that matched nothing, or whose last day is over."""

    location: Location
    entry: Ignore
    expired: bool


@dataclass(frozen=True)
class ActiveSettings:
    """Settings, and the document they were read from; without one, the defaults."""

    fail_on: Severity = Severity.ERROR
    severity: Mapping[str, str] = field(default_factory=dict)
    ignore: Sequence[Ignore] = ()
    document: JsonDocument | None = None
    today: datetime.date = field(default_factory=datetime.date.today)

    def apply(self, findings: Iterable[Finding]) -> tuple[list[Finding], tuple[IdleIgnore, ...]]:
        """Return the findings with final severities and reasons for ignoring, and the entries without effect."""
        used: set[int] = set()
        applied = []
        for finding in findings:
            if finding.incomplete:
                applied.append(finding)
                continue
            index = next((i for i, entry in enumerate(self.ignore) if self._matches(entry, finding)), None)
            if index is not None:
                used.add(index)
                finding = replace(finding, ignored=self.ignore[index].reason)
            applied.append(replace(finding, severity=self._severity(finding)))
        return applied, tuple(self._idle(used))

    def all_in(self, inputs: Iterable[str]) -> bool:
        """Return whether ``inputs`` include the whole folder of the settings, and so every finding they may ignore."""
        return any(self._folder.is_relative_to(_absolute(path)) for path in inputs)

    @property
    def _folder(self) -> Path:
        return _absolute(self.document.path).parent if self.document is not None else Path.cwd()

    def _severity(self, finding: Finding) -> Severity:
        return Severity(self.severity.get(finding.code) or self.severity.get(finding.name) or finding.severity)

    def _matches(self, entry: Ignore, finding: Finding) -> bool:
        return (
            entry.rule in (finding.code, finding.name)
            and not self._expired(entry)
            and fnmatchcase(self._relative(finding.location.path), entry.path)
            and fnmatchcase(finding.location.pointer, entry.pointer)
        )

    def _expired(self, entry: Ignore) -> bool:
        return entry.until is not None and entry.until < self.today

    def _relative(self, path: str) -> str:
        """Return the path relative to the settings file, so that globs mean the same on every machine."""
        absolute, folder = _absolute(path), self._folder
        return (absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix()

    def _idle(self, used: set[int]) -> Iterator[IdleIgnore]:
        for index, entry in enumerate(self.ignore):
            if index not in used and self.document is not None:
                location = Location(self.document.path, pointer("ignore", index))
                yield IdleIgnore(location, entry, self._expired(entry))


def read_settings(path: Path, rules: tuple[RuleInfo, ...]) -> ActiveSettings:
    """Return the settings in ``path``. Raises UnreadableDocument, with line and column, if they are invalid."""
    from pydantic import ValidationError

    from plansguard.documents.models.settings import Settings

    document = json_document.read(path)
    if len(document.raw) > MAX_BYTES:
        raise UnreadableDocument(str(path), f"settings have at most {MAX_BYTES // 1024} KiB", hint="shorten them")
    duplicate = next((notice for notice in document.notices if notice.kind == "duplicate-key"), None)
    if duplicate is not None:
        raise _unreadable(document, duplicate.pointer, f"the key {duplicate.text!r} occurs twice")
    try:
        settings = Settings.model_validate_json(document.raw)
    except ValidationError as error:
        first = error.errors()[0]
        where, words = ".".join(map(str, first["loc"])) or "the document", _WORDS.get(first["type"])
        reason = f"{where} {words}" if words else f"{where}: {first['msg']}"
        raise _unreadable(document, pointer(*first["loc"]), reason) from error
    _check_rule_names(document, settings, rules)
    return ActiveSettings(Severity(settings.fail_on), settings.severity, settings.ignore, document)


def find_settings(start: Path) -> Path | None:
    """Return the nearest ``plansguard.json`` from ``start`` upwards, within its git repository."""
    start = _absolute(start)
    for folder in (start, *start.parents):
        if disk.is_file(folder / SETTINGS_NAME):
            here = folder.is_relative_to(Path.cwd())
            return folder.relative_to(Path.cwd()) / SETTINGS_NAME if here else folder / SETTINGS_NAME
        if disk.is_there(folder / ".git"):
            return None
    return None


def _absolute(path: Path | str) -> Path:
    """Return the absolute path without ``..``. Links are not followed: globs refer to the names that users see."""
    return Path(os.path.normpath(Path(path).absolute()))


def _check_rule_names(document: JsonDocument, settings: Settings, rules: tuple[RuleInfo, ...]) -> None:
    known = {word: info for info in rules for word in (info.code, info.name)}
    named = {pointer("severity", word): word for word in settings.severity}
    named |= {pointer("ignore", index, "rule"): entry.rule for index, entry in enumerate(settings.ignore)}
    for place, word in named.items():
        if word not in known:
            near = nearest(word, known)
            hint = f"did you mean {near}?" if near else "plansguard rules lists them all"
            raise _unreadable(document, place, f"there is no rule {word!r}", hint)
        if known[word].incomplete:
            reason = f"{word} can neither be ignored nor have another severity: {NOT_JUDGED}"
            raise _unreadable(
                document, place, reason, hint=f"{printed_commands.explain(known[word].code)} says what to do"
            )
        if known[word].overruled_by:
            reason = f"{word} can neither be ignored nor have another severity here: it would apply to every command"
            raise _unreadable(document, place, reason, hint=f"{known[word].overruled_by}, for one command")


def _unreadable(document: JsonDocument, place: str, reason: str, hint: str = "") -> UnreadableDocument:
    position = document.position(place)
    line, column = (None, None) if position is None else position
    hint = hint or "plansguard schema settings describes this file"
    return UnreadableDocument(document.path, reason, hint=hint, line=line, column=column)
