"""`mailfleet lab`: the sealed test Internet."""

from __future__ import annotations

import os
import time

import click

from mailfleet.cli import lab_mail
from mailfleet.cli.common import Group, emit, fleet_option, json_option
from mailfleet.cli.lab_demo import demo
from mailfleet.cli.lab_errors import clear_errors
from mailfleet.fleet.model import Fleet
from mailfleet.lab import requirements
from mailfleet.lab.lab import Lab
from mailfleet.lab.status import status as status_of


class Progress:
    """One line a step, with the seconds since the start, on standard error."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def __call__(self, line: str) -> None:
        click.echo(f"{time.monotonic() - self.start:6.1f}s  {line}", err=True)


@click.group(cls=Group)
def lab() -> None:
    """A sealed internet on this machine: hosts, DNS, a CA and mailbox providers."""


@lab.command()
@fleet_option
@click.option("--bare", metavar="HOST", multiple=True, help="Give this host a new, bare disk.")
@click.option("--install", is_flag=True, help="First install the Debian packages it needs.")
@clear_errors
def up(fleet: Fleet, bare: tuple[str, ...], install: bool) -> None:
    """Bring up whatever of the lab is not up; twice is harmless."""
    progress = Progress()
    if install:
        for package in requirements.install():
            progress(f"installed {package}")
    Lab(report=progress).up(fleet, bare)


@lab.command()
@click.option("--purge", is_flag=True, help="Remove the logs and the lab's directory too.")
@clear_errors
def down(purge: bool) -> None:
    """Take the lab down and throw its hosts away."""
    Lab(report=Progress()).down(purge)


@lab.command("install")
@click.option("--tests", is_flag=True, help="Install what only the tests need, too.")
@clear_errors
def install_command(tests: bool) -> None:
    """Install the Debian packages the lab needs; none of their services is started."""
    packages = requirements.install(tests)
    click.echo(f"Installed {', '.join(packages)}." if packages else "Nothing is missing.")


@lab.command()
@json_option
@clear_errors
def status(as_json: bool) -> None:
    """What is up, and where."""
    found = status_of(Lab())
    if as_json:
        emit(found.model_dump(mode="json"), as_json)
    else:
        click.echo(found.text())


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@clear_errors
def ssh(host: str, command: tuple[str, ...]) -> None:
    """Log in to HOST (a beginning of its name is enough), or run COMMAND there."""
    here = Lab()
    _become(here, ["ssh", here.host(host).name, *command])


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@clear_errors
def run(command: tuple[str, ...]) -> None:
    """Run COMMAND on the lab's control machine, in this working directory."""
    _become(Lab(), list(command))


@lab.command()
@clear_errors
def shell() -> None:
    """A shell on the lab's control machine; `exit` leaves it."""
    click.echo("This shell is on the lab's control machine; `exit` leaves it.", err=True)
    _become(Lab(), [os.environ.get("SHELL") or "/bin/sh", "-i"])


@lab.command()
@click.argument("host")
@clear_errors
def stop(host: str) -> None:
    """Shut HOST down in order."""
    Lab(report=Progress()).stop(host)


@lab.command()
@click.argument("host")
@clear_errors
def start(host: str) -> None:
    """Switch HOST on, with the disk it had."""
    Lab(report=Progress()).start(host)


@lab.command()
@click.argument("host")
@clear_errors
def kill(host: str) -> None:
    """Cut HOST's power."""
    Lab(report=Progress()).kill(host)


@lab.command()
@click.argument("host")
@clear_errors
def reset(host: str) -> None:
    """Make HOST bare again: a new disk, new SSH host keys."""
    Lab(report=Progress()).reset(host)


def _become(here: Lab, argv: list[str]) -> None:
    """Replace this process, so that signals, the terminal and the exit code are the command's."""
    command, environment = here.command(argv)
    os.execvpe(command[0], command, environment)


for _command in (*lab_mail.COMMANDS, demo):
    lab.add_command(_command)
