"""The lab as a whole: up, down, and everything between, for the CLI, the demo and the tests."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mailfleet.fleet.addresses import LAB_NETWORKS, in_lab
from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet, Host
from mailfleet.lab import (
    acme,
    control,
    hosts,
    images,
    keys,
    knot,
    limits,
    mailboxes,
    mirrors,
    network,
    processes,
    proxy,
    requirements,
    seal,
    state,
    sweep,
)
from mailfleet.lab.errors import CommandFailed, LabError
from mailfleet.lab.files import locked
from mailfleet.lab.layout import Layout, layout
from mailfleet.lab.providers.catalogue import PROVIDERS
from mailfleet.lab.world import WORLD_ADDRESSES

Report = Callable[[str], None]


def _silent(_: str) -> None:
    return


class Lab:
    """One lab on this machine, up or not; the object itself holds nothing but its place."""

    def __init__(self, directory: Path | None = None, report: Report = _silent) -> None:
        self.layout: Layout = layout(directory)
        self.report = report

    @property
    def services(self) -> tuple[str, ...]:
        """The names of the services beside the hosts."""
        providers = (mailboxes.service_name(name) for name in PROVIDERS)
        return (proxy.NAME, knot.NAME, acme.NAME, *providers)

    # -- the whole

    def up(self, fleet: Fleet, bare: Sequence[str] = ()) -> None:
        """Bring everything up that is not; hosts named in `bare` get a new disk.

        Raises LabError. What was made until then stays; `up` again continues, `down` removes it.
        """
        self._refuse_inside("up")
        lab = self.layout
        requirements.require(lab)
        with self._locked():
            record = state.state_of(fleet)
            _check_addresses(record.hosts)
            fresh = tuple(record.host(name) for name in bare)
            self._replace(record)
            archives = mirrors.discover()
            limits.raise_inotify(self.report)
            self.report(f"network namespace {lab.namespace}")
            network.setup(lab, [a for host in record.hosts for a in host.addresses])
            self.report("package proxy")
            proxy.start(lab, archives)
            keys.ensure(lab)
            seal.prepare(lab)
            knot.prepare(lab, record.zones)
            images = self._images({host.debian for host in record.hosts}, archives)
            for host in fresh:
                self._discard(host)
            anchor = hosts.RootHints(*knot.trust_anchor(lab))
            for host in record.hosts:
                hosts.create(lab, host, images[host.debian], archives, anchor)
            hosts.write_control_files(lab, record.hosts)
            self._together(
                lambda: self._world(record.zones),
                *(partial(self._mailbox, name) for name in PROVIDERS),
                *(partial(self._boot, host) for host in record.hosts),
            )
            self.report("up")

    def down(self, purge: bool = False) -> None:
        """Take everything down, whatever state a crash left it in; with `purge` its files too."""
        self._refuse_inside("down")
        with self._locked():
            sweep.sweep(self.layout, self.report)
            if purge:
                sweep.purge(self.layout)

    @property
    def is_up(self) -> bool:
        """Whether there is a namespace and a record of a fleet."""
        return network.is_up(self.layout) and state.read(self.layout) is not None

    # -- inside it

    def command(self, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The command line and environment that run `argv` on the control machine."""
        self.record()
        return control.command(self.layout, argv), control.environment(self.layout)

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the control machine and return what it printed.

        The working directory is the fleet's, unless `cwd` says another; `timeout` is in seconds.
        Raises CommandFailed when `check` and it failed, LabError when the lab is not up.
        """
        command, environment = self.command(argv)
        result = subprocess.run(
            command,
            env={**environment, **(env or {})},
            check=False,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            cwd=cwd or self.record().fleet_directory,
            timeout=timeout,
        )
        if check and result.returncode:
            raise CommandFailed(result.returncode, list(argv), result.stdout, result.stderr)
        return result

    def ssh(
        self,
        host: str,
        command: str | Sequence[str],
        *,
        check: bool = True,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command (a shell line, or words) on a host, as root."""
        line = command if isinstance(command, str) else shlex.join(command)
        target = self.host(host)
        return self.run(["ssh", "-o", "BatchMode=yes", target.name, line], check=check, input=input)

    # -- one host

    def host(self, name: str) -> Host:
        """A host of the running lab. Raises LabError."""
        return self.record().host(name)

    def stop(self, name: str) -> None:
        """Shut a host down in order."""
        host = self.host(name)
        with self._locked():
            self.report(f"{host.name}: shutting down")
            hosts.stop(self.layout, host)

    def start(self, name: str) -> None:
        """Switch a host on again, with the disk it had."""
        host = self.host(name)
        with self._locked():
            self.report(f"{host.name}: booting")
            hosts.start(self.layout, host)

    def kill(self, name: str) -> None:
        """Cut a host's power."""
        host = self.host(name)
        with self._locked():
            self.report(f"{host.name}: power cut")
            hosts.cut(self.layout, host)

    def reset(self, name: str) -> None:
        """Make a host bare again: a new disk, new SSH host keys."""
        record = self.record()
        self.up(load(record.fleet_directory), bare=(record.host(name).name,))

    def is_on(self, name: str) -> bool:
        """Whether a host has power."""
        return hosts.is_on(self.layout, self.host(name))

    # -- helpers

    def record(self) -> state.State:
        """The record of the running lab. Raises LabError when it is not up."""
        record = state.read(self.layout)
        if record is None or not network.is_up(self.layout):
            raise LabError(
                f"The lab in {self.layout.directory} is not up.", "Run `mailfleet lab up`."
            )
        return record

    def _replace(self, new: state.State) -> None:
        """Make `new` the lab's record, and remove what only the one before it has."""
        old = state.read(self.layout)
        if old is not None and network.is_up(self.layout):
            if old.fleet_directory != new.fleet_directory:
                raise LabError(
                    f"The lab in {self.layout.directory} already plays the fleet of"
                    f" {old.fleet_directory}.",
                    "Run `mailfleet lab down` first, or set MAILFLEET_LAB_DIR to another"
                    " directory for a second lab.",
                )
            for host in old.hosts:
                if host not in new.hosts:
                    self.report(f"{host.name}: no longer in the fleet like this, removed")
                    self._discard(host)
        elif old is not None or self.layout.hosts.is_dir():
            sweep.sweep(self.layout, self.report)
        state.save(self.layout, new)

    def _world(self, zones: tuple[str, ...]) -> None:
        knot.start(self.layout, zones)
        self.report("name servers are up")
        acme.start(self.layout)
        control.prepare(self.layout, acme.roots(self.layout))
        self.report("certificate authority is up")

    def _mailbox(self, name: str) -> None:
        mailboxes.start(self.layout, name)
        self.report(f"mailbox provider {name} is up")

    def _images(self, releases: set[int], archives: mirrors.Mirrors) -> dict[int, Path]:
        def build(release: int) -> Path:
            return images.ensure(self.layout, release, archives, hosts.PROXY, self.report)

        order = sorted(releases)
        with ThreadPoolExecutor(max_workers=max(1, len(order))) as pool:
            return dict(zip(order, pool.map(build, order), strict=True))

    def _boot(self, host: Host) -> None:
        hosts.start(self.layout, host)
        self.report(f"{host.name} is up (Debian {host.debian})")

    def _discard(self, host: Host) -> None:
        hosts.cut(self.layout, host)
        hosts.discard(self.layout, host.name)

    @staticmethod
    def _together(*work: Callable[[], None]) -> None:
        """Do everything at once; the first failure is raised once all have ended."""
        with ThreadPoolExecutor(max_workers=len(work)) as pool:
            for future in [pool.submit(item) for item in work]:
                future.result()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._refuse_foreign_directory()
        with locked(
            self.layout.lock_file,
            lambda: self.report("waiting for another `mailfleet lab` command to finish"),
        ):
            yield

    def _refuse_foreign_directory(self) -> None:
        directory = self.layout.directory
        if self.layout.lock_file.exists() or not directory.exists():
            return
        if not directory.is_dir() or any(directory.iterdir()):
            raise LabError(
                f"{directory} holds something other than a lab.",
                "Set MAILFLEET_LAB_DIR to a directory that is empty or does not exist.",
            )

    def _refuse_inside(self, verb: str) -> None:
        marked = os.environ.get(processes.MARKER)
        if marked or os.getpid() in processes.in_namespace(self.layout):
            raise LabError(
                f"`mailfleet lab {verb}` was called from inside a lab.",
                "Leave the lab's shell (`exit`) and run it on the machine itself.",
            )


def _check_addresses(members: Sequence[Host]) -> None:
    reserved = set(WORLD_ADDRESSES)
    for host in members:
        for address in host.addresses:
            where = f"Give the host another one in inventories/{host.region}.py."
            if not in_lab(address):
                ranges = ", ".join(map(str, LAB_NETWORKS))
                raise LabError(
                    f"{host.name}: {address} is not in the lab's ranges ({ranges}).", where
                )
            if address in reserved or address == network.gateway_of(address):
                raise LabError(f"{host.name}: {address} is an address of the lab itself.", where)
