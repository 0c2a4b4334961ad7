"""Values that a shell completes after Tab: datasets, plans, configurations, folds, rules, trainers, formats.

Typer's scripts for bash, zsh, fish and PowerShell start the program with the words typed so far. The answer is on
standard output; nothing else is printed, no error is raised, and after a second there is no answer. Names come from
folders and small JSON files.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from typer._completion_classes import BashComplete, FishComplete, PowerShellComplete, ZshComplete
from typer.main import get_command

from plansguard.cli import COMMANDS, COMPLETE_VARIABLE, build_app, discard
from plansguard.core import disk
from plansguard.documents import file_names
from plansguard.nnunet.workspace import ALL, FOLDS, ROOTS, Workspace, dataset_id, trained_models

#: Seconds after which there is no answer, such as from a network disk that does not respond.
_LIMIT = 1.0
#: Limits for the files and folders that one answer looks at.
_MOST_BYTES, _MOST_FILES, _MOST_FOLDERS = 2_000_000, 50, 200
#: Names that need no quotes in any shell. Others come from files of others, and are left out.
_SAFE = re.compile(r"[\w.+@%,=/-]+")
#: Characters of a help text.
_MOST_HELP = 90


class Candidate(NamedTuple):
    """A value that may be meant, and its description."""

    value: str
    help: str = ""


class Typed(NamedTuple):
    """A command with the values typed so far, and the parameter whose value is completed."""

    command: str
    parameter: Any
    values: Mapping[str, Any]
    incomplete: str

    def words(self, name: str) -> list[str]:
        """The values of a parameter: none, one or several."""
        value = self.values.get(name)
        found = value if isinstance(value, list | tuple) else [value]
        return [str(word) for word in found if word is not None]


Completer = Callable[[Typed], Iterable[Candidate]]


def answer() -> int:
    """Print what the shell in ``_PLANSGUARD_COMPLETE`` asks for, and return the exit code that its script expects."""
    _end_in_time()
    discard(sys.stderr)
    try:
        print(shell_of(os.environ[COMPLETE_VARIABLE].partition("_")[2]).complete())
    except SystemExit as end:  # fish asks whether there are candidates at all
        return int(end.code or 0)
    except Exception:  # noqa: BLE001 - an error message would be taken for candidates, or disturb the line being typed
        return 1
    return 0


def shell_of(name: str) -> Any:
    """Return Typer's object for a shell, with the program of the words that the shell has put into the environment."""
    shell = _SHELLS[name](None, {}, "plansguard", COMPLETE_VARIABLE)
    shell.cli = _program(shell.get_completion_args()[0])
    return shell


def _end_in_time() -> None:
    """End the process after the time limit. Windows has no such timer."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
        signal.setitimer(signal.ITIMER_REAL, _LIMIT)


# --- Shells


class _Shell:
    """Mixin of Typer's classes: candidates without quotes, and short help texts."""

    #: Whether a candidate for ``--option=val`` replaces the whole word.
    whole_words = True

    def get_completions(self, args: list[str], incomplete: str) -> list[Any]:
        """Return the candidates that can be typed without quotes."""
        items = super().get_completions(args, incomplete)  # type: ignore[misc]
        option, equals, _ = incomplete.partition("=")
        before = f"{option}=" if equals and option.startswith("-") and self.whole_words else ""
        typed = f"{option}=" if equals and not before and not self.whole_words else ""
        safe = (item for item in items if _SAFE.fullmatch(item.value))
        return [Candidate(before + item.value.removeprefix(typed), _brief(item.help)) for item in safe]


class _Bash(_Shell, BashComplete):
    """Bash, which divides words at ``=`` and shows no help texts."""

    whole_words = False

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, joined again where bash has divided them, and the word at it."""
        args, incomplete = super().get_completion_args()
        words: list[str] = []
        for word in [*args, incomplete]:
            if words and (word == "=" or words[-1].endswith("=")):
                words[-1] += word
            else:
                words.append(word)
        return words[:-1], words[-1]


class _Zsh(_Shell, ZshComplete):
    """Zsh, whose script evaluates the answer twice."""

    def format_completion(self, item: Any) -> str:
        """Return ``"value":"help"`` with each character that either evaluation would take for its own."""
        text = re.sub(r'([\\"$`])', r"\\\1", item.help).replace(":", r"\\:").replace("'", "'\\''")
        return f'"{item.value}":"{text}"' if text else f'"{item.value}"'


class _Fish(_Shell, FishComplete):
    """Fish, which asks first whether there are candidates."""

    def format_completion(self, item: Any) -> str:
        """Return the value and its help."""
        return f"{item.value}\t{item.help}"


class _PowerShell(_Shell, PowerShellComplete):
    """PowerShell."""

    def format_completion(self, item: Any) -> str:
        """Return the value and its help, which must not be empty."""
        return f"{item.value}:::{item.help or ' '}"


_SHELLS: dict[str, Any] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish, "powershell": _PowerShell, "pwsh": _PowerShell}


def _brief(text: str | None) -> str:
    """A help text on one line, cut at its end."""
    line = " ".join((text or "").split())
    printable = "".join(letter for letter in line if letter.isprintable())
    return printable if len(printable) <= _MOST_HELP else f"{printable[: _MOST_HELP - 3].rstrip()}..."


def _program(words: Sequence[str]) -> Any:
    """The program with the command that the words name, else with all, and with our candidates for their values."""
    program = get_command(build_app(words))
    for name, command in getattr(program, "commands", {}).items():
        command.short_help = command.help.partition("\n")[0]
        completers = COMPLETERS.get(name, {})
        for parameter in command.params:
            if parameter.name in completers:
                completer = completers[parameter.name]
                parameter.shell_complete = partial(_candidates, command, parameter, completer, words[1:])
    return program


def _candidates(
    command: Any, parameter: Any, completer: Completer, words: Sequence[str], _: Any, incomplete: str
) -> Sequence[Candidate]:
    """The candidates that begin with what is typed, each once."""
    # Of a command that ends with an option without its value, Typer's own context has no arguments.
    context = command.make_context(command.name, [*words, incomplete or "?"], resilient_parsing=True)
    typed = Typed(command.name, parameter, context.params, incomplete)
    found = {found.value: found for found in completer(typed) if found.value.startswith(incomplete)}
    return list(found.values())


# --- Datasets and what is in their folders


def _datasets(typed: Typed) -> Iterator[Candidate]:
    """Ids and names of datasets in all three folders. Ids are padded where a zero is typed."""
    workspace = Workspace.from_environment()
    folders = (workspace.raw, workspace.preprocessed, workspace.results)
    places: dict[str, list[str]] = {}
    for root, folder in zip(ROOTS, folders, strict=True):
        for name in disk.folder_names(folder) if folder is not None else ():
            if (number := dataset_id(name)) is not None:
                places.setdefault(name, []).append(root)
    for name in sorted(places):
        number = dataset_id(name) or ""
        yield Candidate(number.zfill(3) if typed.incomplete.startswith("0") else number, name)
        yield Candidate(name, f"in {', '.join(places[name])}")


def _folders(words: Iterable[str]) -> Iterator[Path]:
    """The preprocessed folders of datasets, by id or name."""
    workspace = Workspace.from_environment()
    for word in words:
        with suppress(Exception):
            yield workspace.preprocessed_folder(workspace.dataset_name(word))


def _named(typed: Typed, dataset: str) -> list[Path]:
    """The folders of the datasets typed in a parameter; for ``check`` without one, those of its paths."""
    folders = [*_folders(typed.words(dataset))]
    if not folders and typed.command == "check":
        paths = [Path(word) for word in typed.words("paths") or ["."]]
        return [path if disk.is_folder(path) else path.parent for path in paths]
    return folders


def _plans_in(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Identifiers and contents of the plans in a folder. Files that are too large for plans are not read."""
    endings = (file_names.MIGRATION_RECORD_ENDING, file_names.PREPROCESSING_RECORD_ENDING)
    others = {*file_names.CANONICAL_NAMES.values(), file_names.SETTINGS_NAME, file_names.BASELINE_NAME}
    others.add(file_names.TRAINING_RECORD_NAME)
    names = sorted(name for name in disk.file_names(folder) if name.endswith(".json") and not name.startswith("."))
    for name in islice((name for name in names if name not in others and not name.endswith(endings)), _MOST_FILES):
        content = _json(folder / name)
        if isinstance(content, dict) and isinstance(content.get("configurations"), dict):
            yield name.removesuffix(".json"), content["configurations"]


def _json(path: Path) -> Any:
    """The content of a small JSON file; None where there is none."""
    if (disk.size(path) or _MOST_BYTES) < _MOST_BYTES:
        with suppress(OSError, ValueError, RecursionError):
            return json.loads(disk.content(path))
    return None


def _plans(typed: Typed, dataset: str = "dataset") -> Iterator[Candidate]:
    """Identifiers of the plans of the datasets typed in a parameter, with the names of their configurations."""
    for folder in _named(typed, dataset):
        for identifier, configurations in _plans_in(folder):
            yield Candidate(identifier, ", ".join(configurations))


def _configurations(typed: Typed, dataset: str = "dataset", plans: str = "plans") -> Iterator[Candidate]:
    """Names of configurations of the plans typed, or of all plans of the dataset if it has none of that name."""
    owners: dict[str, list[str]] = {}
    for folder in _named(typed, dataset):
        present = dict(_plans_in(folder))
        for identifier in [name for name in typed.words(plans) if name in present] or present:
            for name in present[identifier]:
                owners.setdefault(name, []).append(identifier)
    yield from (Candidate(name, f"of {', '.join(identifiers)}") for name, identifiers in owners.items())


def _fields(typed: Typed) -> Iterator[Candidate]:
    """Paths of fields that can be set; behind ``=``, names of functions and classes where nnU-Net has them."""
    from plansguard.migration.assignments import description, settable

    path, equals, _ = typed.incomplete.partition("=")
    for configurations in _typed_plans(typed):
        for configuration, keys in settable({"configurations": configurations}):
            place = ".".join([*([] if configuration is None else [configuration]), *keys])
            if equals and place == path:
                yield from (Candidate(f"{place}={name}") for name in _names_of(keys[-1]))
            elif not equals and place.startswith(path):
                yield Candidate(f"{place}=", description(configuration, keys))


def _typed_plans(typed: Typed) -> Iterator[dict[str, Any]]:
    """The configurations of the plans typed: those of the file, or of the dataset by their name or the first."""
    for word in typed.words("file"):
        content = _json(Path(word))
        if isinstance(content, dict) and isinstance(content.get("configurations"), dict):
            yield content["configurations"]
    for folder in _named(typed, "dataset"):
        present = dict(_plans_in(folder))
        names = [*typed.words("plans"), "nnUNetPlans", *present]
        yield from [present[name] for name in names if name in present][:1]


def _names_of(key: str) -> Sequence[str]:
    """The names that nnU-Net has for a field."""
    from plansguard.nnunet import constants, signatures
    from plansguard.nnunet.fields import FIELDS

    if key == "normalization_schemes":
        return constants.NORMALIZATIONS
    use = FIELDS["Configuration"].get(key) or FIELDS["Plans"].get(key)
    kind: Any = use.names if use is not None else ""
    return signatures.names(kind) if kind else ()


def _folds(typed: Typed, dataset: str = "dataset") -> Iterator[Candidate]:
    """Numbers of the folds in splits_final.json, or those that nnU-Net would create, and all."""
    splits = next((_json(folder / file_names.CANONICAL_NAMES["splits"]) for folder in _named(typed, dataset)), None)
    if isinstance(splits, list) and all(isinstance(split, dict) for split in splits):
        for number, split in enumerate(splits):
            yield Candidate(
                str(number), f"{_count(split, 'train')} cases to train on, {_count(split, 'val')} to validate"
            )
    else:
        yield from (Candidate(str(number)) for number in range(FOLDS))
    yield Candidate(ALL, "every case to train on")


def _count(split: Mapping[str, Any], part: str) -> int:
    cases = split.get(part)
    return len(cases) if isinstance(cases, list) else 0


def _trainers(typed: Typed) -> Iterator[Candidate]:
    """Names of nnU-Net's trainers, and of those that results of the dataset have, or of any dataset."""
    from plansguard.nnunet.constants import STOCK_TRAINERS

    workspace = Workspace.from_environment()
    if workspace.results is not None:
        words = typed.words("dataset")
        with suppress(Exception):
            names = [workspace.dataset_name(word) for word in words] or sorted(disk.folder_names(workspace.results))
            for name in names[:_MOST_FOLDERS]:
                yield from (
                    Candidate(model.trainer, f"has trained {name}") for model in trained_models(workspace.results, name)
                )
    yield from (Candidate(name, "a trainer of nnU-Net") for name in sorted(STOCK_TRAINERS))


# --- Words of plansguard


def _rules(typed: Typed) -> Iterator[Candidate]:  # noqa: ARG001 - every completer is called so
    from plansguard.rules import RULES

    for rule in RULES:
        summary = rule.info.summary
        yield Candidate(rule.info.code, f"{rule.info.name}: {summary}")
        yield Candidate(rule.info.name, f"{rule.info.code}: {summary}")


def _formats(typed: Typed) -> Iterator[Candidate]:
    """Formats of ``--output``: those that its help names."""
    from plansguard.render import FORMATS

    named = re.findall(r"\w+", typed.parameter.help.partition(";")[0])
    yield from (Candidate(name, _FORMATS.get(name, "")) for name in FORMATS if name in named)


_FORMATS = {
    "text": "for people",
    "concise": "one line a finding",
    "json": "for programs",
    "markdown": "for job summaries and notes on merge requests",
    "github": "annotations of GitHub Actions",
    "gitlab": "issues of GitLab's code quality",
    "sarif": "SARIF 2.1.0, for GitHub code scanning",
    "junit": "XML of tests, for Jenkins and GitLab",
    "html": "a page with pictures",
}


def _facets(typed: Typed) -> Iterator[Candidate]:
    """The facets that are not in the list yet; the ones before the last comma stay."""
    from plansguard.nnunet.plans_diff import CONSEQUENCES

    before, comma, _ = typed.incomplete.rpartition(",")
    for facet, consequence in CONSEQUENCES.items():
        if facet not in before.split(","):
            yield Candidate(before + comma + facet, consequence)


def _schemas(typed: Typed) -> Iterator[Candidate]:  # noqa: ARG001 - every completer is called so
    from plansguard.documents.models.schema import SCHEMAS

    yield from (Candidate(name, source.description) for name, source in SCHEMAS.items())


def _devices(typed: Typed) -> Iterator[Candidate]:  # noqa: ARG001 - every completer is called so
    yield from map(Candidate, ("cuda", "cpu", "mps"))


def _road_steps(typed: Typed) -> Iterator[Candidate]:
    from plansguard.commands.finetune.request import steps_of

    yield from map(Candidate, steps_of(*typed.words("workflow")))


def _script_kinds(typed: Typed) -> Iterator[Candidate]:  # noqa: ARG001 - every completer is called so
    yield Candidate("sh", "a script of bash")
    yield Candidate("slurm", "a script that submits jobs of SLURM")


_OF_SOURCE = partial(_plans, dataset="source")
_OF_TARGET = partial(_plans, dataset="target")
_MOVE: dict[str, Completer] = {
    "source": _datasets,
    "target": _datasets,
    "source_plans": _OF_SOURCE,
    "target_plans": _OF_TARGET,
    "onto": _OF_TARGET,
    "configuration": partial(_configurations, dataset="source", plans="source_plans"),
    "accept": _rules,
}
_REPORT: dict[str, Completer] = {"output": _formats}
_DATASET: dict[str, Completer] = {"dataset": _datasets, "plans": _plans, "configuration": _configurations}
_TRAINING: dict[str, Completer] = {"trainer": _trainers, "fold": _folds}
_ROAD: dict[str, Completer] = {
    **dict.fromkeys(("fold", "more"), partial(_folds, dataset="target")),
    "device": _devices,
    "until": _road_steps,
    "prints": _script_kinds,
}

#: command -> parameter -> its candidates
COMPLETERS: dict[str, dict[str, Completer]] = {
    **{name: _REPORT for name in COMMANDS if name not in ("baseline", "extract", "report")},
    "check": _REPORT | _DATASET | {"trainer": _trainers},
    "status": _REPORT | {"dataset": _datasets},
    "baseline": {"dataset": _datasets},
    "fit": _REPORT | _DATASET,
    "adapt": _REPORT | _DATASET,
    "steps": _REPORT | _DATASET | _TRAINING,
    "train": _REPORT | _DATASET | _TRAINING | {"accept": _rules, "device": _devices},
    "preprocess": _REPORT | _DATASET | {"more": _configurations, "accept": _rules},
    "gate": _REPORT | {"accept": _rules},
    "finetune": _REPORT | _MOVE | _TRAINING | _ROAD,
    "explain": _REPORT | {"rule": _rules},
    "schema": {"name": _schemas},
    "diff": _REPORT | {"fail_on": _facets},
    "derive": _REPORT
    | _DATASET
    | {"fields": _fields, "like": _configurations, "target_plans": _plans, "accept": _rules},
    "migrate": _REPORT | _MOVE,
}
