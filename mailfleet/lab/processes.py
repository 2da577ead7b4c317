"""Starting, finding and ending the lab's processes.

A process of the lab is known by an environment variable, which survives what pid files do not:
a SIGKILL between fork and write, a reboot, a copied directory. See proc_pid_environ(5).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailfleet.lab.errors import LabError
from mailfleet.lab.layout import Layout
from mailfleet.lab.seal import sealed

MARKER = "MAILFLEET_LAB_ID"
SERVICE = "MAILFLEET_LAB_SERVICE"
PROC = Path("/proc")
# Daemons live in sbin, which is not in everybody's PATH; hosts' programs are found in it too.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Process:
    """One process as /proc shows it."""

    pid: int
    started: int
    environment: Mapping[str, str]

    @property
    def service(self) -> str:
        """The lab service it belongs to, "" for a command started by `lab run`."""
        return self.environment.get(SERVICE, "")


def processes(lab: Layout) -> Iterator[Process]:
    """Every living process of the lab: those that carry its marker."""
    needle = f"{MARKER}={lab.id}".encode()
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            raw = (entry / "environ").read_bytes()
            if needle not in raw:
                continue
            status = _stat(entry)
            if status[0] in "ZX":
                continue
        except OSError:
            continue
        pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
        environment = {
            key.decode(errors="replace"): v.decode(errors="replace") for key, _, v in pairs
        }
        if environment.get(MARKER) == lab.id:
            yield Process(int(entry.name), int(status[19]), environment)


def service(lab: Layout, name: str) -> tuple[int, ...]:
    """The pids of one service, oldest first; empty when it does not run."""
    return tuple(p.pid for p in _oldest_first(lab) if p.service == name)


def in_namespace(lab: Layout) -> tuple[int, ...]:
    """The pids of every process in the lab's network namespace, whoever started it."""
    try:
        inode = lab.namespace_file.stat().st_ino
    except OSError:
        return ()
    found = []
    for entry in PROC.iterdir():
        try:
            if entry.name.isdigit() and (entry / "ns/net").stat().st_ino == inode:
                found.append(int(entry.name))
        except OSError:
            continue
    return tuple(sorted(found))


def runs(lab: Layout, name: str) -> bool:
    """Whether a service runs. Looks three times: an exec hides the environment for a moment."""
    for _ in range(3):
        if service(lab, name):
            return True
        time.sleep(0.05)
    return False


def init_of(lab: Layout, name: str) -> int | None:
    """The pid, seen from here, of the init of a host; None when the host is off."""
    for process in _oldest_first(lab):
        if process.service == f"init:{name}" and _inner_pid(process.pid) == 1:
            return process.pid
    return None


def spawn(
    lab: Layout,
    name: str,
    argv: Sequence[str],
    *,
    inside: bool = True,
    seal: bool = True,
    env: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a service of the lab that outlives this process; its output goes to log/NAME.log.

    `inside` puts it into the lab's network namespace, and `seal` keeps its libc from asking the
    machine's name services (see seal.py); `descriptors` stay open in it.
    """
    lab.logs.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PATH": PATH, **(env or {}), MARKER: lab.id, SERVICE: name}
    command = list(argv)
    if inside:
        command = [*enter(lab), *(sealed(lab, argv) if seal else argv)]
    with (lab.logs / f"{name.replace(':', '-')}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            start_new_session=True,
            pass_fds=descriptors,
        )


def enter(lab: Layout) -> list[str]:
    """The command prefix that runs something in the lab's network namespace.

    Not `ip netns exec`, which remounts /sys and so hides the cgroups from systemd-nspawn.
    """
    return ["nsenter", f"--net={lab.namespace_file}"]


def end(pids: Sequence[int], *, kill: bool = False, timeout: float = 10.0) -> None:
    """End processes and wait until they are gone: SIGTERM, then SIGKILL after `timeout` seconds.

    Raises LabError when one survives even that.
    """
    deadline = time.monotonic() + timeout
    waiting = [pid for pid in pids if _send(pid, signal.SIGKILL if kill else signal.SIGTERM)]
    forced = kill
    while waiting:
        time.sleep(0.02)
        waiting = [pid for pid in waiting if alive(pid)]
        if waiting and time.monotonic() > deadline:
            if forced:
                raise LabError(
                    f"Processes do not end, even by SIGKILL: {', '.join(map(str, waiting))}.",
                    "Look at them with `ps -fp PID`; one in state D waits for a disk.",
                )
            forced, deadline = True, time.monotonic() + timeout
            for pid in waiting:
                _send(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie, which only waits for its parent, does not."""
    _reap(pid)
    try:
        return _stat(PROC / str(pid))[0] not in "ZX"
    except OSError:
        return False


def log_tail(lab: Layout, name: str, lines: int = 8) -> str:
    """The last lines a service wrote, for an error message."""
    try:
        text = (lab.logs / f"{name.replace(':', '-')}.log").read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except (ChildProcessError, OSError):
        return


def _stat(entry: Path) -> list[str]:
    """The fields of /proc/PID/stat from the third, the state, on (proc_pid_stat(5))."""
    # They follow the command name, which is in parentheses and may hold spaces.
    return (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _oldest_first(lab: Layout) -> list[Process]:
    return sorted(processes(lab), key=lambda process: (process.started, process.pid))


def _inner_pid(pid: int) -> int:
    try:
        status = (PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return 0
