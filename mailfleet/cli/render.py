"""`mailfleet render`: what the hosts would get, offline."""

from __future__ import annotations

from pathlib import Path

import click

from mailfleet.cli.common import USAGE, Failure, emit, fleet_option, json_option
from mailfleet.fleet.model import Fleet
from mailfleet.hosts import rendered
from mailfleet.hosts.plan import SelectionError, select
from mailfleet.hosts.render import RenderError


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--limit", "limits", multiple=True, metavar="HOST", help="Only this host, or pattern."
)
@json_option
@fleet_option
def render(fleet: Fleet, target: Path, limits: tuple[str, ...], as_json: bool) -> None:
    """Write every file every host would get to DIR/<host>/<path>; secrets are masked."""
    try:
        hosts = select(fleet, (), limits)
        written = list(rendered.write(fleet, hosts, target))
    except (SelectionError, rendered.DirectoryInUseError, RenderError) as error:
        raise Failure(str(error), USAGE) from error
    except OSError as error:
        raise Failure(f"{target}: {error.strerror}: name a directory you may write") from error
    if as_json:
        files = [
            {
                "host": host.name,
                "path": file.path,
                "mode": file.mode,
                "user": file.user,
                "group": file.group,
                "secret": file.secret,
                "rendered": str(target / host.name / file.path.lstrip("/")),
            }
            for host, file in written
        ]
        emit({"directory": str(target), "files": files}, True)
        return
    for host in hosts:
        number = sum(each is host for each, _ in written)
        click.echo(f"{target / host.name}  {number} files ({host.role}, Debian {host.debian})")
