"""A demo is a list of steps; each tells what was seen, or fails saying what was expected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# Says one line of progress to whoever watches.
Say = Callable[[str], None]


class DemoError(Exception):
    """What was expected and what was found instead."""


@dataclass(frozen=True)
class Step:
    """One thing the demo shows. `act` returns what was seen, in lines for the summary."""

    title: str
    act: Callable[[Say], Iterable[str]]
    essential: bool = False  # nothing after it makes sense when it fails


@dataclass(frozen=True)
class Outcome:
    """How a step went; `seconds` is wall-clock time."""

    title: str
    passed: bool
    lines: tuple[str, ...]
    seconds: float


def play(steps: Iterable[Step], say: Say, catch: tuple[type[Exception], ...]) -> list[Outcome]:
    """Run the steps in order. A failed essential step ends the demo, another does not.

    `catch` are the exceptions that mean a failed step rather than a broken demo.
    """
    failures: tuple[type[Exception], ...] = (DemoError, *catch)
    outcomes = []
    for step in steps:
        say(f"── {step.title}")
        started = time.monotonic()
        try:
            lines, passed = tuple(step.act(say)), True
        except failures as error:
            lines, passed = tuple(str(error).splitlines()), False
        outcomes.append(Outcome(step.title, passed, lines, time.monotonic() - started))
        for line in lines:
            say(f"   {line}" if passed else f"   FAILED: {line}")
        if not passed and step.essential:
            break
    return outcomes


def expect(condition: object, expected: str, found: object) -> None:
    """Raise DemoError unless the condition holds."""
    if not condition:
        raise DemoError(f"expected {expected}, found {found}")


def wait_for(what: str, seconds: float, probe: Callable[[], T | None]) -> T:
    """The first result of `probe` that is not empty; DemoError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() > deadline:
            raise DemoError(f"expected {what} within {seconds:.0f} s, it did not happen")
        time.sleep(0.3)
