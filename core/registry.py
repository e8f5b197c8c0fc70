"""A table of named members, filled by decorators, by walking a package, and by entry points.

A name in a config is looked up in a table, never imported from a dotted path. Nothing is imported before the first
look-up.

>>> shapes = Registry("shape")
>>> @shapes.register("circle")
... class Circle: ...
>>> shapes.names(), shapes.get("circle") is Circle
(['circle'], True)
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from .errors import ConfigError, did_you_mean

T = TypeVar("T")
M = TypeVar("M")


class Registry(Generic[T]):
    """Named members of one kind.

    Args:
        noun: what a member is called in messages ("family", "domain").
        package: package whose modules register members when imported; walked on the first look-up.
        group: entry-point group through which other distributions add theirs.
    """

    def __init__(self, noun: str, *, package: str | None = None, group: str | None = None) -> None:
        self.noun, self.package, self.group = noun, package, group
        self._members: dict[str, T] = {}
        self._loaders: dict[str, Callable[[], T]] = {}
        self._filled = False

    def register(self, name: str) -> Callable[[M], M]:
        """Decorator that registers a member under `name` and keeps its static type.

        Raises:
            ConfigError: the name is taken by something else.
        """

        def add(member: M) -> M:
            present = self._members.get(name)
            if present is not None and getattr(present, "__qualname__", present) != getattr(
                member, "__qualname__", member
            ):
                raise ConfigError(f'Two members of the {self.noun} registry are called "{name}".')
            self._members[name] = cast(T, member)
            return member

        return add

    def declare(self, name: str, load: Callable[[], T]) -> None:
        """Register a member that is loaded when it is looked up, so that no other look-up imports it."""
        self._loaders[name] = load

    def _fill(self) -> None:
        if self._filled:
            return
        self._filled = True
        if self.package:
            root = importlib.import_module(self.package)
            for module in pkgutil.walk_packages(root.__path__, prefix=f"{self.package}."):
                importlib.import_module(module.name)
        for point in entry_points(group=self.group) if self.group else ():
            self.declare(point.name, point.load)

    def names(self) -> list[str]:
        """All names in alphabetical order; does not load declared members."""
        self._fill()
        return sorted({*self._members, *self._loaders})

    def get(self, name: str) -> T:
        """Return the member called `name`, loading it if it was declared.

        Raises:
            ConfigError: there is none; the message names the nearest name and all known ones.
        """
        self._fill()
        if name not in self._members and name in self._loaders:
            self.register(name)(self._loaders[name]())
        if name not in self._members:
            known = self.names()
            raise ConfigError(
                f'There is no {self.noun} called "{name}".{did_you_mean(name, known)} Known: {", ".join(known)}.'
            )
        return self._members[name]

    def items(self) -> Iterator[tuple[str, T]]:
        """All members by name, in alphabetical order."""
        return ((name, self.get(name)) for name in self.names())


@dataclass(frozen=True)
class ByKind:
    """Mark on a field's type: a mapping is built as the registered config that its `kind` names.

    Each registry has one alias that uses it. Error messages list the keys of the kind that was named; the JSON schema
    lists all registered configs.

    >>> from typing import Annotated
    >>> from pydantic import SerializeAsAny
    >>> from maquette.core.families import FamilyConfig, families
    >>> AnyFamily = Annotated[SerializeAsAny[FamilyConfig], ByKind(families)]
    >>> TypeAdapter(AnyFamily).validate_python({"kind": "spline", "bins": 4}).bins
    4
    """

    registry: Registry[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._resolve, handler(source))

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, dict) or "kind" not in value:
            raise ValueError(f'expected a mapping with the key "kind" that names a {self.registry.noun}')
        try:
            member = self.registry.get(value["kind"])
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return member.model_validate(value)

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """One definition per registry, to which fields refer, also those of its own members (a chain of chains)."""
        name = f"any {self.registry.noun}"
        one = core_schema.definition_reference_schema(name)
        if self.registry in _being_described.get():
            return handler(one)
        token = _being_described.set(_being_described.get() | {self.registry})
        try:
            kinds = {kind: TypeAdapter(member).core_schema for kind, member in self.registry.items()}
            union = core_schema.tagged_union_schema(kinds, discriminator="kind", ref=name)
            reference = handler(core_schema.definitions_schema(one, [union]))
        finally:
            _being_described.reset(token)
        handler.resolve_ref_schema(reference)["required"] = ["kind"]
        return reference


_being_described: ContextVar[frozenset[Registry[Any]]] = ContextVar("_being_described", default=frozenset())
