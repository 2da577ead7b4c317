"""The scripts behind `service` and `packages`, with systemctl, apt and dpkg replaced by stubs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hosts_sandbox import Sandbox

from mailfleet.hosts import facts, scripts

Stub = Callable[[str, str], Path]


def test_verbs_in_order_then_the_stamp(sandbox: Sandbox, stub: Stub) -> None:
    calls = stub("systemctl", "case $1 in is-failed) exit 1;; is-enabled) exit 1;; esac")
    script = scripts.apply_service("x.service", ["daemon-reload", "enable", "restart"], True)
    assert sandbox.sh(script, "abc def\n").returncode == 0
    assert calls.read_text().splitlines() == [
        "systemctl reset-failed -- x.service",
        "systemctl daemon-reload",
        "systemctl is-enabled --quiet -- x.service",
        "systemctl enable --quiet -- x.service",
        "systemctl restart -- x.service",
        "systemctl is-active --quiet -- x.service",
    ]
    assert (sandbox.run / "x.service.digest").read_text() == "abc def\n"
    assert (sandbox.run / "x.service.digest").stat().st_mode & 0o777 == 0o600


def test_a_unit_that_fails_leaves_no_stamp_and_shows_its_words(
    sandbox: Sandbox, stub: Stub
) -> None:
    stub("systemctl", "case $1 in is-active) exit 3;; status) echo 'x is dead';; esac")
    stub("journalctl", "echo 'unknown option frobnicate'")
    ended = sandbox.sh(scripts.apply_service("x.service", ["restart"], True), "abc\n" * 50_000)
    assert ended.returncode == 1
    assert "x is dead" in ended.stderr
    assert "frobnicate" in ended.stderr
    assert not sandbox.run.exists()


def test_stopping_takes_the_stamp_away(sandbox: Sandbox, stub: Stub) -> None:
    stub("systemctl", "")
    sandbox.run.mkdir()
    (sandbox.run / "x.service.digest").write_text("old\n")
    script = scripts.apply_service("x.service", ["disable", "stop"], False)
    assert sandbox.sh(script, "new\n").returncode == 0
    assert list(sandbox.run.iterdir()) == []


def test_service_fact_reads_what_systemctl_shows(sandbox: Sandbox, stub: Stub) -> None:
    stub(
        "systemctl",
        "printf '%s\\n' LoadState=loaded ActiveState=active UnitFileState=enabled "
        "NeedDaemonReload=no ActiveEnterTimestamp=@1700000000",
    )
    conf = sandbox.root / "x.conf"
    conf.write_text("x")
    sandbox.run.mkdir()
    (sandbox.run / "x.service.digest").write_text("abc def\n")
    fact = facts.Service()
    command = fact.command("x.service", [str(conf), f"{conf}.none"])
    state = fact.process(sandbox.sh(command).stdout.splitlines())
    changed = {str(conf): int(conf.stat().st_ctime)}
    assert state == facts.ServiceState(
        "loaded", "active", "enabled", False, 1700000000, "abc def", changed
    )


@pytest.mark.parametrize("shown", ["ActiveEnterTimestamp=", "ActiveEnterTimestamp=@0"])
def test_a_unit_that_never_ran_has_no_start(sandbox: Sandbox, stub: Stub, shown: str) -> None:
    stub("systemctl", f"echo LoadState=not-found; echo {shown}")
    fact = facts.Service()
    state = fact.process(sandbox.sh(fact.command("x.service", [])).stdout.splitlines())
    assert state is not None
    assert state.active_since is None
    assert state.stamp is None


def test_service_fact_without_systemd_fails(sandbox: Sandbox, stub: Stub) -> None:
    stub("systemctl", "exit 1")
    assert sandbox.sh(facts.Service().command("x.service", [])).returncode != 0


def test_a_name_that_is_no_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="not the name of a systemd unit"):
        facts.Service().command("x; reboot", [])


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy-rc.d"
    monkeypatch.setattr(scripts, "POLICY", str(path))
    monkeypatch.setenv("POLICY", str(path))
    return path


def test_services_are_held_back_while_apt_runs(sandbox: Sandbox, stub: Stub, policy: Path) -> None:
    stub("dpkg", "")
    calls = stub("apt-get", '[ "$1" != install ] || { sh "$POLICY"; echo "policy $?" >>"$CALLS"; }')
    ended = sandbox.sh(scripts.install_packages(["postfix"], []))
    assert ended.returncode == 0
    assert calls.read_text().splitlines()[-1] == "policy 101"
    assert not policy.exists()


@pytest.mark.parametrize("ending", ["exit 100", "kill -TERM $PPID; sleep 1"])
def test_nothing_holds_services_back_after_a_failure(
    sandbox: Sandbox, stub: Stub, policy: Path, ending: str
) -> None:
    stub("dpkg", "")
    stub("apt-get", f'[ "$1" = -q ] || {{ echo "E: broken" >&2; {ending}; }}')
    assert sandbox.sh(scripts.install_packages(["postfix"], [])).returncode != 0
    assert not policy.exists()


def test_a_policy_of_the_operator_stays(sandbox: Sandbox, stub: Stub, policy: Path) -> None:
    policy.write_text("#!/bin/sh\nexit 0\n")
    stub("dpkg", "")
    stub("apt-get", "")
    assert sandbox.sh(scripts.install_packages(["postfix"], [])).returncode == 0
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_a_policy_that_a_killed_run_left_is_removed(
    sandbox: Sandbox, stub: Stub, policy: Path
) -> None:
    policy.write_text("#!/bin/sh\n# mailfleet: packages are being installed\nexit 101\n")
    assert sandbox.sh(scripts.install_packages([], [])).returncode == 0
    assert not policy.exists()


def test_a_held_lock_is_waited_for(sandbox: Sandbox, stub: Stub, policy: Path) -> None:
    stub("dpkg", "")
    stub("sleep", "")
    calls = stub(
        "apt-get",
        '[ "$(grep -c update "$CALLS")" -ge 3 ] || '
        '{ echo "E: Could not get lock /var/lib/apt/lists/lock" >&2; exit 100; }',
    )
    assert sandbox.sh(scripts.install_packages(["postfix"], [])).returncode == 0
    lines = calls.read_text().splitlines()
    assert lines.count("sleep 5") == 2
    assert lines[-1].startswith("apt-get install")


def test_an_index_out_of_reach_is_told_only_when_the_package_is_too(
    sandbox: Sandbox, stub: Stub, policy: Path
) -> None:
    stub("dpkg", "")
    stub("apt-get", 'case "$*" in *update*) echo "W: Failed to fetch x" >&2; exit 100;; esac')
    ended = sandbox.sh(scripts.install_packages(["postfix"], []))
    assert ended.returncode == 0
    assert "Failed to fetch" in ended.stderr


def test_packages_fact_knows_alternatives(sandbox: Sandbox, stub: Stub) -> None:
    stub(
        "dpkg-query",
        """case "$*" in
        *Provides*) printf 'ii  \\nii  time-daemon, ntp\\nrc  mail-transport-agent\\n';;
        *) printf 'ii  chrony\\niU  half\\nhi  held\\nun  time-daemon\\n';; esac""",
    )
    fact = facts.Packages()
    provided = ["time-daemon", "mail-transport-agent"]
    command = fact.command(["chrony", "half", "held", "none"], provided)
    state = fact.process(sandbox.sh(command).stdout.splitlines())
    assert state is not None
    assert state.installed == {"chrony", "held", "time-daemon"}
