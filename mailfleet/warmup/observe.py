"""What a sender says of its warm-up: its state file, and what its Postfix has and runs."""

from __future__ import annotations

import datetime as dt
from base64 import b64decode
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from pyinfra.api import FactBase

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts.facts import RUN, quoted
from mailfleet.warmup.controller import Plan
from mailfleet.warmup.parameters import parameters
from mailfleet.warmup.schedule import pool_of, schedule_of
from mailfleet.warmup.state import PATH, DamagedState, State, parse


class Reading(BaseModel):
    """One look at a sender. `text` is warmup.json, None where there is none.

    `stamp` is what Postfix is known to run, `digest` is what is on disk, both as
    `mailfleet.hosts.files.digest` gives it.
    """

    model_config = ConfigDict(frozen=True)

    date: dt.date
    text: str | None = None
    installed: bool = False
    running: bool = False
    parameters: dict[str, str] = {}
    transports: tuple[str, ...] = ()
    stamp: str = ""
    digest: str = ""

    def state(self, host: str) -> State | DamagedState | None:
        """The state in warmup.json, or why it cannot be one; None where there is no file."""
        if self.text is None:
            return None
        try:
            return parse(self.text, host)
        except DamagedState as error:
            return error


def digest_script(paths: Sequence[str]) -> str:
    """Shell words that print `mailfleet.hosts.files.digest` of files as they are on disk."""
    return (
        f"for f in {quoted(sorted(paths))}; do "
        'printf "%s %s\\n" "$(stat -c "%n %U %G %a" -- "$f")" '
        '"$(sha256sum <"$f" | cut -c1-64)"; done 2>/dev/null | sha256sum | cut -c1-64'
    )


class WarmupState(FactBase[Reading | None]):
    """The state of a sender and its Postfix in one command. None is a read that failed.

    + names: parameters of main.cf to read
    + unit: the systemd unit of Postfix, for whether it runs, and what
    + watches: the files whose digest its stamp has
    """

    def command(
        self, names: Sequence[str] = (), unit: str = "", watches: Sequence[str] = ()
    ) -> str:
        lines = [
            "LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin",
            "date -u '+date %Y-%m-%d'",
            f'if [ -e {PATH} ]; then printf "state "; base64 -w0 {PATH} || exit 1; echo; fi',
            "if command -v postconf >/dev/null && [ -s /etc/postfix/main.cf ]; then",
            "echo installed yes",
            f"postconf {quoted(names)} 2>/dev/null | sed 's/^/parameter /'" if names else ":",
            "postconf -M 2>/dev/null | sed 's/^/service /'",
            "fi",
        ]
        if unit:
            lines += [
                f'echo "active $(systemctl is-active -- {quoted([unit])} 2>/dev/null)"',
                f'echo "stamp $(cat {RUN}/{unit}.digest 2>/dev/null)"',
                f'echo "digest $({digest_script(watches)})"',
            ]
        return "\n".join([*lines, "echo mailfleet-warmup"])

    def process(self, output: list[str]) -> Reading | None:
        if not output or output[-1] != "mailfleet-warmup":
            return None
        found: dict[str, str] = {}
        read: dict[str, str] = {}
        services = []
        for line in output[:-1]:
            word, _, rest = line.partition(" ")
            if word == "parameter":
                name, _, value = rest.partition("=")
                read[name.strip()] = value.strip()
            elif word == "service":
                services.append(rest.split()[0])
            else:
                found[word] = rest
        text = b64decode(found["state"]).decode(errors="replace") if "state" in found else None
        return Reading(
            date=dt.date.fromisoformat(found["date"]),
            text=text,
            installed="installed" in found,
            running=found.get("active", "") == "active",
            parameters=read,
            transports=tuple(services),
            stamp=found.get("stamp", "").partition(" ")[0],
            digest=found.get("digest", ""),
        )


def plan_of(fleet: Fleet, host: Host) -> Plan:
    """What the pool of a sender wants. Raises LookupError as `pool_of` and `schedule_of` do."""
    pool = pool_of(fleet, host)
    return Plan(schedule_of(fleet, pool), pool.target)


def parameters_in_force(fleet: Fleet, host: Host, reading: Reading | None) -> dict[str, str]:
    """The parameters a deploy renders into main.cf: those of the stage the host is in.

    A host that has never been run, and one without a reading (offline rendering), gets the first
    day of its schedule, one with a damaged state the lowest cap of it.
    """
    state = reading.state(host.name) if reading else None
    plan = plan_of(fleet, host)
    if state is None:
        return parameters(fleet, host, None)
    if isinstance(state, DamagedState):
        return parameters(fleet, host, plan.lowest)
    return parameters(fleet, host, min(state.cap_in_force, plan.cap_on(state.day)))
