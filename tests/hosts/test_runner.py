"""pyinfra as the runner starts it, on fake hosts."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_fleet import job, names

from mailfleet.hosts.results import Event, Result
from mailfleet.hosts.runner import Job, RunnerError, arguments, read_fact, run

FAILS = {"mailfleet-new": {"success": False, "stderr": ["line 3: unknown option", "refused"]}}
NO_FILES = {"mailfleet-files": "mailfleet-files"}


def outcome(one: Job, directory: Path) -> Result:
    (result,) = run([one], directory)
    return result


def test_nothing_to_do(tmp_path: Path) -> None:
    result = outcome(job(tmp_path, names(2)), tmp_path)
    assert [host.status for host in result.hosts] == ["unchanged", "unchanged"]
    assert result.exit_code == 0
    assert not result.changed


def test_dry_run_tells_files_and_changes_nothing(tmp_path: Path) -> None:
    hosts = names(2)
    special = {hosts[0]: {"rm -f": "never", **NO_FILES}}
    result = outcome(job(tmp_path, hosts, special=special, dry=True), tmp_path)
    changed, unchanged = result.hosts
    assert unchanged.status == "unchanged"
    assert changed.status == "changed"
    assert changed.operations == ("Settings",)
    told = {change.subject: change for change in changed.changes}
    assert sorted(told) == ["/etc/x/key", "/etc/x/x.conf"]
    assert told["/etc/x/x.conf"].diff[-1] == "+settings"
    assert "hunter2" not in repr(result)


def test_a_failing_host_among_others(tmp_path: Path) -> None:
    hosts = names(3)
    special = {hosts[1]: {"tar -x": FAILS["mailfleet-new"], **NO_FILES}}
    result = outcome(job(tmp_path, hosts, special=special), tmp_path)
    assert [host.status for host in result.hosts] == ["unchanged", "failed", "unchanged"]
    failed = result.hosts[1]
    assert failed.operation == "Settings"
    assert failed.output == ("line 3: unknown option", "refused")
    assert failed.remedy
    assert result.exit_code == 1


def test_the_last_host_fails(tmp_path: Path) -> None:
    """pyinfra then ends without JSON."""
    hosts = names(2)
    special = {host: {"tar -x": FAILS["mailfleet-new"], **NO_FILES} for host in hosts}
    result = outcome(job(tmp_path, hosts, special=special), tmp_path)
    assert [host.status for host in result.hosts] == ["failed", "failed"]
    assert {host.operation for host in result.hosts} == {"Settings"}
    assert result.hosts[0].output == ("line 3: unknown option", "refused")
    assert result.error == ""
    assert result.exit_code == 1


@pytest.mark.parametrize("dry", [True, False])
def test_a_read_that_fails_is_not_an_empty_host(tmp_path: Path, dry: bool) -> None:
    hosts = names(2)
    special = {hosts[0]: {"mailfleet-files": {"success": False, "stderr": "stat: no such thing"}}}
    result = outcome(job(tmp_path, hosts, special=special, dry=dry), tmp_path)
    assert [host.status for host in result.hosts] == ["failed", "unchanged"]
    assert "stat: no such thing" in result.hosts[0].output


@pytest.mark.parametrize("dry", [True, False])
def test_unreachable_hosts_are_told_apart(tmp_path: Path, dry: bool) -> None:
    one = job(tmp_path, names(1), closed=("mx1.example.net",), dry=dry)
    result = outcome(one, tmp_path)
    assert [host.status for host in result.hosts] == ["unchanged", "unreachable"]
    assert "port 9" in " ".join(result.hosts[1].output)
    assert "SSH port" in result.hosts[1].remedy
    assert result.exit_code == 3


def test_nobody_can_be_reached(tmp_path: Path) -> None:
    result = outcome(job(tmp_path, (), closed=("a.example.net", "b.example.net")), tmp_path)
    assert [host.status for host in result.hosts] == ["unreachable", "unreachable"]
    assert result.exit_code == 3


def test_a_failure_outweighs_unreachable_hosts(tmp_path: Path) -> None:
    hosts = names(2)
    special = {hosts[0]: {"tar -x": {"success": False}, **NO_FILES}}
    one = job(tmp_path, hosts, special=special, closed=("mx1.example.net",))
    assert outcome(one, tmp_path).exit_code == 1


@pytest.mark.parametrize("deploy", ["1 / 0\n", "import nothing_of_that_name\n", "if\n"])
def test_a_broken_deploy_file(tmp_path: Path, deploy: str) -> None:
    result = outcome(job(tmp_path, names(2), deploy=deploy), tmp_path)
    assert {host.status for host in result.hosts} == {"unfinished"}
    assert result.error
    assert result.exit_code == 1


def test_limit_runs_only_those(tmp_path: Path) -> None:
    hosts = names(3)
    seen: list[Event] = []
    one = replace(job(tmp_path, hosts), hosts=hosts[1:2], whole=False)
    (result,) = run([one], tmp_path, seen.append)
    assert [host.name for host in result.hosts] == [hosts[1]]
    assert {event.host for event in seen} == {"", hosts[1]}


def test_missing_files_and_empty_selections_are_refused(tmp_path: Path) -> None:
    one = job(tmp_path, names(1))
    for bad in (
        replace(one, inventory=tmp_path / "none.py"),
        replace(one, deploy=tmp_path / "none.py"),
        replace(one, hosts=()),
    ):
        with pytest.raises(RunnerError):
            arguments(bad)


def test_three_hundred_hosts(tmp_path: Path) -> None:
    hosts = names(300)
    special: dict[str, dict[str, object]] = {
        host: {"tar -x": {"success": False, "stderr": "No space left on device"}, **NO_FILES}
        for host in hosts[::50]
    }
    special |= {host: dict(NO_FILES) for host in hosts[1::100]}
    result = outcome(job(tmp_path, hosts, special=special), tmp_path)
    by_status: dict[str, int] = {}
    for host in result.hosts:
        by_status[host.status] = by_status.get(host.status, 0) + 1
    assert by_status == {"failed": 6, "changed": 3, "unchanged": 291}
    assert result.exit_code == 1
    assert "disk is full" in result.hosts[0].remedy


def test_regions_run_side_by_side(tmp_path: Path) -> None:
    jobs = []
    for region in ("eu", "us"):
        (tmp_path / region).mkdir()
        jobs.append(job(tmp_path / region, names(2), delay=0.3))
    begin = time.monotonic()
    results = run(jobs, tmp_path)
    together = time.monotonic() - begin
    assert all(result.ok for result in results)
    assert together < sum(result.seconds for result in results)


def test_a_listener_that_fails_stops_the_run(tmp_path: Path) -> None:
    def listener(event: Event) -> None:
        raise BrokenPipeError

    begin = time.monotonic()
    with pytest.raises(BrokenPipeError):
        run([job(tmp_path, names(2), delay=30)], tmp_path, listener)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_pyinfra_too(tmp_path: Path, number: signal.Signals) -> None:
    one = job(tmp_path, names(2), delay=60)
    script = (
        "import sys\nfrom pathlib import Path\nfrom mailfleet.hosts.runner import Job, run\n"
        "job = Job(Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:]), True)\n"
        "try:\n    run([job], Path('.'), lambda e: print('event', flush=True))\n"
        "except KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(one.inventory), str(one.deploy), *one.hosts],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, number)
    assert process.wait(20) == 130
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_secrets_are_in_no_output(tmp_path: Path) -> None:
    hosts = names(1)
    one = job(tmp_path, hosts, special={hosts[0]: dict(NO_FILES)})
    for mode in (["--dry"], ["-y"], ["-y", "-vvv"], ["-y", "--debug"], ["-y", "--diff"]):
        words = [sys.executable, "-m", "pyinfra", *mode, str(one.inventory), str(one.deploy)]
        ended = subprocess.run(
            words,
            check=False,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert "Settings" in ended.stdout + ended.stderr or mode == ["--dry"]
        assert "hunter2" not in ended.stdout + ended.stderr


def test_a_fact_over_new_connections(tmp_path: Path) -> None:
    hosts = names(2)
    special = {hosts[0]: {"os-release": "debian 12"}}
    one = job(tmp_path, hosts, special=special, closed=("mx1.example.net",))
    asked = (*hosts, "mx1.example.net")
    found = read_fact(one.inventory, asked, "mailfleet.hosts.facts.OsRelease", tmp_path)
    assert found == {hosts[0]: ["debian", "12"], hosts[1]: None}
