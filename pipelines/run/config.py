"""The config of a run: what a recipe holds, what KEY=VALUE overrides, and what the run's `config.yaml` is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, SerializeAsAny, create_model, field_validator

from ...core.config import Config, override, parse
from ...core.engine.plan import TrainingConfig
from ...core.errors import ConfigError, did_you_mean
from ...domains.generator import GeneratorConfig
from ...domains.plugin import Domain
from ..arguments import LARGEST_SEED, parse_rows
from ..safe_yaml import read_yaml

DEFAULT_RECIPE = "quick"
_NOT_OVERRIDDEN = {
    "domain": "the domain is named once, as the first word of the verb, and no override changes it",
    "recipe": "the recipe is named by --recipe, and no override changes it",
}
"""Keys that no KEY=VALUE sets, with the reason."""


class _Rows(Config):
    """Rows of a data file."""

    rows: str | None = Field(default=None, description="rows START:STOP of the file to use; all if not given")

    @field_validator("rows", mode="before")
    @classmethod
    def _readable(cls, value: Any) -> Any:
        if value is not None:
            parse_rows(str(value))
        return value


class SourceConfig(_Rows):
    """What differs for one of several data files; what is not given is as for all of them."""

    validation: int | None = Field(default=None, ge=0, description="rows that are held out, the last ones")
    options: dict[str, Any] = Field(default_factory=dict, description="further options of the domain's reader")


class DataConfig(_Rows):
    """Which samples of the data file are trained on; of several files, of each.

    >>> config = DataConfig(validation=10, sources={"paintings": SourceConfig(rows="0:100")})
    >>> config.of("photos").rows, config.of("paintings").rows, config.of("paintings").validation
    (None, '0:100', 10)
    """

    validation: int = Field(
        default=0,
        ge=0,
        description="rows that are held out, the last ones; more of them where that would divide a group",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of the domain's reader")
    sources: dict[str, SourceConfig] = Field(
        default_factory=dict, description="what differs for single ones of several data files, by their names"
    )

    def of(self, name: str) -> DataConfig:
        """What holds for the data file of a name."""
        own = self.sources.get(name, SourceConfig())
        return DataConfig(
            rows=self.rows if own.rows is None else own.rows,
            validation=self.validation if own.validation is None else own.validation,
            options={**self.options, **own.options},
        )


class RunConfig(Config):
    """Everything that decides the outcome of a fit, except the data themselves.

    >>> from maquette.domains import domains
    >>> plugin = domains.get("calorimeter")
    >>> config = resolve(plugin, "quick")
    >>> isinstance(config, RunConfig), DataConfig(rows="0:100", validation=10).validation
    (True, 10)
    >>> other = with_overrides(plugin, config, ["training.batch_size=64"])
    >>> first_difference(config, other), config.digest() == other.digest()
    ('training.batch_size (256, 64)', False)
    """

    domain: str
    recipe: str = Field(default=DEFAULT_RECIPE, description="where the values came from; decides nothing")
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED, description="seed of the weights, the data order and all noise")
    data: DataConfig = DataConfig()
    generator: SerializeAsAny[GeneratorConfig]
    training: TrainingConfig = TrainingConfig()
    tracking: Literal["mlflow", "none"] = Field(default="mlflow", description="where the fit is logged")

    def decisive(self) -> dict[str, Any]:
        """The keys that decide the outcome, as plain data: all but `tracking` and `recipe`."""
        return self.model_dump(mode="json", exclude={"tracking", "recipe"})

    def digest(self) -> str:
        """SHA-256 of the decisive keys."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> str:
        """The resolved config as the run's `config.yaml` has it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _run_config(domain: Domain) -> type[RunConfig]:
    """The run config of one domain, whose generator is that domain's."""
    return create_model("RunConfig", __base__=RunConfig, __doc__=RunConfig.__doc__, generator=(domain.generator, ...))


def resolve(domain: Domain, recipe: str = DEFAULT_RECIPE, overrides: Sequence[str] = ()) -> RunConfig:
    """A recipe (a name of the domain's, or a YAML file) with KEY=VALUE overrides applied.

    Raises:
        ConfigError: no such recipe, a file that is not a config, or an override that does not fit.

    >>> from maquette.domains import domains
    >>> config = resolve(domains.get("calorimeter"), "quick", ["training.batch_size=64", "seed=3"])
    >>> config.training.batch_size, config.seed, config.generator.family.kind
    (64, 3, 'chain')
    """
    file = _recipe_file(domain, recipe)
    content = {"domain": domain.name, "recipe": recipe, **read_yaml(file)}
    _expect_domain(content, domain, file)
    return parse(_run_config(domain), _overridden(content, overrides), where=recipe)


def with_overrides(domain: Domain, config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """A config with further KEY=VALUE overrides applied; raises `ConfigError` for one that does not fit."""
    if not overrides:
        return config
    return parse(_run_config(domain), _overridden(config.model_dump(mode="json"), overrides), where=config.recipe)


def _overridden(content: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A config's content with KEY=VALUE overrides applied.

    Raises:
        ConfigError: an override that does not fit, or one of a key in `_NOT_OVERRIDDEN`.
    """
    for word in overrides:
        if (key := word.partition("=")[0]) in _NOT_OVERRIDDEN:
            raise ConfigError(f'"{word}": {_NOT_OVERRIDDEN[key]}.')
    return override(content, list(overrides))


def read_config(file: Path, domain: Domain) -> RunConfig:
    """Read a whole config, such as a run's `config.yaml`; raises `ConfigError`."""
    content = read_yaml(file)
    _expect_domain(content, domain, file)
    return parse(_run_config(domain), content, where=file.name)


def domain_name(file: Path) -> str:
    """The domain a config file says it is for; raises `ConfigError` if it says none.

    >>> from maquette.domains import domains
    >>> domain_name(domains.get("calorimeter").recipes()["quick"])
    'calorimeter'
    """
    name = read_yaml(file).get("domain")
    if not isinstance(name, str):
        raise ConfigError(f'{file}: the key "domain" is required: the name of the domain the config is for.')
    return name


def schema(domain: Domain) -> str:
    """The JSON schema of a domain's configs, as text.

    >>> from maquette.domains import domains
    >>> list(json.loads(schema(domains.get("calorimeter")))["properties"])
    ['domain', 'recipe', 'seed', 'data', 'generator', 'training', 'tracking']
    """
    return json.dumps(_run_config(domain).model_json_schema(), indent=2)


def first_difference(one: RunConfig, other: RunConfig) -> str | None:
    """The first decisive key in which two configs differ, as `key (value, other value)`; None if they agree."""
    a, b = flatten(one.decisive()), flatten(other.decisive())
    for key in sorted(set(a) | set(b)):
        if a.get(key) != b.get(key):
            return f"{key} ({a.get(key)}, {b.get(key)})"
    return None


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted keys; lists and scalars stay as they are.

    >>> flatten({"training": {"steps": 500}, "seed": 0})
    {'training.steps': 500, 'seed': 0}
    """
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flatten(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _recipe_file(domain: Domain, recipe: str) -> Path:
    recipes = domain.recipes()
    if recipe in recipes:
        return recipes[recipe]
    if recipe.endswith((".yaml", ".yml")):
        return Path(recipe)
    raise ConfigError(
        f'The domain "{domain.name}" has no recipe "{recipe}".{did_you_mean(recipe, recipes)} '
        f"It has {', '.join(sorted(recipes))}; a file is named with its ending .yaml."
    )


def _expect_domain(content: Mapping[str, Any], domain: Domain, file: Path) -> None:
    if content.get("domain") != domain.name:
        raise ConfigError(f'{file}: expected a config of the domain "{domain.name}", found {content.get("domain")!r}.')
