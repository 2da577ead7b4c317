"""`mailfleet dns`: mail records and PTRs, shown, planned, applied and verified."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from mailfleet.cli.common import (
    FAILED,
    UNREACHABLE,
    USAGE,
    Failure,
    Group,
    confirm,
    emit,
    fleet_option,
    json_option,
    refuse_outside_lab,
    telling_fleet_option,
    yes_option,
)
from mailfleet.dns import api, report
from mailfleet.dns.claims import Only
from mailfleet.dns.draft import Options
from mailfleet.dns.errors import DnsError, PlanFileError, ProviderError, Refused
from mailfleet.dns.plan import Plan
from mailfleet.dns.records import Key, key_from_text
from mailfleet.fleet.model import Fleet


def clear_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a DnsError into a message, or JSON, and an exit code."""

    @wraps(command)
    def wrapper(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        try:
            return command(*args, as_json=as_json, **kwargs)
        except DnsError as error:
            code = FAILED
            if isinstance(error, ProviderError) and error.unreachable:
                code = UNREACHABLE
            if isinstance(error, PlanFileError):
                code = USAGE
            if as_json:
                emit(error.as_json(), as_json=True)
                click.get_current_context().exit(code)
            text = report.refused_text(error) if isinstance(error, Refused) else str(error)
            raise Failure(text, code) from error

    return wrapper


def _keys(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> set[Key]:
    """`NAME/TYPE` of `--adopt` and `--release`."""
    try:
        return {key_from_text(value) for value in values}
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def only_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--only addresses`."""
    return click.option(
        "--only",
        type=click.Choice(["addresses"]),
        help="Only A, AAAA, HELO SPF and PTR of the hosts: what exists before any deploy.",
    )(command)


def allowance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What the operator allows for one plan; passes `options: Options`."""

    @click.option(
        "--adopt",
        metavar="NAME/TYPE",
        callback=_keys,
        multiple=True,
        help="Take over this RRset from whoever wrote it. May be given several times.",
    )
    @click.option(
        "--release",
        metavar="NAME/TYPE",
        callback=_keys,
        multiple=True,
        help="Leave this RRset of ours as it is, and forget it. May be given several times.",
    )
    @click.option("--loosen-dmarc", is_flag=True, help="Allow a weaker DMARC policy.")
    @click.option(
        "--allow-deletes",
        metavar="N",
        type=click.IntRange(min=0),
        default=Options.allow_deletes,
        show_default=True,
        help="Delete this many RRsets at most.",
    )
    @wraps(command)
    def wrapper(
        *args: Any,
        adopt: set[Key],
        release: set[Key],
        loosen_dmarc: bool,
        allow_deletes: int,
        **kwargs: Any,
    ) -> Any:
        options = Options(frozenset(adopt), frozenset(release), loosen_dmarc, allow_deletes)
        return command(*args, options=options, **kwargs)

    return wrapper


@click.group(cls=Group)
def dns() -> None:
    """Mail records and PTRs: what should be, what would change, and whether it is so."""


@dns.command()
@click.argument("domain", required=False)
@click.option("--zone-file", is_flag=True, help="As a zone file.")
@fleet_option
@json_option
@clear_errors
def show(fleet: Fleet, domain: str | None, zone_file: bool, as_json: bool) -> None:
    """What the DNS should say, all of it or for one DOMAIN or host. Asks nobody."""
    desired = api.claims(fleet)
    claims = desired.of(domain.lower().rstrip(".")) if domain else desired.claims
    if domain and not claims:
        raise Failure(
            f"{domain} is no domain and no host of this fleet. Domains: "
            f"{', '.join(known.name for known in fleet.domains)}",
            USAGE,
        )
    if as_json:
        rows = [
            {
                "name": claim.key[0],
                "type": claim.key[1].name,
                **claim.rrset.as_json(),
                "zone": claim.zone,
                "kind": claim.kind,
                "shared": not claim.exclusive,
                "subject": claim.subject,
                "why": claim.why,
            }
            for claim in claims
        ]
        emit({"claims": rows, "waiting": list(desired.waiting)}, as_json=True)
    elif zone_file:
        click.echo(report.zone_file(claims))
    else:
        click.echo(report.claims_text(desired, claims))


@dns.command()
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Save the plan."
)
@click.option("--offline", is_flag=True, help="Plan against empty zones, without the network.")
@only_option
@allowance_options
@telling_fleet_option
@json_option
@clear_errors
def plan(
    fleet: Fleet,
    *,
    out: Path | None,
    offline: bool,
    only: Only | None,
    options: Options,
    as_json: bool,
) -> None:
    """What would change, and why. Changes nothing."""
    made = _make(fleet, options, only, offline=offline)
    if out is not None:
        try:
            out.write_text(json.dumps(made.as_json(), indent=1) + "\n")
        except OSError as error:
            raise Failure(
                f"{out}: {error.strerror}. Give --out a file that can be written."
            ) from error
    if as_json:
        emit(made.as_json(), as_json=True)
        return
    click.echo(report.plan_text(made))
    if out is not None and made.zones:
        click.echo(f"Saved. To carry out exactly this: mailfleet dns apply {out}")


@dns.command()
@click.argument(
    "file", required=False, type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@yes_option
@only_option
@allowance_options
@telling_fleet_option
@json_option
@clear_errors
def apply(
    fleet: Fleet,
    *,
    file: Path | None,
    yes: bool,
    only: Only | None,
    options: Options,
    as_json: bool,
) -> None:
    """Carry out the plan in FILE exactly, or make one, show it and carry it out."""
    refuse_outside_lab(fleet)
    if file is None:
        made = _make(fleet, options, only)
    elif only or options != Options():
        raise Failure(
            f"{file} says what is done; give these options to `mailfleet dns plan`.", USAGE
        )
    else:
        made = _read(file)
        api.check_current(fleet, made)
    if not as_json:
        click.echo(report.plan_text(made))
    if not made.changes:
        if as_json:
            emit({"plan": made.as_json(), **api.Applied().as_json()}, as_json=True)
        return
    if as_json and not yes:
        raise Failure("--json asks nothing: add --yes to apply.", USAGE)
    confirm(f"Apply {len(made.changes)} changes?", yes)
    result = api.apply(fleet, made, lambda line: click.echo(line, err=True))
    if as_json:
        emit({"plan": made.as_json(), **result.as_json()}, as_json=True)
    else:
        _show_result(result)
    if not result.ok:
        click.get_current_context().exit(FAILED)


@dns.command()
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(min=0),
    default=api.VERIFY_TIMEOUT,
    show_default=True,
    help="Seconds to wait until all servers agree.",
)
@only_option
@telling_fleet_option
@json_option
@clear_errors
def verify(fleet: Fleet, timeout: float, only: Only | None, as_json: bool) -> None:
    """Ask every authoritative server over IPv4 and IPv6, and confirm the reverse DNS."""
    refuse_outside_lab(fleet)
    desired = api.claims(fleet, only)
    result = api.verify(fleet, desired, timeout, lambda line: click.echo(line, err=True))
    if as_json:
        emit(result.as_json(), as_json=True)
    else:
        click.echo(report.report_text(result))
    if not result.ok:
        click.get_current_context().exit(FAILED)


def _make(fleet: Fleet, options: Options, only: Only | None, *, offline: bool = False) -> Plan:
    desired = api.claims(fleet, only)
    if offline:
        seen = api.nothing(desired)
    else:
        refuse_outside_lab(fleet)
        seen = api.observe(fleet, desired)
    return api.plan(fleet, desired, seen, options, only)


def _read(file: Path) -> Plan:
    try:
        return Plan.from_json(json.loads(file.read_text()))
    except (OSError, ValueError) as error:
        raise PlanFileError(
            f"{file} is not a plan ({error}). Make one: mailfleet dns plan --out {file}"
        ) from error
    except PlanFileError as error:
        raise PlanFileError(f"{file}: {error}") from error


def _show_result(result: api.Applied) -> None:
    written = sum(result.written.values())
    already = f", {result.already} were so already" if result.already else ""
    click.echo(f"{written} changes in {len(result.written)} zones{already}.")
    for zone, error in sorted(result.failed.items()):
        click.echo(f"✗ {zone}: {error}", err=True)
    if result.failed:
        click.echo("The other zones are done. Run it again to go on.", err=True)
