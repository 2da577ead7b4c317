"""The controller: what it decides, and the laws it never breaks."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mailfleet.warmup.controller import Plan, decide, pause, replay, resume, start
from mailfleet.warmup.schedule import FOUR_WEEK, Schedule, Stage
from mailfleet.warmup.state import HISTORY, DamagedState, parse

HOST = "mta1.eu.example.net"
PLAN = Plan(FOUR_WEEK, 20000)
DAY1 = dt.date(2026, 11, 22)


def day(number):
    """The calendar day on which a sender that is never paused is on that day of its schedule."""
    return DAY1 + dt.timedelta(days=number - 1)


def run(*days, plan=PLAN, state=None):
    for today in days:
        decision = decide(plan, HOST, state, today)
        state = decision.state or state
    return decision


def test_day_1_9_and_30_of_the_four_weeks():
    assert [run(day(1)).cap, run(day(1), day(9)).cap, run(day(1), day(9), day(30)).cap] == [
        200,
        800,
        20000,
    ]


def test_every_decision_says_why():
    first, second = run(day(1)), run(day(1), day(2))
    assert (first.action, first.reason) == ("start", "first day")
    assert (second.action, second.reason) == ("hold", "day 2 of four-week")
    assert run(day(1), day(8)).action == "advance"
    assert run(day(1), day(40)).reason == "four-week is over, the target holds"


def test_a_second_run_on_a_day_changes_nothing():
    first = run(day(1), day(9))
    assert run(day(9), state=first.state) == first


def test_a_clock_moved_back_holds_the_present_stage():
    before = run(day(1), day(9)).state
    decision = decide(PLAN, HOST, before, day(8))
    assert (decision.cap, decision.action, decision.state) == (800, "hold", None)
    assert "the clock was moved back: the last run was on 2026-11-30" in decision.reason
    assert not decision.remedy
    assert decide(PLAN, HOST, before, day(3)).remedy


def test_a_state_from_the_future_leads_to_the_lowest_cap():
    state = run(day(20), day(50)).state
    decision = decide(PLAN, HOST, state, day(10))
    assert (decision.cap, decision.state, bool(decision.remedy)) == (200, None, True)
    assert "from the future" in decision.reason


def test_a_damaged_state_leads_to_the_lowest_cap_and_is_left_for_a_person():
    decision = decide(PLAN, HOST, DamagedState("Invalid JSON"), day(50))
    assert (decision.cap, decision.state, bool(decision.remedy)) == (200, None, True)
    assert decision.reason == "the state is damaged: Invalid JSON"


def test_days_spent_paused_do_not_count():
    state = run(day(1), day(9)).state
    paused = pause(PLAN, HOST, state, day(9), "blocklisted")
    assert (paused.cap, paused.state.cap_in_force) == (0, 0)
    held = decide(PLAN, HOST, paused.state, day(12))
    assert (held.cap, held.reason) == (0, "paused since 2026-11-30: blocklisted")
    resumed = resume(PLAN, HOST, held.state, day(20))
    assert (resumed.cap, resumed.state.day) == (800, 9)
    assert decide(PLAN, HOST, resumed.state, day(21)).state.day == 10


def test_pausing_a_damaged_state_begins_again_afterwards():
    paused = pause(PLAN, HOST, DamagedState("x"), day(9), "looking into it")
    assert paused.cap == 0
    assert resume(PLAN, HOST, paused.state, day(10)).cap == 200


def test_a_warm_address_can_begin_later_in_the_schedule():
    decision = start(PLAN, HOST, day(1), day=29)
    assert decision.cap == 20000
    assert decide(PLAN, HOST, decision.state, day(2)).cap == 20000


def test_a_lower_target_is_followed_on_the_same_day():
    state = run(day(1), day(30)).state
    decision = decide(Plan(FOUR_WEEK, 5000), HOST, state, day(30))
    assert (decision.cap, decision.action) == (5000, "lower")
    assert len(decision.state.history) == 2


def test_the_history_is_bounded():
    state = run(*(day(number) for number in range(1, HISTORY + 30))).state
    assert len(state.history) == HISTORY
    assert state.started == DAY1
    assert parse(state.dump(), HOST) == state


rising = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5000)), min_size=1).map(
    lambda spans: Schedule(
        "own",
        tuple(
            Stage(days, cap)
            for (days, _), cap in zip(spans, sorted(cap for _, cap in spans), strict=True)
        ),
    )
)
plans = st.builds(Plan, st.one_of(st.just(FOUR_WEEK), rising), st.integers(1, 10**5))
# Gaps between runs, in days; negative is a clock moved back.
gaps = st.lists(st.integers(-4, 12), max_size=40)


def walk(plan, steps):
    """Every decision of runs that many days apart, and the day of each."""
    today, state, decisions = DAY1, None, []
    for gap in [0, *steps]:
        today += dt.timedelta(days=gap)
        decision = decide(plan, HOST, state, today)
        state = decision.state or state
        decisions.append((today, decision, state))
    return decisions


@given(plans, gaps)
def test_never_above_what_the_schedule_says_for_the_latest_day_seen(plan, steps):
    latest = DAY1
    for today, decision, _ in walk(plan, steps):
        latest = max(latest, today)
        assert decision.cap <= plan.cap_on((latest - DAY1).days + 1)


@given(plans, gaps)
def test_never_above_the_schedule_while_the_clock_goes_forward(plan, steps):
    for today, decision, state in walk(plan, [abs(gap) for gap in steps]):
        assert decision.cap == plan.cap_on((today - DAY1).days + 1)
        assert decision.state == state


@given(plans, gaps)
def test_idempotent_within_a_day(plan, steps):
    today, decision, state = walk(plan, steps)[-1]
    assert decide(plan, HOST, state, today) == decision


@given(plans, gaps, st.integers(0, 60), st.integers(0, 60))
def test_monotone_in_days(plan, steps, soon, later):
    _, _, state = walk(plan, steps)[-1]
    caps = [
        decide(plan, HOST, state, state.date + dt.timedelta(days=days)).cap
        for days in sorted([soon, later])
    ]
    assert caps == sorted(caps)


@given(plans, gaps)
def test_replaying_the_history_gives_the_state(plan, steps):
    _, _, state = walk(plan, steps)[-1]
    assert replay(HOST, state.started, state.history) == state
    assert parse(state.dump(), HOST) == state


class Life(RuleBasedStateMachine):
    """Runs, pauses, resumptions, damage and clocks in any order."""

    def __init__(self):
        super().__init__()
        self.today = DAY1
        self.latest = DAY1
        self.state = None
        self.decision = None

    def take(self, decision):
        self.decision = decision
        self.state = decision.state or self.state

    @rule(gap=st.integers(-3, 10))
    def run(self, gap):
        self.today += dt.timedelta(days=gap)
        self.latest = max(self.latest, self.today)
        self.take(decide(PLAN, HOST, self.state, self.today))

    @rule(reason=st.text("abc", min_size=1, max_size=3))
    def pause(self, reason):
        self.take(pause(PLAN, HOST, self.state, self.today, reason))
        assert self.decision.cap == 0
        assert self.state.pause is not None

    @rule()
    def resume(self):
        self.take(resume(PLAN, HOST, self.state, self.today))

    @invariant()
    def the_schedule_holds(self):
        if self.decision:
            age = (self.latest - self.state.started).days
            assert self.decision.cap <= PLAN.cap_on(age + 1)

    @invariant()
    def paused_means_nothing_leaves(self):
        if self.state and self.state.pause and self.today >= self.state.date:
            assert decide(PLAN, HOST, self.state, self.today).cap == 0

    @invariant()
    def the_history_tells_the_state(self):
        if self.state:
            assert replay(HOST, self.state.started, self.state.history) == self.state
            assert parse(self.state.dump(), HOST) == self.state
            days = [entry.date for entry in self.state.history]
            assert len(days) == len(set(days))


TestLife = Life.TestCase


@pytest.mark.parametrize("number", [1, 9, 30])
def test_a_run_within_a_day_never_advances_twice(number):
    state = run(day(1), day(number)).state
    again = decide(PLAN, HOST, state, day(number)).state
    assert again is state
