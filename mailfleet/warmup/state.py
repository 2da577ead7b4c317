"""The warm-up of one sender as it is remembered on that host, in warmup.json.

The state is what its history says: `State.after` is the only way to a new one. The file repeats
the latest entry in fields of its own, for people who read it and to notice a file that was damaged
or edited by halves.
"""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PATH = "/var/lib/mailfleet/warmup.json"

# Entries kept, one a day: longer than providers remember an address (about 30 days) and than any
# built-in schedule.
HISTORY = 120

Action = Literal["start", "advance", "hold", "lower", "pause", "resume"]


class DamagedState(ValueError):
    """warmup.json does not hold a state; the message says why."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pause(_Value):
    """Nothing leaves through the paced transports until somebody resumes."""

    since: dt.date
    reason: str = Field(min_length=1)


class Entry(_Value):
    """What was decided on one calendar day; a later decision of the same day replaces it."""

    date: dt.date
    day: int = Field(ge=1, description="Day of the schedule that was in force.")
    cap: int = Field(ge=1, description="Recipients a day by the schedule (a pause sends none).")
    schedule: str
    pause: Pause | None = None
    action: Action
    reason: str


class State(_Value):
    """Where a sender is in its schedule. Dates are calendar days, UTC."""

    version: Literal[1] = 1
    host: str
    started: dt.date
    schedule: str
    date: dt.date
    day: int
    cap: int
    pause: Pause | None
    history: tuple[Entry, ...] = Field(min_length=1, max_length=HISTORY)

    @model_validator(mode="after")
    def _agrees_with_its_history(self) -> Self:
        days = [entry.date for entry in self.history]
        if any(earlier >= later for earlier, later in itertools.pairwise(days)):
            raise ValueError("the days of the history are not in order")
        if days[0] < self.started:
            raise ValueError("the history begins before the start")
        last = self.history[-1]
        for name in ("date", "day", "cap", "schedule", "pause"):
            if getattr(self, name) != getattr(last, name):
                raise ValueError(f"{name} differs from the last entry of the history")
        if last.day > (last.date - self.started).days + 1:
            raise ValueError("it is on a later day of the schedule than the calendar allows")
        return self

    @property
    def cap_in_force(self) -> int:
        """Recipients a day that may leave now: 0 while it is paused."""
        return 0 if self.pause else self.cap

    @classmethod
    def beginning(cls, host: str, entry: Entry) -> State:
        """The state of a sender with one entry, its first.

        An address that begins on a later day than 1, because it is warm, counts as started so
        many days earlier.
        """
        return cls.of(host, entry.date - dt.timedelta(days=entry.day - 1), (entry,))

    def after(self, entry: Entry) -> State:
        """The state once an entry is added; one of the same day replaces the one before.

        Raises ValueError for an entry that lies before the last one.
        """
        kept = self.history[:-1] if entry.date == self.date else self.history
        return self.of(self.host, self.started, (*kept, entry)[-HISTORY:])

    @classmethod
    def of(cls, host: str, started: dt.date, history: tuple[Entry, ...]) -> State:
        """The state of a sender with that history, which is not empty."""
        last = history[-1]
        return cls(
            host=host,
            started=started,
            schedule=last.schedule,
            date=last.date,
            day=last.day,
            cap=last.cap,
            pause=last.pause,
            history=history,
        )

    def dump(self) -> str:
        """The text of warmup.json."""
        return self.model_dump_json(indent=2) + "\n"


def parse(text: str, host: str) -> State:
    """The state in the text of a warmup.json. Raises DamagedState.

    A file of another host counts as damaged: an address must not inherit the standing of the
    machine that its disk was copied from.
    """
    try:
        state = State.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise DamagedState(f"{where}: {message}" if where else message) from None
    if state.host != host:
        raise DamagedState(f"it belongs to {state.host}, not to {host}")
    return state
