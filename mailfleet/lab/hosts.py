"""The lab's hosts: bare Debian systems at the inventory's addresses, on power and off it.

A host is an overlay over its release's root, booted by systemd-nspawn on the lab's bridge. Its
disk is the overlay's upper directory, which survives orderly stops and power cuts.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from mailfleet.fleet.model import Host
from mailfleet.lab import cgroups, keys
from mailfleet.lab.errors import LabError
from mailfleet.lab.files import Tree, write
from mailfleet.lab.layout import Layout
from mailfleet.lab.mirrors import Mirrors
from mailfleet.lab.network import BRIDGE, gateway_of, network_of, wait_for_port
from mailfleet.lab.processes import (
    MARKER,
    PATH,
    SERVICE,
    alive,
    end,
    init_of,
    log_tail,
    runs,
    service,
    spawn,
)
from mailfleet.lab.world import NAME_SERVERS, PACKAGES, PACKAGES_PORT

PROXY = f"http://{PACKAGES}:{PACKAGES_PORT}"
# Seconds a host may take to boot or to shut down before something is wrong with it.
PATIENCE = 60.0


@dataclass(frozen=True)
class Disk:
    """Where a host's disk is: the overlay's directories."""

    directory: Path

    @property
    def upper(self) -> Path:
        return self.directory / "upper"

    @property
    def root(self) -> Path:
        return self.directory / "root"


def disk(lab: Layout, host: Host) -> Disk:
    """The disk of a host."""
    return Disk(lab.hosts / host.name)


def machine(lab: Layout, host: Host) -> str:
    """The name of the nspawn machine, unique on this Linux machine (at most 64 characters)."""
    return f"{host.name.replace('.', '-')[:50]}-{lab.id}"


def create(lab: Layout, host: Host, image: Path, mirrors: Mirrors, root_hints: RootHints) -> None:
    """Make the disk of a bare host, unless it has one. Appears whole or not at all."""
    target = disk(lab, host).directory
    if target.is_dir():
        return
    part = lab.hosts / f".{host.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    for name in ("upper", "work", "root"):
        (part / name).mkdir(parents=True)
    lower = image / "root"
    shutil.copystat(lower, part / "upper")
    tree = Tree(part / "upper", lower)
    tree.write("/etc/hostname", "debian\n")
    tree.write("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost ip6-localhost\n")
    tree.write("/etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
    tree.write("/etc/systemd/network/10-host0.network", _network(host))
    tree.write("/etc/resolv.conf", _resolver())
    tree.write("/etc/apt/sources.list", mirrors.sources(host.debian))
    tree.write("/etc/apt/apt.conf.d/90lab", mirrors.apt_conf(PROXY))
    tree.write("/root/.ssh/authorized_keys", keys.control_key(lab), 0o600)
    (part / "upper/root/.ssh").chmod(0o700)
    private, public = keys.ssh_key(f"root@{host.name}")
    tree.write("/etc/ssh/ssh_host_ed25519_key", private, 0o600)
    tree.write("/etc/ssh/ssh_host_ed25519_key.pub", public + "\n")
    authority = (lab.secrets / "ca.pem").read_text()
    tree.write("/usr/local/share/ca-certificates/lab.crt", authority)
    tree.write(f"/etc/ssl/certs/{_subject_hash(lower, authority)}.0", authority)
    tree.append("/etc/ssl/certs/ca-certificates.crt", authority)
    for path, content in root_hints.files().items():
        tree.write(path, content)
    (part / "image").symlink_to(image)
    part.rename(target)


@dataclass(frozen=True)
class RootHints:
    """The lab's DNS root, as hosts know it."""

    hints: str
    key: str
    ds: str

    def files(self) -> dict[str, str]:
        """Path on the host to content.

        The last one: unbound takes `test.` for nobody's (RFC 6761) unless told, and in the lab
        ns1.lab.test and acme.lab.test are the Internet.
        """
        return {
            "/usr/share/dns/root.hints": self.hints,
            "/usr/share/dns/root.key": self.key,
            "/usr/share/dns/root.ds": self.ds,
            "/etc/unbound/unbound.conf.d/lab.conf": 'server:\n  local-zone: "test." nodefault\n',
        }


def is_on(lab: Layout, host: Host) -> bool:
    """Whether the host has power."""
    return bool(service(lab, f"host:{host.name}"))


def start(lab: Layout, host: Host) -> None:
    """Switch a host on and wait until it answers SSH (about two seconds); harmless when it is on.

    Raises LabError when it does not come up.
    """
    place = disk(lab, host)
    if not place.directory.is_dir():
        raise LabError(f"{host.name} has no disk in this lab.", "Run `mailfleet lab up`.")
    if not is_on(lab, host):
        cut(lab, host)  # what a killed nspawn may have left running on this disk
        _mount(lab, host)
        _boot(lab, host)
    up = wait_for_port(
        lab,
        host.ipv4,
        22,
        timeout=PATIENCE,
        banner=True,
        lives=lambda: runs(lab, f"host:{host.name}"),
    )
    if not up:
        raise LabError(
            f"{host.name} ({host.ipv4}) does not answer SSH. Its console says:\n"
            + log_tail(lab, f"host:{host.name}"),
            f"`mailfleet lab reset {host.name}` makes it bare again.",
        )


def stop(lab: Layout, host: Host) -> None:
    """Shut a host down in order (about a second); its disk stays. Harmless when it is off."""
    pids = service(lab, f"host:{host.name}")
    if pids:
        end(pids[:1], timeout=PATIENCE)
    cut(lab, host)


def cut(lab: Layout, host: Host) -> None:
    """Cut the power: nothing in the host gets a chance to write. The disk stays as it was."""
    init = init_of(lab, host.name)
    if init is not None:
        end([init], kill=True)
    supervisors = [pid for pid in service(lab, f"host:{host.name}") if alive(pid)]
    if supervisors:
        # It ends by itself after its init, and removes what it keeps in /run.
        end(supervisors, timeout=5)
    cgroups.remove(lab, host.name)


def discard(lab: Layout, host_name: str) -> None:
    """Throw a host's disk away. The host must be off."""
    target = lab.hosts / host_name
    while (target / "root").is_mount():
        # Lazy: somebody's shell in the directory must not keep a host.
        umount = ["umount", "--lazy", str(target / "root")]
        subprocess.run(umount, check=True, capture_output=True)
    if target.is_dir():
        gone = lab.hosts / f".{host_name}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        target.rename(gone)
        shutil.rmtree(gone)


def write_control_files(lab: Layout, hosts: tuple[Host, ...]) -> None:
    """known_hosts and ssh_config of the control machine, from the disks of the hosts."""
    known, config = [], []
    for host in hosts:
        key = disk(lab, host).upper / "etc/ssh/ssh_host_ed25519_key.pub"
        if key.is_file():
            names = ",".join((host.name, *map(str, host.addresses)))
            known.append(f"{names} {' '.join(key.read_text().split()[:2])}\n")
        config.append(f"Host {host.name}\n    HostName {host.ipv4}\n    HostKeyAlias {host.name}\n")
    ssh = lab.home / ".ssh"
    config.append(
        f"Host *\n    User root\n    IdentityFile {ssh}/id_ed25519\n    IdentitiesOnly yes\n"
        f"    UserKnownHostsFile {ssh}/known_hosts\n    StrictHostKeyChecking yes\n"
        "    ConnectTimeout 10\n"
    )
    write(ssh / "known_hosts", "".join(known), 0o600)
    write(ssh / "config", "".join(config), 0o600)


def _mount(lab: Layout, host: Host) -> None:
    place = disk(lab, host)
    if place.root.is_mount():
        return
    lower = (place.directory / "image").resolve() / "root"
    if not lower.is_dir():
        raise LabError(
            f"The root that {host.name} runs over is gone: {lower}.",
            f"`mailfleet lab reset {host.name}` makes the host anew.",
        )
    options = f"lowerdir={lower},upperdir={place.upper},workdir={place.directory / 'work'}"
    result = subprocess.run(
        ["mount", "-t", "overlay", "-o", options, f"mailfleet-{lab.id}", str(place.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise LabError(
            f"The disk of {host.name} cannot be mounted: {result.stderr.strip()}",
            "overlayfs needs a real file system below: set MAILFLEET_LAB_DIR to a directory on"
            " ext4 or xfs (in a container: on a volume).",
        )


def _boot(lab: Layout, host: Host) -> None:
    name = machine(lab, host)
    argv = [
        *cgroups.enter(lab, host.name),
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={disk(lab, host).root}",
        f"--machine={name}",
        f"--network-bridge={BRIDGE}",
        "--register=no",
        "--keep-unit",
        "--settings=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
        f"--setenv={MARKER}={lab.id}",
        f"--setenv={SERVICE}=init:{host.name}",
    ]
    # Without a unified hierarchy Debian 13's systemd refuses to boot; Debian 12's takes both.
    env = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_LOCK": "0"}
    # Not sealed: it has a root of its own, and nspawn mounts into it.
    spawn(lab, f"host:{host.name}", argv, seal=False, env=env)


def _network(host: Host) -> str:
    lines = [
        "[Match]\nName=host0\n\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=ipv6\n"
        "LLMNR=no\nMulticastDNS=no\n"
    ]
    for address in host.addresses:
        lines.append(
            f"\n[Address]\nAddress={address}/{network_of(address).prefixlen}\n"
            "DuplicateAddressDetection=none\n"
            f"\n[Route]\nGateway={gateway_of(address)}\n"
        )
    return "".join(lines)


def _resolver() -> str:
    return "".join(f"nameserver {pair[0]}\n" for pair in NAME_SERVERS.values())


def _subject_hash(lower: Path, certificate: str) -> str:
    """The name under which OpenSSL looks a CA up in /etc/ssl/certs (openssl-rehash(1))."""
    result = subprocess.run(
        ["chroot", str(lower), "openssl", "x509", "-noout", "-subject_hash"],
        input=certificate,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": PATH},
    )
    return result.stdout.strip()
