"""A JSON Schema of the configuration, made from the config classes of the installed plugins."""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from .keys import Main, doc, summary, table
from .plugins import Plugins

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[Any, str] = {str: "string", int: "integer", bool: "boolean", float: "number"}


def schema(plugins: Plugins) -> dict[str, Any]:
    """The schema of a whole configuration of the latest version; tables of other plugins are allowed."""
    made = of_class(Main)
    made["properties"]["plugins"] = {
        "type": "object",
        "description": "A table for each plugin, by URI.",
        "properties": {uri: of_class(config) for uri, config in sorted(plugins.tables.items())},
        "additionalProperties": {"type": "object"},
    }
    return {"$schema": DIALECT, "title": "Configuration of containerd", **made}


def of_class(config: type[Any]) -> dict[str, Any]:
    """The schema of the table that is structured into a config class."""
    attrs.resolve_types(config)
    try:
        defaults = table(config())
    except Exception:  # some of its keys must be given, or not all may be left out
        defaults = {}
    properties = {}
    for field in attrs.fields(config):
        made = of_type(field.type)
        if text := doc(config, field):
            made["description"] = text
        if field.name in defaults and "properties" not in made:
            made["default"] = defaults[field.name]
        properties[field.name] = made
    required = [field.name for field in attrs.fields(config) if field.default is attrs.NOTHING]
    made = {"type": "object", "properties": properties, "additionalProperties": False}
    if text := summary(config):
        made["description"] = text
    return made | ({"required": required} if required else {})


def of_type(wanted: Any) -> dict[str, Any]:
    """The schema of one type; what has no counterpart allows anything."""
    origin = typing.get_origin(wanted) or wanted
    arguments = typing.get_args(wanted)
    if origin in _SCALARS:
        return {"type": _SCALARS[origin]}
    if origin is typing.Annotated:
        return of_type(arguments[0])
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        choices = [of_type(one) for one in arguments if one is not type(None)]
        return choices[0] if len(choices) == 1 else {"anyOf": choices}
    if not isinstance(origin, type):
        return {}
    if attrs.has(origin):
        return of_class(origin)
    if issubclass(origin, enum.Enum):
        return {"enum": [one.value for one in origin]}
    if issubclass(origin, collections.abc.Mapping):
        return {"type": "object", "additionalProperties": of_type(arguments[1]) if len(arguments) == 2 else {}}
    if issubclass(origin, (collections.abc.Sequence, collections.abc.Set)):
        return {"type": "array", "items": of_type(arguments[0]) if arguments else {}}
    return {}
