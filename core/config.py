"""Configs: frozen pydantic models, defined beside the classes that they build.

One object serves YAML files, overrides on the command line (`training.steps=500`), the tracker and the artefact.
An unknown key is an error that suggests the nearest known one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from .errors import ConfigError, did_you_mean
from .registry import ByKind

_DEEPEST = 8  # levels of keys that are searched for a suggestion


class Config(BaseModel):
    """Base of every config: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def kind_of(config: BaseModel | type[BaseModel]) -> str:
    """The name under which a config is registered.

    >>> from typing import Literal
    >>> class Circle(Config):
    ...     kind: Literal["circle"] = "circle"
    >>> kind_of(Circle), kind_of(Circle())
    ('circle', 'circle')
    """
    return (config if isinstance(config, type) else type(config)).model_fields["kind"].default


Width = Annotated[int, Field(ge=1)]
"""Units of a layer, at least one."""

C = TypeVar("C", bound=BaseModel)


def parse(config: type[C], value: Mapping[str, Any], *, where: str = "config") -> C:
    """Build a config from plain data.

    >>> class Fit(Config):
    ...     steps: int = 100
    >>> parse(Fit, {"steps": 5}).steps
    5

    Raises:
        ConfigError: one sentence per fault, each naming the key's full path.
    """
    try:
        return config.model_validate(value)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentence(config, value, fault, where) for fault in error.errors())) from None


def _sentence(config: type[BaseModel], value: Any, fault: Any, where: str) -> str:
    path = [str(step) for step in fault["loc"]]
    name = ".".join([where, *path])
    if fault["type"] == "extra_forbidden":
        known = _fields_at(config, value, path[:-1])
        meant = _nearest(path[-1], known, config, value)
        return f"{name}: there is no such key.{meant} Known: {', '.join(sorted(known))}."
    if fault["type"] == "union_tag_invalid":
        tag, known = fault["ctx"]["tag"], [word.strip(" '") for word in fault["ctx"]["expected_tags"].split(",")]
        return f'{name}: there is no kind "{tag}".{did_you_mean(tag, known)} Known: {", ".join(known)}.'
    if fault["type"] == "missing":
        return f"{name}: this key is required."
    message = fault["msg"].removeprefix("Value error, ")
    found = f" Found {fault['input']!r}." if not isinstance(fault["input"], Mapping | BaseModel) else ""
    return f"{name}: {message}{'' if message.endswith(('.', '?')) else '.'}{found}"


def _nearest(word: str, known: list[str], config: type[BaseModel], value: Any) -> str:
    """Suggest the nearest key; of equally near ones, that on this level."""
    paths = {key: key for key in known}
    for path in _paths(config, value):
        paths.setdefault(path.rpartition(".")[2], path)
    return did_you_mean(word, paths, full_names=paths)


def _paths(config: type[BaseModel], value: Any) -> Iterator[str]:
    """Dotted paths of a config's keys, upper levels first; below a field chosen by kind, those of the value's kind."""
    level: list[tuple[str, type[BaseModel], Any]] = [("", config, value)]
    for _ in range(_DEEPEST):
        below: list[tuple[str, type[BaseModel], Any]] = []
        for prefix, model, given in level:
            for key, field in model.model_fields.items():
                yield prefix + key
                part = given.get(key) if isinstance(given, Mapping) else None
                named = get_origin(field.annotation) in (
                    dict,
                    list,
                    tuple,
                )  # their keys are names or positions, not fields
                models = [] if named else _models_of(field, part)
                below += [(f"{prefix}{key}.", inner, part) for inner in models if _is_kind(inner, part)]
        level = below


def _is_kind(model: type[BaseModel], value: Any) -> bool:
    """Whether a model is of the kind that a value names; true if either names none."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return kind is None or "kind" not in model.model_fields or kind_of(model) == kind


def _fields_at(config: type[BaseModel], value: Any, path: list[str]) -> list[str]:
    """Field names of the model at `path` below `config`, where `value` is what was given."""
    models: list[Any] = [config]
    for step in path:
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit():
            value = value[int(step)]
        following: list[Any] = []
        for model in models:
            if step in model.model_fields:
                following += _models_of(model.model_fields[step], value)
            elif "kind" not in model.model_fields or kind_of(model) == step:
                following.append(model)  # the step is a dictionary's key, a list's index, or the tag of this kind
        models = following
    return [name for model in models for name in model.model_fields]


def _models_of(field: FieldInfo, value: Any) -> list[type[BaseModel]]:
    """Models that a field can hold: by the value's kind if a registry decides, else by the annotation."""
    for mark in field.metadata:
        if isinstance(mark, ByKind) and isinstance(value, Mapping):
            return [mark.registry.get(value["kind"])] if value.get("kind") in mark.registry.names() else []
    return _models_in(field.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def override(value: Mapping[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Apply `a.b.c=VALUE` assignments to nested plain data; VALUE is read as YAML.

    >>> override({"training": {"steps": 100}}, ["training.steps=5", "seed=1"])
    {'training': {'steps': 5}, 'seed': 1}

    Raises:
        ConfigError: an assignment without `=`, a key with two values, or a path through a value that has no keys.
    """
    result = _copy(value)
    said: dict[str, str] = {}
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator or not path:
            raise ConfigError(f'"{assignment}": overrides are written KEY=VALUE, such as training.steps=500.')
        if said.setdefault(path, text) != text:
            raise ConfigError(f"{path}: is given twice, as {said[path]} and as {text}; leave one out.")
        node: Any = result
        *parents, last = path.split(".")
        for step in parents:
            if not isinstance(node, dict | list):
                raise ConfigError(f'"{assignment}": there is nothing below "{step}".')
            node = node[_position(step, node, assignment)] if isinstance(node, list) else node.setdefault(step, {})
        if isinstance(node, list):
            node[_position(last, node, assignment)] = _scalar(text)
        elif isinstance(node, dict):
            node[last] = _scalar(text)
        else:
            raise ConfigError(f'"{assignment}": "{".".join(parents)}" holds a value, not a group of keys.')
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _position(step: str, node: list[Any], assignment: str) -> int:
    if not step.isdigit() or int(step) >= len(node):
        raise ConfigError(f'"{assignment}": expected a position 0 .. {len(node) - 1}, found "{step}".')
    return int(step)


def _scalar(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if ":" in text and isinstance(value, int | float):
        return text  # YAML 1.1 reads 1:30 as 90
    if isinstance(value, str):  # YAML 1.1 reads 3e-4 as text
        try:
            return float(value)
        except ValueError:
            return value
    return value
