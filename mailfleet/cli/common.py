"""What the commands share: options, output, exit codes and the refusal to leave the lab.

Exit codes: 0 fine, 1 failed, 2 usage or bad fleet files, 3 unreachable hosts, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailfleet.fleet.addresses import in_lab, inside_lab
from mailfleet.fleet.errors import FleetError, Problem
from mailfleet.fleet.load import fleet_directory, load
from mailfleet.fleet.model import Fleet, Host
from mailfleet.fleet.validate import did_you_mean
from mailfleet.hosts.plan import SelectionError, select

FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130


class Failure(click.ClickException):
    """Ends the command with one message and an exit code (1 unless given)."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click has one a class


class Group(click.Group):
    """A group of commands that helps with a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not name.startswith("-"):
            hint = did_you_mean(name, names) or f"There are {', '.join(names)}."
            ctx.fail(f'No such command "{name}". {hint}')
        return super().resolve_command(ctx, args)


@contextmanager
def _fleet_environment(directory: Path) -> Iterator[None]:
    """Child processes (pyinfra) read the same fleet directory."""
    before = os.environ.get("MAILFLEET_FLEET")
    os.environ["MAILFLEET_FLEET"] = str(directory)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MAILFLEET_FLEET"]
        else:
            os.environ["MAILFLEET_FLEET"] = before


def directory_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--fleet DIR`; passes `directory: Path`, absolute."""

    @click.option(
        "--fleet",
        "directory",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="The fleet directory (default: MAILFLEET_FLEET, else the working directory).",
    )
    @functools.wraps(command)
    def wrapper(*args: Any, directory: Path | None, **kwargs: Any) -> Any:
        chosen = fleet_directory() if directory is None else directory.absolute()
        with _fleet_environment(chosen):
            return command(*args, directory=chosen, **kwargs)

    return wrapper


def fleet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--fleet DIR`; passes `fleet: Fleet`. Bad fleet files are shown, with exit code 2."""

    @directory_option
    @functools.wraps(command)
    def wrapper(*args: Any, directory: Path, **kwargs: Any) -> Any:
        return command(*args, fleet=load(directory), **kwargs)

    return wrapper


def telling_fleet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`fleet_option` for commands that change things: shows the warnings as well, once."""

    @directory_option
    @functools.wraps(command)
    def wrapper(*args: Any, directory: Path, **kwargs: Any) -> Any:
        return command(*args, fleet=load(directory, show_problem), **kwargs)

    return wrapper


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`; passes `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)


def _plain(value: Any) -> Any:
    """What json.dumps cannot do by itself."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


@dataclasses.dataclass
class Invocation:
    """One run of `mailfleet`, as click's `obj`: whether its one JSON document is already out."""

    emitted: bool = False


def emit(value: Any, as_json: bool) -> None:
    """Print a result on standard output: as JSON (models and dataclasses too), else as text."""
    if as_json:
        context = click.get_current_context(silent=True)
        invocation = context.find_object(Invocation) if context else None
        if invocation is not None:
            invocation.emitted = True
        click.echo(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))
    else:
        click.echo(str(value))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings: a table on a terminal, aligned plain lines in a pipe."""
    console = Console(highlight=False)
    if console.is_terminal:
        table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def show_problems(error: FleetError) -> None:
    """Every problem on standard error, one a line."""
    for problem in error.problems:
        show_problem(problem)


def show_problem(problem: Problem) -> None:
    """One line on standard error."""
    click.echo(str(problem), err=True)


regions_argument = click.argument("regions", nargs=-1, metavar="[REGION]...")
limit_option = click.option(
    "--limit", "limits", multiple=True, metavar="HOST", help="Only this host, or pattern."
)
dry_option = click.option("--dry", is_flag=True, help="Show what would change, and stop.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
today_option = click.option(
    "--today",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day to take for today in the warm-up (default: the calendar's, UTC).",
)


def chosen_hosts(
    fleet: Fleet, regions: Sequence[str], limits: Sequence[str] = ()
) -> tuple[Host, ...]:
    """The hosts of some regions that match a limit. Raises Failure (2) when one names nobody."""
    try:
        return select(fleet, regions, limits)
    except SelectionError as error:
        raise Failure(str(error), USAGE) from error


def terminal() -> bool:
    """Whether a person is there to be asked."""
    return sys.stdin.isatty()


def confirm(question: str, yes: bool) -> None:
    """Ask before a change; `yes` is the answer that `--yes` gave.

    Raises click.Abort on a no, Failure (2) when nobody is there to be asked.
    """
    if yes:
        return
    if not terminal():
        raise Failure(f"{question} Nobody is there to be asked: give --yes.", USAGE)
    click.confirm(question, abort=True, err=True)


def refuse_outside_lab(fleet: Fleet) -> None:
    """Stop before a fleet of documentation addresses meets the real network.

    Raises Failure (exit code 2) unless this is the lab, where `mailfleet lab run` puts a command.
    """
    if inside_lab():
        return
    for host in fleet.hosts:
        for address in host.addresses:
            if in_lab(address):
                raise Failure(
                    f"{host.name} has the address {address}, which exists only inside the lab. "
                    "Run this command there: mailfleet lab run -- mailfleet …, or give the hosts "
                    "their real addresses.",
                    USAGE,
                )
