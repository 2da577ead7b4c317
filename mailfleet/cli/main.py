"""The `mailfleet` command: one group, one module a noun."""

from __future__ import annotations

from importlib import import_module

import click

# Noun to the module and attribute of its command, imported only when it is called: checkdmarc,
# pyinfra and the provider SDKs are slow to import.
COMMANDS = {
    "check": "mailfleet.cli.fleet:check",
    "hosts": "mailfleet.cli.fleet:hosts",
    "schema": "mailfleet.cli.fleet:schema",
    "init": "mailfleet.cli.fleet:init",
    "render": "mailfleet.cli.render:render",
    "deploy": "mailfleet.cli.deploy:deploy",
    "up": "mailfleet.cli.up:up",
    "dns": "mailfleet.cli.dns:dns",
    "warmup": "mailfleet.cli.warmup:warmup",
    "lab": "mailfleet.cli.lab:lab",
}


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        target = COMMANDS.get(name)
        if target is None:
            return None
        module, attribute = target.split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mailfleet")
def main() -> None:
    """Fleets of mail servers as code: hosts, DNS and the warm-up of new sending addresses."""
