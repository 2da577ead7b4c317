"""The warm-up on real hosts of both releases, asked of Postfix itself over another connection."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from mailfleet.lab import mailboxes
from mailfleet.lab.mail import compose
from mailfleet.lab.post import via
from mailfleet.lab.providers import store

pytestmark = pytest.mark.lab

MAILFLEET = (sys.executable, "-m", "mailfleet")
SENDERS = ("mta1.eu.example.net", "mta1.us.example.net")
DAY1 = dt.date(2030, 1, 1)
STATE = "/var/lib/mailfleet/warmup.json"
TRANSPORTS = ("warm", "warm-google", "warm-microsoft", "warm-yahoo")
DELAYS = {
    1: "2160s 1080s 1440s 4320s",
    9: "540s 270s 360s 1080s",
    30: "22s 11s 15s 44s",
}


def day(number: int) -> str:
    return (DAY1 + dt.timedelta(days=number - 1)).isoformat()


class Senders:
    """The senders of the lab, and `mailfleet warmup` on its control machine."""

    def __init__(self, lab) -> None:
        self.lab = lab

    def warmup(self, *words: str, code: int = 0) -> str:
        done = self.lab.run([*MAILFLEET, "warmup", *words], check=False, timeout=300)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def delays(self, host: str) -> str:
        names = [f"{name}_transport_rate_delay" for name in TRANSPORTS]
        return " ".join(self.ask(host, f"postconf -h {' '.join(names)}").split())

    def ask(self, host: str, command: str) -> str:
        return self.lab.ssh(host, command).stdout.strip()

    def queue_managers(self) -> list[str]:
        """The process of each queue manager: every reload replaces it."""
        return [self.ask(host, "pgrep -x qmgr") for host in SENDERS]

    def stage(self, host: str) -> tuple[int, int]:
        state = json.loads(self.ask(host, f"cat {STATE}"))
        return state["day"], state["cap"]

    def forget(self) -> None:
        for host in SENDERS:
            self.ask(host, f"rm -f {STATE} {STATE}.damaged")


@pytest.fixture(scope="module")
def senders(deployed):
    """The senders of the lab; afterwards they begin on the calendar's day, as `up` left them."""
    senders = Senders(deployed)
    yield senders
    senders.forget()
    senders.warmup("run", "--yes")


def test_day_1_9_and_30_are_in_main_cf_and_a_second_run_changes_nothing(senders):
    senders.forget()
    for number, delays in DELAYS.items():
        before = senders.queue_managers()
        senders.warmup("run", "--yes", "--today", day(number))
        for host in SENDERS:
            assert senders.delays(host) == delays
            assert senders.stage(host)[0] == number
        after = senders.queue_managers()
        assert (after == before) is (number == 1)
        assert "Nothing to change on 2 senders." in senders.warmup("run", "--today", day(number))
        assert senders.queue_managers() == after


def test_a_deploy_afterwards_changes_nothing_and_does_not_reload(senders):
    senders.warmup("start", *SENDERS, "--day", "9", "--yes")
    before = senders.queue_managers()
    done = senders.lab.run(
        [*MAILFLEET, "deploy", "--yes", "--limit", "mta1.*"], check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No changes." in done.stdout
    assert [senders.delays(host) for host in SENDERS] == [DELAYS[9]] * 2
    assert senders.queue_managers() == before


def test_plain_pyinfra_does_the_same(senders):
    senders.forget()
    senders.lab.run(
        [
            *(sys.executable, "-m", "pyinfra", "-y", "inventories/eu_central.py"),
            *("deploy/warmup.py", "--data", f"today={day(1)}"),
        ],
        timeout=300,
    )
    assert senders.stage(SENDERS[0]) == (1, 200)
    assert senders.delays(SENDERS[0]) == DELAYS[1]


def test_an_edited_main_cf_and_a_missed_reload_are_seen_and_put_right(senders):
    """One was edited, on the other a run was broken off before its reload."""
    edited, missed = SENDERS
    senders.warmup("start", *SENDERS, "--day", "9", "--yes")
    senders.ask(edited, "postconf -e warm_transport_rate_delay=1s")
    stamps = "/run/mailfleet/postfix*.digest"
    senders.ask(missed, f"for f in {stamps}; do sed -i 's/^[^ ]*/stale/' $f; done")
    before = senders.queue_managers()
    shown = senders.warmup("status")
    assert "drift" in shown
    assert "warm_transport_rate_delay  1s -> 540s" in shown
    assert "does not run what is in main.cf" in senders.warmup("run", "--yes")
    assert [senders.delays(host) for host in SENDERS] == [DELAYS[9]] * 2
    after = senders.queue_managers()
    assert all(new != old for new, old in zip(after, before, strict=True))
    assert "Nothing to change" in senders.warmup("run", "--yes")


def test_a_damaged_state_is_held_low_until_somebody_begins_anew(senders):
    host = SENDERS[0]
    senders.warmup("start", *SENDERS, "--day", "30", "--yes")
    senders.ask(host, f"truncate -s 200 {STATE}")
    shown = senders.warmup("run", "--yes", code=1)
    assert f"mailfleet warmup start {host} --day N" in shown
    assert [senders.delays(each) for each in SENDERS] == [DELAYS[1], DELAYS[30]]
    senders.warmup("start", host, "--day", "30", "--yes")
    assert senders.delays(host) == DELAYS[30]
    assert senders.stage(host) == (30, 20000)


def test_a_paused_sender_keeps_its_mail_and_sends_it_once_resumed(senders):
    host = SENDERS[0]
    senders.warmup("start", host, "--day", "30", "--yes")
    senders.warmup("pause", host, "--reason", "listed in a block list", "--yes")
    assert senders.ask(host, "postconf -h defer_transports") == " ".join(TRANSPORTS)
    assert "paused: listed in a block list" in senders.warmup("status", "--limit", host)
    subject = f"While paused {uuid4().hex}"
    message = compose("news@example.com", "user@gmail.com", subject, "Hello.\n")
    via(senders.lab, host, "news@example.com", "user@gmail.com", message)
    time.sleep(2)
    assert "deferred transport" in senders.ask(host, "postqueue -p")
    senders.warmup("resume", host, "--yes")
    assert senders.ask(host, "postconf -h defer_transports") == ""
    senders.ask(host, "postqueue -f")
    arrived(senders.lab, "google", [subject], seconds=60)


def test_mail_is_paced_over_all_domains_of_a_provider(senders, fleet, tmp_path):
    """A target of 72,000 a day is 28,800 for google: one every 3 seconds."""
    host, subject = SENDERS[1], f"Paced {uuid4().hex}"
    own = tmp_path / "fleet"
    for name in ("inventories", "recipients", "clamav"):
        if (fleet.directory / name).exists():
            shutil.copytree(fleet.directory / name, own / name)
    values = yaml.safe_load((fleet.directory / "fleet.yml").read_text())
    values["pools"]["marketing"]["target"] = 72_000
    (own / "fleet.yml").write_text(yaml.safe_dump(values))
    senders.warmup("start", host, "--day", "30", "--yes", "--fleet", str(own))
    assert senders.delays(host) == "6s 3s 4s 12s"

    begin = time.time()
    subjects = [f"{subject} {number}" for number in range(4)]
    for number, each in enumerate(subjects):
        to = f"user{number}@{'googlemail' if number % 2 else 'gmail'}.com"
        via(
            senders.lab,
            host,
            "news@example.org",
            to,
            compose("news@example.org", to, each, "Hi.\n"),
        )
    times = sorted(m.times.connected for m in arrived(senders.lab, "google", subjects, seconds=60))
    gaps = [later - earlier for earlier, later in zip([begin, *times], times, strict=False)]
    assert min(gaps) > 2.9
    assert max(gaps) < 8


def arrived(lab, provider: str, subjects: list[str], seconds: float):
    """The messages with those subjects, once all are there."""
    directory: Path = mailboxes.directory(lab.layout, provider)
    end = time.monotonic() + seconds
    while True:
        found = [m for m in store.messages(directory) if m.subject in subjects]
        if len(found) == len(subjects):
            return found
        assert time.monotonic() < end, f"{len(found)} of {len(subjects)} arrived"
        time.sleep(0.5)
