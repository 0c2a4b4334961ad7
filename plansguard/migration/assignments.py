"""Fields of plans that ``plansguard derive --set PATH=VALUE`` changes: their paths and values.

A path is that of a field of the whole plans (``image_reader_writer``) or of a configuration
(``3d_fullres.patch_size``); keys and indices inside a field follow (``3d_fullres.normalization_schemes.0``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, NamedTuple

from plansguard.core.errors import UsageError
from plansguard.core.text import brief, nearest
from plansguard.nnunet import constants, printed_commands
from plansguard.nnunet.fields import FIELDS
from plansguard.nnunet.printed_commands import DATASET, NEW_NAME, SOURCE

_INDEX = re.compile(r"\[(\d{1,6})\]")
#: The first letter of JSON that is no word or number.
_JSON = re.compile(r"[\[{\"]")
#: Path of a network's arguments.
ARGUMENTS: Final = ("architecture", "arch_kwargs")
_BY_PLANNING = "nnU-Net computes it from the images: plan them again"
#: Field -> why it cannot be set, and what to do.
REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "plans_name": ("is the name of the new plans", "name them with -tp"),
    "dataset_name": (
        "is the dataset of the plans, and derived plans stay in it",
        f"to move plans: {printed_commands.migrate(SOURCE, DATASET, NEW_NAME)}",
    ),
    "configurations": ("holds all configurations", "name a field of one of them, such as 3d_fullres.batch_size=4"),
    **dict.fromkeys(
        ("transpose_forward", "transpose_backward"),
        ("orders the axes of every other field", "plan again to change it"),
    ),
    **dict.fromkeys(
        (constants.INTENSITY_KEY, constants.OLD_INTENSITY_KEY),
        ("has the statistics of the images", _BY_PLANNING),
    ),
    "pretrain_info": ("belongs to the weights of nnssl", "leave it out"),
    "median_image_size_in_voxels": ("follows from the images and the spacing", "set the spacing; it follows"),
    **dict.fromkeys(
        ("original_median_spacing_after_transp", "original_median_shape_after_transp"),
        ("describes the images that the plans were made for", _BY_PLANNING),
    ),
    "experiment_planner_used": ("names the planner that made the plans", "leave it out: nnU-Net does not read it"),
    "deep_supervision": ("is decided by the trainer, which replaces it", "leave it out; choose a trainer with -tr"),
    **dict.fromkeys(
        constants.OLD_CONFIGURATION_KEYS,
        ("is a field of plans of the old format", "set the one below architecture.arch_kwargs"),
    ),
}


class Assignment(NamedTuple):
    """One field and its new value; ``configuration`` is None for a field of the whole plans."""

    configuration: str | None
    keys: tuple[str | int, ...]
    value: Any

    @property
    def path(self) -> str:
        """The path, as it is typed."""
        return ".".join(str(part) for part in (self.configuration, *self.keys) if part is not None)

    @property
    def field(self) -> str:
        """The first key."""
        return str(self.keys[0])


def parsed(texts: Iterable[str], plans: Mapping[str, Any], like: str | None) -> list[Assignment]:
    """The assignments in texts such as ``3d_fullres.batch_size=4``.

    Raises UsageError for an unknown configuration or field, one that is not to be set, and one that is set twice.
    ``like`` is the configuration that new ones inherit from: with it, unknown configurations are new ones.
    """
    result: dict[str, Assignment] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not path.strip():
            raise UsageError(f"--set {text} names no value", hint="--set PATH=VALUE, such as 3d_fullres.batch_size=4")
        configuration, keys = _place(path.strip(), plans["configurations"], like)
        _assert_known(configuration, keys, plans, like)
        assignment = Assignment(configuration, keys, _value(path, value))
        if assignment.path in result:
            raise UsageError(f"--set {assignment.path} is given twice", hint="leave one of the two out")
        result[assignment.path] = assignment
    return list(result.values())


def _place(path: str, configurations: Mapping[str, Any], like: str | None) -> tuple[str | None, tuple[str | int, ...]]:
    """The configuration that a path names, if any, and the keys behind it."""
    path = _INDEX.sub(r".\1", path)
    named = [name for name in configurations if path == name or path.startswith(f"{name}.")]
    if named:
        name = max(named, key=len)
        rest = path[len(name) + 1 :]
        if not rest:
            raise UsageError(f"--set {path} names a configuration, and no field of it", hint=_fields_hint(name))
        return name, _keys(rest)
    first, _, rest = path.partition(".")
    if first in FIELDS["Plans"] or not rest:
        return None, _keys(path)
    if like is None:
        raise _unknown_configuration(first, rest, configurations)
    return first, _keys(rest)


def _keys(path: str) -> tuple[str | int, ...]:
    keys = path.split(".")
    if not all(keys):
        raise UsageError(f"--set {path} is no path", hint="keys are joined by single dots: 3d_fullres.patch_size")
    return tuple(int(key) if index and key.isascii() and key.isdigit() else key for index, key in enumerate(keys))


def _unknown_configuration(name: str, rest: str, configurations: Mapping[str, Any]) -> UsageError:
    near = nearest(name, configurations)
    new = f"to make a new one, name with --like the one that it inherits from: {', '.join(configurations)}"
    meant = f"did you mean {near}.{rest}? " if near else ""
    return UsageError(f"there is no configuration {name}", hint=meant + new)


def _fields_hint(name: str) -> str:
    return f"such as {name}.patch_size, {name}.batch_size or {name}.spacing"


def _assert_known(
    configuration: str | None, keys: tuple[str | int, ...], plans: Mapping[str, Any], like: str | None
) -> None:
    """Raise UsageError for a field that nnU-Net does not have, or that is not to be set."""
    before = "" if configuration is None else f"{configuration}."
    path = before + ".".join(map(str, keys))
    refusal = _refusal(keys)
    if refusal is not None:
        raise UsageError(f"{path} cannot be set: it {refusal[0]}", hint=refusal[1])
    known = FIELDS["Plans" if configuration is None else "Configuration"]
    if keys[0] not in known:
        raise UsageError(f"there is no field {path}", hint=_nearest_field(configuration, str(keys[0]), plans))
    if keys[0] != ARGUMENTS[0] or len(keys) == 1:
        return
    if keys[1] not in FIELDS["Architecture"]:
        raise UsageError(f"there is no field {path}", hint=_nearest_of_network(before, str(keys[1])))
    arguments = _arguments(configuration or "", plans, like)
    if keys[1] == ARGUMENTS[1] and len(keys) > 2 and arguments and keys[2] not in arguments:
        near = nearest(str(keys[2]), arguments)
        hint = f"did you mean {before}{'.'.join(ARGUMENTS)}.{near}?" if near else f"it has {', '.join(arguments)}"
        raise UsageError(f"the network has no argument {keys[2]}: {path}", hint=hint)


def _refusal(keys: tuple[str | int, ...]) -> tuple[str, str] | None:
    """Why a field cannot be set, and what to do. Networks have arguments with names of fields of the old format."""
    accepted = constants.OLD_CONFIGURATION_KEYS if keys[:2] == ARGUMENTS else ()
    return next((REFUSED[str(key)] for key in keys if str(key) in REFUSED and key not in accepted), None)


def _settable_arguments() -> list[str]:
    return [field for field in FIELDS["ArchKwargs"] if _refusal((*ARGUMENTS, field)) is None]


def _arguments(configuration: str, plans: Mapping[str, Any], like: str | None) -> tuple[str, ...]:
    """The arguments of the network of a configuration; empty where they are not known."""
    for name in (configuration, like):
        entry = plans["configurations"].get(name)
        network = entry.get(ARGUMENTS[0]) if isinstance(entry, dict) else None
        if isinstance(network, dict):
            stock = constants.STOCK_ARCHITECTURES.get(str(network.get("network_class_name")).rpartition(".")[2])
            return () if stock is None else (*stock.required, *stock.optional)
    return ()


def _nearest_of_network(before: str, key: str) -> str:
    """The field of ``architecture`` that was perhaps meant, or the argument: tables print these without arch_kwargs."""
    places = {field: f"{ARGUMENTS[0]}.{field}" for field in FIELDS["Architecture"]}
    places |= {field: f"{'.'.join(ARGUMENTS)}.{field}" for field in _settable_arguments()}
    near = key if key in places else nearest(key, places)
    return f"did you mean {before}{places[near]}?" if near else ""


def _nearest_field(configuration: str | None, key: str, plans: Mapping[str, Any]) -> str:
    """The field that was perhaps meant, with its whole path."""
    names = [*plans["configurations"]]
    name = configuration or (constants.USUAL_CONFIGURATION if constants.USUAL_CONFIGURATION in names else names[0])
    places = {field: f"{name}.{field}" for field in FIELDS["Configuration"] if field not in REFUSED}
    arguments = ".".join(ARGUMENTS)
    places |= {field: f"{name}.{arguments}.{field}" for field in _settable_arguments()}
    if configuration is None:
        places |= {field: field for field in FIELDS["Plans"] if field not in REFUSED}
    near = key if key in places else nearest(key, places)
    return f"did you mean {places[near]}?" if near else f"Tab after --set lists all, {_fields_hint(name)}"


def _value(path: str, text: str) -> Any:
    """The JSON value of a text; a bare word is itself."""
    text = text.strip()
    try:
        value = json.loads(text, parse_constant=_no_number)
        finite = all(map(isfinite, _floats(value)))
    except (ValueError, RecursionError) as error:
        if text and not _JSON.match(text):
            return text
        raise UsageError(
            f"--set {path}: {brief(text)} is no JSON value", hint='lists are written [1,2,3], text with blanks "a b"'
        ) from error
    if not finite:
        raise UsageError(f"--set {path}: {brief(text)} is too large", hint="name a number that can be stored")
    return value


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _floats(value: Any) -> Iterable[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _floats(item)


def applied(assignment: Assignment, entry: dict[str, Any], inherited: Mapping[str, Any]) -> None:
    """Write a value into the plans, or into one configuration, whose inherited fields are ``inherited``.

    A key of a configuration replaces the whole value that it inherits, so that is copied first.
    Raises UsageError where the path leads through a value that has no such part.
    """
    *parents, last = assignment.keys
    if parents and assignment.field not in entry and assignment.field in inherited:
        entry[assignment.field] = json.loads(json.dumps(inherited[assignment.field]))
    part: Any = entry
    for key in parents:
        part = _part(assignment, part, key)
    if isinstance(part, list):
        _part(assignment, part, last)
        part[int(last)] = assignment.value
    elif isinstance(part, dict):
        part[str(last)] = assignment.value
    else:
        raise _no_part(assignment, part, last)


def _part(assignment: Assignment, value: Any, key: str | int) -> Any:
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    if isinstance(value, dict) and str(key) in value:
        return value[str(key)]
    raise _no_part(assignment, value, key)


def _no_part(assignment: Assignment, value: Any, key: str | int) -> UsageError:
    has = f"it has {len(value)} entries" if isinstance(value, list) else f"it is {brief(value)}"
    return UsageError(f"{assignment.path} has no part {key}: {has}", hint="count from 0, and name parts that are there")


def assert_types(assignments: Sequence[Assignment], plans: Mapping[str, Any]) -> None:
    """Raise UsageError for a value of a wrong type; ``plans`` have all values."""
    from plansguard.documents.validation import problems

    for assignment in assignments:
        name = assignment.configuration
        model, whole = ("Plans", plans) if name is None else ("Configuration", plans["configurations"][name])
        found = [*problems(model, whole)]
        if model == "Configuration" and isinstance(whole.get(ARGUMENTS[0]), dict):
            arguments = whole[ARGUMENTS[0]].get(ARGUMENTS[1])
            inner = problems("ArchKwargs", arguments) if isinstance(arguments, dict) else ()
            found += [one._replace(tokens=(*ARGUMENTS, *one.tokens)) for one in inner]
        for problem in found:
            length = min(len(problem.tokens), len(assignment.keys))
            if problem.tokens[:length] == assignment.keys[:length]:
                expected = problem.expected.removeprefix("Input ")
                raise UsageError(
                    f"{assignment.path} cannot be {brief(assignment.value)}: {brief(problem.value)} {expected}",
                    hint=description(name, assignment.keys),
                )


def description(configuration: str | None, keys: Sequence[str | int]) -> str:
    """The description of a field in the schema of plans; empty for one that has none."""
    from plansguard.documents.validation import model_class

    model = "Plans" if configuration is None else "Configuration"
    inside = tuple(keys[:2]) == ARGUMENTS and len(keys) > 2
    key = str(keys[2] if inside else keys[0])
    field = model_class("ArchKwargs" if inside else model).model_fields.get(key)
    return (field.description or "") if field is not None else ""


def settable(plans: Mapping[str, Any]) -> list[tuple[str | None, tuple[str, ...]]]:
    """The fields of plans that can be set: the configuration, if they are of one, and their keys."""
    found: list[tuple[str | None, tuple[str, ...]]] = []
    for name in plans["configurations"]:
        found += [(name, (key,)) for key in FIELDS["Configuration"] if key not in REFUSED and key != ARGUMENTS[0]]
        network = _arguments(name, plans, None) or tuple(FIELDS["ArchKwargs"])
        found += [(name, (*ARGUMENTS, key)) for key in network if key not in REFUSED]
    return found + [(None, (key,)) for key in FIELDS["Plans"] if key not in REFUSED]
