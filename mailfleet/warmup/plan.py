"""What a run does on one sender: a pure function of the fleet, a reading and a wish."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mailfleet.fleet.model import Fleet, Host
from mailfleet.warmup import controller
from mailfleet.warmup.controller import CLOCK_TOLERANCE, Decision
from mailfleet.warmup.parameters import parameters
from mailfleet.warmup.reading import Reading, parameters_in_force, plan_of
from mailfleet.warmup.state import Action, DamagedState, State
from mailfleet.warmup.transports import transports


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Wish(_Value):
    """What somebody asks for: the scheduled run, or one of the commands of a person.

    `explicit` says that a person chose `today`; else it comes from a clock, which must agree with
    the host's before the schedule goes on. `day` is for `start`.
    """

    action: Literal["run", "pause", "resume", "start"] = "run"
    today: dt.date
    explicit: bool = False
    reason: str = ""
    day: int = 1


class Change(_Value):
    """One parameter of main.cf that differs."""

    name: str
    old: str
    new: str


class Standing(_Value):
    """Where a sender is in its schedule. `cap` is in recipients a day, 0 while it is paused."""

    started: dt.date
    last_run: dt.date
    day: int
    cap: int
    paused: str | None


class HostPlan(_Value):
    """Where a sender is, and what a run makes of it.

    `problem` means that nothing can be done there; a `remedy`, that something could but a person
    has to look, and what to do. `drift` is where main.cf is not what the state before says.
    `changes` are made to main.cf; `state` is the new text of warmup.json, None leaves it as it
    is. `lower_first` is the order of the two, see `mailfleet.warmup.apply`.
    """

    host: str
    pool: str
    schedule: str
    target: int
    today: dt.date
    problem: str | None = None
    remedy: str = ""
    running: bool = False
    before: Standing | None = None
    after: Standing | None = None
    cap: int = 0
    action: Action = "hold"
    reason: str = ""
    parameters: dict[str, str] = {}
    drift: tuple[Change, ...] = ()
    changes: tuple[Change, ...] = ()
    state: str | None = None
    known: str = ""
    lower_first: bool = True
    reload: bool = False

    @property
    def nothing_to_do(self) -> bool:
        """Whether the host is as it should be."""
        return self.problem is None and not (self.changes or self.reload or self.state)


def make_plan(fleet: Fleet, host: Host, reading: Reading | None, wish: Wish) -> HostPlan:
    """What to do on a sender. Raises LookupError for one without a pool or schedule."""
    goal = plan_of(fleet, host)
    empty = HostPlan(
        host=host.name,
        pool=host.pool or "",
        schedule=goal.schedule.name,
        target=goal.target,
        today=wish.today,
    )
    problem = _problem(fleet, host, reading)
    if reading is None or problem:
        return empty.model_copy(update={"problem": problem})
    state = reading.state(host.name)
    before = _standing(state)
    decision = _decision(fleet, host, reading, wish)
    wanted = parameters(fleet, host, decision.cap)
    changes = _changes(reading, wanted)
    text = None
    if decision.state is not None and decision.state != state:
        text = decision.state.dump()
    return empty.model_copy(
        update={
            "remedy": decision.remedy,
            "running": reading.running,
            "before": before,
            "after": _standing(decision.state) or before,
            "cap": decision.cap,
            "action": decision.action,
            "reason": decision.reason,
            "parameters": reading.parameters,
            "drift": _changes(reading, parameters_in_force(fleet, host, reading)),
            "changes": changes,
            "state": text,
            "known": reading.known,
            "lower_first": before is None or decision.cap < before.cap,
            "reload": reading.running
            and bool(changes or (reading.stamp and reading.stamp != reading.digest)),
        }
    )


def _problem(fleet: Fleet, host: Host, reading: Reading | None) -> str | None:
    remedy = f"run `mailfleet deploy {host.region} --limit {host.name}` first"
    if reading is None:
        return f"{host.name}: the state of its warm-up could not be read"
    if not reading.installed:
        return f"{host.name}: Postfix is not set up there; {remedy}"
    missing = [name for name in transports(fleet) if name not in reading.transports]
    if missing:
        return f"{host.name}: master.cf has no transport {', '.join(missing)}; {remedy}"
    return None


def _decision(fleet: Fleet, host: Host, reading: Reading, wish: Wish) -> Decision:
    goal, state = plan_of(fleet, host), reading.state(host.name)
    if wish.action == "pause":
        return controller.pause(goal, host.name, state, wish.today, wish.reason)
    if not wish.explicit and abs(reading.date - wish.today) > CLOCK_TOLERANCE:
        return _clocks_disagree(fleet, host, reading, wish)
    if wish.action == "resume":
        return controller.resume(goal, host.name, state, wish.today)
    if wish.action == "start":
        return controller.start(goal, host.name, wish.today, wish.day)
    return controller.decide(goal, host.name, state, wish.today)


def _clocks_disagree(fleet: Fleet, host: Host, reading: Reading, wish: Wish) -> Decision:
    goal, state = plan_of(fleet, host), reading.state(host.name)
    cap = goal.lowest
    if isinstance(state, State):
        cap = min(state.cap_in_force, goal.cap_on(state.day))
    reason = f"the clocks disagree: here it is {wish.today}, on the host it is {reading.date}"
    return Decision(cap, "hold", reason, None, controller.CORRECT_CLOCK)


def _standing(state: State | DamagedState | None) -> Standing | None:
    if not isinstance(state, State):
        return None
    return Standing(
        started=state.started,
        last_run=state.date,
        day=state.day,
        cap=state.cap_in_force,
        paused=state.pause.reason if state.pause else None,
    )


def _changes(reading: Reading, wanted: dict[str, str]) -> tuple[Change, ...]:
    return tuple(
        Change(name=name, old=reading.parameters.get(name, ""), new=value)
        for name, value in wanted.items()
        if reading.parameters.get(name) != value
    )
