"""Warm-up schedules: the caps of the brief, and what holds for any schedule."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfleet.fleet.model import Pool, StageSpan
from mailfleet.warmup.schedule import (
    FOUR_WEEK,
    Schedule,
    Stage,
    UnknownSchedule,
    cap_on,
    lowest_cap,
    schedule_of,
)

rising = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 10**6)), min_size=1, max_size=6).map(
    lambda spans: Schedule(
        "own",
        tuple(
            Stage(days, cap)
            for days, cap in zip(
                [days for days, _ in spans], sorted(cap for _, cap in spans), strict=True
            )
        ),
    )
)
any_schedule = st.one_of(st.just(FOUR_WEEK), rising)
targets = st.integers(1, 10**7)


@pytest.mark.parametrize(
    ("day", "cap"),
    [(1, 200), (7, 200), (8, 800), (14, 800), (15, 2500), (21, 2500), (28, 20000), (400, 20000)],
)
def test_four_week_is_the_published_one(day, cap):
    assert cap_on(FOUR_WEEK, 20000, day) == cap


def test_the_fourth_week_grows_by_the_same_factor_every_day():
    caps = [cap_on(FOUR_WEEK, 20000, day) for day in range(21, 29)]
    factors = [later / earlier for earlier, later in itertools.pairwise(caps)]
    assert max(factors) - min(factors) < 0.001
    assert caps[-1] == 20000


@pytest.mark.parametrize("target", [1, 150, 200, 500, 2500, 2501])
def test_a_small_target_cuts_the_stages(target):
    caps = [cap_on(FOUR_WEEK, target, day) for day in range(1, 40)]
    assert max(caps) == target
    assert caps == sorted(caps)
    assert caps[0] == min(200, target)


def test_a_schedule_of_the_fleet_file_wins_and_ends_at_the_target(fleet):
    own = fleet.model_copy(
        update={
            "warmup": fleet.warmup.model_copy(
                update={"schedules": {"quick": (StageSpan(cap=50), StageSpan(cap=100, days=2))}}
            )
        }
    )
    schedule = schedule_of(own, Pool(schedule="quick", target=700))
    assert [cap_on(schedule, 700, day) for day in range(1, 6)] == [50, 100, 100, 700, 700]


def test_an_unknown_schedule_says_what_is_known(fleet):
    with pytest.raises(UnknownSchedule, match=r"'fuor-week' is unknown; known are four-week"):
        schedule_of(fleet, Pool(schedule="fuor-week", target=1))


@given(any_schedule, targets, st.integers(-5, 10**6))
def test_the_cap_is_between_one_and_the_target(schedule, target, day):
    assert 1 <= cap_on(schedule, target, day) <= target


@given(any_schedule, targets, st.integers(-5, 300), st.integers(0, 300))
def test_the_cap_never_falls_from_day_to_day(schedule, target, day, later):
    assert cap_on(schedule, target, day) <= cap_on(schedule, target, day + later)


@given(any_schedule, targets, st.integers(1, 300))
def test_the_lowest_cap_is_under_every_day(schedule, target, day):
    lowest = lowest_cap(schedule, target)
    assert lowest <= cap_on(schedule, target, day)
    assert any(cap_on(schedule, target, d) == lowest for d in range(1, schedule.length + 2))
