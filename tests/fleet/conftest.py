"""A small fleet directory that is right, for tests that make it wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailfleet.fleet.load import load

FLEET = """\
fleet:
  name: test
  zone: example.net
  contact: postmaster@example.com
  management_networks: [198.18.0.0/24]
dns:
  accounts:
    main:
      provider: rfc2136
      server: 198.18.0.53
      key_name: mailfleet
      secret: env:TSIG
  zones:
    example.net: main
    example.com: main
    100.51.198.in-addr.arpa: main
    8.b.d.0.1.0.0.2.ip6.arpa: main
pools:
  news:
    schedule: four-week
    target: 20000
domains:
  example.com:
    pools: [news]
    destination: maildir
    dmarc: {policy: none, rua: [dmarc@example.com]}
warmup:
  shares: {google: 40, microsoft: 30}
"""

EU = """\
senders = [
    (
        "mta1.eu.example.net",
        {
            "ipv4": "198.51.100.10",
            "ipv6": "2001:db8:1::10",
            "pool": "news",
        },
    ),
]
mx = [
    ("mx1.eu.example.net", {"ipv4": "198.51.100.25", "debian": 12}),
]
"""

US = """\
senders = [
    ("mta1.us.example.net", {"ipv4": "198.51.100.138", "pool": "news"}),
]
backup_mx = [
    ("mx1.us.example.net", {"ipv4": "198.51.100.153"}),
]
"""

FILES = {
    "fleet.yml": FLEET,
    "inventories/eu.py": EU,
    "inventories/us.py": US,
    "inventories/group_data/all.py": 'ssh_user = "root"\n',
    "recipients/example.com": "# ours\nalice\ndmarc\n",
}

WriteFleet = Callable[..., Path]


@pytest.fixture(autouse=True)
def _fresh_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MAILFLEET_FLEET", raising=False)
    load.cache_clear()
    yield
    load.cache_clear()


@pytest.fixture
def write_fleet(tmp_path: Path) -> WriteFleet:
    """Writes the fleet with some files replaced (text or bytes), or left out (None)."""

    def write(files: dict[str, str | bytes | None] | None = None) -> Path:
        for name, content in {**FILES, **(files or {})}.items():
            path = tmp_path / name
            if content is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write
