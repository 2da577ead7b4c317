"""`mailfleet lab demo`: what `make demo` runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from subprocess import CalledProcessError, TimeoutExpired

import click
from rich.console import Console
from rich.text import Text

from mailfleet.cli.common import Failure, emit, fleet_option, json_option
from mailfleet.fleet.model import Fleet
from mailfleet.lab import requirements
from mailfleet.lab.demo import offline, steps
from mailfleet.lab.demo.story import Outcome, play
from mailfleet.lab.demo.tools import Stage
from mailfleet.lab.errors import LabError
from mailfleet.lab.lab import Lab

# What means that a step failed, rather than that the demo is broken.
_FAILURES = (LabError, CalledProcessError, TimeoutExpired)
HINT = """\
The lab is still up. Look around:
  mailfleet lab status             what runs, and where
  mailfleet lab ssh mx1.eu.example.net
  mailfleet lab inbox              what the mailbox providers got, with their verdicts
  mailfleet lab shell              the control machine: every mailfleet command works there
Take it down:
  mailfleet lab down"""


@click.command()
@fleet_option
@json_option
def demo(fleet: Fleet, as_json: bool) -> None:
    """The main job from nothing: hosts, DNS, mail, warm-up, each result checked.

    Takes the lab down first and leaves it up. Where the lab cannot run it shows what needs no
    hosts, says what is missing, and exits with 1.
    """
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)

    def say(line: str) -> None:
        console.print(Text(line))

    started = time.monotonic()
    missing = [f"{item.what} What to do: {item.remedy}" for item in requirements.missing()]
    lab = Lab(report=lambda line: say(f"   {line}"))
    outcomes: list[Outcome] = []
    if not missing:
        outcomes = play(steps.steps(Stage(lab, fleet), datetime.now(UTC).date()), say, _FAILURES)
        if not outcomes[0].passed:  # the lab itself
            missing = list(outcomes[0].lines)
    if missing:
        outcomes += play(offline.steps(fleet.directory), say, ())
    seconds = time.monotonic() - started
    if as_json:
        emit({"outcomes": outcomes, "missing": missing, "seconds": seconds}, True)
    else:
        _summary(console, outcomes, seconds)
    if missing:
        raise Failure("\n".join(offline.left_out(missing)))
    failed = [outcome.title for outcome in outcomes if not outcome.passed]
    say("")
    say(HINT)
    if failed:
        raise Failure(f"Not as it should be: {'; '.join(failed)}")


def _summary(console: Console, outcomes: list[Outcome], seconds: float) -> None:
    console.print()
    console.rule("summary")
    for outcome in outcomes:
        mark = ("ok    ", "green") if outcome.passed else ("FAILED", "red")
        line = Text.assemble(mark, f"  {outcome.title}  ({outcome.seconds:.0f} s)")
        console.print(line)
        for detail in outcome.lines:
            console.print(Text(f"          {detail}", style="dim"))
    console.print(Text(f"{seconds:.0f} s in all"))
