"""`mailfleet warmup` with a stand-in for pyinfra: what is shown, asked and done; exit codes."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailfleet.cli.main import main
from mailfleet.fleet.load import load
from mailfleet.fleet.model import Role
from mailfleet.hosts.results import HostResult, Result
from mailfleet.hosts.runner import RunnerError
from mailfleet.warmup.errand import VARIABLE, read_errand, read_plan, write_plan
from mailfleet.warmup.parameters import parameters
from mailfleet.warmup.plan import make_plan
from mailfleet.warmup.reading import Reading
from mailfleet.warmup.transports import transports

EXAMPLE = Path(__file__).resolve().parents[2]
EU, US = "mta1.eu.example.net", "mta1.us.example.net"
TODAY = dt.datetime.now(dt.UTC).date()


class Pyinfra:
    """Hosts in memory, in place of `runner.run`."""

    def __init__(self, fleet) -> None:
        self.fleet = fleet
        self.unreachable: set[str] = set()
        self.stuck = False
        self.rounds: list[str] = []
        self.readings = {
            host.name: Reading(
                date=TODAY,
                installed=True,
                running=True,
                parameters=parameters(fleet, host, None),
                transports=transports(fleet),
                stamp="a",
                digest="a",
            )
            for host in fleet.with_role(Role.SENDER)
        }

    def run(self, jobs, directory, listener=None):
        exchange = Path(os.environ[VARIABLE])
        errand = read_errand(exchange)
        self.rounds.append(errand.step)
        return tuple(
            Result(tuple(self._host(name, exchange, errand) for name in job.hosts), 1.0)
            for job in jobs
        )

    def _host(self, name, exchange, errand):
        if name in self.unreachable:
            return HostResult(name, "unreachable", "connect", ("timed out",), "check it")
        plan = make_plan(self.fleet, self.fleet.host(name), self.readings[name], errand.wish)
        if errand.step == "look":
            write_plan(exchange, plan)
        else:
            assert read_plan(exchange, name) == plan
            if not self.stuck:
                self._carry_out(name, plan)
        return HostResult(name, "changed")

    def _carry_out(self, name, plan):
        before = self.readings[name]
        changed = {change.name: change.new for change in plan.changes}
        self.readings[name] = before.model_copy(
            update={
                "parameters": before.parameters | changed,
                "text": plan.state or before.text,
            }
        )


@pytest.fixture
def directory(tmp_path, monkeypatch):
    for name in ("inventories", "recipients", "clamav"):
        if (EXAMPLE / name).exists():
            shutil.copytree(EXAMPLE / name, tmp_path / name)
    shutil.copy(EXAMPLE / "fleet.yml", tmp_path)
    monkeypatch.setenv("MAILFLEET_LAB", "1")
    monkeypatch.setattr("mailfleet.fleet.addresses.is_ours", lambda address: True)
    monkeypatch.setenv("MAILFLEET_FLEET", str(tmp_path))
    return tmp_path


@pytest.fixture
def pyinfra(directory, monkeypatch):
    pyinfra = Pyinfra(load(directory))
    monkeypatch.setattr("mailfleet.warmup.runs.runner.run", pyinfra.run)
    return pyinfra


def warmup(*words, code=0, answer=None):
    done = CliRunner().invoke(main, ["warmup", *words], input=answer)
    assert done.exit_code == code, done.output
    return done.output


def later(days):
    return (TODAY + dt.timedelta(days=days)).isoformat()


def test_a_run_shows_does_and_looks_again(pyinfra):
    assert "(transactional): 200 a day  [first day]" in warmup("run", "--yes")
    shown = warmup("run", "--yes", "--today", later(8))
    assert f"{EU} (transactional): 200 a day -> 800 a day  [day 9 of four-week]" in shown
    assert "  warm-google_transport_rate_delay     1080s -> 270s" in shown
    assert "Done, and read back from 2 senders." in shown
    assert pyinfra.rounds == ["look", "apply", "look"] * 2


def test_a_second_run_looks_only(pyinfra):
    warmup("run", "--yes")
    pyinfra.rounds.clear()
    assert warmup("run", "--yes") == "Nothing to change on 2 senders.\n"
    assert pyinfra.rounds == ["look"]


def test_a_dry_run_changes_nothing(pyinfra):
    assert "[first day]" in warmup("run", "--dry")
    assert pyinfra.rounds == ["look"]


def test_nobody_to_ask_is_told_before_anything_is_changed(pyinfra):
    assert "give --yes" in warmup("run", code=2)
    assert pyinfra.rounds == ["look"]


def test_an_unreachable_host_does_not_stop_the_others(pyinfra):
    pyinfra.unreachable = {US}
    shown = warmup("run", "--yes", code=3)
    assert f"{US}: unreachable" in shown
    assert "Done, and read back from 1 sender." in shown


def test_a_host_that_is_not_deployed_fails_and_does_not_stop_the_others(pyinfra):
    pyinfra.readings[US] = pyinfra.readings[US].model_copy(update={"installed": False})
    shown = warmup("run", "--yes", code=1)
    assert f"{US}: Postfix is not set up there; run `mailfleet deploy us_east" in shown
    assert "Done, and read back from 1 sender." in shown


def test_what_is_not_there_afterwards_is_a_failure(pyinfra):
    pyinfra.stuck = True
    shown = warmup("run", "--yes", code=1)
    assert f"{EU}: not as planned after the run; run again" in shown


def test_json_has_plans_and_the_exit_code(pyinfra):
    document = json.loads(warmup("run", "--yes", "--json"))
    assert (document["exit_code"], document["changed"]) == (0, True)
    assert [(each["host"], each["cap"]) for each in document["senders"]] == [(EU, 200), (US, 200)]


def test_status_before_and_after_the_first_run(pyinfra):
    assert "not started" in warmup("status")
    warmup("run", "--yes")
    line = next(line for line in warmup("status").splitlines() if line.startswith(EU))
    assert line.split() == [
        *(EU, "transactional", "four-week", str(TODAY), "1", "200"),
        *("2160", "1080", "1440", "4320", str(TODAY)),
    ]


def test_pause_and_resume(pyinfra):
    warmup("run", "--yes")
    shown = warmup("pause", EU, "--reason", "blocklisted", "--yes")
    assert "200 a day -> paused  [blocklisted]" in shown
    shown = warmup("status")
    assert f"{EU}: paused: blocklisted" in shown
    assert "deferred" in shown
    assert "Nothing to change" in warmup("run", "--yes")
    assert "paused -> 200 a day" in warmup("resume", "--all", "--yes")


def test_start_puts_a_warm_address_at_its_day(pyinfra):
    shown = warmup("start", EU, "--day", "29", "--yes")
    assert "20000 a day" in shown
    assert pyinfra.readings[US].text is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "nowhere"], "There is no region 'nowhere'"),
        (["run", "--limit", "mx*"], "No sender is among the chosen hosts"),
        (["run", "--today", "tomorrow"], "does not match the format"),
        (["pause", EU], "Missing option '--reason'"),
        (["pause", EU, "--reason", " "], "--reason is empty"),
        (["pause", "--reason", "x"], "Name the senders, or give --all"),
        (["pause", EU, "--all", "--reason", "x"], "Name the senders, or give --all"),
        (["resume", "mx1.eu.example.net"], "mx1.eu.example.net is not a sender; there are mta1"),
        (["start"], "Name the senders"),
        (["start", EU, "--day", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_is_told(pyinfra, words, message):
    assert message in warmup(*words, code=2)
    assert pyinfra.rounds == []


def test_documentation_addresses_are_left_alone_outside_the_lab(pyinfra, monkeypatch):
    monkeypatch.delenv("MAILFLEET_LAB")
    for words in (["status"], ["run", "--yes"], ["pause", "--all", "--reason", "x"]):
        assert "only inside the lab" in warmup(*words, code=2)
    assert pyinfra.rounds == []


def test_one_run_at_a_time(pyinfra, directory):
    (directory / "state").mkdir()
    with (directory / "state" / "warmup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another warm-up run of this fleet is under way" in warmup("run", "--yes", code=1)
    assert pyinfra.rounds == []
    warmup("run", "--yes")


def test_a_pyinfra_that_cannot_start_is_told(pyinfra, monkeypatch):
    def run(jobs, directory, listener=None):
        raise RunnerError("There is no inventory eu_central.py")

    monkeypatch.setattr("mailfleet.warmup.runs.runner.run", run)
    for words in (["run", "--yes"], ["status"]):
        assert "There is no inventory eu_central.py" in warmup(*words, code=1)


def test_simulate_needs_no_host(directory, monkeypatch):
    monkeypatch.delenv("MAILFLEET_LAB")
    shown = warmup("simulate", "--days", "30", "--start", "2026-11-22")
    rows = [line.split() for line in shown.splitlines() if line.startswith("2026-1")]
    assert rows[8] == ["2026-11-30", "9", "800", "540", "270", "360", "1080"]
    assert rows[29] == ["2026-12-21", "30", "20000", "22", "11", "15", "44"]
    assert len(rows) == 60
    days = json.loads(warmup("simulate", "--days", "1", "--json"))
    assert [(day["pool"], day["cap"]) for day in days] == [
        ("transactional", 200),
        ("marketing", 200),
    ]
