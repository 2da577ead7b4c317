"""`mailfleet warmup`: where every sender is in its schedule, and the daily run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import click

from mailfleet.cli.common import (
    FAILED,
    UNREACHABLE,
    USAGE,
    Failure,
    Group,
    chosen_hosts,
    confirm,
    dry_option,
    emit,
    fleet_option,
    json_option,
    limit_option,
    refuse_outside_lab,
    regions_argument,
    telling_fleet_option,
    today_option,
    yes_option,
)
from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.fleet.validate import count
from mailfleet.hosts.describe import trouble_lines
from mailfleet.warmup import describe
from mailfleet.warmup.plan import Wish
from mailfleet.warmup.runs import Exchange, Round, RunError, exchange, one_at_a_time
from mailfleet.warmup.simulate import simulate as simulated
from mailfleet.warmup.transports import transports

_HOSTS = click.argument("names", nargs=-1, metavar="[HOST]...")
_ALL = click.option("--all", "everyone", is_flag=True, help="Every sender of the fleet.")


@click.group(cls=Group)
def warmup() -> None:
    """The warm-up of sending addresses: a daily cap by schedule, enforced by Postfix."""


@warmup.command()
@regions_argument
@limit_option
@json_option
@fleet_option
def status(
    *, fleet: Fleet, regions: tuple[str, ...], limits: tuple[str, ...], as_json: bool
) -> int:
    """Where every sender is, and what its main.cf has."""
    senders = _senders(fleet, regions, limits)
    with exchange(fleet, senders, Wish(today=_today())) as rounds:
        seen = _look(rounds)
    code = _code(seen)
    if as_json:
        emit(_document(seen, code), True)
        return code
    click.echo(describe.status_table(seen.plans, transports(fleet)))
    _say(describe.status_notes(seen.plans))
    _say(describe.attention_lines(seen.plans))
    _say(_trouble(seen))
    return code


@warmup.command()
@regions_argument
@limit_option
@today_option
@dry_option
@yes_option
@json_option
@telling_fleet_option
def run(
    *,
    fleet: Fleet,
    regions: tuple[str, ...],
    limits: tuple[str, ...],
    today: dt.datetime | None,
    dry: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Bring every sender to the stage of the day. To be run once a day; twice is harmless."""
    wish = Wish(today=today.date() if today else _today(), explicit=today is not None)
    senders = _senders(fleet, regions, limits)
    return _carry_out(fleet, senders, wish, dry=dry, yes=yes, as_json=as_json)


@warmup.command()
@_HOSTS
@_ALL
@click.option("--reason", required=True, help="Why; shown in the status and kept in the history.")
@dry_option
@yes_option
@json_option
@fleet_option
def pause(
    *,
    fleet: Fleet,
    names: tuple[str, ...],
    everyone: bool,
    reason: str,
    dry: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Let no mail leave through the paced transports of a sender until it is resumed."""
    if not reason.strip():
        raise Failure("--reason is empty: say why, for whoever resumes it", USAGE)
    wish = Wish(action="pause", today=_today(), reason=reason.strip())
    senders = _named(fleet, names, everyone)
    return _carry_out(fleet, senders, wish, dry=dry, yes=yes, as_json=as_json)


@warmup.command()
@_HOSTS
@_ALL
@dry_option
@yes_option
@json_option
@fleet_option
def resume(
    *, fleet: Fleet, names: tuple[str, ...], everyone: bool, dry: bool, yes: bool, as_json: bool
) -> int:
    """End a pause: the schedule goes on where it began."""
    senders = _named(fleet, names, everyone)
    wish = Wish(action="resume", today=_today())
    return _carry_out(fleet, senders, wish, dry=dry, yes=yes, as_json=as_json)


@warmup.command()
@_HOSTS
@click.option(
    "--day",
    type=click.IntRange(1, 3650),
    default=1,
    show_default=True,
    help="The day of the schedule that today is.",
)
@dry_option
@yes_option
@json_option
@fleet_option
def start(
    *, fleet: Fleet, names: tuple[str, ...], day: int, dry: bool, yes: bool, as_json: bool
) -> int:
    """Begin anew, whatever was before: after damage, after idle weeks, or with a warm address."""
    senders = _named(fleet, names, everyone=False)
    wish = Wish(action="start", today=_today(), day=day)
    return _carry_out(fleet, senders, wish, dry=dry, yes=yes, as_json=as_json)


@warmup.command()
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True)
@click.option(
    "--start",
    "first",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The first day (default: today).",
)
@json_option
@fleet_option
def simulate(*, fleet: Fleet, days: int, first: dt.datetime | None, as_json: bool) -> None:
    """Day, cap and delays of every pool's schedule; needs no host."""
    begin = first.date() if first else _today()
    try:
        found = {pool: list(simulated(fleet, pool, begin, days)) for pool in fleet.pools}
    except LookupError as error:
        raise Failure(str(error), USAGE) from error
    if as_json:
        emit([day for each in found.values() for day in each], True)
        return
    for pool, each in found.items():
        goal = fleet.pools[pool]
        click.echo(f"pool {pool}: {goal.schedule}, target {goal.target} a day and address")
        click.echo(describe.simulation_table(each))
        click.echo()


def _carry_out(
    fleet: Fleet, senders: Sequence[Host], wish: Wish, *, dry: bool, yes: bool, as_json: bool
) -> int:
    """Look, show, ask, apply, look again; the exit code."""
    try:
        with one_at_a_time(fleet), exchange(fleet, senders, wish) as rounds:
            shown = _look(rounds)
            pending = [plan for plan in shown.plans if plan.problem is None]
            changing = [plan for plan in pending if not plan.nothing_to_do]
            if not as_json:
                _show(shown)
            if dry or not changing:
                return _end(shown, changed=False, as_json=as_json)
            confirm(f"Change {count(len(changing), 'sender')}?", yes)
            applied = rounds.apply(shown)
            after = _look(rounds)
    except RunError as error:
        raise Failure(str(error)) from error
    # Those that need a person end as failed too; they are told of below.
    told = {plan.host for plan in after.attention}
    failed = [result for result in applied.failed if result.name not in told]
    unfinished = [plan for plan in after.plans if not plan.nothing_to_do and not plan.problem]
    for line in (line for result in failed for line in trouble_lines(result)):
        click.echo(line, err=True)
    for plan in unfinished:
        click.echo(f"{plan.host}: not as planned after the run; run again", err=True)
    return _end(after, changed=True, failed=bool(failed or unfinished), as_json=as_json)


def _look(rounds: Exchange) -> Round:
    try:
        return rounds.look()
    except RunError as error:
        raise Failure(str(error)) from error


def _show(shown: Round) -> None:
    for plan in shown.plans:
        if plan.problem is not None or not plan.nothing_to_do:
            _say(describe.plan_lines(plan))


def _end(seen: Round, *, changed: bool, as_json: bool, failed: bool = False) -> int:
    code = FAILED if failed else _code(seen)
    if as_json:
        emit({**_document(seen, code), "changed": changed}, True)
        return code
    fine = [plan for plan in seen.plans if plan.problem is None]
    if changed:
        click.echo(f"Done, and read back from {count(len(fine), 'sender')}.")
    elif fine and all(plan.nothing_to_do for plan in fine):
        click.echo(f"Nothing to change on {count(len(fine), 'sender')}.")
    _say(describe.attention_lines(seen.plans))
    _say(_trouble(seen))
    return code


def _code(seen: Round) -> int:
    if seen.attention or seen.failed:
        return FAILED
    return UNREACHABLE if seen.unreachable else 0


def _document(seen: Round, code: int) -> dict[str, object]:
    return {
        "senders": seen.plans,
        "unreachable": [result.name for result in seen.unreachable],
        "failed": [result.name for result in seen.failed],
        "exit_code": code,
    }


def _trouble(seen: Round) -> Iterable[str]:
    for result in (*seen.unreachable, *seen.failed):
        yield from trouble_lines(result)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _senders(fleet: Fleet, regions: Sequence[str], limits: Sequence[str]) -> tuple[Host, ...]:
    """The senders of some regions; the lab's fleet only inside the lab."""
    hosts = chosen_hosts(fleet, regions, limits)
    senders = tuple(host for host in hosts if host.role is Role.SENDER)
    if not senders:
        raise Failure("No sender is among the chosen hosts: only senders warm up", USAGE)
    refuse_outside_lab(fleet)
    return senders


def _named(fleet: Fleet, names: Sequence[str], everyone: bool) -> tuple[Host, ...]:
    """The senders of those names, or all of them."""
    if bool(names) == everyone:
        raise Failure("Name the senders, or give --all, and not both", USAGE)
    known = {host.name: host for host in fleet.with_role(Role.SENDER)}
    for name in names:
        if name not in known:
            raise Failure(f"{name} is not a sender; there are {', '.join(known) or 'none'}", USAGE)
    refuse_outside_lab(fleet)
    return tuple(known[name] for name in names) if names else tuple(known.values())


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
