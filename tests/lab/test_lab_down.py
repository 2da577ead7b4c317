"""`lab down` leaves nothing behind, wherever `lab up` or a part of the lab was killed.

What is left is looked for here by other means than the lab's own: /proc, the mount table, the
list of namespaces, the cgroup tree. The lab is a small one of its own (one host).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.lab import processes
from mailfleet.lab.lab import Lab
from mailfleet.lab.layout import DEFAULT_CACHE

pytestmark = pytest.mark.lab

CopyFleet = Callable[[Path], Path]
MAILFLEET = str(Path(sys.executable).parent / "mailfleet")


class Private:
    """A one-host lab in a directory of its own, driven through the command line."""

    def __init__(self, directory: Path, fleet: Path) -> None:
        self.lab = Lab(directory)
        self.fleet = fleet
        self.links = links()
        self.env = {**os.environ, "MAILFLEET_LAB_DIR": str(directory)}

    def cli(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MAILFLEET, "lab", *argv],
            env=self.env,
            cwd=self.fleet,
            capture_output=True,
            text=True,
            check=False,
        )

    def up(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [MAILFLEET, "lab", "up"],
            env=self.env,
            cwd=self.fleet,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )

    def namespace(self) -> int | None:
        try:
            return self.lab.layout.namespace_file.stat().st_ino
        except OSError:
            return None


def links() -> set[str]:
    """The interfaces of this machine, outside every lab."""
    return {path.name for path in Path("/sys/class/net").iterdir()}


def kill_after_line(process: subprocess.Popen[str], words: str) -> None:
    """SIGKILL it when it reports a step."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            break
    else:
        pytest.fail(f"`lab up` never said {words!r}: {''.join(seen)}")
    process.kill()
    process.wait()
    process.stderr.close()


def assert_nothing_left(private: Private, namespace: int | None) -> None:
    place = private.lab.layout
    marker = f"MAILFLEET_LAB_ID={place.id}".encode()
    processes_left = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            environment = (entry / "environ").read_bytes().split(b"\0")
            inside = namespace is not None and (entry / "ns/net").stat().st_ino == namespace
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if marker in environment or inside or str(place.directory).encode() in command:
            processes_left.append((entry.name, command))
    assert processes_left == []
    assert str(place.directory) not in Path("/proc/self/mounts").read_text()
    assert place.namespace not in Path("/proc/self/mounts").read_text()
    listed = subprocess.check_output(["ip", "netns", "list"], text=True)
    assert place.namespace not in listed
    assert not list(Path("/sys/fs/cgroup").glob(f"**/mailfleet-{place.id}"))
    assert not list(Path("/run/systemd/nspawn").glob(f"*/*{place.id}*"))
    assert links() == private.links
    assert {path.name for path in place.directory.iterdir()} <= {"log", ".mailfleet-lab"}


@pytest.fixture
def private(
    able: None, tmp_path: Path, copy_example: CopyFleet, second_directory: Path
) -> Iterator[Private]:
    fleet = copy_example(tmp_path / "fleet")
    (fleet / "inventories/us_east.py").unlink()
    (fleet / "inventories/eu_central.py").write_text(
        'mx = [("mx1.eu.example.net", {"ssh_hostname": "198.51.100.25", "ipv4": "198.51.100.25",'
        ' "ipv6": "2001:db8:1::25", "debian": 12})]\n'
        "senders = []\n"
    )
    for name in ("example.net", "example.org"):
        (fleet / "recipients" / name).unlink()
    text = (fleet / "fleet.yml").read_text()
    text = text.replace("postmaster@example.net", "postmaster@example.com")
    head, _, rest = text.partition("pools:\n")
    _, _, tail = rest.partition("warmup:\n")
    domains = "domains:\n  example.com: {destination: maildir}\n\n"
    (fleet / "fleet.yml").write_text(f"{head}{domains}warmup:\n{tail}")
    private = Private(second_directory, fleet)
    private.lab.down(purge=True)
    yield private
    private.lab.down(purge=True)
    assert not private.lab.layout.directory.exists()


# Every line that `lab up` says, in its order; the services and hosts start side by side.
STEPS = (
    "network namespace",
    "package proxy",
    "name servers are up",
    "certificate authority is up",
    "mailbox provider google is up",
    "mailbox provider microsoft is up",
    "mx1.eu.example.net is up",
    " up",
)


@pytest.mark.parametrize("step", STEPS)
def test_down_after_up_was_killed(step: str, private: Private) -> None:
    kill_after_line(private.up(), step)
    namespace = private.namespace()
    down = private.cli("down")
    assert down.returncode == 0, down.stderr
    assert_nothing_left(private, namespace)


@pytest.mark.parametrize("seconds", [0.3, 0.6, 0.9, 1.2, 1.6, 2.0, 2.5])
def test_down_after_up_was_killed_at_some_moment(seconds: float, private: Private) -> None:
    up = private.up()
    time.sleep(seconds)
    up.kill()
    up.wait()
    namespace = private.namespace()
    assert private.cli("down").returncode == 0
    if private.lab.layout.directory.exists():
        assert_nothing_left(private, namespace)


def test_up_goes_on_where_it_was_killed(private: Private) -> None:
    for step in STEPS[:-1]:
        kill_after_line(private.up(), step)
    done = private.cli("up")
    assert done.returncode == 0, done.stderr
    assert private.lab.ssh("mx1.eu", "hostname").stdout == "debian\n"
    answer = private.lab.run(["kdig", "+short", "@198.18.0.53", "acme.lab.test", "A"]).stdout
    assert answer == "198.18.0.14\n"


@pytest.mark.parametrize(
    "victims", ["supervisor", "init", "services", "everything but hosts", "a command"]
)
def test_down_after_parts_were_killed(victims: str, private: Private) -> None:
    private.lab.up(load(private.fleet))
    place = private.lab.layout
    namespace = private.namespace()
    host = "host:mx1.eu.example.net"
    if victims == "supervisor":
        doomed = processes.service(place, host)[:1]
    elif victims == "init":
        doomed = tuple(filter(None, [processes.init_of(place, "mx1.eu.example.net")]))
    elif victims == "services":
        doomed = processes.service(place, "dns") + processes.service(place, "acme")
    else:
        names = (name for name in private.lab.services)
        doomed = tuple(pid for name in names for pid in processes.service(place, name))
    if victims == "a command":
        doomed = ()
        subprocess.Popen([MAILFLEET, "lab", "run", "--", "sleep", "600"], env=private.env)
        time.sleep(1)
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    assert private.cli("down").returncode == 0
    assert_nothing_left(private, namespace)


def test_down_twice_and_up_again(private: Private) -> None:
    private.lab.up(load(private.fleet))
    first = private.lab.ssh("mx1.eu", "cat /etc/machine-id").stdout
    namespace = private.namespace()
    assert private.cli("down").returncode == 0
    assert private.cli("down").returncode == 0
    assert_nothing_left(private, namespace)
    private.lab.up(load(private.fleet))
    assert private.lab.ssh("mx1.eu", "cat /etc/machine-id").stdout != first


def test_down_after_a_reboot_that_left_the_directory(private: Private) -> None:
    """A reboot takes processes, mounts and namespace, and leaves the files."""
    private.lab.up(load(private.fleet))
    place = private.lab.layout
    state, hosts = place.state_file.read_bytes(), place.hosts
    private.lab.down()
    place.state_file.write_bytes(state)
    (hosts / "mx1.eu.example.net/upper/etc").mkdir(parents=True)
    up = private.cli("up")
    assert up.returncode == 0, up.stderr
    assert private.lab.ssh("mx1.eu", "hostname").stdout == "debian\n"


def test_one_up_at_a_time(private: Private) -> None:
    first, second = private.up(), private.up()
    outputs = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert any("waiting for another" in output for output in outputs)
    assert len(processes.service(private.lab.layout, "dns")) == 1


def test_a_lab_plays_one_fleet(private: Private, tmp_path: Path, copy_example: CopyFleet) -> None:
    private.lab.up(load(private.fleet))
    other = copy_example(tmp_path / "other")
    refused = subprocess.run(
        [MAILFLEET, "lab", "up", "--fleet", str(other)],
        env=private.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert str(private.fleet) in refused.stderr
    assert "MAILFLEET_LAB_DIR" in refused.stderr


def test_a_host_that_joins_or_leaves_the_fleet(private: Private) -> None:
    private.lab.up(load(private.fleet))
    inventory = private.fleet / "inventories/us_east.py"
    inventory.write_text(
        'backup_mx = [("mx1.us.example.net", {"ssh_hostname": "198.51.100.153",'
        ' "ipv4": "198.51.100.153", "ipv6": "2001:db8:2::25", "debian": 12})]\n'
    )
    text = (private.fleet / "fleet.yml").read_text()
    (private.fleet / "fleet.yml").write_text(
        text.replace(
            "    example.org: primary\n", "    example.org: primary\n    new.test: primary\n"
        )
    )
    machine = private.lab.ssh("mx1.eu", "cat /etc/machine-id").stdout
    up = private.cli("up")
    assert up.returncode == 0, up.stderr
    assert private.lab.ssh("mx1.us", "hostname").stdout == "debian\n"
    assert private.lab.ssh("mx1.eu", "cat /etc/machine-id").stdout == machine
    command = ["kdig", "+short", "@198.18.0.53", "new.test"]
    assert "ns1.lab.test." in private.lab.run([*command, "NS"]).stdout
    assert private.lab.run([*command, "DS"]).stdout
    inventory.unlink()
    assert private.cli("up").returncode == 0
    assert [host.name for host in private.lab.record().hosts] == ["mx1.eu.example.net"]
    assert not processes.service(private.lab.layout, "host:mx1.us.example.net")
    assert not (private.lab.layout.hosts / "mx1.us.example.net").exists()


def test_down_while_an_image_is_built(private: Private, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "packages").symlink_to(Path(DEFAULT_CACHE) / "packages")
    private.env["MAILFLEET_CACHE_DIR"] = str(cache)
    up = private.up()
    kill_after_line(up, "building the root")
    namespace = private.namespace()
    down = private.cli("down")
    assert down.returncode == 0, down.stderr
    assert_nothing_left(private, namespace)
    assert str(cache) not in Path("/proc/self/mounts").read_text()
    assert not list((cache / "images").glob(".*.part"))


def test_an_unreachable_mirror_is_named(private: Private, tmp_path: Path) -> None:
    private.env["MAILFLEET_CACHE_DIR"] = str(tmp_path / "cache")
    private.env["MAILFLEET_LAB_MIRROR"] = "http://127.0.0.1:9/debian"
    failed = private.cli("up")
    assert failed.returncode == 1
    assert "could not be built" in failed.stderr
    assert "http://127.0.0.1:9/debian" in failed.stderr
    assert "Traceback" not in failed.stderr
