"""The role `spamassassin`: thresholds, and whose word counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet, Role
from mailfleet.roles import spamassassin


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return load(Path(__file__).parents[2])


def texts(fleet: Fleet, name: str = "mx1.eu.example.net") -> dict[str, str]:
    files = spamassassin.files(fleet, fleet.host(name))
    return {Path(file.path).name: file.content for file in files}


@pytest.mark.parametrize(("score", "points"), [(10.0, 10), (7.5, 8), (0.1, 1), (15, 15)])
def test_scores_are_whole_points_and_never_stricter(score: float, points: int) -> None:
    assert spamassassin.reject_points(score) == points


def test_the_milter_refuses_at_the_fleets_score(fleet: Fleet) -> None:
    spam = fleet.filters.spam.model_copy(update={"reject_score": 7.5})
    filters = fleet.filters.model_copy(update={"spam": spam})
    unit = texts(fleet.model_copy(update={"filters": filters}))["spamass-milter.service"]
    assert " -m -r 8 -i 198.51.100.153,2001:db8:2::25\n" in unit


def test_a_lone_mx_ignores_nobody(fleet: Fleet) -> None:
    lone = fleet.model_copy(
        update={"hosts": tuple(h for h in fleet.hosts if h.role is not Role.BACKUP_MX)}
    )
    start = next(
        line
        for line in texts(lone)["spamass-milter.service"].splitlines()
        if line.startswith("ExecStart=")
    )
    assert start.endswith(" -m -r 10")


def test_mail_is_judged_by_who_gave_it_to_the_fleet(fleet: Fleet) -> None:
    lines = texts(fleet)["mailfleet.cf"].splitlines()
    inbound = {"198.51.100.25", "2001:db8:1::25", "198.51.100.153", "2001:db8:2::25"}
    senders = {"198.51.100.10", "2001:db8:1::10", "198.51.100.138", "2001:db8:2::10"}
    words = [line.split() for line in lines]
    assert {w[1] for w in words if w[:1] == ["internal_networks"]} == inbound
    assert {w[1] for w in words if w[:1] == ["trusted_networks"]} == inbound | senders


def test_nobody_else_may_connect_to_spamd(fleet: Fleet) -> None:
    assert "--listen=127.0.0.1 --listen=::1" in texts(fleet)["spamd"]


def test_postfix_and_systemd_mean_the_same_socket() -> None:
    inside = spamassassin.MILTER.removeprefix("unix:")
    assert f"/var/spool/postfix/{inside}" == spamassassin.SOCKET
