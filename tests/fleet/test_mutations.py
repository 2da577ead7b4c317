"""Laws of loading: whatever the text, problems with lines that exist, and no other exception."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mailfleet.fleet.errors import Problem
from mailfleet.fleet.load import inspect
from mailfleet.fleet.source import parse

WriteFleet = Callable[..., Path]
EXAMPLE = (Path(__file__).parents[2] / "fleet.yml").read_text()
LINES = EXAMPLE.splitlines(keepends=True)
SECRET = "dGhpcyBpcyBhIHNlY3JldA"

quick = settings(
    max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_TOKENS = """\t |: |- |[|]|{|}|&a |*a |!!int |!x |<<: |%|'|"|#|null|true|.nan|.inf|1e400|0b_|? |@
`|☃|2026-01-01|9999999999999999999999|\\ud800"""
snippets = (
    st.sampled_from([token for line in _TOKENS.splitlines() for token in line.split("|")])
    | st.sampled_from(["---\n", "...\n", "\r", "\x85", "\u2028", "\ud800"])
    | st.text(max_size=6)
)


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """The example with a few edits: text put in, cut out, lines doubled, dropped or moved."""
    text = EXAMPLE
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["put", "cut", "double", "drop", "move"]))
        at = draw(st.integers(0, len(text)))
        if kind == "put":
            text = text[:at] + draw(snippets) + text[at:]
        elif kind == "cut":
            text = text[:at] + text[at + draw(st.integers(1, 30)) :]
        else:
            lines = text.splitlines(keepends=True)
            number = draw(st.integers(0, max(0, len(lines) - 1)))
            line = lines[number : number + 1]
            if kind != "double":
                del lines[number : number + 1]
            if kind != "drop":
                other = number if kind == "double" else draw(st.integers(0, len(lines)))
                lines[other:other] = line
            text = "".join(lines)
    return text


def check_problems(directory: Path, problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        assert problem.found
        assert problem.accepted
        assert "\n" not in str(problem)
        if problem.line is not None:
            text = (directory / problem.file).read_bytes().decode("utf-8", "replace")
            assert 1 <= problem.line <= max(1, len(text.splitlines())), problem


@quick
@given(text=mutations())
@example(text="")
@example(text="fleet: &a\n  <<: *a\n")
@example(text="a:\n- b\n -c\n\n\n\n")
def test_a_mutated_fleet_file_gives_problems_and_nothing_else(
    text: str, write_fleet: WriteFleet
) -> None:
    directory = write_fleet({"fleet.yml": text.encode("utf-8", "surrogatepass")})
    fleet, problems = inspect(directory, in_lab=True)
    check_problems(directory, problems)
    assert (fleet is None) == any(problem.is_error for problem in problems)


@quick
@given(content=st.binary(max_size=200))
def test_arbitrary_bytes_give_problems_and_nothing_else(
    content: bytes, write_fleet: WriteFleet
) -> None:
    directory = write_fleet({"fleet.yml": content, "recipients/example.com": content})
    fleet, problems = inspect(directory, in_lab=True)
    assert fleet is None
    check_problems(directory, problems)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@quick
@given(data=st.data())
def test_any_value_anywhere_gives_problems_that_name_the_place(
    data: st.DataObject, write_fleet: WriteFleet
) -> None:
    tree = yaml.safe_load(EXAMPLE)
    parent, step = data.draw(st.sampled_from(list(places(tree))))
    parent[step] = data.draw(values)
    text = yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
    directory = write_fleet({"fleet.yml": text.encode("utf-8", "surrogatepass")})
    check_problems(directory, inspect(directory, in_lab=True)[1])


def places(tree: object) -> list[tuple[dict[str, object], str]]:
    found = []
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += [(tree, key), *places(value)]
    return found


@quick
@given(
    field=st.sampled_from(["secret", "password", "token", "key"]),
    shape=st.sampled_from(["{}", '"{}"', "[{}]", "{{x: {}}}", "env:{}=", "*{}", "&{} x", "!{} x"]),
    secret=st.text(string.ascii_letters + string.digits, min_size=12, max_size=30),
)
def test_a_secret_in_clear_is_never_repeated(
    field: str, shape: str, secret: str, write_fleet: WriteFleet
) -> None:
    old = "secret: env:MAILFLEET_TSIG_SECRET"
    assert EXAMPLE.count(old) == 1
    text = EXAMPLE.replace(old, f"{field}: {shape.format(secret)}")
    fleet, problems = inspect(write_fleet({"fleet.yml": text}), in_lab=True)
    assert fleet is None
    assert not any(secret in str(problem) for problem in problems)


plain_keys = st.text(string.ascii_lowercase, min_size=1, max_size=6)
plain_values = st.recursive(
    st.integers(-(2**62), 2**62) | st.text(string.ascii_letters + " :#'\n", max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_keys, inner, max_size=3),
    max_leaves=10,
)


@given(tree=st.dictionaries(plain_keys, plain_values, min_size=1, max_size=4))
def test_the_reader_agrees_with_yaml_and_knows_the_line_of_every_key(
    tree: dict[str, object],
) -> None:
    text = yaml.safe_dump(tree, sort_keys=False)
    source = parse(text, "fleet.yml")
    assert source.problems == []
    assert source.data == tree
    lines = text.splitlines()
    for where, line in source.key_lines.items():
        assert lines[line - 1].lstrip("- ").startswith((f"{where[-1]}:", f"'{where[-1]}':"))
