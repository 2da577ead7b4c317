"""What has to be done to a unit, from plain values."""

from dataclasses import replace

import pytest

from mailfleet.hosts.facts import ServiceState
from mailfleet.hosts.files import File
from mailfleet.hosts.units import Loaded, start, stop

MAIN = File("/etc/postfix/main.cf", "new\n")
UNIT = File("/etc/systemd/system/x.service", "[Service]\n")
WANTED = Loaded((MAIN,), (UNIT,))
OLD_MAIN = Loaded((File(MAIN.path, "old\n"),), (UNIT,))
OLD_UNIT = Loaded((MAIN,), (File(UNIT.path, "old\n"),))
BOTH_BEFORE = {MAIN.path: 50, UNIT.path: 60}
RUNNING = ServiceState("loaded", "active", "enabled", False, 100, WANTED.stamp, BOTH_BEFORE)


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        pytest.param(RUNNING, [], id="runs what is on disk"),
        pytest.param(replace(RUNNING, active="reloading"), [], id="at it"),
        pytest.param(replace(RUNNING, stamp=OLD_MAIN.stamp), ["reload"], id="other settings"),
        pytest.param(replace(RUNNING, stamp=OLD_UNIT.stamp), ["restart"], id="other unit file"),
        pytest.param(replace(RUNNING, active="inactive"), ["restart"], id="stopped"),
        pytest.param(replace(RUNNING, active="failed", stamp=None), ["restart"], id="failed"),
        pytest.param(replace(RUNNING, enabled="disabled"), ["enable"], id="disabled"),
        pytest.param(replace(RUNNING, enabled="static"), [], id="static"),
        pytest.param(replace(RUNNING, stamp=None), [], id="booted since its files changed"),
        pytest.param(
            replace(RUNNING, stamp=None, changed={**BOTH_BEFORE, MAIN.path: 100}),
            ["reload"],
            id="changed in the second of its start: nobody knows",
        ),
        pytest.param(
            replace(RUNNING, stamp=None, changed={**BOTH_BEFORE, UNIT.path: 101}),
            ["restart"],
            id="unit file changed after its start",
        ),
        pytest.param(
            replace(RUNNING, stamp=None, changed={UNIT.path: 60}), ["reload"], id="file missing yet"
        ),
        pytest.param(
            replace(RUNNING, needs_daemon_reload=True),
            ["daemon-reload", "enable", "restart"],
            id="unit file is newer than what systemd knows",
        ),
        pytest.param(
            ServiceState("not-found", "inactive", "", False, None, None, {}),
            ["daemon-reload", "enable", "restart"],
            id="unknown",
        ),
    ],
)
def test_start(state: ServiceState, verbs: list[str]) -> None:
    assert start(state, WANTED, reload=True) == verbs


def test_a_unit_that_cannot_reload_is_restarted() -> None:
    assert start(replace(RUNNING, stamp=OLD_MAIN.stamp), WANTED, reload=False) == ["restart"]


def test_a_unit_without_files_is_left_alone_while_it_runs() -> None:
    nothing = Loaded((), ())
    assert start(replace(RUNNING, stamp=None), nothing, reload=True) == []
    assert start(replace(RUNNING, stamp=nothing.stamp), nothing, reload=True) == []


@pytest.mark.parametrize(
    ("state", "verbs"),
    [
        (RUNNING, ["disable", "stop"]),
        (replace(RUNNING, active="inactive"), ["disable"]),
        (replace(RUNNING, enabled="disabled"), ["stop"]),
        (replace(RUNNING, enabled="disabled", active="inactive"), []),
        (replace(RUNNING, load="not-found"), []),
    ],
)
def test_stop(state: ServiceState, verbs: list[str]) -> None:
    assert stop(state) == verbs
