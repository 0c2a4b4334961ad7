"""Commands in texts that plansguard prints: found, parsed by the programs' own parsers, and run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, Final

import typer

from plansguard.cli import COMMANDS, build_app
from plansguard.core.errors import PlansguardError
from plansguard.nnunet.command_line import GRAMMARS, parse

#: Words that only the user can replace -> words for which the tests replace them. All other words are to be typed.
PLACEHOLDERS: Final = {
    "CHECKPOINT": "checkpoint_final.pth",  # weights that plansguard has not seen
    "CONFIGURATION": "3d_fullres",  # of a dataset that is not named
    "DATASET": "2",  # where weights or plans are to go
    "FIELD=VALUE": "3d_fullres.batch_size=4",  # what plans are to have
    "FILE": "file",  # where a copy is to go
    "FOLD": "0",  # of a training that is still to be made
    "FOLDER": "folder",  # with code or results of the user
    "GB": "24",  # memory of a GPU of another machine
    "IMAGES": "images",  # to predict
    "NEW_NAME": "NewPlans",  # for plans without a dataset
    "PREVIOUS": "previous",  # where predictions of the first stage of a cascade are to go
    "REASON": "it is intended",  # why a finding is accepted
    "SEGMENTATIONS": "segmentations",  # where predictions are to go
    "SOURCE": "1",  # the dataset that plans come from
    "SOURCE_PLANS": "nnUNetPlans",  # their name there
    "TIME": "10m",  # after which a training is to stop
}
#: Faults that our parsers find; the second is the base class of those of typer.
_FAULTS: Final[tuple[type[Any], ...]] = (PlansguardError, typer.BadParameter.__mro__[2])
#: Other programs, which are not run, and the least number of their arguments.
OTHERS: Final = {
    "cp": 2,
    "git": 2,
    "rm": 1,
    "mkdir": 2,
    "mv": 2,
    "unzip": 1,
    "pip": 2,
    "python": 2,
    "export": 1,
    "nnUNetv2_install_pretrained_model_from_zip": 1,
    "nnUNetv2_find_best_configuration": 1,
    "nnUNetv2_convert_old_nnUNet_dataset": 2,
    "nnUNetv2_convert_MSD_dataset": 2,
    "nnUNetv2_train_pretrained": 3,
}
_PROGRAMS = r"plansguard|nnUNetv2_\w+|env|mv|unzip|git(?= lfs| show)|rm|cp|mkdir|export|pip|python"
_START = re.compile(rf"(?<![\w./'\"-])(?:{_PROGRAMS}) (?=\S)")
#: A command in a sentence ends before these words.
_VERBS: Final = frozenset(
    "began can describes did does fails has is keeps leaves left lists plans prints says shows which writes".split()
)
#: Names of channels in the fixtures that are written in capitals, as placeholders are.
_CHANNELS = ("CT",)
_UNKNOWN = re.compile(r"\.\.\.|<\w+>|path/to|(?<![\w.-])[A-Z][A-Z_]+(?![\w.])")


def commands(text: str) -> list[list[list[str]]]:
    """Return the chains of commands (``a && b``) in a text, each as words; names of commands alone are left out."""
    chains, at = [], 0
    while (match := _START.search(text, at)) is not None:
        end = _end(text, match.start())
        at = max(end, match.end())
        chain = [words for words in _split(text[match.start() : end]) if not _is_mention(words)]
        chains += [chain] if chain else []
    return chains


def _end(text: str, start: int) -> int:
    """Return where a command ends: before punctuation that is not quoted, or before the verb of a sentence."""
    quote = ""
    for at in range(start, len(text)):
        character = text[at]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in ";\n`)" or _ends_a_sentence(text, at) or _goes_on(text, at):
            return at
    return len(text)


def _ends_a_sentence(text: str, at: int) -> bool:
    return text[at] in ",:." and text[at + 1 : at + 2] in ("", " ", "\n") and text[at - 1 : at + 1] != ".."


def _goes_on(text: str, at: int) -> bool:
    return text[at] == " " and (text[at + 1 : at + 2] in ("(", "#") or re.split(r"\s", text[at + 1 :])[0] in _VERBS)


def _split(command: str) -> Iterator[list[str]]:
    words: list[str] = []
    for word in shlex.split(command):
        if word == "&&":
            yield words
            words = []
        else:
            words.append(word)
    yield words


def _is_mention(words: Sequence[str]) -> bool:
    """Return whether the words name a command that cannot run without arguments, or no command at all."""
    if not words:
        return True
    if words[0] == "plansguard":
        return len(words) < 2 or words[1] not in COMMANDS or (len(words) == 2 and words[1] not in ("rules", "env"))
    return len(words) == 1 or (words[0] == "env" and not re.match(r"-u$|\w+=", words[1]))


def filled(words: Sequence[str]) -> list[str]:
    """Return the words with values for the placeholders."""
    return [PLACEHOLDERS.get(word, word) for word in words]


def without_env(words: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """Return the command behind ``env``, and the variables that it sets or removes (None)."""
    variables: dict[str, str | None] = {}
    rest = list(words)
    if rest[0] == "env":
        rest = rest[1:]
        while rest[0] == "-u" or "=" in rest[0]:
            if rest[0] == "-u":
                variables[rest[1]] = None
                rest = rest[2:]
            else:
                name, _, value = rest.pop(0).partition("=")
                variables[name] = value
    return rest, variables


def obstacle(words: Sequence[str]) -> str | None:
    """Return why a command cannot be typed as it is; None where its own parser accepts it."""
    values = [word.rpartition("=")[2] for word in words if " " not in word]
    values = [
        "" if word in PLACEHOLDERS else value
        for word, value in zip([one for one in words if " " not in one], values, strict=True)
    ]
    unknown = [value for value in values if value not in (*PLACEHOLDERS, *_CHANNELS) and _UNKNOWN.search(value)]
    if unknown:
        return f"only the user knows {', '.join(unknown)}: {shlex.join(words)}"
    program, *arguments = filled(without_env(words)[0])
    try:
        if program == "plansguard":
            return _own_obstacle(*arguments)
        if program in GRAMMARS:
            parsed = parse(program, arguments)
            return None if parsed is not None and not parsed.unknown else f"unknown options: {shlex.join(words)}"
    except _FAULTS as error:
        return f"{error}: {shlex.join(words)}"
    if program not in OTHERS or len(arguments) < OTHERS[program]:
        return f"incomplete: {shlex.join(words)}"
    return None


def _own_obstacle(name: str, *arguments: str) -> str | None:
    group: Any = typer.main.get_command(build_app([name]))
    if name.startswith("-"):
        options = {option for parameter in group.params for option in parameter.opts}
        return None if name in options and not arguments else f"no option of the program: {name}"
    own, _, line = _partition(arguments) if name == "gate" else (arguments, "", ())
    group.commands[name].make_context(name, [*own, *(["--", *line] if line else [])])
    return obstacle(line) if line else None


def _partition(words: Sequence[str]) -> tuple[Sequence[str], str, Sequence[str]]:
    at = list(words).index("--") if "--" in words else len(words)
    return words[:at], "--", words[at + 1 :]
