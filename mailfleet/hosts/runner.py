"""Runs pyinfra, as a process of its own for every region, and judges what it did.

Never in-process: pyinfra patches the standard library with gevent and keeps global state.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

from mailfleet.hosts import changes
from mailfleet.hosts.results import Event, Log, Result, conclude

# Seconds that pyinfra gets after SIGINT, and after SIGTERM, before the next, stronger signal.
_PATIENCE = 5.0


class RunnerError(Exception):
    """pyinfra cannot be started as asked; the message says what is missing."""


@dataclass(frozen=True)
class Job:
    """One run of pyinfra: a deploy file on hosts of one inventory file.

    `hosts` are the names that must be reached; with `whole` they are all of the inventory and
    need not be named to pyinfra.
    """

    inventory: Path
    deploy: Path
    hosts: tuple[str, ...]
    whole: bool = False
    dry: bool = False


class _Process:
    """One pyinfra at work: its log goes line by line into a queue, its answer into a file."""

    def __init__(
        self, words: Sequence[str], directory: Path, scratch: Path, lines: Queue[_Line]
    ) -> None:
        self.announced = scratch / "changes"
        self.announced.touch()
        self._answer = scratch / "stdout"
        self._begin = time.monotonic()
        environment = {
            **os.environ,
            changes.VARIABLE: str(self.announced),
            "MAILFLEET_FLEET": str(directory),
        }
        with self._answer.open("wb") as answer:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pyinfra", *words],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def _read(self, lines: Queue[_Line]) -> None:
        if self.process.stderr is not None:
            for line in self.process.stderr:
                lines.put((self, line))
        lines.put((self, None))

    def ended(self) -> None:
        """Its log has ended: so has it, or it will at once."""
        self.process.wait()
        self.seconds = time.monotonic() - self._begin

    def answer(self) -> str:
        """What it wrote to standard output."""
        return self._answer.read_text(errors="replace")


# A line of a process's log, or None at its end.
_Line = tuple[_Process, str | None]


def arguments(job: Job) -> list[str]:
    """pyinfra's arguments for a job.

    A dry run goes without `-y`, which would skip the detection of changes; with `--json` and
    standard input closed nothing is ever asked (trap 13). One greenlet a host, because every
    operation is a barrier for a batch. Raises RunnerError.
    """
    if not job.deploy.is_file():
        raise RunnerError(f"There is no deploy file {job.deploy}")
    mode = ["--dry"] if job.dry else ["-y"]
    return [*mode, *_whom(job.inventory, job.hosts, job.whole), str(job.deploy)]


def _whom(inventory: Path, hosts: Sequence[str], whole: bool) -> list[str]:
    # Trap 1: pyinfra would only warn of a missing inventory, and of a limit that matches nobody.
    if not inventory.is_file():
        raise RunnerError(f"There is no inventory {inventory}")
    if not hosts:
        raise RunnerError(f"No host of {inventory} is asked for")
    limits = [] if whole else [f"--limit={host}" for host in hosts]
    return ["--json", f"--parallel={len(hosts)}", *limits, str(inventory)]


def run(
    jobs: Sequence[Job], directory: Path, listener: Callable[[Event], None] | None = None
) -> tuple[Result, ...]:
    """Run jobs side by side in the fleet directory; a result for each, in their order.

    `listener` is called with what happens. KeyboardInterrupt (SIGINT, and
    SIGTERM and SIGHUP in the main thread) stops every pyinfra before it is raised again. Raises
    RunnerError before anything is started.
    """
    words = [arguments(job) for job in jobs]
    logs = [Log(listener or _ignore) for _ in jobs]
    with _finished(words, directory, logs) as processes:
        return tuple(
            conclude(
                job.hosts,
                process.answer(),
                log,
                changes.read(process.announced),
                dry=job.dry,
                seconds=process.seconds,
            )
            for job, process, log in zip(jobs, processes, logs, strict=True)
        )


def read_fact(
    inventory: Path, hosts: Sequence[str], fact: str, directory: Path, **given: str | int
) -> dict[str, Any]:
    """A pyinfra fact of some hosts of an inventory, over a new connection each.

        read_fact(inventory, names, "mailfleet.warmup.observe.WarmupState", directory)

    The fact's value must be JSON, or have a `to_json()` method. A host that could not be reached
    is not in the answer; a fact that could not be read is its default. Raises RunnerError when
    pyinfra stops without an answer.
    """
    extra = [f"{name}={value}" for name, value in given.items()]
    words = [*_whom(inventory, hosts, False), "fact", fact, *extra]
    log = Log(_ignore)
    with _finished([words], directory, [log]) as (process,):
        if not log.connected:
            return {}
        try:
            (values,) = json.loads(process.answer()).values()
        except ValueError as error:
            reason = "\n".join(log.error) or "pyinfra stopped without an answer"
            raise RunnerError(f"Could not read {fact}: {reason}") from error
        return {name: values[name] for name in hosts if name in log.connected}


@contextmanager
def _finished(
    commands: Sequence[Sequence[str]], directory: Path, logs: Sequence[Log]
) -> Iterator[list[_Process]]:
    """Run a pyinfra for each command side by side to their ends; none outlives the block.

    The logs are read here, in the caller's thread, so that whatever a listener raises stops them.
    """
    lines: Queue[_Line] = Queue()
    processes: list[_Process] = []
    with tempfile.TemporaryDirectory(prefix="mailfleet-") as scratch, _signals_as_interrupt():
        try:
            for number, words in enumerate(commands):
                own = Path(scratch) / str(number)
                own.mkdir()
                processes.append(_Process(words, directory, own, lines))
            following = dict(zip(processes, logs, strict=True))
            while following:
                process, line = lines.get()
                if line is None:
                    process.ended()
                    del following[process]
                else:
                    following[process].line(line)
            yield processes
        finally:
            _stop([each.process for each in processes])


def _ignore(event: Event) -> None:
    """The listener of those who do not listen."""


@contextmanager
def _signals_as_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does, so that no pyinfra works on unattended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(processes: Sequence[subprocess.Popen[str]]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        alive = [process for process in processes if process.poll() is None]
        for process in alive:
            process.send_signal(number)
        deadline = time.monotonic() + _PATIENCE
        for process in alive:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
