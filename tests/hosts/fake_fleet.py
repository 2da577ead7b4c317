"""Inventories of @fake hosts, whose answers are scripted, and deploy files for them."""

from __future__ import annotations

from pathlib import Path

from mailfleet.hosts.runner import Job

# Three roles' worth of operations, as roles write them. Every host answers that it has all.
DEPLOY = """
from mailfleet.hosts.files import File
from mailfleet.hosts.operations import files, packages, run, service
conf = (File("/etc/x/x.conf", "settings\\n"), File("/etc/x/key", "hunter2\\n", "600", secret=True))
packages(name="Packages", names=("x",))
files(name="Settings", files=conf, validate="x --check")
service(name="x runs them", unit="x.service", watches=conf)
run(name="Once", command="touch /var/lib/x", unless="test -e /var/lib/x")
"""

INVENTORY = """
from mailfleet.hosts.files import File
from mailfleet.hosts.units import Loaded
conf = (File("/etc/x/x.conf", "settings\\n"), File("/etc/x/key", "hunter2\\n", "600", secret=True))
_stats = [f"stat {{0o100000 | int(f.mode, 8):x}} root root {{f.path}}" for f in conf]
_same = {{
    "mailfleet-packages": ["mailfleet-packages", "ii x"],
    "mailfleet-files": ["mailfleet-files", *_stats, *[f"{{f.sha256}}  {{f.path}}" for f in conf]],
    "mailfleet-service": [
        "mailfleet-service", "LoadState=loaded", "ActiveState=active", "UnitFileState=enabled",
        "NeedDaemonReload=no", "ActiveEnterTimestamp=@9", "stamp " + Loaded(conf, ()).stamp,
    ],
    "mailfleet-test": ["mailfleet-test", "yes"],
}}
_settings = {{"fake_delay": {delay}, "fake_delay_jitter": 0}}
_special = {special}


def _answers(name):
    special = _special.get(name, {{}})
    return {{**special, **{{key: _same[key] for key in _same if key not in special}}}}


hosts = [
    (name, {{**_settings, "fake_responses": _answers(name)}})
    for name in {names}
]
hosts += [(name, {{"ssh_hostname": "127.0.0.1", "ssh_port": 9}}) for name in {closed}]
conf = None
"""


def names(count: int) -> tuple[str, ...]:
    return tuple(f"@fake/h{number:03}.example.net" for number in range(count))


def job(
    directory: Path,
    hosts: tuple[str, ...],
    *,
    special: dict[str, dict[str, object]] | None = None,
    closed: tuple[str, ...] = (),
    delay: float = 0,
    dry: bool = False,
    deploy: str = DEPLOY,
) -> Job:
    """A job on fake hosts; `special` answers by host, `closed` hosts refuse SSH connections."""
    inventory, site = directory / "fake.py", directory / "site.py"
    inventory.write_text(
        INVENTORY.format(
            delay=delay, special=repr(special or {}), names=repr(hosts), closed=repr(closed)
        )
    )
    site.write_text(deploy)
    return Job(inventory, site, (*hosts, *closed), whole=True, dry=dry)
