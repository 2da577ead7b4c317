"""What a run does on one sender, for every state that host and file can be in."""

import datetime as dt
import hashlib

import pytest

from mailfleet.warmup.controller import decide, pause
from mailfleet.warmup.parameters import parameters
from mailfleet.warmup.plan import Wish, make_plan
from mailfleet.warmup.reading import Reading, parameters_in_force, plan_of
from mailfleet.warmup.state import parse
from mailfleet.warmup.transports import transports

DAY1 = dt.date(2026, 11, 22)


def wish(number, **values):
    return Wish(today=DAY1 + dt.timedelta(days=number - 1), explicit=True, **values)


@pytest.fixture
def goal(fleet, sender):
    return plan_of(fleet, sender)


@pytest.fixture
def day9(goal, sender):
    """A state on day 9."""
    first = decide(goal, sender.name, None, DAY1).state
    return decide(goal, sender.name, first, wish(9).today).state


@pytest.fixture
def reading(fleet, sender):
    """A deployed host that holds a cap and remembers a state."""

    def read(cap=200, state=None, **values):
        text = state if isinstance(state, str) or state is None else state.dump()
        return Reading(
            **{
                "date": DAY1,
                "text": text,
                "known": "" if text is None else hashlib.sha256(text.encode()).hexdigest(),
                "installed": True,
                "running": True,
                "parameters": parameters(fleet, sender, cap),
                "transports": ("smtp", *transports(fleet)),
                "stamp": "a",
                "digest": "a",
                **values,
            }
        )

    return read


def test_the_first_day_only_notes_the_state(fleet, sender, reading):
    plan = make_plan(fleet, sender, reading(), wish(1))
    assert (plan.changes, plan.reload, plan.cap) == ((), False, 200)
    assert parse(plan.state, sender.name).day == 1
    assert not plan.nothing_to_do


def test_a_rise_sets_the_delays_and_notes_the_state_first(fleet, sender, goal, reading):
    first = decide(goal, sender.name, None, DAY1).state
    plan = make_plan(fleet, sender, reading(200, first), wish(8))
    assert [(c.name, c.old, c.new) for c in plan.changes] == [
        ("warm_transport_rate_delay", "2160s", "540s"),
        ("warm-google_transport_rate_delay", "1080s", "270s"),
        ("warm-microsoft_transport_rate_delay", "1440s", "360s"),
        ("warm-yahoo_transport_rate_delay", "4320s", "1080s"),
    ]
    assert plan.reload
    assert not plan.lower_first


def test_a_second_run_has_nothing_to_do(fleet, sender, reading, day9):
    plan = make_plan(fleet, sender, reading(800, day9), wish(9))
    assert plan.nothing_to_do
    assert not plan.drift


def test_a_pause_lowers_first(fleet, sender, reading, day9):
    plan = make_plan(
        fleet, sender, reading(800, day9), wish(9, action="pause", reason="blocklisted")
    )
    assert plan.lower_first
    assert plan.cap == 0
    assert plan.changes[-1].new.split() == list(transports(fleet))


def test_without_a_state_main_cf_comes_first(fleet, sender, reading):
    """What main.cf allows may be anything then."""
    assert make_plan(fleet, sender, reading(20000), wish(1)).lower_first


def test_an_edited_main_cf_is_drift_and_is_put_right(fleet, sender, reading, day9):
    read = reading(800, day9)
    read.parameters["warm_transport_rate_delay"] = "1s"
    plan = make_plan(fleet, sender, read, wish(9))
    assert [change.new for change in plan.drift] == ["540s"]
    assert plan.changes == plan.drift
    assert plan.state is None
    assert plan.reload


def test_a_running_configuration_that_is_not_on_disk_is_reloaded(fleet, sender, reading, day9):
    plan = make_plan(fleet, sender, reading(800, day9, stamp="stale"), wish(9))
    assert (plan.changes, plan.state, plan.reload) == ((), None, True)


def test_without_a_stamp_nothing_is_reloaded_for_nothing(fleet, sender, reading, day9):
    assert make_plan(fleet, sender, reading(800, day9, stamp=""), wish(9)).nothing_to_do


def test_a_stopped_postfix_is_set_but_not_reloaded(fleet, sender, reading, day9):
    plan = make_plan(fleet, sender, reading(200, day9, running=False), wish(9))
    assert plan.changes
    assert not plan.reload


def test_a_damaged_state_is_held_at_the_lowest_and_kept(fleet, sender, reading):
    plan = make_plan(fleet, sender, reading(800, "{"), wish(9))
    assert (plan.cap, plan.state, plan.lower_first) == (200, None, True)
    assert plan.remedy.endswith("mailfleet warmup start mta1.eu.example.net --day N")
    assert plan.changes


def test_clocks_that_disagree_hold_the_present_stage(fleet, sender, reading, day9):
    now = reading(800, day9, date=DAY1 + dt.timedelta(days=8))
    far = Wish(today=DAY1 + dt.timedelta(days=400))
    plan = make_plan(fleet, sender, now, far)
    assert (plan.cap, plan.changes, plan.state) == (800, (), None)
    assert "the clocks disagree: here it is 2027-12-27, on the host it is 2026-11-30" in plan.reason
    assert plan.remedy
    chosen = make_plan(fleet, sender, now, far.model_copy(update={"explicit": True}))
    assert chosen.cap == 20000


def test_a_day_between_the_clocks_is_fine(fleet, sender, reading, day9):
    now = reading(800, day9, date=DAY1 + dt.timedelta(days=8))
    assert not make_plan(fleet, sender, now, Wish(today=DAY1 + dt.timedelta(days=9))).remedy


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"installed": False}, "Postfix is not set up there; run `mailfleet deploy eu_central"),
        ({"transports": ("smtp", "warm")}, "master.cf has no transport warm-google, warm-"),
    ],
)
def test_a_host_that_is_not_deployed_is_told_so(fleet, sender, reading, values, words):
    plan = make_plan(fleet, sender, reading(**values), wish(1))
    assert words in plan.problem
    assert not plan.changes
    assert not plan.nothing_to_do


def test_a_reading_that_failed_is_a_problem(fleet, sender):
    assert "could not be read" in make_plan(fleet, sender, None, wish(1)).problem


def test_what_a_deploy_renders_is_the_stage_in_force(fleet, sender, goal, reading, day9):
    def rendered(state):
        return parameters_in_force(fleet, sender, reading(1, state))

    assert rendered(day9) == parameters(fleet, sender, 800)
    assert rendered(None) == parameters(fleet, sender, 200)
    assert rendered("{") == parameters(fleet, sender, 200)
    paused = pause(goal, sender.name, day9, wish(9).today, "why").state
    assert rendered(paused) == parameters(fleet, sender, 0)


def test_a_plan_survives_its_file(fleet, sender, reading, day9):
    plan = make_plan(fleet, sender, reading(200, day9), wish(9))
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan
