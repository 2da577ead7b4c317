"""Plans of senders, and simulations, as text and tables for people."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mailfleet.warmup.plan import Change, HostPlan
from mailfleet.warmup.simulate import SimulatedDay
from mailfleet.warmup.transports import WARM

_LEGEND = "From warm on: seconds between two deliveries to a provider; warm is everybody else."


def plan_lines(plan: HostPlan) -> Iterator[str]:
    """What a run does on one sender, parameter by parameter, and why."""
    if plan.problem is not None:
        yield plan.problem
        return
    yield f"{plan.host} ({plan.pool}): {_caps(plan)}  [{plan.reason}]"
    yield from _aligned(plan.changes)
    if plan.reload:
        yield "  reload Postfix" + ("" if plan.changes else ": it does not run what is in main.cf")
    if plan.changes and not plan.running:
        yield "  Postfix is not running: nothing to reload"


def attention_lines(plans: Iterable[HostPlan]) -> Iterator[str]:
    """What a person has to look at, with the way out."""
    for plan in plans:
        if plan.remedy:
            yield f"{plan.host}: {plan.reason}; it is held at {plan.cap} a day"
            yield f"  -> {plan.remedy}"


def status_table(plans: Sequence[HostPlan], transports: Sequence[str]) -> str:
    """One line a sender: where it is in its schedule, and the delays its main.cf has."""
    table = _table("host", "pool", "schedule", "started", "day", "cap/day")
    for name in transports:
        table.add_column(_short(name), justify="right")
    table.add_column("last run")
    table.add_column("note")
    for plan in plans:
        now = plan.before
        place = ["not started", "-", "-"] if plan.problem is None else ["?", "?", "?"]
        if now is not None:
            place = [str(now.started), str(now.day), str(now.cap)]
        table.add_row(
            *(plan.host, plan.pool, plan.schedule, *place),
            *(_delay(plan, name) for name in transports),
            str(now.last_run) if now else "-",
            _note(plan),
        )
    return f"{_text(table)}\n{_LEGEND}"


def status_notes(plans: Iterable[HostPlan]) -> Iterator[str]:
    """What does not fit into the table: pauses, drift, problems."""
    for plan in plans:
        if plan.problem is not None:
            yield plan.problem
        if plan.before is not None and plan.before.paused is not None:
            yield f"{plan.host}: paused: {plan.before.paused}"
        if plan.drift:
            yield f"{plan.host}: main.cf is not what the state says; the next run sets it:"
            yield from _aligned(plan.drift)


def simulation_table(days: Sequence[SimulatedDay]) -> str:
    """One line a day of one pool."""
    transports = list(days[0].delays) if days else []
    table = _table("date", "day", "cap/day")
    for name in transports:
        table.add_column(_short(name), justify="right")
    for each in days:
        found = (each.delays[name] for name in transports)
        table.add_row(
            str(each.date),
            str(each.day),
            str(each.cap),
            *("deferred" if delay is None else str(delay) for delay in found),
        )
    return f"{_text(table)}\n{_LEGEND}"


def _caps(plan: HostPlan) -> str:
    new = "paused" if plan.after is not None and plan.after.paused else f"{plan.cap} a day"
    if plan.before is None:
        return new
    old = "paused" if plan.before.paused else f"{plan.before.cap} a day"
    return f"stays at {new}" if old == new else f"{old} -> {new}"


def _aligned(changes: Sequence[Change]) -> Iterator[str]:
    width = max((len(change.name) for change in changes), default=0)
    for change in changes:
        yield f"  {change.name:{width}}  {change.old or '(empty)'} -> {change.new or '(empty)'}"


def _short(transport: str) -> str:
    return transport.removeprefix(f"{WARM}-")


def _delay(plan: HostPlan, transport: str) -> str:
    if transport in plan.parameters.get("defer_transports", "").replace(",", " ").split():
        return "deferred"
    value = plan.parameters.get(f"{transport}_transport_rate_delay", "-")
    return value.removesuffix("s")


def _note(plan: HostPlan) -> str:
    notes = [
        ("problem", plan.problem is not None),
        ("paused", plan.before is not None and plan.before.paused is not None),
        ("attention", bool(plan.remedy)),
        ("drift", bool(plan.drift)),
        ("Postfix not running", plan.problem is None and not plan.running),
    ]
    return ", ".join(note for note, holds in notes if holds)


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for column in columns:
        right = column in ("day", "cap/day")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    return table


def _text(table: Table) -> str:
    """A table as wide as it needs to be: a log or a pipe has no width to fit into."""
    width = max(shutil.get_terminal_size().columns, 240)
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines() if line.strip())
