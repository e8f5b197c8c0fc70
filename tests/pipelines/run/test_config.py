"""Recipes, overrides, and YAML that strangers wrote."""

import json
from pathlib import Path

import pytest
import toy
from maquette.core.errors import ConfigError
from maquette.pipelines.run.config import first_difference, flatten, read_config, resolve
from maquette.pipelines.safe_yaml import DEEPEST, LARGEST, read_yaml

TOY = toy.Toy()


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def test_a_recipe_with_overrides(folder):
    config = resolve(TOY, "quick", ["training.steps=7", "generator.family.width=0.5", "seed=3"])
    assert (config.training.steps, config.generator.family.width, config.seed) == (7, 0.5, 3)


def test_rows_are_not_read_in_base_sixty(folder):
    assert resolve(TOY, overrides=["data.rows=1:30"]).data.rows == "1:30"
    assert read_yaml(written(folder, "rows: 1:30\nn: 12\nx: 1.5\nt: 2:30.5")) == {
        "rows": "1:30",
        "n": 12,
        "x": 1.5,
        "t": "2:30.5",
    }


def test_what_is_written_is_read_back(folder):
    config = resolve(TOY, "quick", ["training.optimizer.lr=3e-4"])
    assert read_config(written(folder, config.to_yaml()), TOY).digest() == config.digest()


def test_the_digest_is_of_what_decides(folder):
    config = resolve(TOY)
    assert resolve(TOY, overrides=["tracking=none"]).digest() == config.digest()
    assert resolve(TOY, overrides=["training.steps=61"]).digest() != config.digest()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.stepss=5", 'quick.training.stepss: there is no such key. Did you mean "steps"?'),
        ("training.optimizer.lrr=1", 'Did you mean "lr"?'),
        ("sed=1", 'Did you mean "seed"?'),
        ("generator.family.kind=toy-lime", 'Did you mean "toy-line"?'),
        ("training.steps=0", "quick.training.steps"),
        ("training.steps=many", "Found 'many'."),
        ("data.rows=5", 'rows are written START:STOP, such as 0:42000 or -4000:; found "5"'),
        ("seed=-1", "quick.seed"),
        ("tracking=wandb", "quick.tracking"),
        ("training.steps", "overrides are written KEY=VALUE"),
        ("domain=x", '"domain=x": the domain is named once, as the first word of the verb'),
        ("recipe=x", '"recipe=x": the recipe is named by --recipe'),
        ("stps=4", 'Did you mean "training.steps"?'),
        ("lr=1e-3", 'Did you mean "training.optimizer.lr"?'),
    ],
)
def test_a_bad_override_is_a_sentence(override, expected):
    with pytest.raises(ConfigError) as caught:
        resolve(TOY, "quick", [override])
    assert expected in str(caught.value)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match='Did you mean "quick"'):
        resolve(TOY, "quik")


def test_a_recipe_of_another_domain_is_refused(folder):
    with pytest.raises(ConfigError, match=r'expected a config of the domain "toy", found .calorimeter'):
        resolve(TOY, str(written(folder, "domain: calorimeter")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x [1, 1]\nb: [*x, *x]", "line 2: aliases are not read; write *x out"),
        ("a: 1\na: 2", 'line 2: the key "a" is given twice'),
        ("a: " + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "levels of nesting"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: [1", "line 1"),
        ("- 1", "expected a mapping of keys to values, found list"),
        ("1: 2", "expected a mapping of keys"),
        ("a: 1\nb:\x00", "not readable as YAML"),
        ("# " + "x" * LARGEST, "at most"),
    ],
)
def test_hostile_yaml_is_refused(folder, text, expected):
    with pytest.raises(ConfigError) as caught:
        read_yaml(written(folder, text))
    assert expected in str(caught.value)


def test_a_missing_file_is_a_sentence(folder):
    with pytest.raises(ConfigError, match="No such file"):
        read_yaml(folder / "none.yaml")


def test_the_first_difference_is_named():
    one, other = resolve(TOY), resolve(TOY, overrides=["training.steps=61"])
    assert first_difference(one, other) == "training.steps (60, 61)"
    assert first_difference(one, one) is None


def test_flatten():
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": [1, 2], "d": None}


def test_show_schema_and_validate(maquette, folder):
    shown = maquette("config", "show", "toy", "training.steps=9")
    assert shown.exit_code == 0
    file = written(folder, shown.stdout)
    assert read_config(file, TOY).training.steps == 9
    assert "valid config of the domain toy" in maquette("config", "validate", file).stdout
    schema = json.loads(maquette("config", "schema", "toy").stdout)
    assert {"generator", "training", "data"} <= set(schema["properties"])
    file.write_text(shown.stdout.replace("steps:", "step:"))
    result = maquette("config", "validate", file)
    assert result.exit_code == 2
    assert "there is no such key" in result.stderr
    assert maquette("config", "validate", written(folder, "seed: 1")).exit_code == 2
