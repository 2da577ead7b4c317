"""The `mailfleet` command: one group, one module a noun."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click

from mailfleet.cli.common import FAILED, INTERRUPTED, USAGE, show_problems
from mailfleet.fleet.errors import FleetError
from mailfleet.fleet.validate import did_you_mean


class Noun(NamedTuple):
    """Where a command is, and its line in the list of commands."""

    target: str
    help: str


# Imported only when called, and listed without an import: checkdmarc, pyinfra and the provider
# SDKs are slow to import.
COMMANDS = {
    "init": Noun("mailfleet.cli.fleet:init", "Write a new fleet directory to start from."),
    "check": Noun("mailfleet.cli.fleet:check", "Validate the fleet files, offline."),
    "hosts": Noun("mailfleet.cli.fleet:hosts", "Who is in the fleet."),
    "render": Noun("mailfleet.cli.render:render", "Every file a host would get, for review."),
    "up": Noun("mailfleet.cli.up:up", "Everything, in the right order, as one plan."),
    "deploy": Noun("mailfleet.cli.deploy:deploy", "Bring the hosts to their roles."),
    "dns": Noun("mailfleet.cli.dns:dns", "Mail records and PTRs: show, plan, apply, verify."),
    "warmup": Noun("mailfleet.cli.warmup:warmup", "Rate limits of new sending addresses."),
    "lab": Noun("mailfleet.cli.lab:lab", "The sealed test internet on this machine."),
    "schema": Noun("mailfleet.cli.fleet:schema", "JSON Schema of fleet.yml, for editors."),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is needed, and shows nobody a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        noun = COMMANDS.get(cmd_name)
        if noun is None:
            return None
        module, attribute = noun.target.split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            hint = did_you_mean(name, COMMANDS) or f"There are {', '.join(COMMANDS)}."
            ctx.fail(f'No such command "{name}". {hint}')
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, noun.help) for name, noun in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and turn every ending into an exit code and at most a few readable lines."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.Abort as abort:
            if isinstance(abort.__context__, KeyboardInterrupt):
                click.echo("interrupted", err=True)
                sys.exit(INTERRUPTED)
            click.echo("stopped, nothing more was done", err=True)
            sys.exit(FAILED)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except FleetError as error:
            show_problems(error)
            sys.exit(USAGE)
        except Exception as error:
            if os.environ.get("MAILFLEET_DEBUG") == "1":
                raise
            click.echo(
                f"Error: unexpected {type(error).__name__}: {' '.join(str(error).split())}\n"
                "This is a fault in mailfleet; MAILFLEET_DEBUG=1 shows where.",
                err=True,
            )
            sys.exit(FAILED)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mailfleet")
def main() -> None:
    """Fleets of mail servers as code: hosts, DNS and the warm-up of new sending addresses."""
