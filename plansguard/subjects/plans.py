"""One plans file and its configurations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plansguard.core import disk
from plansguard.core.by_content import Shared, by_content, shared
from plansguard.core.errors import Absent
from plansguard.core.lazy import cached_property
from plansguard.core.report import Location
from plansguard.documents.file_names import MODEL_PLANS
from plansguard.documents.validation import FieldProblem, problems, surely_valid
from plansguard.nnunet import constants
from plansguard.nnunet.inheritance import InheritanceError, modern_architecture, origins, resolve_configuration
from plansguard.records.preprocessing_inputs import input_fields
from plansguard.subjects.documents import Document


class Plans(Document):
    """One plans file."""

    model_name = "Plans"

    @cached_property
    def problems(self) -> tuple[FieldProblem, ...]:
        """Fields of a wrong type at the top level."""
        return () if self.are_surely_valid else problems(self.model_name, self.value)

    @cached_property
    def are_surely_valid(self) -> bool:
        """Whether all fields certainly have the right types, those of configurations included."""
        return surely_valid(self.model_name, self.value)

    @cached_property
    def identifier(self) -> str:
        """The name for ``-p``: the stem of the file name, or plans_name in a model folder."""
        if self.document.name == MODEL_PLANS and isinstance(self.value.get("plans_name"), str):
            return str(self.value["plans_name"])
        return disk.stem(self.document.path)

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """Every configuration, in the file's order."""
        return tuple(Configuration(self, name) for name in self.written)

    @cached_property
    def usable_configurations(self) -> tuple[Configuration, ...]:
        """The configurations that can be resolved and whose fields have the right types."""
        return tuple(configuration for configuration in self.configurations if configuration.is_usable)

    @cached_property
    def written(self) -> dict[str, dict[str, Any]]:
        """The configurations as written in the file, without values that are no objects, which PG005 reports."""
        entries = self.value.get("configurations")
        if not isinstance(entries, dict):
            return {}
        return {name: entry for name, entry in entries.items() if isinstance(entry, dict)}

    def all_problems(self) -> Iterator[tuple[Location, FieldProblem]]:
        """Fields of a wrong type, at the top level and in every configuration, each once where it is written."""
        if self.are_surely_valid:
            return
        for problem in self.problems:
            yield self.at(*problem.tokens), problem
        for configuration in self.configurations:
            for problem in configuration.problems:
                if configuration.origin(str(problem.tokens[0])) == configuration.name:
                    yield configuration.at(*problem.tokens), problem

    def are_for_flat_images(self) -> bool:
        """Whether the plans were made from 2D images; Absent without original_median_shape_after_transp."""
        return bool(self.require("original_median_shape_after_transp")[:1] == [1])

    @cached_property
    def intensity_key(self) -> str:
        """The key of the intensity properties in this file."""
        return constants.intensity_key(self.value)


class Configuration:
    """One configuration of the plans, after ``inherits_from``."""

    def __init__(self, plans: Plans, name: str) -> None:
        self.plans = plans
        self.name = name

    @cached_property
    def _resolution(self) -> dict[str, Any] | InheritanceError:
        try:
            return resolve_configuration(self.plans.written, self.name)
        except InheritanceError as error:
            return error

    @property
    def broken_inheritance(self) -> InheritanceError | None:
        """Why the configuration cannot be resolved, if it cannot."""
        return self._resolution if isinstance(self._resolution, InheritanceError) else None

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The configuration as nnU-Net's PlansManager resolves it; Absent when its inheritance is broken."""
        if isinstance(self._resolution, InheritanceError):
            raise Absent(f"configuration {self.name} cannot be resolved (see PG106)")
        return self._resolution

    @cached_property
    def problems(self) -> tuple[FieldProblem, ...]:
        """Fields of a wrong type, inherited ones included."""
        if self.broken_inheritance is not None or self.plans.are_surely_valid:
            return ()
        return problems("Configuration", self.resolved)

    @cached_property
    def is_usable(self) -> bool:
        """Whether it can be resolved and its fields have the right types."""
        return self.broken_inheritance is None and not self.problems

    @property
    def usable(self) -> Configuration:
        """Itself; Absent when it cannot be resolved or a field has a wrong type."""
        self.resolved  # noqa: B018 - raises Absent with the reason
        if self.problems:
            raise Absent(f"configuration {self.name} has fields of a wrong type (see PG005)")
        return self

    @property
    def parent(self) -> Configuration | None:
        """The configuration that this one inherits from."""
        name = self.get("inherits_from")
        return None if name is None else next((one for one in self.plans.configurations if one.name == name), None)

    @cached_property
    def earlier(self) -> tuple[Configuration, ...]:
        """The usable configurations before this one."""
        names = [one.name for one in self.plans.configurations]
        return tuple(one for one in self.plans.configurations[: names.index(self.name)] if one.is_usable)

    def origin(self, key: str) -> str:
        """The configuration that writes ``key``: this one or an ancestor."""
        return self.name if key in self.plans.written[self.name] else self._origins.get(key, self.name)

    def at(self, *tokens: str | int) -> Location:
        """The place of a field, in the configuration that writes it; of the configuration itself without tokens."""
        owner = self.origin(str(tokens[0])) if tokens else self.name
        return self.plans.at("configurations", owner, *tokens)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a field of the resolved configuration."""
        return self.resolved.get(key, default)

    def require(self, key: str) -> Any:
        """The value of a field; Absent when it is missing or null."""
        value = self.resolved.get(key)
        if value is None:
            raise Absent(f"configuration {self.name} has no {key}")
        return value

    @cached_property
    def input(self) -> dict[str, Any]:
        """The fields that decide the preprocessed data."""
        return input_fields(self.plans.value, self.resolved)

    @property
    def next_stages(self) -> tuple[Configuration, ...]:
        """The usable configurations of a cascade that begin with the predictions of this one."""
        names = self.get("next_stage") or ()
        names = {names} if isinstance(names, str) else {*names}
        return tuple(stage for stage in self.plans.configurations if stage.name in names and stage.is_usable)

    @property
    def previous_stage(self) -> str | None:
        """The first stage of a cascade, whose predictions this second one reads; None for other configurations."""
        stage = self.get("previous_stage")
        return str(stage) if stage else None

    @property
    def architecture(self) -> dict[str, Any]:
        """The network's class and keyword arguments; plans of the old format are converted as nnU-Net does it."""
        architecture: dict[str, Any] = self.network.value
        return architecture

    @cached_property
    def network(self) -> Shared:
        """``architecture``, for functions that judge each network once; Absent when it has no arguments."""
        if not isinstance(self.written_network.value.get("arch_kwargs"), dict):
            raise Absent(f"configuration {self.name} has no architecture.arch_kwargs (see PG104)")
        return self.written_network

    @cached_property
    def written_network(self) -> Shared:
        """The same, however little is written of it."""
        try:
            return shared(modern_architecture(self.resolved))
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise Absent(f"configuration {self.name} has no network that can be read ({error})") from error

    @cached_property
    def has_old_format(self) -> bool:
        """Whether the network is described as nnU-Net did before 2.5: by keys in place of ``architecture``."""
        return "architecture" not in self.resolved

    def kwarg(self, key: str) -> Any:
        """A keyword argument of the network; Absent when this network has none of that name."""
        value = self.architecture["arch_kwargs"].get(key)
        if value is None:
            raise Absent(f"the network of configuration {self.name} has no {key}")
        return value

    def stage_lists(self, key: str) -> list[list[int]]:
        """``strides`` or ``kernel_sizes`` as one list of integers per stage, one integer per axis.

        dynamic_network_architectures also takes one integer for all axes of a stage. Absent when ``key`` is no list
        over stages.
        """
        if not isinstance(self.kwarg(key), list):
            raise Absent(f"{key} of configuration {self.name} is not a list over stages")
        return _stage_lists(self.network, key, len(self.require("patch_size")))

    def at_kwarg(self, key: str, *tokens: str | int) -> Location:
        """The place of a keyword argument, in the new or in the old format."""
        if self.has_old_format:
            return self.at(constants.OLD_KEY_OF_KWARG.get(key, "UNet_class_name"), *tokens)
        return self.at("architecture", "arch_kwargs", key, *tokens)

    @cached_property
    def _origins(self) -> dict[str, str]:
        if self.broken_inheritance is not None:
            return {}
        return origins(self.plans.written, self.name)


def per_stage(stages: list[Any], axes: int) -> list[list[Any]]:
    """A list over the stages of a network, as one list for each stage with a number per axis."""
    return [list(stage) if isinstance(stage, list) else [stage] * axes for stage in stages]


@by_content
def _stage_lists(architecture: dict[str, Any], key: str, axes: int) -> list[list[Any]]:
    return per_stage(architecture["arch_kwargs"][key], axes)
