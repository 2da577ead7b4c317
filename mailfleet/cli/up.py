"""`mailfleet up`: everything, in the right order, as one plan.

It is made of the commands that an operator would give one after the other, so each step shows,
checks and refuses exactly as its command does.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from mailfleet.cli.common import (
    USAGE,
    Failure,
    chosen_hosts,
    dry_option,
    emit,
    json_option,
    refuse_outside_lab,
    regions_argument,
    telling_fleet_option,
    terminal,
    today_option,
    yes_option,
)
from mailfleet.cli.deploy import deploy
from mailfleet.cli.dns import dns
from mailfleet.cli.warmup import warmup
from mailfleet.fleet.model import Fleet, Role


@dataclass(frozen=True)
class Step:
    """One command of mailfleet, with its words."""

    title: str
    command: click.Command
    words: tuple[str, ...]


@click.command()
@regions_argument
@dry_option
@yes_option
@today_option
@json_option
@telling_fleet_option
def up(
    *,
    fleet: Fleet,
    regions: tuple[str, ...],
    dry: bool,
    yes: bool,
    today: datetime | None,
    as_json: bool,
) -> int:
    """Addresses and PTRs into DNS, hosts, DKIM keys, the rest of DNS, verification, warm-up.

    REGIONs limit the hosts; DNS is always that of the whole fleet. Stops at the first step that
    fails, with its exit code; run it again to go on.
    """
    hosts = chosen_hosts(fleet, regions)
    refuse_outside_lab(fleet)
    asking = not (dry or yes)
    if asking and (as_json or not terminal()):
        raise Failure("Nobody is there to be asked: give --yes, or --dry to look.", USAGE)
    warming = any(host.role is Role.SENDER for host in hosts)
    with tempfile.TemporaryDirectory(prefix="mailfleet-up-") as scratch:
        addresses = Path(scratch) / "addresses.json"
        plan = _planning(regions, addresses, look_at_hosts=not yes)
        work = _working(regions, addresses, warming, today)
        steps = [*plan, *(() if dry else work)]
        session = Session(fleet, as_json)
        for number, step in enumerate(steps):
            if asking and number == len(plan):
                click.confirm("Carry all of this out?", abort=True, err=True)
            code = session.take(step)
            if code:
                return session.end(code)
        return session.end(0)


def _planning(regions: tuple[str, ...], addresses: Path, look_at_hosts: bool) -> list[Step]:
    """What shows the plan, changing nothing. A deploy that asks nobody shows its own anyway."""
    out = ("--only", "addresses", "--out", str(addresses))
    steps = [Step("plan: addresses and PTRs", dns, ("plan", *out))]
    if look_at_hosts:
        steps.append(Step("plan: hosts", deploy, (*regions, "--dry")))
    return [*steps, Step("plan: DNS as a whole, as far as keys are known", dns, ("plan",))]


def _working(
    regions: tuple[str, ...], addresses: Path, warming: bool, today: datetime | None
) -> list[Step]:
    """What carries it out. Certificates need the addresses, DKIM records need the hosts' keys."""
    day = ("--today", f"{today:%Y-%m-%d}") if today else ()
    steps = [
        Step("addresses and PTRs into DNS", dns, ("apply", str(addresses), "--yes")),
        Step("every server knows the addresses", dns, ("verify", "--only", "addresses")),
        Step("hosts", deploy, (*regions, "--yes")),
        Step("the rest of DNS", dns, ("apply", "--yes")),
        Step("every server knows all of it", dns, ("verify",)),
    ]
    if warming:
        steps.append(Step("warm-up", warmup, ("run", *regions, "--yes", *day)))
    return steps


class Session:
    """One `up`: people read the steps' own output, machines one JSON document at its end."""

    def __init__(self, fleet: Fleet, as_json: bool) -> None:
        self.fleet = fleet
        self.as_json = as_json
        self.documents: list[dict[str, Any]] = []

    def take(self, step: Step) -> int:
        """Carry out one step; its exit code. Raises what its command raises."""
        words = [*step.words, "--fleet", str(self.fleet.directory)]
        click.echo(f"== {step.title}", err=self.as_json)
        if not self.as_json:
            return _exit_code(step.command, words)
        said = io.StringIO()
        try:
            with redirect_stdout(said):
                code = _exit_code(step.command, [*words, "--json"])
        except click.ClickException as error:
            self._note(step, error.exit_code, {"error": error.format_message()})
            self.end(error.exit_code)
            raise
        text = said.getvalue()
        self._note(step, code, json.loads(text) if text.strip() else None)
        return code

    def end(self, code: int) -> int:
        """Print the document, or how to go on after a failure; the exit code."""
        if self.as_json:
            emit({"steps": self.documents, "exit_code": code}, True)
        elif code:
            click.echo("Stopped here. Mend it, and run `mailfleet up` again to go on.", err=True)
        return code

    def _note(self, step: Step, code: int, result: Any) -> None:
        self.documents.append({"title": step.title, "exit_code": code, "result": result})


def _exit_code(command: click.Command, words: Sequence[str]) -> int:
    """Run a command in this process. Raises what it raises."""
    code = command.main(args=list(words), prog_name="mailfleet", standalone_mode=False)
    return code if isinstance(code, int) else 0
