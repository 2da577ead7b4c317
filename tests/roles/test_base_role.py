"""The role `base`: names, and /etc/hosts with other people's lines in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet, Host
from mailfleet.roles import base


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return load(Path(__file__).parents[2])


def edited(text: str, host: Host, directory: Path) -> str:
    """What the role's command makes of an /etc/hosts."""
    path = directory / "hosts"
    path.write_text(text)
    command = base.edit_hosts(host).replace("/etc/hosts", str(path))
    return subprocess.run(
        ["sh", "-euc", command], check=True, capture_output=True, text=True
    ).stdout


OURS = [
    "127.0.0.1 localhost",
    "::1 localhost ip6-localhost ip6-loopback",
    "198.51.100.10 mta1.eu.example.net mta1",
    "2001:db8:1::10 mta1.eu.example.net mta1",
]


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("127.0.0.1 localhost\n127.0.1.1\tmta1.eu.example.net mta1\n", [], id="debian"),
        pytest.param("198.51.100.10 old.example.org\n", [], id="our-address-another-name"),
        pytest.param(
            "10.0.0.5 db.internal db\n# a note on mta1\n",
            ["10.0.0.5 db.internal db", "# a note on mta1"],
            id="lines-of-others-and-comments-stay",
        ),
        pytest.param(
            "127.0.0.1 vm  # not mta1\nff02::1 ip6-allnodes",
            ["127.0.0.1 vm  # not mta1", "ff02::1 ip6-allnodes"],
            id="names-in-comments-do-not-count",
        ),
        pytest.param("mta1\n::1 localhost\n", [], id="nonsense"),
    ],
)
def test_hosts_file_has_our_lines_once_and_keeps_others(
    fleet: Fleet, tmp_path: Path, before: str, kept: list[str]
) -> None:
    after = edited(before, fleet.host("mta1.eu.example.net"), tmp_path)
    assert after.splitlines() == OURS + kept


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.sampled_from("amt1. #\t:8"), max_size=12), max_size=5))
def test_editing_twice_is_editing_once(
    fleet: Fleet, tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    host = fleet.host("mta1.eu.example.net")
    directory = tmp_path_factory.mktemp("hosts")
    once = edited("".join(f"{line}\n" for line in lines), host, directory)
    assert edited(once, host, directory) == once


def test_the_name_is_everywhere_the_same(fleet: Fleet) -> None:
    for host in fleet.hosts:
        files = {file.path: file.content for file in base.files(fleet, host)}
        assert files["/etc/hostname"] == files["/etc/mailname"] == f"{host.name}\n"


def test_a_host_without_ipv6_has_no_ipv6_line(fleet: Fleet) -> None:
    host = fleet.host("mta1.eu.example.net").model_copy(update={"ipv6": None})
    assert base.hosts_lines(host)[2:] == ("198.51.100.10 mta1.eu.example.net mta1",)
