"""warmup.json: what is written can be read, and damage is noticed."""

import datetime as dt
import json

import pytest

from mailfleet.warmup.controller import Plan, decide, pause
from mailfleet.warmup.schedule import FOUR_WEEK
from mailfleet.warmup.state import DamagedState, parse

HOST = "mta1.eu.example.net"
PLAN = Plan(FOUR_WEEK, 20000)


@pytest.fixture
def state():
    first = decide(PLAN, HOST, None, dt.date(2026, 11, 22)).state
    return decide(PLAN, HOST, first, dt.date(2026, 11, 30)).state


def test_the_file_reads_back(state):
    assert parse(state.dump(), HOST) == state
    paused = pause(PLAN, HOST, state, dt.date(2026, 12, 1), "why").state
    assert parse(paused.dump(), HOST) == paused


def test_the_file_is_readable_for_people(state):
    values = json.loads(state.dump())
    assert (values["started"], values["day"], values["cap"]) == ("2026-11-22", 9, 800)


def test_every_cut_of_the_file_is_noticed(state):
    text = state.dump()
    for length in range(0, len(text) - 2):
        with pytest.raises(DamagedState):
            parse(text[:length], HOST)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cap": 20000}, "cap differs from the last entry of the history"),
        ({"day": 30}, "day differs from the last entry of the history"),
        ({"date": "2027-01-01"}, "date differs from the last entry of the history"),
        ({"started": "2026-11-30"}, "the history begins before the start"),
        ({"version": 2}, "version: Input should be 1"),
        ({"history": []}, "history: Tuple should have at least 1 item"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"host": "mta2.eu.example.net"}, "it belongs to mta2.eu.example.net, not to"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_edit_by_halves_is_noticed(state, changes, message):
    with pytest.raises(DamagedState, match=message):
        parse(json.dumps(json.loads(state.dump()) | changes), HOST)


def test_a_day_beyond_the_calendar_is_noticed(state):
    values = json.loads(state.dump())
    values["day"] = values["history"][-1]["day"] = 25
    with pytest.raises(DamagedState, match="later day of the schedule than the calendar allows"):
        parse(json.dumps(values), HOST)


def test_days_out_of_order_are_noticed(state):
    values = json.loads(state.dump())
    values["history"][0]["date"] = values["history"][1]["date"]
    with pytest.raises(DamagedState, match="not in order"):
        parse(json.dumps(values), HOST)
