"""Warm-up runs of many senders: look, apply, and look again, through pyinfra."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mailfleet.fleet.model import Fleet, Host
from mailfleet.hosts import apply, runner
from mailfleet.hosts.results import HostResult
from mailfleet.warmup.errand import VARIABLE, Errand, read_plan, write_errand
from mailfleet.warmup.plan import HostPlan, Wish


class RunError(Exception):
    """A run cannot be made at all; the message says why and what to do."""


@dataclass(frozen=True)
class Round:
    """One round of pyinfra: the plans of the senders that told one, and those that are in trouble.

    `unreachable` and `failed` leave out whoever has a plan with a problem of its own.
    """

    plans: tuple[HostPlan, ...]
    unreachable: tuple[HostResult, ...] = ()
    failed: tuple[HostResult, ...] = ()

    @property
    def attention(self) -> tuple[HostPlan, ...]:
        """Plans for a person to look at."""
        return tuple(plan for plan in self.plans if plan.remedy or plan.problem)


class Exchange:
    """Rounds for some senders and one wish, over a private directory."""

    def __init__(self, fleet: Fleet, senders: Sequence[Host], wish: Wish, directory: Path) -> None:
        self._fleet, self._senders, self._wish = fleet, tuple(senders), wish
        self._directory = directory

    def look(self) -> Round:
        """Read every sender and make its plan; changes nothing. Raises RunError."""
        for host in self._senders:
            (self._directory / f"{host.name}.plan").unlink(missing_ok=True)
        return self._round("look", self._senders)

    def apply(self, shown: Round) -> Round:
        """Carry out the plans that were shown. Raises RunError."""
        names = {plan.host for plan in shown.plans if not (plan.problem or plan.nothing_to_do)}
        return self._round("apply", [host for host in self._senders if host.name in names])

    def _round(self, step: Literal["look", "apply"], senders: Sequence[Host]) -> Round:
        write_errand(self._directory, Errand(step=step, wish=self._wish))
        jobs = apply.jobs(self._fleet, senders, "warmup.py", dry=step == "look")
        try:
            with _environment(VARIABLE, str(self._directory)):
                results = runner.run(jobs, self._fleet.directory)
        except runner.RunnerError as error:
            raise RunError(str(error)) from error
        for result in results:
            if result.error:
                raise RunError(result.error)
        hosts = [host for result in results for host in result.hosts]
        plans = [read_plan(self._directory, host.name) for host in senders]
        return Round(
            plans=tuple(plan for plan in plans if plan is not None),
            unreachable=tuple(host for host in hosts if host.status == "unreachable"),
            failed=tuple(host for host in hosts if host.status in ("failed", "unfinished")),
        )


@contextmanager
def exchange(fleet: Fleet, senders: Sequence[Host], wish: Wish) -> Iterator[Exchange]:
    """An exchange with a directory of its own (0700), which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mailfleet-warmup-") as directory:
        yield Exchange(fleet, senders, wish, Path(directory))


@contextmanager
def one_at_a_time(fleet: Fleet) -> Iterator[None]:
    """Keep other warm-up runs of this fleet directory out. Raises RunError when one is there."""
    path = fleet.directory / "state" / "warmup.lock"
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror}): check its owner") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(
            f"another warm-up run of this fleet is under way (it holds {path}): wait for its end"
        ) from None
    else:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
