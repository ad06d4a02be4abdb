"""Config classes of plugins, and all the ways to get a value wrong."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import pytest

from pycontainerd.config.plugins import Plugins
from pycontainerd.config.schema import of_class, schema
from pycontainerd.config.typed import build, snake


class Mode(enum.Enum):
    FAST = "fast"
    SAFE = "safe"


@attrs.frozen
class Inner:
    """A part."""

    depth: int = 1


def _small(_instance: object, _attribute: object, value: int) -> None:
    if value > 9:
        raise ValueError("size must be at most 9")


@attrs.frozen
class Config:
    """A thing. ``size`` is how big it is; ``rate`` how fast."""

    size: int = attrs.field(default=1, validator=_small)
    rate: float = 1.0
    mode: Mode = Mode.SAFE
    kind: Literal["a", "b"] = "a"
    inner: Inner = attrs.field(factory=Inner)
    parts: Mapping[str, Inner] = attrs.field(factory=dict)
    names: Sequence[str] = ()
    limit: int | None = None
    either: int | str = 0
    anything: Any = None


def structure(table):
    found = []
    return build(Config, table, (), lambda path, message: found.append((".".join(path), message))), found


def test_a_table_becomes_an_instance_with_everything_in_it():
    made, found = structure(
        {
            "size": 3,
            "rate": 2,
            "mode": "fast",
            "kind": "b",
            "inner": {"depth": 4},
            "parts": {"x": {"depth": 5}},
            "names": ["n"],
            "limit": 6,
            "either": "e",
            "anything": [1],
            "unknown": 1,
        }
    )
    assert not found
    parts = {"x": Inner(5)}
    assert made == Config(3, 2.0, Mode.FAST, "b", Inner(4), parts, ["n"], 6, "e", [1])


def test_all_mistakes_are_reported_not_the_first():
    made, found = structure(
        {
            "size": "1",
            "rate": True,
            "mode": "slow",
            "kind": "c",
            "inner": {"depth": "x"},
            "parts": {"x": 1},
            "names": ["n", 1],
            "limit": [],
            "either": 1.5,
        }
    )
    assert made is None
    assert dict(found) == {
        "size": "must be an int, not '1'",
        "rate": "must be a float, not True",
        "mode": "must be one of 'fast', 'safe', not 'slow'",
        "kind": "must be one of 'a', 'b', not 'c'",
        "inner.depth": "must be an int, not 'x'",
        "parts.x": "must be a table, not 1",
        "names": "has an item that must be a str, not 1",
        "limit": "must be an int, not []",
        "either": "must be an int or a str, not 1.5",
    }


def test_what_a_validator_refuses_is_reported_at_its_key():
    assert structure({"size": 10, "rate": 2.0}) == (None, [("size", "must be at most 9")])


def test_camel_case_keys_are_taken():
    assert structure({"Size": 4})[0].size == 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [("RootPath", "root_path"), ("GRPCAddress", "grpcaddress"), ("root_path", "root_path"), ("", ""), ("UID", "uid")],
)
def test_snake(name, expected):
    assert snake(name) == expected


def test_the_schema_says_type_default_and_purpose_of_each_key():
    made = of_class(Config)
    assert made["properties"]["size"] == {"type": "integer", "default": 1, "description": "size is how big it is."}
    assert made["properties"]["mode"] == {"enum": ["fast", "safe"], "default": "safe"}
    assert made["properties"]["kind"]["enum"] == ["a", "b"]
    assert made["properties"]["inner"]["properties"]["depth"] == {"type": "integer", "default": 1}
    assert made["properties"]["parts"]["additionalProperties"]["type"] == "object"
    assert made["properties"]["names"]["items"] == {"type": "string"}
    assert made["properties"]["limit"]["type"] == "integer"
    assert made["properties"]["either"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert made["additionalProperties"] is False


def test_the_schema_of_a_configuration_lets_tables_of_other_plugins_be():
    made = schema(Plugins({"io.x.v1.y": Config, "io.x.v1.none": None}, {}))
    assert list(made["properties"]["plugins"]["properties"]) == ["io.x.v1.y"]
    assert made["properties"]["plugins"]["additionalProperties"] == {"type": "object"}
    assert made["properties"]["proxy_plugins"]["additionalProperties"]["required"] == ["type", "address"]
