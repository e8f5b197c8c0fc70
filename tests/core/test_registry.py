"""Kinds are looked up in the table alone, and for a wrong one the nearest is suggested."""

from typing import Annotated, ClassVar, Literal

import pytest
from maquette.core.config import Config, parse
from maquette.core.errors import ConfigError
from maquette.core.registry import ByKind, Registry
from pydantic import SerializeAsAny

shapes: Registry[type[Config]] = Registry("shape")
AnyShape = Annotated[SerializeAsAny[Config], ByKind(shapes)]


@shapes.register("circle")
class Circle(Config):
    sides: ClassVar[int] = 0
    kind: Literal["circle"] = "circle"
    radius: float = 1.0


@shapes.register("square")
class Square(Config):
    kind: Literal["square"] = "square"
    side: float = 1.0


class Drawing(Config):
    shape: AnyShape = Circle()


def test_members_come_in_alphabetical_order():
    assert [name for name, _ in shapes.items()] == ["circle", "square"]
    assert shapes.get("square") is Square


def test_for_an_unknown_name_the_nearest_is_suggested():
    with pytest.raises(ConfigError, match=r'There is no shape called "cirle". Did you mean "circle"\?'):
        shapes.get("cirle")


def test_a_name_is_given_once():
    with pytest.raises(ConfigError, match='Two members of the shape registry are called "circle"'):
        shapes.register("circle")(Square)
    assert shapes.register("circle")(Circle) is Circle  # a module imported twice does no harm


def test_configs_choose_by_kind():
    drawing = parse(Drawing, {"shape": {"kind": "square", "side": 3}})
    assert drawing.shape == Square(side=3)
    assert parse(Drawing, drawing.model_dump(mode="json")) == drawing


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"kind": "squre"}, r'config\.shape: There is no shape called "squre"\. Did you mean "square"\?'),
        ({"side": 2}, r'config\.shape: expected a mapping with the key "kind"'),
        ("square", r'config\.shape: expected a mapping with the key "kind"'),
        ({"kind": "os.system"}, "There is no shape called"),
    ],
)
def test_a_wrong_kind_is_a_sentence(shape, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse(Drawing, {"shape": shape})


def test_the_json_schema_names_every_kind_with_its_keys():
    """Also where a kind holds others of its own registry, and where none need be given."""
    figures: Registry[type[Config]] = Registry("figure")
    AnyFigure = Annotated[SerializeAsAny[Config], ByKind(figures)]
    figures.register("circle")(Circle)

    @figures.register("pair")
    class Pair(Config):
        kind: Literal["pair"] = "pair"
        left: AnyFigure
        right: AnyFigure | None = None

    class Page(Config):
        figure: AnyFigure = Circle()

    for config in (Page, Pair):
        schema = config.model_json_schema()
        one = schema["$defs"]["any_figure"]
        members = {kind: schema["$defs"][ref.removeprefix("#/$defs/")] for kind, ref in _mapping(one).items()}
        assert one["required"] == ["kind"]
        assert {kind: set(member["properties"]) for kind, member in members.items()} == {
            "circle": {"kind", "radius"},
            "pair": {"kind", "left", "right"},
        }
        sides = members["pair"]["properties"]
        assert sides["left"] == {"$ref": "#/$defs/any_figure"}
        assert sides["right"]["anyOf"] == [sides["left"], {"type": "null"}]
    assert Page.model_json_schema()["properties"]["figure"]["$ref"] == "#/$defs/any_figure"


def _mapping(union: dict) -> dict[str, str]:
    """References to the definitions of a union's kinds."""
    mapping = union["discriminator"]["mapping"]
    assert union["oneOf"] == [{"$ref": reference} for reference in mapping.values()]
    return mapping


def test_a_package_is_walked_and_entry_points_are_read():
    from maquette.core.families import families
    from maquette.core.nets import networks

    assert {"flow-matching", "spline", "gan", "chain", "edm"} <= {name for name, _ in families.items()}
    assert {"mlp", "residual", "transformer", "streams"} <= {name for name, _ in networks.items()}
    scripts: Registry = Registry("script", group="console_scripts")
    assert callable(scripts.get("maquette"))
