"""The script that carries out a plan, broken off at every command it runs.

The script and the fact run for real, in a temporary directory and with stand-ins
for Postfix and systemd (tests/lab has them on real hosts). Every program that it starts can
kill it, before or after doing its work.
"""

import datetime as dt
import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mailfleet.hosts.files import File, digest
from mailfleet.warmup.apply import Service, script
from mailfleet.warmup.observe import WarmupState
from mailfleet.warmup.parameters import parameter_names, parameters
from mailfleet.warmup.plan import Wish, make_plan
from mailfleet.warmup.transports import transports

DAY1 = dt.date(2026, 11, 22)
UNIT = "postfix.service"
RESTARTS = (File("/etc/postfix/main.cf", "inet_protocols = all\n"),)
SERVICE = Service(UNIT, ("/etc/postfix/main.cf", "/etc/postfix/master.cf"), RESTARTS)
DIRECTORIES = ("/etc/postfix", "/run/mailfleet", "/var/lib/mailfleet")

POSTCONF = r"""
cf=$ROOT/etc/postfix/main.cf
case $1 in
-e) shift; [ ! -e "$ROOT/refuse-postconf" ] || exit 1
    cp -p "$cf" "$cf.tmp"
    for pair in "$@"; do
      name=${pair%%=*} value=${pair#*=}
      grep -v "^$name = " "$cf.tmp" >"$cf.next"; echo "$name = $value" >>"$cf.next"
      /usr/bin/mv "$cf.next" "$cf.tmp"
    done
    chmod 644 "$cf.tmp"; /usr/bin/mv "$cf.tmp" "$cf" ;;
-M) /usr/bin/cat "$ROOT/etc/postfix/master.cf" ;;
*) for name in "$@"; do grep "^$name = " "$cf"; done ;;
esac
"""
SYSTEMCTL = r"""
case $1 in
is-active) echo active ;;
reload) /usr/bin/cp "$ROOT/etc/postfix/main.cf" "$ROOT/running"; echo >>"$ROOT/reloads" ;;
esac
"""
POSTFIX = '[ ! -e "$ROOT/refuse-check" ]'
# Counts its calls, and kills the whole script before the one that $ROOT/kill names.
WRAPPER = """#!/bin/sh
read -r n <"$ROOT/calls"; n=$((n + 1)); echo $n >"$ROOT/calls"
read -r victim <"$ROOT/kill"
[ "$n" = "$victim" ] && kill -KILL 0
"""


class World:
    """A host in a directory."""

    def __init__(self, root: Path, fleet, sender) -> None:
        self.root, self.fleet, self.sender = root, fleet, sender
        for directory in DIRECTORIES:
            (root / directory.lstrip("/")).mkdir(parents=True)
        (root / "bin").mkdir()
        self.tool("postconf", POSTCONF)
        self.tool("postfix", POSTFIX)
        self.tool("systemctl", SYSTEMCTL)
        self.tool("mv", 'exec /usr/bin/mv "$@"')
        self.kill_at(0)
        (root / "etc/postfix/master.cf").write_text(
            "".join(f"{name} unix - - y - 1 smtp\n" for name in transports(fleet))
        )
        values = parameters(fleet, sender, None)
        lines = [f"{name} = {value}\n" for name, value in values.items()]
        self.main_cf.write_text("".join(["inet_protocols = all\n", *lines]))
        (root / "running").write_text(self.main_cf.read_text())
        (root / "reloads").write_text("")

    @property
    def main_cf(self) -> Path:
        return self.root / "etc/postfix/main.cf"

    @property
    def reloads(self) -> int:
        return len((self.root / "reloads").read_text())

    def tool(self, name: str, body: str) -> None:
        file = self.root / "bin" / name
        file.write_text(WRAPPER + body)
        file.chmod(0o755)

    def kill_at(self, call: int) -> None:
        """Kill the script at its so many-th command from here; 0 lets it live."""
        (self.root / "calls").write_text("0\n")
        (self.root / "kill").write_text(f"{call}\n")

    def shell(self, text: str, given: str = "") -> subprocess.CompletedProcess[str]:
        for directory in DIRECTORIES:
            text = text.replace(directory, f"{self.root}{directory}")
        return subprocess.run(
            ["sh", "-c", text],
            input=given,
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
            env={"PATH": f"{self.root}/bin:{os.environ['PATH']}", "ROOT": str(self.root)},
        )

    def read(self):
        fact = WarmupState()
        command = fact.command(parameter_names(self.fleet), UNIT, SERVICE.watches)
        done = self.shell(command)
        assert done.returncode == 0, done.stderr
        return fact.process(done.stdout.splitlines())

    def plan(self, wish: Wish):
        return make_plan(self.fleet, self.sender, self.read(), wish)

    def carry_out(self, plan):
        return self.shell(script(plan, SERVICE), plan.state or "")

    def run(self, wish: Wish):
        plan = self.plan(wish)
        if plan.nothing_to_do:
            return plan
        done = self.carry_out(plan)
        assert done.returncode == 0, done.stderr
        return plan

    def cap(self, text: str) -> int:
        """What a main.cf lets through in a day, as an upper bound of its delays."""
        values = dict(line.split(" = ", 1) for line in text.splitlines())
        deferred = values["defer_transports"].split()
        names = [name for name in transports(self.fleet) if name not in deferred]
        return sum(86_400 // int(values[f"{n}_transport_rate_delay"][:-1]) for n in names)

    def state_cap(self) -> int:
        state = self.read().state(self.sender.name)
        return state.cap_in_force if state else 0


def wish(number, **values):
    return Wish(today=DAY1 + dt.timedelta(days=number - 1), explicit=True, **values)


@pytest.fixture
def world(tmp_path, fleet, sender):
    return World(tmp_path, fleet, sender)


def test_a_rise_is_noted_set_and_loaded_once(world):
    world.run(wish(1))
    assert world.reloads == 0
    world.run(wish(9))
    assert world.reloads == 1
    assert (world.root / "running").read_text() == world.main_cf.read_text()
    assert world.read().parameters == parameters(world.fleet, world.sender, 800)
    assert world.read().state(world.sender.name).cap == 800
    assert world.run(wish(9)).nothing_to_do
    assert world.reloads == 1


def test_a_new_day_of_the_same_stage_does_not_reload(world):
    world.run(wish(1))
    world.run(wish(2))
    assert world.reloads == 0
    assert world.read().state(world.sender.name).day == 2


def test_the_stamp_is_the_one_a_deploy_would_leave(world):
    world.run(wish(1))
    world.run(wish(9))
    on_disk = []
    for path in SERVICE.watches:
        real = world.root / path.lstrip("/")
        on_disk.append((path, real.read_text()))
    (stamp,) = (world.root / "run/mailfleet").glob(f"{UNIT}.digest")
    watched, restarts = stamp.read_text().split()
    assert restarts == digest(RESTARTS)
    # The same bytes at the same paths; owner and group are whoever runs this test.
    files = [
        File(f"{world.root}{path}", text, user=_name("user"), group=_name("group"))
        for path, text in on_disk
    ]
    assert watched == digest(files)


def test_a_restart_that_is_still_due_stays_due(world):
    world.run(wish(1))
    world.main_cf.write_text(world.main_cf.read_text().replace("= all", "= ipv4"))
    world.run(wish(9))
    (stamp,) = (world.root / "run/mailfleet").glob(f"{UNIT}.digest")
    assert stamp.read_text().split()[1] == "unknown"


def _name(kind):
    return subprocess.run(
        ["id", {"user": "-un", "group": "-gn"}[kind]], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_state_that_moved_meanwhile_is_not_overwritten(world):
    world.run(wish(1))
    plan = world.plan(wish(9))
    world.run(wish(3))
    done = world.carry_out(plan)
    assert done.returncode == 1
    assert "has changed since it was read" in done.stderr
    assert world.read().state(world.sender.name).day == 3


@pytest.mark.parametrize("fault", ["refuse-check", "refuse-postconf"])
def test_a_main_cf_that_postfix_refuses_is_put_back(world, fault):
    world.run(wish(1))
    before = world.main_cf.read_text()
    (world.root / fault).touch()
    done = world.carry_out(world.plan(wish(9)))
    assert done.returncode == 1
    assert "main.cf is as it was" in done.stderr
    assert world.main_cf.read_text() == before
    assert world.reloads == 0
    (world.root / fault).unlink()
    world.run(wish(9))
    assert (world.root / "running").read_text() == world.main_cf.read_text()


def test_a_damaged_state_is_kept_until_somebody_begins_anew(world):
    world.run(wish(1))
    world.run(wish(9))
    file = world.root / "var/lib/mailfleet/warmup.json"
    file.write_text(file.read_text()[:-40])
    damaged = file.read_text()
    assert world.run(wish(10)).remedy
    assert file.read_text() == damaged
    assert world.read().parameters == parameters(world.fleet, world.sender, 200)
    world.run(wish(10, action="start", day=9))
    assert Path(f"{file}.damaged").read_text() == damaged
    assert world.read().parameters == parameters(world.fleet, world.sender, 800)


STORIES = {
    "rise": ([wish(1)], wish(9)),
    "pause": ([wish(1), wish(9)], wish(9, action="pause", reason="blocklisted")),
    "resume": ([wish(1), wish(9), wish(9, action="pause", reason="x")], wish(9, action="resume")),
    "begin lower": ([wish(1), wish(30)], wish(30, action="start")),
}


@pytest.mark.parametrize("story", STORIES)
def test_broken_off_anywhere_it_is_safe_and_the_next_run_mends_it(world, story, tmp_path_factory):
    past, last = STORIES[story]
    for each in past:
        world.run(each)
    plan = world.plan(last)
    kept = tmp_path_factory.mktemp("kept") / "world"
    shutil.copytree(world.root, kept)
    for call in itertools.count(1):
        shutil.rmtree(world.root)
        shutil.copytree(kept, world.root)
        world.kill_at(call)
        ended = world.carry_out(plan).returncode
        world.kill_at(0)
        if ended == 0:
            break
        assert ended == -9
        allowed = world.state_cap()
        assert world.cap(world.main_cf.read_text()) <= allowed
        assert world.cap((world.root / "running").read_text()) <= allowed
        world.run(last)
        assert (world.root / "running").read_text() == world.main_cf.read_text()
        assert world.run(last).nothing_to_do
    assert call > 6
    assert world.read().parameters == parameters(world.fleet, world.sender, plan.cap)
    assert world.state_cap() == plan.cap
