"""Warm-up schedules: which daily cap a sending address has on which day of its life."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from mailfleet.fleet.model import Fleet, Host, Pool


@dataclass(frozen=True)
class Stage:
    """A run of days. `cap` recipients a day; None ramps from the stage before to the target."""

    days: int
    cap: int | None


@dataclass(frozen=True)
class Schedule:
    """Stages in order; when they are over the cap is the pool's target."""

    name: str
    stages: tuple[Stage, ...]

    @property
    def length(self) -> int:
        """Days until the target is reached for good."""
        return sum(stage.days for stage in self.stages)


# Weeks of 200, 800 and 2,500 a day, then up to the normal volume within the fourth.
FOUR_WEEK = Schedule("four-week", (Stage(7, 200), Stage(7, 800), Stage(7, 2500), Stage(7, None)))

BUILT_IN = {FOUR_WEEK.name: FOUR_WEEK}


class UnknownSchedule(LookupError):
    """A pool names a schedule that is neither built in nor in `warmup.schedules`."""


def schedules(fleet: Fleet) -> dict[str, Schedule]:
    """Every schedule by name: the built-in ones and those of fleet.yml, which win."""
    own = {
        name: Schedule(name, tuple(Stage(span.days, span.cap) for span in spans))
        for name, spans in fleet.warmup.schedules.items()
    }
    return BUILT_IN | own


def schedule_of(fleet: Fleet, pool: Pool) -> Schedule:
    """The schedule that a pool follows. Raises UnknownSchedule."""
    known = schedules(fleet)
    if pool.schedule not in known:
        raise UnknownSchedule(
            f"schedule {pool.schedule!r} is unknown; known are {', '.join(sorted(known))}"
        )
    return known[pool.schedule]


def pool_of(fleet: Fleet, host: Host) -> Pool:
    """The pool of a sender. Raises LookupError for a host that has none."""
    if host.pool is None or host.pool not in fleet.pools:
        raise LookupError(f"{host.name} is in no pool of fleet.yml (pool: {host.pool})")
    return fleet.pools[host.pool]


def cap_on(schedule: Schedule, target: int, day: int) -> int:
    """Recipients that may be sent to on a day (1 is the first) of the schedule.

    Never above the target, also where a stage says more. A ramp is geometric: the same factor
    every day, from the stage before it to the target, which it reaches on its last day.
    """
    day = max(day, 1)
    first = 1
    before = 1
    for stage in schedule.stages:
        if day < first + stage.days:
            if stage.cap is not None:
                return min(stage.cap, target)
            last = first + stage.days - 1
            if day == last:
                return target
            part = (day - first + 1) / stage.days
            return min(target, max(before, int(before * (target / before) ** part)))
        first += stage.days
        before = before if stage.cap is None else stage.cap
    return target


def lowest_cap(schedule: Schedule, target: int) -> int:
    """The least that the schedule ever allows: what holds while nothing can be trusted."""
    # Within a stage the cap stays or ramps, so its first and last day are enough.
    ends = itertools.accumulate((stage.days for stage in schedule.stages), initial=0)
    days = {day for end in ends for day in (end, end + 1)}
    return min(cap_on(schedule, target, day) for day in days)
