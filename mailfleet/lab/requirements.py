"""What the lab needs of the machine, in one place, and how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from mailfleet.lab import install as apt
from mailfleet.lab.errors import LabError
from mailfleet.lab.layout import Layout, layout
from mailfleet.lab.network import is_up
from mailfleet.lab.processes import PATH

# Debian package to a program of it that the lab runs.
PACKAGES = {
    "systemd-container": "systemd-nspawn",
    "mmdebstrap": "mmdebstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "iproute2": "ip",
    "util-linux": "nsenter",
    "openssh-client": "ssh",
    "knot": "knotd",
    "knot-dnsutils": "kdig",
    "pebble": "pebble",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
}
# The same for what only tests run.
TEST_PACKAGES = {"bind9": "named"}
# Python module of the `lab` extra to the name pip knows it by.
MODULES = {
    "aiosmtpd": "aiosmtpd",
    "dkim": "dkimpy",
    "spf": "pyspf",
    "publicsuffixlist": "publicsuffixlist",
    "cryptography": "cryptography",
}
# Bytes: the hosts' disks with everything deployed, and two roots with their packages.
SPACE_LAB = 1_500_000_000
SPACE_CACHE = 1_500_000_000


@dataclass(frozen=True)
class Requirement:
    """Something that is missing: what, and what to do about it.

    `essential` says that no package mends it: this machine cannot run the lab as it is.
    """

    what: str
    remedy: str
    essential: bool = False
    package: str | None = None


def missing(lab: Layout | None = None) -> list[Requirement]:
    """Everything that is missing here for `lab` (else the default one); empty when it can run.

    Disk space counts only for a lab that is not up. Takes about 0.1 s. Raises LabError when
    the lab's path is one that no lab can have.
    """
    if not sys.platform.startswith("linux"):
        return [Requirement("This is not Linux.", "Run the lab on a Linux machine.", True)]
    lab = lab or layout()
    found = _machine(lab)
    if not Path("/proc/net/if_inet6").exists():
        found.append(
            Requirement("IPv6 is switched off in the kernel.", "Boot without ipv6.disable=1.", True)
        )
    for package, program in PACKAGES.items():
        if not _there(program):
            found.append(
                Requirement(
                    f"{Path(program).name} is missing (Debian package {package}).",
                    f"apt-get install {package}",
                    package=package,
                )
            )
    for module, project in MODULES.items():
        if find_spec(module) is None:
            found.append(
                Requirement(
                    f"The Python package {project} is missing.", "pip install 'mailfleet[lab]'"
                )
            )
    return found if is_up(lab) else found + space(lab)


def space(lab: Layout) -> list[Requirement]:
    """The disks that are too full for a lab that is not there yet."""
    found = []
    wanted = {lab.directory: SPACE_LAB}
    if not any(lab.images.glob("[a-z]*")):
        wanted[lab.cache] = SPACE_CACHE
    for directory, needed in wanted.items():
        free = shutil.disk_usage(_existing(directory)).free
        if free < needed:
            variable = "MAILFLEET_LAB_DIR" if directory == lab.directory else "MAILFLEET_CACHE_DIR"
            found.append(
                Requirement(
                    f"{directory} has {free / 1e9:.1f} GB left; the lab wants {needed / 1e9:.1f}.",
                    f"Free some, or set {variable} to a directory on another disk.",
                    True,
                )
            )
    return found


def require(lab: Layout | None = None) -> None:
    """Raise LabError with everything that is missing at once."""
    found = missing(lab)
    if not found:
        return
    packages = [item.package for item in found if item.package]
    remedies = [f"{item.what} {item.remedy}" for item in found if not item.package]
    if packages:
        remedies.append(
            f"`mailfleet lab install` (or: apt-get install {' '.join(packages)}) gets the packages."
        )
    raise LabError(
        "The lab cannot run here: " + " ".join(item.what for item in found), "\n".join(remedies)
    )


def install(tests: bool = False) -> tuple[str, ...]:
    """Install the Debian packages that are missing, with `tests` those of the tests too.

    Returns which. No service of theirs is started or enabled. Raises LabError.
    """
    wanted = {**PACKAGES, **(TEST_PACKAGES if tests else {})}
    packages = tuple(package for package, program in wanted.items() if not _there(program))
    if packages:
        if os.geteuid() != 0:
            raise LabError("Installing packages needs root.", "Run it as root: sudo …")
        apt.install(packages)
    return packages


def _there(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=PATH) is not None


def _machine(lab: Layout) -> list[Requirement]:
    """What this user, kernel or container does not allow; the first that is found of each kind."""
    found = []
    overlay = "overlay" in Path("/proc/filesystems").read_text().split() or _modprobe("overlay")
    if not overlay:
        found.append(Requirement("The kernel has no overlayfs.", "modprobe overlay", True))
    elsewhere = "Run it on a machine or virtual machine, or in a container with all privileges."
    if os.geteuid() != 0:
        what = f"Not root (effective user id {os.geteuid()})."
        found.append(Requirement(what, "Run it as root: sudo …", True))
    elif not in_first_user_namespace():
        what = "Root of a user namespace only, as in a rootless container: no lab can be mounted."
        found.append(Requirement(what, elsewhere, True))
    elif not _namespaces():
        what = (
            "Network and mount namespaces with bridges are not allowed here"
            " (`unshare --net --mount ip link add br0 type bridge` failed)."
        )
        found.append(Requirement(what, elsewhere, True))
    elif overlay and (refusal := _overlay(lab)):
        found.append(
            Requirement(
                f"A host's disk, an overlay in {lab.directory}, cannot be mounted: {refusal}.",
                "Set MAILFLEET_LAB_DIR (and MAILFLEET_CACHE_DIR) to a directory on ext4, xfs or"
                " btrfs; in a container: on a volume, not on its own overlay.",
                True,
            )
        )
    return found


def in_first_user_namespace(uid_map: Path = Path("/proc/self/uid_map")) -> bool:
    """Whether root is the machine's: every user id is itself (user_namespaces(7))."""
    return not uid_map.exists() or uid_map.read_text().split() == ["0", "0", str(2**32 - 1)]


def _namespaces() -> bool:
    if not (_there("unshare") and _there("ip")):
        return True  # reported as a missing package instead
    argv = ["unshare", "--net", "--mount", "ip", "link", "add", "br0", "type", "bridge"]
    return _run(argv).returncode == 0


def _overlay(lab: Layout) -> str:
    """Why an overlay as a host's cannot be mounted; "" when it can. Tries, and leaves nothing."""
    if not _there("unshare"):
        return ""  # reported as a missing package instead
    try:
        with (
            TemporaryDirectory(prefix=".mailfleet-try-", dir=_existing(lab.directory)) as disk,
            TemporaryDirectory(prefix=".mailfleet-try-", dir=_existing(lab.images)) as lower,
        ):
            for name in ("upper", "work", "root"):
                (Path(disk) / name).mkdir()
            options = f"lowerdir={lower},upperdir={disk}/upper,workdir={disk}/work"
            mount = ["mount", "-t", "overlay", "-o", options, "overlay", f"{disk}/root"]
            result = _run(["unshare", "--mount", *mount])
            words = result.stderr.decode(errors="replace").split("\n")[0].strip().rstrip(".")
            return (words or "mount failed") if result.returncode else ""
    except OSError as error:
        return str(error)


def _existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if path.is_dir())


def _run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, check=False, capture_output=True, env={"PATH": PATH})


def _modprobe(module: str) -> bool:
    if shutil.which("modprobe") is None:
        return False
    return subprocess.run(["modprobe", module], check=False, capture_output=True).returncode == 0
