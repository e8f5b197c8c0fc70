"""Reads YAML from untrusted sources: bounded in size and depth, without aliases, tags or repeated keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from ..core.errors import ConfigError

LARGEST = 2**20  # bytes; a config is a few thousand
DEEPEST = 30


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses aliases, deep nesting and repeated keys."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise ComposerError(None, None, f"aliases are not read; write *{event.anchor} out", event.start_mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise ComposerError(None, None, f"more than {DEEPEST} levels of nesting", self.peek_event().start_mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise ConstructorError(None, None, f'the key "{key.value}" is given twice', key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _plain_number(read: Callable[[_Loader, Any], Any]) -> Callable[[_Loader, Any], Any]:
    """YAML 1.1 reads 1:30 as 90 (base sixty); here it stays text, as a range of rows must."""
    return lambda loader, node: node.value if ":" in node.value else read(loader, node)


_Loader.add_constructor("tag:yaml.org,2002:int", _plain_number(yaml.SafeLoader.construct_yaml_int))
_Loader.add_constructor("tag:yaml.org,2002:float", _plain_number(yaml.SafeLoader.construct_yaml_float))


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Raises:
        ConfigError: not there, too large, not YAML, not a mapping; names the line where it can.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "recipe.yaml"
    ...     _ = file.write_text("domain: calorimeter\\ndata: {rows: 0:42000}")
    ...     read_yaml(file)
    {'domain': 'calorimeter', 'data': {'rows': '0:42000'}}
    """
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{file}: expected a config file ({error.strerror or error}).") from None
    if len(content) > LARGEST:
        raise ConfigError(f"{file}: a config has at most {LARGEST} bytes; this file is larger.")
    try:
        value = yaml.load(content, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{file}{line}: {error.problem or 'not readable as YAML'}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{file}: not readable as YAML ({str(error).splitlines()[0]}).") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{file}: expected a mapping of keys to values, found {type(value).__name__}.")
    return value
