"""Configs are closed, and every fault is a sentence with the full path of its key."""

import pytest
from maquette.core.config import override, parse
from maquette.core.engine.plan import TrainingConfig
from maquette.core.errors import ConfigError
from maquette.core.families.chain import ChainConfig

CHAIN = {"split": ["a"], "first": {"kind": "spline"}, "second": {"kind": "flow-matching"}}


def test_a_config_survives_json():
    config = parse(ChainConfig, CHAIN)
    assert parse(ChainConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "splti=1",
            r'family\.splti: there is no such key\. Did you mean "split"\? Known: first, kind, names, second, split\.',
        ),
        ("first.transfroms=3", r'family\.first\.transfroms: there is no such key\. Did you mean "transforms"\?'),
        ("second.network.widht=3", r'family\.second\.network\.widht: there is no such key\. Did you mean "width"\?'),
        ("first.transforms=x", r"family\.first\.transforms: Input should be a valid integer.*Found 'x'"),
        ("first.bins=1", r"family\.first\.bins: Input should be greater than or equal to 2\. Found 1"),
        ("second.kind=flow-machting", r'family\.second: There is no family called .* Did you mean "flow-matching"\?'),
    ],
)
def test_faults_name_their_key(change, sentence):
    value = override(CHAIN, [change])
    if change.startswith("second.network"):
        value["second"]["network"]["kind"] = "residual"
    with pytest.raises(ConfigError, match=sentence):
        parse(ChainConfig, value, where="family")


def test_a_tagged_union_names_the_keys_of_its_kind():
    value = {"kind": "gan", "loss": {"kind": "wgan-gp", "wieght": 3}}
    with pytest.raises(
        ConfigError, match=r'wieght: there is no such key\. Did you mean "weight"\? Known: kind, weight\.'
    ):
        parse(ChainConfig, CHAIN | {"second": value})


def test_for_a_wrong_tag_the_nearest_is_suggested():
    with pytest.raises(ConfigError, match=r'loss: there is no kind "wassertein"\. Did you mean "wasserstein"\?'):
        parse(ChainConfig, CHAIN | {"second": {"kind": "gan", "loss": {"kind": "wassertein"}}})


def test_a_dictionary_of_configs_names_the_keys_of_its_values():
    with pytest.raises(ConfigError, match=r'config\.stages\.fit\.stpes: there is no such key\. Did you mean "steps"\?'):
        parse(TrainingConfig, {"stages": {"fit": {"stpes": 3}}})


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("splt", "split"),
        ("stps", "second.sampler.steps"),
        ("widht", "second.network.width"),
        ("trnsforms", "first.transforms"),
        ("zzzz", None),
    ],
)
def test_a_key_of_another_level_is_suggested_with_its_path(key, meant):
    network = {"kind": "residual"}
    value = CHAIN | {"second": CHAIN["second"] | {"network": network}, key: 3}
    with pytest.raises(ConfigError) as caught:
        parse(ChainConfig, value)
    assert (f'Did you mean "{meant}"?' in str(caught.value)) if meant else "Did you mean" not in str(caught.value)


def test_a_key_with_two_values_is_refused():
    with pytest.raises(ConfigError, match=r"a\.b: is given twice, as 1 and as 2; leave one out"):
        override({}, ["a.b=1", "c=1", "a.b=2"])
    assert override({}, ["a.b=1", "a.b=1"]) == {"a": {"b": 1}}


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match=r"config\.second: this key is required"):
        parse(ChainConfig, {"split": ["a"], "first": {"kind": "spline"}})


def test_several_faults_are_several_lines():
    with pytest.raises(ConfigError) as caught:
        parse(TrainingConfig, {"steps": 0, "batchsize": 3})
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("a.b=3", {"a": {"b": 3, "c": [1, {"d": 2}]}}),
        ("a.b=3e-4", {"a": {"b": 3e-4, "c": [1, {"d": 2}]}}),
        ("a.b=[1, 2]", {"a": {"b": [1, 2], "c": [1, {"d": 2}]}}),
        ("a.b=null", {"a": {"b": None, "c": [1, {"d": 2}]}}),
        ("a.c.0=x=y", {"a": {"b": 0, "c": ["x=y", {"d": 2}]}}),
        ("a.c.1.d=true", {"a": {"b": 0, "c": [1, {"d": True}]}}),
        ("e.f=1", {"a": {"b": 0, "c": [1, {"d": 2}]}, "e": {"f": 1}}),
    ],
)
def test_overrides(assignment, expected):
    value = {"a": {"b": 0, "c": [1, {"d": 2}]}}
    assert override(value, [assignment]) == expected
    assert value == {"a": {"b": 0, "c": [1, {"d": 2}]}}


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("a", "overrides are written KEY=VALUE"),
        ("=3", "overrides are written KEY=VALUE"),
        ("a.b.c=1", r'"a\.b" holds a value, not a group of keys'),
        ("a.b.c.d=1", 'there is nothing below "c"'),
        ("a.c.7=1", r'expected a position 0 \.\. 0, found "7"'),
    ],
)
def test_wrong_overrides(assignment, sentence):
    with pytest.raises(ConfigError, match=sentence):
        override({"a": {"b": 0, "c": [1]}}, [assignment])
