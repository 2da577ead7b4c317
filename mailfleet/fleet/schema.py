"""JSON Schema of fleet.yml (draft 2020-12), and what it says about one place of the file.

The same schema completes fleet.yml in an editor and phrases the "accepted" of error messages.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from mailfleet.fleet.model import FleetFile

Path = tuple[str | int, ...]
Node = dict[str, Any]

_FORMATS = {
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "ipv4network": "an IPv4 network, such as 198.51.100.0/24",
    "ipv6network": "an IPv6 network, such as 2001:db8::/32",
}


class _Untitled(GenerateJsonSchema):
    """Without a title for each field, so that a title is one that a type was given."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@lru_cache
def schema_of(model: type[BaseModel]) -> Node:
    """The JSON Schema of a model, with every object closed."""
    schema = model.model_json_schema(schema_generator=_Untitled)
    _close(schema)
    return schema


def fleet_schema() -> Node:
    """The JSON Schema of fleet.yml."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema_of(FleetFile),
        "title": "fleet.yml of mailfleet",
    }


def _close(node: Any) -> None:
    """Objects whose keys follow a pattern take no others."""
    if isinstance(node, list):
        for item in node:
            _close(item)
    elif isinstance(node, dict):
        if "patternProperties" in node:
            node["additionalProperties"] = False
        for item in node.values():
            _close(item)


def _resolve(schema: Node, node: Node, tag: str | None = None) -> Node:
    """Follow `$ref`, leave null out of `X or null`, choose a member of a tagged union."""
    while True:
        if "$ref" in node:
            target = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
            node = target | {key: value for key, value in node.items() if key != "$ref"}
        elif "discriminator" in node:
            mapping = node["discriminator"]["mapping"]
            if tag not in mapping:
                return node
            node = {"$ref": mapping[tag]}
        elif len(members := [m for m in node.get("anyOf", ()) if m.get("type") != "null"]) == 1:
            node = members[0]
        else:
            return node


def _child(node: Node, step: str | int) -> Node:
    if isinstance(step, int):
        return dict(node.get("items", {}))
    if step in node.get("properties", {}):
        return dict(node["properties"][step])
    for value in node.get("patternProperties", {}).values():
        return dict(value)
    more = node.get("additionalProperties")
    return dict(more) if isinstance(more, dict) else {}


def node_at(schema: Node, path: Path, data: Any = None) -> Node:
    """What the schema says about a place, {} where it says nothing.

    `data` is the document: `provider` in it decides which kind of account a place belongs to.
    """
    node = schema
    for step in (*path, None):
        tag = data.get("provider") if isinstance(data, dict) else None
        node = _resolve(schema, node, tag if isinstance(tag, str) else None)
        if step is None:
            break
        node = _child(node, step)
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            data = None
    return node


def keys_of(node: Node) -> tuple[str, ...]:
    """The keys that an object may have; () where any name will do."""
    if "enum" in node.get("propertyNames", {}):
        return tuple(node["propertyNames"]["enum"])
    return tuple(node.get("properties", {}))


def _number(node: Node, noun: str) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    above = node.get("exclusiveMinimum")
    if above is not None:
        return f"{noun} over {above}" + ("" if high is None else f", at most {high}")
    if low is None or high is None:
        return noun if low is None else f"{noun}, at least {low}"
    return f"{noun} from {low} to {high}"


def phrase(schema: Node, node: Node) -> str:
    """What a place accepts, in words."""
    node = _resolve(schema, node)
    if "discriminator" in node:
        return f"settings with provider: {' or '.join(node['discriminator']['mapping'])}"
    if "anyOf" in node:
        return " or ".join(phrase(schema, member) for member in node["anyOf"])
    if node.get("type") == "object":
        keys = keys_of(node)
        return f"settings ({', '.join(keys)})" if keys else "settings (key: value)"
    if node.get("type") == "array":
        return f"a list of: {phrase(schema, node.get('items', {}))}"
    return _scalar(node)


def _scalar(node: Node) -> str:
    kind = node.get("type")
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return "one of " + ", ".join(str(value) for value in node["enum"])
    if "title" in node:
        return str(node["title"])
    if kind in ("integer", "number"):
        return _number(node, "a whole number" if kind == "integer" else "a number")
    words = {"boolean": "true or false", "string": "text"}
    return _FORMATS.get(str(node.get("format")), words.get(str(kind), "a value"))
