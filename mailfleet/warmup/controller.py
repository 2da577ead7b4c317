"""Which daily cap a sender has today, and why: a pure function of schedule, state and day.

The day of the schedule goes on by the calendar days since the last decision. Days that were spent
paused do not count, a second run on the same day changes nothing, and whatever cannot be trusted
(a damaged state, one from the future) leads to a lower cap, never to a higher one.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from mailfleet.warmup.schedule import Schedule, cap_on, lowest_cap
from mailfleet.warmup.state import PATH, Action, DamagedState, Entry, Pause, State

# Two control machines on either side of midnight may differ by a day; more is a clock to repair.
CLOCK_TOLERANCE = dt.timedelta(days=1)


@dataclass(frozen=True)
class Plan:
    """What a pool wants of its senders: a schedule, and the recipients a day at its end."""

    schedule: Schedule
    target: int

    def cap_on(self, day: int) -> int:
        """Recipients on a day of the schedule, 1 is the first."""
        return cap_on(self.schedule, self.target, day)

    @property
    def lowest(self) -> int:
        """The lowest cap the schedule has: what holds while nothing is known."""
        return lowest_cap(self.schedule, self.target)


@dataclass(frozen=True)
class Decision:
    """What holds for a sender today.

    `cap` is in recipients a day, 0 while it is paused. `state` is what the host shall remember;
    None leaves its file alone. A `remedy` means that a person has to look, and says what to do.
    """

    cap: int
    action: Action
    reason: str
    state: State | None
    remedy: str = ""


def begin_anew(host: str) -> str:
    """The way out when a state cannot be trusted."""
    return f"see {PATH} there, then begin on a day you trust: mailfleet warmup start {host} --day N"


CORRECT_CLOCK = "correct the clock that is wrong, or choose the day with --today"


def _entry(
    plan: Plan, today: dt.date, day: int, action: Action, reason: str, *, pause: Pause | None = None
) -> Entry:
    return Entry(
        date=today,
        day=day,
        cap=plan.cap_on(day),
        schedule=plan.schedule.name,
        pause=pause,
        action=action,
        reason=reason,
    )


def start(plan: Plan, host: str, today: dt.date, day: int = 1) -> Decision:
    """Begin, or begin again, on a day of the schedule (1 is the first), whatever was before."""
    reason = f"started on day {day}" if day > 1 else "first day"
    state = State.beginning(host, _entry(plan, today, day, "start", reason))
    return Decision(state.cap, "start", reason, state)


def decide(plan: Plan, host: str, state: State | DamagedState | None, today: dt.date) -> Decision:
    """The decision of a scheduled run on a host whose state was read (None: it has no file)."""
    if state is None:
        return start(plan, host, today)
    if isinstance(state, DamagedState):
        return Decision(
            plan.lowest, "hold", f"the state is damaged: {state}", None, begin_anew(host)
        )
    if today < state.started:
        reason = f"the state is from the future: it started on {state.started}, today is {today}"
        return Decision(plan.lowest, "hold", reason, None, begin_anew(host))
    if today < state.date:
        return _hold_clock(plan, state, today)
    return _go_on(plan, state, today)


def _hold_clock(plan: Plan, state: State, today: dt.date) -> Decision:
    """The clock was moved back: stay, or go lower where fleet.yml now says less."""
    cap = 0 if state.pause else min(state.cap, plan.cap_on(state.day))
    reason = f"the clock was moved back: the last run was on {state.date}, today is {today}"
    remedy = CORRECT_CLOCK if state.date - today > CLOCK_TOLERANCE else ""
    return Decision(cap, "hold", reason, None, remedy)


def _go_on(plan: Plan, state: State, today: dt.date) -> Decision:
    """A run on the day of the last one, or later."""
    if state.pause is not None:
        reason = f"paused since {state.pause.since}: {state.pause.reason}"
        entry = _entry(plan, today, state.day, "hold", reason, pause=state.pause)
        return Decision(0, "hold", reason, _remember(state, entry))
    day = state.day + (today - state.date).days
    cap = plan.cap_on(day)
    if today == state.date and cap == state.cap and plan.schedule.name == state.schedule:
        last = state.history[-1]
        return Decision(cap, last.action, last.reason, state)
    action: Action = "hold" if cap == state.cap else "advance" if cap > state.cap else "lower"
    reason = f"day {day} of {plan.schedule.name}"
    if day > plan.schedule.length:
        reason = f"{plan.schedule.name} is over, the target holds"
    if plan.schedule.name != state.schedule:
        reason += f", was {state.schedule}"
    return Decision(cap, action, reason, _remember(state, _entry(plan, today, day, action, reason)))


def _remember(state: State, entry: Entry) -> State:
    """The state with the entry, or as it is when the day has one that says the same already."""
    last = state.history[-1]
    same = {"action", "reason"}
    if last.date == entry.date and last.model_dump(exclude=same) == entry.model_dump(exclude=same):
        return state
    return state.after(entry)


def pause(
    plan: Plan, host: str, state: State | DamagedState | None, today: dt.date, reason: str
) -> Decision:
    """Stop everything that is paced, until `resume`. The schedule does not go on meanwhile."""
    stop = Pause(since=today, reason=reason)
    if state is None or isinstance(state, DamagedState):
        # Whatever was there is lost or not to be trusted: paused, and later from the first day.
        entry = _entry(plan, today, 1, "pause", reason, pause=stop)
        return Decision(0, "pause", reason, State.beginning(host, entry))
    if state.pause is not None and state.pause.reason == reason:
        return Decision(0, "pause", reason, state)
    entry = _entry(plan, max(today, state.date), state.day, "pause", reason, pause=stop)
    return Decision(0, "pause", reason, state.after(entry))


def resume(plan: Plan, host: str, state: State | DamagedState | None, today: dt.date) -> Decision:
    """Go on where the pause began. A sender that is not paused stays as it is."""
    if state is None or isinstance(state, DamagedState) or state.pause is None:
        return decide(plan, host, state, today)
    if today < state.date:
        return _hold_clock(plan, state, today)
    reason = f"resumed, was paused since {state.pause.since}: {state.pause.reason}"
    entry = _entry(plan, today, state.day, "resume", reason)
    return Decision(entry.cap, "resume", reason, state.after(entry))


def replay(host: str, started: dt.date, history: tuple[Entry, ...]) -> State:
    """The state that a history leads to. Raises IndexError for an empty one."""
    state = State.of(host, started, history[:1])
    for entry in history[1:]:
        state = state.after(entry)
    return state
