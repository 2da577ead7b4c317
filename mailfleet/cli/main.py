"""The `mailfleet` command: one group, one module a noun."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

from mailfleet.cli.common import (
    FAILED,
    INTERRUPTED,
    USAGE,
    Group,
    Invocation,
    emit,
    show_problems,
)
from mailfleet.fleet.errors import FleetError


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


class LazyGroup(Group):
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
        if sys.stdout is None:  # `>&-`
            click.echo("Error: standard output is closed; nothing was done.", err=True)
            sys.exit(FAILED)
        invocation = Invocation()
        words = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in words[: words.index("--") if "--" in words else None]

        def fail(code: int, document: dict[str, Any]) -> NoReturn:
            if as_json and not invocation.emitted:
                try:
                    emit({**document, "exit_code": code}, True)
                except OSError as error:
                    _lost_output(error)
            sys.exit(code)

        try:
            extra.setdefault("obj", invocation)
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.Abort as abort:
            interrupted = isinstance(abort.__context__, KeyboardInterrupt)
            text = "interrupted" if interrupted else "stopped, nothing more was done"
            click.echo(text, err=True)
            fail(INTERRUPTED if interrupted else FAILED, {"error": text})
        except click.ClickException as error:
            error.show()
            fail(error.exit_code, {"error": error.format_message()})
        except FleetError as error:
            show_problems(error)
            fail(USAGE, {"problems": error.problems})
        except Exception as error:
            if isinstance(error, OSError) and error.filename is None:
                try:
                    click.echo()  # Is that what failed? An empty line hurts no document.
                except OSError as again:
                    _lost_output(again)
            if os.environ.get("MAILFLEET_DEBUG") == "1":
                raise
            text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
            click.echo(
                f"Error: {text}\nThis is a fault in mailfleet; MAILFLEET_DEBUG=1 shows where.",
                err=True,
            )
            fail(FAILED, {"error": text})
        sys.exit(code if isinstance(code, int) else 0)


def _lost_output(error: OSError) -> NoReturn:
    """End a command whose standard output takes nothing (a full disk)."""
    # Else Python tries again at its end, and complains.
    # https://docs.python.org/3/library/signal.html#note-on-sigpipe
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    click.echo(f"Error: cannot write to standard output: {error.strerror}", err=True)
    sys.exit(FAILED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mailfleet")
def main() -> None:
    """Fleets of mail servers as code: hosts, DNS and the warm-up of new sending addresses."""
