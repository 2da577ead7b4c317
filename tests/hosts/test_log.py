"""Reading pyinfra's log, line by line."""

import json

import pytest

from mailfleet.hosts.remedies import remedy
from mailfleet.hosts.results import Event, Log, conclude

PREAMBLE = """\
--> Loading config...
--> Loading inventory...
--> Connecting to hosts...
    [a.example] Connected
    [b.ex]      Connected

--> Preparing operation files...
    [a.example] Ready: site.py
    [b.ex]      a word of warning
    [b.ex]      Ready: site.py

--> Beginning operation run...
--> Starting operation: tls | Certificate\x20
"""


def read(text: str) -> tuple[Log, list[Event]]:
    events: list[Event] = []
    log = Log(events.append)
    for line in text.splitlines():
        log.line(line)
    return log, events


def test_follows_hosts_and_operations() -> None:
    log, events = read(PREAMBLE + "    [a.example] Success\n    [b.ex]      No changes\n")
    assert log.connected == {"a.example", "b.ex"}
    assert log.notes["b.ex"] == ["a word of warning"]
    assert events[-2:] == [
        Event("a.example", "tls | Certificate", "changed"),
        Event("b.ex", "tls | Certificate", "unchanged"),
    ]


def test_output_of_a_failure_ends_with_it() -> None:
    log, _ = read(
        PREAMBLE + "    [b.ex]      boom\n    [b.ex]      Error: executed 0 commands\n"
        "--> Starting operation: next \n    [b.ex]      not of interest\n"
    )
    assert log.failed == {"b.ex": "tls | Certificate"}
    assert log.output["b.ex"] == ["boom"]


def test_json_decides_over_the_log() -> None:
    """A command may print what looks like a success."""
    log, _ = read(PREAMBLE + "    [b.ex]      Success\n")
    operations = [
        {"name": "Certificate", "success": ["a.example"], "error": ["b.ex"], "no_change": []}
    ]
    results = {"operations": operations, "failed_hosts": ["b.ex"]}
    text = json.dumps({"plan": [], "results": results})
    result = conclude(["a.example", "b.ex"], text, log, (), dry=False, seconds=1)
    assert [host.status for host in result.hosts] == ["changed", "failed"]
    assert result.hosts[1].operation == "Certificate"


def test_a_run_that_was_cut_short_is_not_a_success() -> None:
    log, _ = read(PREAMBLE)
    result = conclude(["a.example", "b.ex"], "", log, (), dry=False, seconds=1)
    assert {host.status for host in result.hosts} == {"unfinished"}
    assert result.exit_code == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"plan": []', "Traceback"])
def test_answers_that_are_no_report(text: str) -> None:
    log, _ = read("--> pyinfra error: no such thing\n")
    result = conclude(["a.example"], text, log, (), dry=True, seconds=1)
    assert not result.ok
    assert "no such thing" in result.error


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Host key for 198.51.100.10 does not match.", "ssh-keygen -R"),
        ("Authentication error (username=root)", "ssh_user"),
        ("Could not connect (timed out)", "host is up"),
        ("Could not connect ([Errno None] Unable to connect to port 22 on h)", "host is up"),
        ("sudo: a password is required", "NOPASSWD"),
        ("tar: x: Wrote only 4608 of 10240 bytes", "disk is full"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1", "wait"),
        ("another mailfleet run has held /run/mailfleet/lock for 120 s", "wait"),
        ("W: Failed to fetch http://deb.example/x  Temporary failure resolving", "mirror"),
        ("E: Unable to locate package lego", "archive"),
        ("refused by its own checker: the files on the host are unchanged", "setting or template"),
        ("x postfix.service - Postfix", "journalctl"),
        ("something new", "run again"),
    ],
)
def test_remedies(said: str, advice: str) -> None:
    assert advice in remedy(["before", said], "mx1.example.net")
