"""Bare Debian roots, built once per release and kept in the cache.

A host is an overlay over its release's root, so making one takes no time and no space.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from mailfleet.lab.errors import LabError
from mailfleet.lab.files import locked
from mailfleet.lab.layout import Layout
from mailfleet.lab.mirrors import CODENAMES, Mirrors
from mailfleet.lab.processes import MARKER, PATH, SERVICE, enter

# What a rented VPS has: an init, a network, SSH, and Python for pyinfra's facts.
PACKAGES = (
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3-minimal",
    "iproute2",
    "iputils-ping",
    "ca-certificates",
)
# The lab's Internet has its own root, so what dns-root-data installs later must not replace it.
DIVERTED = ("/usr/share/dns/root.hints", "/usr/share/dns/root.key", "/usr/share/dns/root.ds")

_CUSTOMISE = f"""
set -e
root=$1
for path in {" ".join(DIVERTED)}; do
    chroot "$root" dpkg-divert --quiet --local --no-rename --divert "$path.distrib" --add "$path"
done
mkdir -p "$root/usr/share/dns"
rm -f "$root"/etc/ssh/ssh_host_*_key* "$root/etc/hostname" "$root/etc/resolv.conf"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
: > "$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id"
chroot "$root" systemctl --quiet enable systemd-networkd.service ssh.service
# Waits for links that a container does not have.
chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service
printf 'PermitRootLogin prohibit-password\\nPasswordAuthentication no\\nUseDNS no\\n' \\
    > "$root/etc/ssh/sshd_config.d/lab.conf"
# No fsync after every unpacked file: a power cut in the lab never reaches the real disk.
echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/lab"
"""


def path_of(lab: Layout, debian: int, mirrors: Mirrors) -> Path:
    """Where the root of a release is, built or not: named by what it is built from."""
    recipe = "\n".join((*PACKAGES, _CUSTOMISE, mirrors.sources(debian)))
    return lab.images / f"{CODENAMES[debian]}-{sha256(recipe.encode()).hexdigest()[:8]}"


def ensure(
    lab: Layout,
    debian: int,
    mirrors: Mirrors,
    proxy: str,
    report: Callable[[str], None],
) -> Path:
    """The root of a release, built when it is not there yet (20 to 40 s on two cores).

    Raises LabError when the mirror cannot be reached or the disk is full.
    """
    path = path_of(lab, debian, mirrors)
    if path.is_dir():
        return path
    codename = CODENAMES[debian]
    lab.images.mkdir(parents=True, exist_ok=True)
    with locked(_lock(lab, codename), lambda: report(f"{codename}: another lab builds")):
        if path.is_dir():
            return path
        _remove_parts(lab, codename)
        _prune(lab, codename)
        report(f"building the root of Debian {debian} ({codename})")
        part = Path(tempfile.mkdtemp(prefix=f".{codename}-", suffix=".part", dir=lab.images))
        part.chmod(0o755)
        _bootstrap(lab, debian, mirrors, proxy, part)
        part.rename(path)
    return path


def sweep(lab: Layout) -> None:
    """Remove what a build that was killed has left, unless another one is at work."""
    for codename in CODENAMES.values():
        if any(_parts(lab, codename)):
            with suppress(BlockingIOError), locked(_lock(lab, codename), wait=False):
                _remove_parts(lab, codename)


def _lock(lab: Layout, codename: str) -> Path:
    return lab.images / f".{codename}.lock"


def _parts(lab: Layout, codename: str) -> Iterator[Path]:
    return lab.images.glob(f".{codename}-*.part")


def _remove_parts(lab: Layout, codename: str) -> None:
    for leftover in _parts(lab, codename):
        shutil.rmtree(leftover, ignore_errors=True)


def _bootstrap(lab: Layout, debian: int, mirrors: Mirrors, proxy: str, part: Path) -> None:
    codename = CODENAMES[debian]
    log = lab.logs / f"image-{codename}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    root = part / "root"
    hook = part / "customise"
    hook.write_text("#!/bin/sh" + _CUSTOMISE)
    hook.chmod(0o755)
    options = {"Acquire::http::Proxy": proxy, **dict(mirrors.options)}
    argv = [
        *enter(lab),
        # Its mounts are seen by nobody else, and it ends when `lab up` is killed.
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        f"--customize-hook={hook}",
        "--dpkgopt=force-unsafe-io",
        *(f'--aptopt={name} "{value}"' for name, value in options.items()),
        codename,
        str(root),
        "-",
    ]
    environment = {**os.environ, "PATH": PATH, MARKER: lab.id, SERVICE: f"image:{codename}"}
    with log.open("wb") as output:
        result = subprocess.run(
            argv,
            input=mirrors.sources(debian).encode(),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if result.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-6:])
        shutil.rmtree(part, ignore_errors=True)
        raise LabError(
            f"The root of Debian {debian} could not be built (all of it in {log}):\n{tail}",
            _remedy(tail, lab, mirrors),
        )
    # mmdebstrap leaves its settings for apt; a host gets its own.
    for name in ("99mmdebstrap", "00mmdebstrap"):
        (root / "etc/apt/apt.conf.d" / name).unlink(missing_ok=True)


def _remedy(tail: str, lab: Layout, mirrors: Mirrors) -> str:
    if "No space left" in tail:
        return f"Free about 1 GB below {lab.cache}, or set MAILFLEET_CACHE_DIR to another disk."
    return (
        f"Check that this machine reaches {', '.join(mirrors.upstreams)} (`apt-get update`);"
        " it is the mirror of its own apt configuration. MAILFLEET_LAB_MIRROR names another."
    )


def _prune(lab: Layout, codename: str) -> None:
    """Remove roots of that release that an older recipe made, unless a host runs over one."""
    mounted = Path("/proc/self/mounts").read_text()
    for old in lab.images.glob(f"{codename}-*"):
        if f"{old}/root" not in mounted:
            shutil.rmtree(old, ignore_errors=True)
