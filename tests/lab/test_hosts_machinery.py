"""The operations on real hosts: services, packages, sudo, kills and power cuts.

In a lab of its own, with a deploy file of its own: one file, a unit that reads it, one package.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.lab.lab import Lab

pytestmark = pytest.mark.lab

HOSTS = ("mta1.eu.example.net", "mx1.eu.example.net")  # Debian 12 and 13
SECRET = "hunter2-hunter2-hunter2"

SITE = """
from mailfleet.hosts.files import File
from mailfleet.hosts.operations import files, packages, service
conf = (
    File("/etc/tick/tick.conf", "{setting}\\n"),
    File("/etc/tick/key", "{secret}\\n", mode="640", group="adm", secret=True),
)
unit = (File("/etc/systemd/system/tick.service", '''[Service]
ExecStart=/bin/sh -c 'cat /etc/tick/tick.conf >>/run/started; exec sleep {seconds}'
ExecReload=/bin/sh -c 'cat /etc/tick/tick.conf >>/run/reloaded'
[Install]
WantedBy=multi-user.target
'''),)
packages(name="Packages", names=("cron",))
files(name="Settings", files=conf + unit, validate='''{validate}''')
service(name="tick runs them", unit="tick.service", watches=conf, restarts=unit)
"""


@pytest.fixture(scope="module")
def lab(
    able: None, tmp_path_factory: pytest.TempPathFactory, copy_example: Callable[[Path], Path]
) -> Iterator[Lab]:
    lab = Lab(Path("/var/lib/mailfleet/test-machinery"))
    lab.down()
    try:
        lab.up(load(copy_example(tmp_path_factory.mktemp("machinery") / "fleet")))
        yield lab
    finally:
        lab.down(purge=True)


class Tick:
    """The deploy file, and what became of it on the hosts."""

    def __init__(self, lab: Lab, path: Path) -> None:
        self.lab = lab
        self.path = path
        self.write()

    def write(
        self, setting: str = "one", seconds: str = "infinity", validate: str = "true"
    ) -> None:
        text = SITE.format(setting=setting, seconds=seconds, validate=validate, secret=SECRET)
        self.path.write_text(text)

    def words(self, *options: str) -> list[str]:
        limits = [f"--limit={name}" for name in HOSTS]
        return ["pyinfra", *options, *limits, "inventories/eu_central.py", str(self.path)]

    def run(self, *options: str) -> str:
        """Deploy; the log. Fails the test when pyinfra does."""
        done = self.lab.run(self.words("-y", *options), check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def on(self, name: str, line: str) -> str:
        return self.lab.ssh(name, line, check=False).stdout.strip()


@pytest.fixture
def tick(lab: Lab, tmp_path: Path) -> Tick:
    """Deployed in its first form, and settled."""
    tick = Tick(lab, tmp_path / "tick.py")
    tick.run()
    for name in HOSTS:
        tick.on(name, "rm -f /run/started /run/reloaded")
    return tick


def changed(log: str) -> bool:
    return any(line.endswith("Success") for line in log.splitlines())


def test_files_arrive_and_a_second_run_changes_nothing(tick: Tick) -> None:
    assert not changed(tick.run())
    for name in HOSTS:
        shown = tick.on(name, "stat -c '%a %U:%G' /etc/tick /etc/tick/*; cat /etc/tick/key")
        assert shown.splitlines() == ["755 root:root", "640 root:adm", "644 root:root", SECRET]
        assert tick.on(name, "systemctl is-enabled tick; systemctl is-active tick") == (
            "enabled\nactive"
        )


def test_packages_come_without_their_services(tick: Tick) -> None:
    for name in HOSTS:
        state = tick.on(name, "dpkg-query -W -f '${Status}' cron; echo; systemctl is-active cron")
        assert state == "install ok installed\ninactive"
        assert tick.on(name, "ls /usr/sbin/policy-rc.d 2>/dev/null") == ""


def test_settings_reload_and_a_unit_file_restarts(tick: Tick) -> None:
    tick.write("two")
    assert changed(tick.run())
    for name in HOSTS:
        assert tick.on(name, "cat /run/reloaded; ls /run/started 2>/dev/null") == "two"
    tick.write("two", seconds="100000")
    assert changed(tick.run())
    for name in HOSTS:
        assert tick.on(name, "cat /run/started") == "two"
        assert tick.on(name, "pgrep -fc 'sleep 100000'") >= "1"
    assert not changed(tick.run())


def test_a_change_made_by_hand_is_taken_back(tick: Tick) -> None:
    tick.on(HOSTS[0], "echo mine >/etc/tick/tick.conf; chmod 777 /etc/tick/key")
    tick.run()
    assert tick.on(HOSTS[0], "cat /etc/tick/tick.conf; stat -c %a /etc/tick/key") == "one\n640"


def test_after_a_power_cut_nothing_has_to_be_done(lab: Lab, tick: Tick) -> None:
    lab.kill(HOSTS[0])
    lab.start(HOSTS[0])
    assert tick.on(HOSTS[0], "ls /run/mailfleet 2>/dev/null") == ""
    assert not changed(tick.run())


def test_what_the_checker_refuses_never_lives(tick: Tick) -> None:
    tick.write(
        "broken", validate='grep -q one "$(staged /etc/tick/tick.conf)" || (echo no one; false)'
    )
    done = tick.lab.run(tick.words("-y"), check=False, timeout=120)
    assert done.returncode == 1
    assert "no one" in done.stderr
    for name in HOSTS:
        assert tick.on(name, "cat /etc/tick/tick.conf; ls -A /etc/tick | grep mailfleet") == "one"
        assert tick.on(name, "ls /run/reloaded /run/started 2>/dev/null") == ""


def test_a_reload_that_was_lost_is_made_up_for(tick: Tick) -> None:
    """The control process dies after the files are live and before the reload."""
    tick.write("three")
    text = tick.path.read_text()
    tick.path.write_text(text[: text.index("service(name=")])
    tick.run()
    tick.path.write_text(text)
    assert changed(tick.run())
    for name in HOSTS:
        assert tick.on(name, "cat /run/reloaded") == "three"


def popen(lab: Lab, argv: Sequence[str]) -> subprocess.Popen[str]:
    command, environment = lab.command(argv)
    return subprocess.Popen(
        command,
        env=environment,
        cwd=lab.record().fleet_directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("seconds", [0.6, 1.2, 1.8])
def test_killed_at_many_moments_then_run_again(tick: Tick, seconds: float) -> None:
    tick.write(f"after {seconds}", validate="sleep 0.5")
    process = popen(tick.lab, tick.words("-y"))
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for name in HOSTS:
        assert tick.on(name, "cat /etc/tick/tick.conf") in ("one", f"after {seconds}")
    tick.write(f"after {seconds}")
    tick.run()
    for name in HOSTS:
        assert tick.on(name, "cat /etc/tick/tick.conf; ls -A /etc/tick | wc -l") == (
            f"after {seconds}\n2"
        )
        assert tick.on(name, "tail -n 1 /run/reloaded") == f"after {seconds}"
    assert not changed(tick.run())


def test_power_cut_while_files_wait(lab: Lab, tick: Tick) -> None:
    tick.write("cut", validate="sleep 30")
    process = popen(lab, tick.words("-y"))
    deadline = time.monotonic() + 20
    while "mailfleet-new" not in tick.on(HOSTS[0], "ls -A /etc/tick"):
        assert time.monotonic() < deadline
    lab.kill(HOSTS[0])
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    lab.start(HOSTS[0])
    assert tick.on(HOSTS[0], "cat /etc/tick/tick.conf") == "one"
    tick.on(HOSTS[1], "pkill sleep")
    tick.write("cut")
    tick.run()
    for name in HOSTS:
        assert tick.on(name, "cat /etc/tick/tick.conf; ls -A /etc/tick | wc -l") == "cut\n2"


def test_a_full_disk_is_a_clear_error(lab: Lab, tick: Tick) -> None:
    name = HOSTS[0]
    tick.on(name, "mkdir -p /etc/small && mount -t tmpfs -o size=64k tmpfs /etc/small")
    site = tick.path.with_name("small.py")
    site.write_text(
        "import os\nfrom mailfleet.hosts.files import File\n"
        "from mailfleet.hosts.operations import files\n"
        "big = File('/etc/small/big', os.urandom(200_000).hex())\n"
        "files(name='Big', files=[big])\n"
    )
    try:
        words = ["pyinfra", "-y", f"--limit={name}", "inventories/eu_central.py", str(site)]
        done = lab.run(words, check=False, timeout=60)
        assert done.returncode == 1
        assert "the new files could not be written" in done.stderr
        assert "100% /etc/small" in done.stderr
        assert tick.on(name, "ls -A /etc/small") == ""
    finally:
        tick.on(name, "umount /etc/small")


def test_as_another_user_with_sudo(lab: Lab, tick: Tick) -> None:
    """And what is secret is in no process list while it travels."""
    for name in HOSTS:
        lab.ssh(
            name,
            "apt-get -q update >/dev/null; apt-get -qy install sudo >/dev/null 2>&1; "
            "useradd -m -s /bin/sh ops || :; "
            "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops; "
            "install -d -o ops -m 700 ~ops/.ssh; "
            "install -o ops -m 600 ~/.ssh/authorized_keys ~ops/.ssh/authorized_keys",
        )
    tick.write("by ops", validate="ps axww -o args >/run/seen; sleep 0.2")
    log = tick.run("--user=ops", "--sudo", "-vvv")
    assert SECRET not in log
    for name in HOSTS:
        assert tick.on(name, "cat /etc/tick/tick.conf; stat -c %U /etc/tick/tick.conf") == (
            "by ops\nroot"
        )
        assert f"{SECRET[:8]}" not in tick.on(name, "cat /run/seen")
    assert not changed(tick.run("--user=ops", "--sudo"))


def test_ctrl_c_ends_a_deploy_with_130(lab: Lab) -> None:
    process = popen(lab, ["mailfleet", "deploy", "--dry"])
    assert process.stderr is not None
    assert "looking at" in process.stderr.readline()
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
