"""Names stay in the lab: what libc asks over unix sockets, a network namespace does not stop.

glibc asks nscd before all else (nscd(8)), and what /etc/nsswitch.conf lists: nss-resolve asks
systemd-resolved, nss-mdns asks avahi. All of them run outside the lab. So whatever runs in it has,
in a mount namespace of its own, another nsswitch.conf, and nothing where those sockets are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mailfleet.lab.files import write
from mailfleet.lab.layout import Layout
from mailfleet.lab.world import NAME_SERVERS

# Where the sockets are; glibc's path of nscd's is in /var/run, which need not be a link to /run.
COVERED = ("/run/nscd", "/var/run/nscd", "/run/systemd/resolve", "/run/avahi-daemon")
_FILES = ("passwd", "group", "shadow", "networks", "protocols", "services", "ethers", "rpc")
NSSWITCH = "hosts: files dns\n" + "".join(f"{database}: files\n" for database in _FILES)
# COVER… -- SOURCE TARGET … -- COMMAND…; what this machine lacks is skipped, but a resolv.conf that
# was a link into a covered directory (systemd-resolved's stub) is made there anew. The disks of
# hosts are let go, or the mount namespace of a long command would hold them beyond the lab's end.
_SCRIPT = """
while read -r source target rest; do
    case $source in mailfleet-*) umount --lazy "$target" ;; esac
done < /proc/self/mounts
covered=:
while [ "$1" != -- ]; do
    if [ -d "$1" ]; then
        mount -t tmpfs -o mode=755,size=64k sealed "$1" || exit 125
        covered=$covered$(readlink -f "$1"):
    fi
    shift
done
shift
while [ "$1" != -- ]; do
    if [ ! -e "$2" ] && [ -L "$2" ]; then
        real=$(readlink -m "$2")
        case $covered in *:"${real%/*}":*) : > "$real" ;; esac
    fi
    if [ -e "$2" ]; then mount --bind "$1" "$2" || exit 125; fi
    shift 2
done
shift
exec "$@"
"""


def prepare(lab: Layout) -> None:
    """Write the resolver's files that everything in the lab sees."""
    servers = "".join(f"nameserver {pair[0]}\n" for pair in NAME_SERVERS.values())
    write(lab.home / "resolv.conf", servers + "options timeout:2 attempts:2\n")
    write(lab.home / "nsswitch.conf", NSSWITCH)


def sealed(lab: Layout, argv: Sequence[str], binds: Mapping[Path, Path] | None = None) -> list[str]:
    """The command line that runs `argv` so; `binds` are further sources and their targets."""
    files = {
        lab.home / "resolv.conf": Path("/etc/resolv.conf"),
        lab.home / "nsswitch.conf": Path("/etc/nsswitch.conf"),
        **(binds or {}),
    }
    pairs = [str(path) for pair in files.items() for path in pair]
    unshare = ["unshare", "--mount", "--propagation=slave", "sh", "-c", _SCRIPT, "mailfleet-lab"]
    return [*unshare, *COVERED, "--", *pairs, "--", *argv]
