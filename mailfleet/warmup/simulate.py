"""What a schedule will do, day by day, without any host."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from mailfleet.fleet.model import Fleet
from mailfleet.warmup.parameters import delays
from mailfleet.warmup.schedule import cap_on, schedule_of


@dataclass(frozen=True)
class SimulatedDay:
    """One day of a sender of a pool.

    `cap` is in recipients a day. `delays` are seconds between two deliveries of a transport, None
    where its part of the cap is too small to be paced and its mail waits.
    """

    pool: str
    day: int
    date: dt.date
    cap: int
    delays: dict[str, int | None]


def simulate(fleet: Fleet, pool: str, start: dt.date, days: int) -> Iterator[SimulatedDay]:
    """The first days of a sender of a pool. Raises LookupError for an unknown pool or schedule."""
    goal = fleet.pools[pool]
    schedule = schedule_of(fleet, goal)
    for day in range(1, days + 1):
        cap = cap_on(schedule, goal.target, day)
        yield SimulatedDay(pool, day, start + dt.timedelta(days=day - 1), cap, delays(fleet, cap))
