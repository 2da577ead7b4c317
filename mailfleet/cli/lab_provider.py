"""`mailfleet lab provider`: what a mailbox provider of the lab does with mail."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal

import click
from pydantic import ValidationError

from mailfleet.cli.common import Group, emit, json_option
from mailfleet.cli.lab_errors import clear_errors
from mailfleet.lab import mailboxes
from mailfleet.lab.lab import Lab
from mailfleet.lab.providers import behaviour
from mailfleet.lab.providers.behaviour import Behaviour, Commands, Rule
from mailfleet.lab.providers.catalogue import PROVIDERS
from mailfleet.lab.providers.replies import REPLIES

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@click.group(cls=Group, invoke_without_command=True, subcommand_metavar="[ACTION [OPTIONS]]")
@click.argument("name", metavar="NAME", type=click.Choice(sorted(PROVIDERS)))
@click.pass_context
@clear_errors
def provider(context: click.Context, name: str) -> None:
    """What the mailbox provider NAME (google, microsoft) does with mail; no ACTION shows it."""
    context.obj = name
    if context.invoked_subcommand is None:
        _show(_load(name), name, as_json=False)


@provider.command()
@json_option
@click.pass_context
@clear_errors
def show(context: click.Context, as_json: bool) -> None:
    """What it has been told; so does no ACTION."""
    _show(_load(context.obj), context.obj, as_json)


def _scope(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which messages an action is for."""
    for option in (
        click.option("--every", type=click.IntRange(min=1), default=1, help="Each so-manieth."),
        click.option("--count", type=click.IntRange(min=1), help="So many times, then no more."),
        click.option("--recipient", "recipients", multiple=True, help="For these; * and ? match."),
        click.option(
            "--address",
            "addresses",
            multiple=True,
            metavar="ADDRESS|NETWORK|HOST",
            help="From these sending addresses only.",
        ),
    ):
        command = option(command)
    return command


def _refusal(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how an action refuses."""
    for option in (
        click.option("--stage", type=click.Choice(["mail", "rcpt", "data"]), help="Where."),
        click.option("--reply", metavar="'CODE [ENHANCED] TEXT'", help="Words of your own."),
        click.option("--words", type=click.Choice(sorted(REPLIES)), help="A real provider's."),
    ):
        command = option(command)
    return command


def _action(name: str, *decorators: Decorator) -> Decorator:
    def register(command: Callable[..., Any]) -> Callable[..., Any]:
        wrapped = click.pass_context(clear_errors(command))
        for decorator in (json_option, *decorators, _scope):
            wrapped = decorator(wrapped)
        return provider.command(name)(wrapped)

    return register


@_action("accept")
def accept(context: click.Context, **scope: Any) -> None:
    """Take everything; without a scope this ends all other actions."""
    _tell(context, "accept", **scope)


@_action("defer", _refusal)
def defer(context: click.Context, **options: Any) -> None:
    """Put off with a 4xx, in the provider's words for a rate limit unless told otherwise."""
    _tell(context, "defer", **options)


@_action("reject", _refusal)
def reject(context: click.Context, **options: Any) -> None:
    """Refuse with a 5xx: a block; with --recipient, no such user."""
    _tell(context, "reject", **options)


@_action(
    "throttle",
    _refusal,
    click.option("--limit", type=click.IntRange(min=0), required=True, help="Messages a period."),
    click.option(
        "--period",
        type=click.FloatRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        help="Seconds.",
    ),
)
def throttle(context: click.Context, **options: Any) -> None:
    """Take so many messages a period from each sending address; put the rest off with a 4xx."""
    _tell(context, "throttle", **options)


@_action(
    "slow",
    click.option(
        "--delay",
        type=click.FloatRange(min=0, max=behaviour.MAX_DELAY),
        required=True,
        help="Seconds before the answer to a message.",
    ),
)
def slow(context: click.Context, **options: Any) -> None:
    """Take messages, but only after a while."""
    _tell(context, "slow", **options)


@_action("complain", click.option("--feedback", metavar="ADDRESS", help="Default: abuse@ the d=."))
def complain(context: click.Context, **options: Any) -> None:
    """Take messages, then report each as spam to the sender's feedback address (ARF)."""
    if options["feedback"]:
        mail_address("--feedback", options["feedback"])
    _tell(context, "complain", **options)


@provider.command()
@click.argument("wish", type=click.Choice(["recorded", "required"]))
@json_option
@click.pass_context
@clear_errors
def authentication(
    context: click.Context, wish: Literal["recorded", "required"], as_json: bool
) -> None:
    """Only write verdicts down, or refuse what has no PTR or is unauthenticated as well."""
    changed = _load(context.obj).model_copy(update={"authentication": wish})
    _save(changed, context.obj, as_json)


def _tell(
    context: click.Context,
    action: str,
    *,
    addresses: tuple[str, ...],
    as_json: bool,
    **fields: Any,
) -> None:
    networks = tuple(network for text in addresses for network in _networks(text))
    try:
        rule = Rule.model_validate({"action": action, "addresses": networks, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        raise click.UsageError(first["msg"].removeprefix("Value error, ")) from error
    _save(_load(context.obj).with_rule(rule), context.obj, as_json)


def _load(name: str) -> Behaviour:
    here = Lab()
    here.record()
    return behaviour.load(mailboxes.directory(here.layout, name))


def _save(changed: Behaviour, name: str, as_json: bool) -> None:
    behaviour.save(mailboxes.directory(Lab().layout, name), changed)
    _show(changed, name, as_json)


def _show(current: Behaviour, name: str, as_json: bool) -> None:
    if as_json:
        emit(current, True)
        return
    commands = Commands(mailboxes.directory(Lab().layout, name), PROVIDERS[name])
    click.echo(f"{name}: authentication is {current.authentication}")
    for rule in current.rules:
        click.echo("  " + _sentence(rule, commands))
    click.echo("  accept everything else" if current.rules else "  accept everything")


def _sentence(rule: Rule, commands: Commands) -> str:
    words: list[str] = [rule.action]
    if rule.action == "throttle":
        words.append(f"to {rule.limit} every {rule.period:g} s and address")
    if rule.action == "slow":
        words.append(f"by {rule.delay:g} s")
    if rule.action == "complain":
        words.append(f"to {rule.feedback or 'abuse@ the domain of the signature'}")
    if rule.addresses:
        words.append("from " + ", ".join(_short(network) for network in rule.addresses))
    if rule.recipients:
        words.append("for " + ", ".join(rule.recipients))
    if rule.every > 1:
        words.append(f"one message of {rule.every}")
    if rule.count:
        words.append("once" if rule.count == 1 else f"{rule.count} times")
    if rule.refuses:
        reply = commands.reply_of(rule)
        words.append(f"at {commands.stage_of(rule)}: {reply.code} {reply.enhanced}".rstrip())
        words.append(reply.lines[0])
    return " ".join(words)


def _short(network: IPv4Network | IPv6Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _networks(text: str) -> list[str]:
    try:
        return [str(ip_network(text))]
    except ValueError as error:
        if "/" in text or ":" in text or text.replace(".", "").isdigit():
            raise click.UsageError(f"--address {text}: {error}.") from error
    return [str(ip_network(address)) for address in Lab().host(text).addresses]


def mail_address(option: str, text: str) -> None:
    """Raises UsageError unless it looks like a mail address."""
    user, _, domain = text.rpartition("@")
    if not user or not domain or any(c.isspace() or c in "<>" for c in text):
        raise click.UsageError(f"{option} {text}: write an address like bob@gmail.com.")
