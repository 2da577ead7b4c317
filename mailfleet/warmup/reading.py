"""What was read from a sender, as a plain value, and what it means for a deploy."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict

from mailfleet.fleet.model import Fleet, Host
from mailfleet.warmup.controller import Plan
from mailfleet.warmup.parameters import parameters
from mailfleet.warmup.schedule import pool_of, schedule_of
from mailfleet.warmup.state import DamagedState, State, parse


class Reading(BaseModel):
    """One look at a sender. Its `text` is warmup.json, None where there is none.

    `known` is the SHA-256 of that file. `stamp` is the configuration that Postfix is known to
    run, `digest` the one on disk, both as `mailfleet.hosts.files.digest` gives them; `stamp` is
    empty when nothing is known.
    """

    model_config = ConfigDict(frozen=True)

    date: dt.date
    text: str | None = None
    known: str = ""
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
