"""`mailfleet deploy`: show, ask, change, look."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from mailfleet.cli.common import (
    FAILED,
    UNREACHABLE,
    USAGE,
    Failure,
    chosen_hosts,
    confirm,
    dry_option,
    emit,
    json_option,
    limit_option,
    refuse_outside_lab,
    regions_argument,
    telling_fleet_option,
    yes_option,
)
from mailfleet.fleet.model import Fleet, Host
from mailfleet.fleet.validate import count
from mailfleet.hosts import describe
from mailfleet.hosts.apply import carry_out, dry_run
from mailfleet.hosts.plan import Plan, Wave, plan, waves
from mailfleet.hosts.results import Event
from mailfleet.hosts.runner import RunnerError
from mailfleet.hosts.verify import verify


@click.command()
@regions_argument
@limit_option
@dry_option
@yes_option
@json_option
@telling_fleet_option
def deploy(
    *,
    fleet: Fleet,
    regions: tuple[str, ...],
    limits: tuple[str, ...],
    dry: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Bring the hosts to their roles: all of them, or those of some regions."""
    hosts = chosen_hosts(fleet, regions, limits)
    refuse_outside_lab(fleet)
    session = Session(fleet, as_json)
    try:
        return session.deploy(hosts, dry=dry, yes=yes)
    except RunnerError as error:
        raise Failure(str(error), USAGE) from error


class Session:
    """One deploy: people read its steps, machines the one JSON document at its end."""

    def __init__(self, fleet: Fleet, as_json: bool) -> None:
        self.fleet = fleet
        self.as_json = as_json
        self.document: dict[str, Any] = {"plan": None, "waves": [], "findings": []}
        self._start = time.monotonic()
        self._console = Console(stderr=True, highlight=False)
        # Shows what is being done, on a terminal; in a pipe there are only the lines.
        self._spinner = self._console.status("")

    def deploy(self, hosts: Sequence[Host], *, dry: bool, yes: bool) -> int:
        """Plan, confirm, change, verify; the exit code."""
        self.progress(f"looking at {count(len(hosts), 'host')}")
        with self._spinner:
            looked = dry_run(self.fleet, hosts, self._listen)
        if looked.error:
            raise Failure(looked.error)
        planned = plan(hosts, looked.hosts)
        self.document["plan"] = planned
        self.say(describe.plan_lines(planned))
        code = UNREACHABLE if planned.unreachable else 0
        if planned.failed:
            return self.end(FAILED, "Nothing was changed: not every host could be read.")
        if dry:
            return self.end(code, _words(planned))
        if planned.changing:
            confirm(f"Change {count(len(planned.changing), 'host')}?", yes)
            if not self._carry_out(waves(planned)):
                return self.end(FAILED, "Stopped; hosts that were not reached yet are unchanged.")
        reached = [each.host for each in planned.hosts]
        failed = self._verify(reached) if reached else False
        return self.end(FAILED if failed else code, _words(planned))

    def _carry_out(self, order: Sequence[Wave]) -> bool:
        for wave in order:
            self.progress(f"{wave.title}: {', '.join(host.name for host in wave.hosts)}")
            with self._spinner:
                result = carry_out(self.fleet, wave, self._listen)
            self.document["waves"].append({"title": wave.title, "result": result})
            self.say([f"{wave.title} ({result.seconds:.0f} s)", *describe.result_lines(result)])
            if not result.ok:
                return False
        return True

    def _verify(self, hosts: Sequence[Host]) -> bool:
        self.progress("verifying over new connections")
        with self._spinner:
            findings = verify(self.fleet, hosts)
        self.document["findings"] = findings
        self.say(describe.finding_lines(findings))
        return any(finding.verdict == "failed" for finding in findings)

    def _listen(self, event: Event) -> None:
        line = describe.event_line(event)
        if line is not None:
            self.progress(line)
        elif event.what == "started":
            self._spinner.update(escape(event.operation))

    def progress(self, line: str) -> None:
        """A line with the seconds since the start, on standard error."""
        text = f"{time.monotonic() - self._start:6.1f}s  {line}"
        self._console.print(text, markup=False, soft_wrap=True)

    def say(self, lines: Sequence[str] | Any) -> None:
        """Lines for people; machines get the document instead."""
        if not self.as_json:
            for line in lines:
                click.echo(line)

    def end(self, code: int, words: str) -> int:
        """The last word, or the document; the exit code."""
        if words:
            self.say([words])
        if self.as_json:
            emit({**self.document, "exit_code": code}, True)
        return code


def _words(planned: Plan) -> str:
    """The last line about a plan that left nothing to do."""
    if not planned.hosts:
        return "No host was reached."
    if planned.changing:
        return ""
    if not planned.unreachable:
        return "No changes."
    away = [result.name for result in planned.unreachable]
    were = "was" if len(away) == 1 else "were"
    return (
        f"No changes on {count(len(planned.hosts), 'host')}; "
        f"{len(away)} {were} not reached: {', '.join(away)}."
    )
