"""Plain data to a model, with every violation as a Problem.

A violation does not hide the next one: what is wrong is left out and the rest is validated again,
so that the checks across sections still see everything that is right.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mailfleet.fleet.schema import Node, keys_of, node_at, phrase, schema_of
from mailfleet.fleet.source import Where

M = TypeVar("M", bound=BaseModel)

_SECRET_HINT = "Put the value into the environment or a file, and its name here."


@dataclass(frozen=True)
class Violation:
    """What a place of the data is not; `about_key` when it is about the key, not its value."""

    where: Where
    about_key: bool
    found: str
    accepted: str
    hint: str


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """'Did you mean x?', or nothing where no known word is near (1 is the same)."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=cutoff)
    return f"Did you mean {near[0]}?" if near else ""


def words(values: Iterable[object], limit: int = 12) -> str:
    """A list of names for a message, cut off where it gets long; 'none' when empty."""
    names = [str(value) for value in values]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more or "none"


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 host, 2 hosts."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown(value: object) -> str:
    """A value for a message: its kind where it has parts, else itself, cut off where it is long."""
    if isinstance(value, dict):
        return "settings (key: value)"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "…"


def validate(model: type[M], data: Any) -> tuple[M | None, tuple[Violation, ...]]:
    """The model without what violates it (None where nothing usable is left), and all violations.

    The data is read as JSON would be, strictly: "5" is no number and 1 is not true.
    """
    schema = schema_of(model)
    original = data = _sections(schema, deepcopy(data))
    violations: dict[Where, Violation] = {}
    first = True
    while True:
        try:
            text = json.dumps(data, default=str)
            return model.model_validate_json(text, strict=True), tuple(violations.values())
        except ValidationError as error:
            details = error.errors(include_url=False)
        places = [_where(detail, data) for detail in details]
        data = deepcopy(data)
        for detail, (where, about_key) in zip(details, places, strict=True):
            # What comes later only misses what was left out, and so does a list too short.
            inside = any(len(p) > len(where) and p[: len(where)] == where for p, _ in places)
            if first and not (detail["type"] == "too_short" and inside):
                violation = _violation(schema, detail, where, about_key, original)
                # A union complains once a member, each time about the same place.
                violations.setdefault(where, violation)
            data = _without(data, where[:-1] if detail["type"] == "missing" else where)
        first = False
        if data is None:
            return None, tuple(violations.values())


def _sections(schema: Node, data: Any) -> Any:
    """A section with nothing below it (`filters:`) is an empty one, not null."""

    def fill(value: Any, where: Where) -> Any:
        if value is None and node_at(schema, where, data).get("type") == "object":
            return {}
        if isinstance(value, dict):
            return {key: fill(item, (*where, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item, (*where, i)) for i, item in enumerate(value)]
        return value

    return fill(data, ())


def _where(detail: ErrorDetails, data: Any) -> tuple[Where, bool]:
    """The place of an error in the data: pydantic adds '[key]' and the member of a union."""
    where: Where = ()
    about_key = False
    for step in detail["loc"]:
        if step == "[key]":
            about_key = True
            break
        if isinstance(data, dict):
            if step not in data:
                if detail["type"] == "missing" and step == detail["loc"][-1]:
                    where = (*where, step)
                continue
            data = data[step]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            continue
        where = (*where, step)
    return where, about_key or detail["type"] == "extra_forbidden"


def _without(data: Any, where: Where) -> Any:
    """The data without one place; None when that is all of it."""
    if not where or data is None:
        return None
    parent: Any = data
    for step in where[:-1]:
        try:
            parent = parent[step]
        except (KeyError, IndexError, TypeError):
            return data  # gone already, with something around it
    if isinstance(parent, dict):
        parent.pop(where[-1], None)
    elif isinstance(parent, list):
        # The places of its other items must stay: it goes as a whole.
        return _without(data, where[:-1])
    return data


def _violation(
    schema: Node, detail: ErrorDetails, where: Where, about_key: bool, data: Any
) -> Violation:
    kind = detail["type"]
    node = node_at(schema, where, data)
    around = node_at(schema, where[:-1], data) if where else {}
    accepted = phrase(schema, node) if node else str(detail["msg"])
    found, hint = shown(detail["input"]), ""
    if kind == "secret_in_clear":
        found, hint = "something that is not a reference to a secret (not shown)", _SECRET_HINT
    elif kind == "missing":
        found = "nothing"
        hint = str(node.get("description", ""))
    elif kind == "extra_forbidden":
        known = keys_of(around)
        found = "an unknown key"
        accepted = words(known, 30)
        hint = did_you_mean(str(where[-1]), known)
    elif kind == "union_tag_not_found":
        where, found = (*where, "provider"), "nothing"
        accepted = words(node["discriminator"]["mapping"])
    elif kind == "union_tag_invalid":
        where, found = (*where, "provider"), shown(detail["ctx"]["tag"])
        tags = [tag.strip("'") for tag in detail["ctx"]["expected_tags"].split(", ")]
        accepted, hint = words(tags), did_you_mean(str(detail["ctx"]["tag"]), tags)
    elif kind == "literal_error":
        known = keys_of(around) if about_key else tuple(map(str, node.get("enum", ())))
        accepted = f"one of {words(known)}" if known else accepted
        hint = did_you_mean(str(detail["input"]), known)
    elif about_key:
        accepted, hint = _name_phrase(str(where[-1]))
    elif kind in ("string_pattern_mismatch", "string_too_long"):
        hint = _spelling(str(detail["input"]), accepted)
    elif kind == "value_error":
        hint = str(detail["ctx"]["error"])
    return Violation(where, about_key, found, accepted, hint)


def _name_phrase(name: str) -> tuple[str, str]:
    accepted = "a domain name in lower case, such as example.com"
    return accepted, _spelling(name, accepted)


def _spelling(text: str, accepted: str) -> str:
    """What is probably wrong with a name or an address."""
    hint = ""
    if text.startswith("mailto:"):
        hint = "Leave out mailto:."
    elif "domain name" not in accepted and "address" not in accepted:
        hint = ""
    elif not text.isascii():
        hint = "Write an internationalised name in its ASCII form (xn--…)."
    elif text.endswith("."):
        hint = "Leave out the trailing dot."
    elif text != text.lower():
        hint = f"Write it in lower case: {text.lower()}"
    return hint
