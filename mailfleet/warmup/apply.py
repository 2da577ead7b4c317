"""Carrying out a `HostPlan`: warmup.json, main.cf and a reload, in one command and in an order
that is safe to break off anywhere.

What Postfix allows must never be above what the state says. So the state comes first when the cap
rises, and main.cf with its reload comes first when it falls. Whatever is missing after an
interruption is a difference that the next run finds: state and main.cf are compared with what they
should be, and the stamp of the running configuration says `stale` from before the first change
until after the reload.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation

from mailfleet.hosts import changes
from mailfleet.hosts.facts import RUN, quoted
from mailfleet.hosts.files import File, digest
from mailfleet.hosts.scripts import LOCK_SECONDS
from mailfleet.warmup.observe import digest_script
from mailfleet.warmup.plan import HostPlan
from mailfleet.warmup.state import PATH


@dataclass(frozen=True)
class Service:
    """Postfix on a host: its unit, the paths it is reloaded for, and what it is restarted for.

    `restarts` may be lines of a file instead of the whole.
    """

    unit: str
    watches: tuple[str, ...]
    restarts: tuple[File, ...] = ()


@operation(is_idempotent=True)
def hold_to(plan: HostPlan, service: Service) -> Generator[StringCommand, None, None]:
    """Bring a sender to its plan.

    Fails, after doing what is safe, where the plan says that a person has to look.
    """
    if plan.problem is not None:
        yield _failure(plan.problem)
        return
    if not plan.nothing_to_do:
        for change in plan.changes:
            changes.announce("file", f"main.cf {change.name}", f"{change.old} -> {change.new}")
        yield StringCommand(script(plan, service), _stdin=plan.state or "")
    if plan.remedy:
        yield _failure(f"{plan.host}: {plan.reason}; it is held at {plan.cap} a day: {plan.remedy}")


def _failure(message: str) -> StringCommand:
    return StringCommand(f"echo {quoted([message])} >&2; exit 1")


def script(plan: HostPlan, service: Service) -> str:
    """The shell script that carries out a plan; the new warmup.json is its input."""
    remember = ["remember"] if plan.state is not None else []
    configure = _configure(plan, service) if plan.changes else []
    reload = _reload(service) if plan.reload else []
    steps = (
        [*configure, *reload, *remember] if plan.lower_first else [*remember, *configure, *reload]
    )
    return "\n".join([*_prologue(plan), *steps])


def _prologue(plan: HostPlan) -> list[str]:
    new = PATH.rpartition("/")[0] + "/.warmup.json.mailfleet-new"
    lines = [
        "LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin; umask 077",
        f"mkdir -p -m 0700 {RUN} || exit 1",
        f"mkdir -p -m 0755 {PATH.rpartition('/')[0]} || exit 1",
        f"exec 9>{RUN}/lock || exit 1",
        f"flock -w {LOCK_SECONDS} 9 || "
        f"{{ echo 'another mailfleet run has held {RUN}/lock for {LOCK_SECONDS} s' >&2; exit 1; }}",
        f"trap 'rm -f {new}' EXIT; trap 'exit 143' HUP INT TERM PIPE",
        f"cat >{new} || exit 1",
        # Compare and set: another control machine may have been here since the state was read.
        f"known=$(if [ -e {PATH} ]; then sha256sum <{PATH} | cut -c1-64; fi)",
        f'[ "$known" = "{plan.known}" ] || {{ echo "{PATH} has changed since it was read: '
        'another run was here; run again" >&2; exit 1; }',
    ]
    if plan.state is not None:
        keep = (
            f"cp -p {PATH} {PATH}.damaged || return 1; " if plan.known and not plan.before else ""
        )
        lines.append(
            f"remember() {{ {keep}chmod 644 {new} && sync {new} && mv -fT {new} {PATH} && "
            f"sync {PATH.rpartition('/')[0]}; }}"
        )
    return lines


def _configure(plan: HostPlan, service: Service) -> list[str]:
    """Set the parameters in one rewrite of main.cf, read them back, or put main.cf back."""
    stamp = f"{RUN}/{service.unit}.digest"
    names = [change.name for change in plan.changes]
    pairs = [f"{change.name}={change.new}" for change in plan.changes]
    expected = "".join(f"{change.name} = {change.new}\n" for change in plan.changes)
    return [
        _rest(service),
        f'echo "stale $rest" >{stamp}.new && mv -f {stamp}.new {stamp} || exit 1',
        f"cp -p /etc/postfix/main.cf {RUN}/main.cf.before || exit 1",
        f'undo() {{ echo "$1; main.cf is as it was" >&2; '
        f"cp -p {RUN}/main.cf.before /etc/postfix/.main.cf.mailfleet-new && "
        "mv -f /etc/postfix/.main.cf.mailfleet-new /etc/postfix/main.cf; exit 1; }",
        f"postconf -e {quoted(pairs)} 2>&1 || undo 'postconf could not change main.cf'",
        f'is=$(postconf {quoted(names)} 2>/dev/null | sed "s/[[:space:]]*$//" | sort); ',
        f"wanted=$(printf %s {quoted([expected])} | sed 's/[[:space:]]*$//' | sort)",
        '[ "$is" = "$wanted" ] || undo "postconf reads back other values: $is"',
        "postfix check >&2 || undo 'postfix check refused the new main.cf'",
        f"rm -f {RUN}/main.cf.before",
    ]


def _reload(service: Service) -> list[str]:
    """Have Postfix read main.cf, then note in the stamp what it runs."""
    stamp = f"{RUN}/{service.unit}.digest"
    return [
        _rest(service),
        f"now=$({digest_script(service.watches)})",
        f"systemctl reload -- {service.unit} || exit 1",
        f'echo "$now $rest" >{stamp}.new && mv -f {stamp}.new {stamp} || exit 1',
    ]


def _rest(service: Service) -> str:
    """Take over what the stamp says of the last restart.

    Without a stamp Postfix was started by the boot, from what is on disk.
    """
    lines = ((file.path, line) for file in service.restarts for line in file.content.splitlines())
    tests = [f"grep -qsxF -- {quoted([line])} {path}" for path, line in lines]
    return (
        f'rest=$(cut -s -d" " -f2 <{RUN}/{service.unit}.digest 2>/dev/null); '
        f'if [ -z "$rest" ]; then rest=unknown; '
        f"if {' && '.join(tests) or 'true'}; then rest={digest(service.restarts)}; fi; fi"
    )
