"""Read settings (``plansguard.json``, or a table of ``pyproject.toml``) and apply them to rules and findings."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plansguard.core import disk
from plansguard.core.errors import UnreadableDocument
from plansguard.core.report import NOT_JUDGED, Finding, Location, RuleInfo, Severity
from plansguard.core.text import nearest
from plansguard.documents import json_document
from plansguard.documents.file_names import PROJECT_NAME, SETTINGS_NAME
from plansguard.documents.json_document import JsonDocument, pointer
from plansguard.nnunet import printed_commands

if TYPE_CHECKING:
    from plansguard.documents.models.settings import Ignore, Settings
    from plansguard.documents.toml_document import TomlDocument

    SettingsDocument = JsonDocument | TomlDocument

#: The table of PROJECT_NAME that contains settings.
TABLE = ("tool", "plansguard")

MAX_BYTES = 512 * 1024
"""Enough for thousands of accepted findings."""
#: The header of the table in a project's file that cannot be parsed.
_HEADER = re.compile(
    rb"^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[ \t]*\[+[ \t]*tool[ \t]*\.[ \t]*plansguard[ \t]*[].]", re.MULTILINE
)
#: Replaces pydantic's messages, which do not name the key.
_WORDS = {"missing": "is missing", "extra_forbidden": "is not known"}


class IdleIgnore(NamedTuple):
    """An entry under ``ignore`` that matched nothing, or whose last day is over."""

    location: Location
    entry: Ignore
    expired: bool


@dataclass(frozen=True)
class ActiveSettings:
    """Settings, and the document they were read from; without one, the defaults.

    ``select`` contains codes and names of the only rules that run, or is None for all. ``options`` are those of rules,
    by code. ``table`` is the place of the settings in the document. ``baseline`` is a file of known findings.
    """

    fail_on: Severity = Severity.ERROR
    severity: Mapping[str, str] = field(default_factory=dict)
    ignore: Sequence[Ignore] = ()
    select: frozenset[str] | None = None
    options: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    document: SettingsDocument | None = None
    table: tuple[str, ...] = ()
    baseline: Path | None = None
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

    def selects(self, rule: RuleInfo) -> bool:
        """Whether a rule runs. Those that guard the result itself always do: they can be ignored neither."""
        guards = rule.incomplete or bool(rule.overruled_by)
        return self.select is None or guards or rule.code in self.select

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
            and self._is_at(finding.location.path, entry.path)
            and fnmatchcase(finding.location.pointer, entry.pointer)
        )

    def _is_at(self, path: str, pattern: str) -> bool:
        """Return whether a glob matches a path; ``*/`` at its start stands for no folder as well."""
        relative = self._relative(path)
        return fnmatchcase(relative, pattern) or (pattern.startswith("*/") and fnmatchcase(relative, pattern[2:]))

    def _expired(self, entry: Ignore) -> bool:
        return entry.until is not None and entry.until < self.today

    def _relative(self, path: str) -> str:
        """Return the path relative to the settings file, so that globs mean the same on every machine."""
        absolute, folder = _absolute(path), self._folder
        return (absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute).as_posix()

    def _is_run(self, entry: Ignore) -> bool:
        return self.select is None or entry.rule in self.select

    def _idle(self, used: set[int]) -> Iterator[IdleIgnore]:
        for index, entry in enumerate(self.ignore):
            if index not in used and self.document is not None and self._is_run(entry):
                location = Location(self.document.path, pointer(*self.table, "ignore", index))
                yield IdleIgnore(location, entry, self._expired(entry))


def read_settings(path: Path, rules: tuple[RuleInfo, ...]) -> ActiveSettings:
    """Return the settings in ``path``. Raises UnreadableDocument, with line and column, if they are invalid."""
    from pydantic import ValidationError

    from plansguard.documents.models.settings import Settings

    document, table = _document(path)
    try:
        if isinstance(document, JsonDocument):
            settings = Settings.model_validate_json(document.raw)
        else:
            settings = Settings.model_validate(_with_json_names(_part(document.value, table)))
    except ValidationError as error:
        first = error.errors()[0]
        where, words = ".".join(map(str, first["loc"])) or "the document", _WORDS.get(first["type"])
        reason = f"{where} {words}" if words else f"{where}: {first['msg']}"
        raise _unreadable(document, pointer(*table, *_as_written(document, table, first["loc"])), reason) from error
    _check_rule_names(document, table, settings, rules)
    return ActiveSettings(
        Severity(settings.fail_on),
        settings.severity,
        settings.ignore,
        _selected(settings.select, rules),
        {rule.code: settings.options[word] for rule in rules for word in rule[:2] if word in settings.options},
        document,
        table,
        None if settings.baseline is None else Path(os.path.normpath(path.parent / settings.baseline)),
    )


def _document(path: Path) -> tuple[SettingsDocument, tuple[str, ...]]:
    """Read the document of settings; return it and the place of the settings in it."""
    if path.suffix == ".toml":
        from plansguard.documents import toml_document

        project = toml_document.read(path)
        table = TABLE if path.name == PROJECT_NAME else ()
        if not isinstance(_part(project.value, table), dict):
            raise _unreadable(project, "", "there is no table [tool.plansguard] in it")
        return project, table
    document = json_document.read(path)
    if len(document.raw) > MAX_BYTES:
        raise UnreadableDocument(str(path), f"settings have at most {MAX_BYTES // 1024} KiB", hint="shorten them")
    duplicate = next((notice for notice in document.notices if notice.kind == "duplicate-key"), None)
    if duplicate is not None:
        raise _unreadable(document, duplicate.pointer, f"the key {duplicate.text!r} occurs twice")
    return document, ()


def _part(value: Any, table: Sequence[str]) -> Any:
    """The part of a value at these keys; None where there is none."""
    for key in table:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _with_json_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the names that they have in JSON: TOML also spells ``fail-on``."""
    return {key.replace("-", "_"): value for key, value in settings.items()}


def _as_written(
    document: SettingsDocument, table: Sequence[str], place: tuple[str | int, ...]
) -> tuple[str | int, ...]:
    """A place in settings with the first key as it is spelt in the document."""
    settings = _part(document.value, table)
    spelt = (
        next((key for key in settings if key.replace("-", "_") in place[:1]), None)
        if isinstance(settings, dict)
        else None
    )
    return place if spelt is None else (spelt, *place[1:])


def _selected(words: Sequence[str], rules: Sequence[RuleInfo]) -> frozenset[str] | None:
    """Codes and names of the rules that are selected by code, name or the beginning of a code; None for all."""
    if not words:
        return None
    chosen = [rule for rule in rules if any(_means(word, rule) for word in words)]
    return frozenset(word for rule in chosen for word in (rule.code, rule.name))


def _means(word: str, rule: RuleInfo) -> bool:
    return word == rule.name or (len(word) > len("PG") and rule.code.startswith(word))


def find_settings(start: Path) -> Path | None:
    """Return the nearest file with settings from ``start`` upwards, within its git repository.

    Raises UnreadableDocument where a folder has two.
    """
    start = _absolute(start)
    for folder in (start, *start.parents):
        here = Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder
        found = [here / SETTINGS_NAME] if disk.is_file(folder / SETTINGS_NAME) else []
        if _has_table(folder / PROJECT_NAME):
            found.append(here / PROJECT_NAME)
        if len(found) > 1:
            reason = f"{found[0]} beside it has settings as well, and only one of them can count"
            raise UnreadableDocument(str(found[1]), reason, hint="keep the table [tool.plansguard], or the file")
        if found:
            return found[0]
        if disk.is_there(folder / ".git"):
            return None
    return None


def _has_table(path: Path) -> bool:
    """Whether a project's file contains settings, or cannot be parsed although it seems to."""
    if not disk.is_file(path):
        return False
    try:
        raw = json_document.read_bytes(path)
    except UnreadableDocument:
        return False  # a file that cannot be opened has no settings
    ascii_only = raw.replace(b"\0", b"")  # of UTF-16 as well
    if TABLE[1].encode() not in ascii_only:
        return False
    from plansguard.documents import toml_document

    try:
        return isinstance(_part(toml_document.parse(raw, str(path)).value, TABLE), dict)
    except UnreadableDocument:
        return _HEADER.search(ascii_only) is not None


def _absolute(path: Path | str) -> Path:
    """Return the absolute path without ``..``. Links are not followed: globs refer to the names that users see."""
    return Path(os.path.normpath(Path(path).absolute()))


def _check_rule_names(
    document: SettingsDocument, table: tuple[str, ...], settings: Settings, rules: tuple[RuleInfo, ...]
) -> None:
    """Raise UnreadableDocument for a rule that does not exist, or that settings cannot change, and for its options."""
    known = {word: info for info in rules for word in (info.code, info.name)}
    named = {pointer(*table, "severity", word): word for word in settings.severity}
    named |= {pointer(*table, "ignore", index, "rule"): entry.rule for index, entry in enumerate(settings.ignore)}
    for place, word in named.items():
        _assert_known(document, place, word, known)
        if known[word].incomplete:
            reason = f"{word} can neither be ignored nor have another severity: {NOT_JUDGED}"
            raise _unreadable(
                document, place, reason, hint=f"{printed_commands.explain(known[word].code)} says what to do"
            )
        if known[word].overruled_by:
            reason = f"{word} can neither be ignored nor have another severity here: it would apply to every command"
            raise _unreadable(document, place, reason, hint=f"{known[word].overruled_by}, for one command")
    for index, word in enumerate(settings.select):
        if not any(_means(word, rule) for rule in rules):
            _assert_known(document, pointer(*table, "select", index), word, known)
    for word, options in settings.options.items():
        place = pointer(*table, "options", word)
        _assert_known(document, place, word, known)
        for name in options.keys() - known[word].options.keys():
            has = f"it has {', '.join(known[word].options)}" if known[word].options else "it has none"
            raise _unreadable(document, place + pointer(name), f"{word} has no option {name!r}", hint=has)


def _assert_known(document: SettingsDocument, place: str, word: str, known: Mapping[str, RuleInfo]) -> None:
    if word not in known:
        near = nearest(word, known)
        hint = f"did you mean {near}?" if near else "plansguard rules lists them all"
        raise _unreadable(document, place, f"there is no rule {word!r}", hint)


def _unreadable(document: SettingsDocument, place: str, reason: str, hint: str = "") -> UnreadableDocument:
    position = document.position(place)
    line, column = (None, None) if position is None else position
    hint = hint or "plansguard schema settings describes this file"
    return UnreadableDocument(document.path, reason, hint=hint, line=line, column=column)
