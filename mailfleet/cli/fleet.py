"""`mailfleet init`, `check`, `hosts` and `schema`: the fleet files themselves, offline."""

from __future__ import annotations

from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailfleet.cli.common import (
    USAGE,
    Failure,
    directory_option,
    emit,
    fleet_option,
    json_option,
    print_table,
)
from mailfleet.fleet.errors import Problem
from mailfleet.fleet.load import inspect
from mailfleet.fleet.model import Fleet, Host
from mailfleet.fleet.new import write_skeleton
from mailfleet.fleet.schema import fleet_schema
from mailfleet.fleet.validate import count, did_you_mean, words


@click.command()
@directory_option
@json_option
@click.pass_context
def check(ctx: click.Context, directory: Path, as_json: bool) -> None:
    """Validate fleet.yml, the inventories and the recipient files, offline.

    Shows every problem at once. Exit code 2 when there are errors; warnings are allowed.
    """
    fleet, problems = inspect(directory)
    errors = sum(problem.is_error for problem in problems)
    if as_json:
        result = {"errors": errors, "warnings": len(problems) - errors, "problems": problems}
        emit(result, as_json)
    else:
        _show(problems)
        click.echo(_summary(fleet, directory, errors, len(problems) - errors))
    if errors:
        ctx.exit(USAGE)


def _show(problems: tuple[Problem, ...]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        for problem in problems:
            click.echo(str(problem))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("where", no_wrap=True)  # whole, so that a terminal makes it a link
    for name in ("who", "field", "found", "accepted"):
        table.add_column(name, overflow="fold")
    for problem in problems:
        accepted = Text(problem.accepted)
        if problem.hint:
            accepted.append(f"\n{problem.hint}", style="italic")
        style = "red" if problem.is_error else "yellow"
        where = Text(f"{problem.severity}\n{problem.place}", style=style)
        cells = (Text(problem.subject), Text(problem.field), Text(problem.found), accepted)
        table.add_row(where, *cells)
    if problems:
        console.print(table)


def _summary(fleet: Fleet | None, directory: Path, errors: int, warnings: int) -> str:
    counts = f"{count(errors, 'error')}, {count(warnings, 'warning')}"
    if fleet is None:
        return f"{directory}: {counts}"
    size = (
        f"{count(len(fleet.hosts), 'host')} in {count(len(fleet.regions), 'region')}, "
        f"{count(len(fleet.domains), 'domain')}"
    )
    return f"{fleet.general.name}: {size}: {counts}"


@click.command()
@click.argument("region", required=False)
@fleet_option
@json_option
def hosts(region: str | None, fleet: Fleet, as_json: bool) -> None:
    """Who is in the fleet, or in one REGION of it."""
    if region is not None and region not in fleet.regions:
        hint = did_you_mean(region, fleet.regions)
        raise Failure(
            f'unknown region "{region}"; known are {words(fleet.regions)}. {hint}'.rstrip(), USAGE
        )
    chosen = [host for host in fleet.hosts if region in (None, host.region)]
    if as_json:
        emit(chosen, as_json)
        return
    print_table(
        ("host", "role", "region", "IPv4", "IPv6", "Debian", "pool"),
        [_row(host) for host in chosen],
    )


def _row(host: Host) -> tuple[str, ...]:
    ipv6 = str(host.ipv6) if host.ipv6 else "-"
    return (
        host.name,
        host.role.value,
        host.region,
        str(host.ipv4),
        ipv6,
        str(host.debian),
        host.pool or "-",
    )


@click.command()
@json_option
def schema(as_json: bool) -> None:
    """JSON Schema of fleet.yml (draft 2020-12), for editors.

    Save it next to fleet.yml and put this into the first line of fleet.yml:

    \b
    # yaml-language-server: $schema=fleet.schema.json
    """
    emit(fleet_schema(), as_json=True)  # JSON either way


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def init(directory: Path) -> None:
    """Write a new fleet directory DIR to start from; it must be empty or not exist."""
    try:
        written = write_skeleton(directory)
    except FileExistsError as error:
        raise Failure(f"{error}. Choose a new or an empty directory.", USAGE) from error
    except OSError as error:
        raise Failure(f"cannot write {error.filename}: {error.strerror}", USAGE) from error
    for path in written:
        click.echo(directory / path)
    click.echo(
        f"\nEdit {directory / 'fleet.yml'} and {directory / 'inventories'}, then:\n"
        f"  mailfleet check --fleet {directory}"
    )
