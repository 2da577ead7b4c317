"""The lab's files, requirements, record and refusals, without a lab."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailfleet.cli.lab import lab as lab_command
from mailfleet.fleet.model import Host, Role
from mailfleet.lab import lab as lab_module
from mailfleet.lab import requirements, state, sweep
from mailfleet.lab.errors import LabError
from mailfleet.lab.files import Tree, locked, write
from mailfleet.lab.lab import Lab
from mailfleet.lab.layout import layout
from mailfleet.lab.status import HostStatus, Status


def host(name: str, address: str = "198.51.100.10") -> Host:
    return Host(name=name, role=Role.SENDER, region="eu", ipv4=IPv4Address(address), debian=12)


# -- files


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    os.umask(0o022)
    write(tmp_path / "a/b/key", "secret", 0o600)
    assert stat.S_IMODE((tmp_path / "a/b/key").stat().st_mode) == 0o600
    write(tmp_path / "a/b/key", "other", 0o644)
    assert (tmp_path / "a/b/key").read_text() == "other"
    assert list((tmp_path / "a/b").iterdir()) == [tmp_path / "a/b/key"]


def test_what_a_killed_write_left_does_not_stop_the_next(tmp_path: Path) -> None:
    (tmp_path / ".key.new").write_text("half")
    write(tmp_path / "key", "whole")
    assert (tmp_path / "key").read_text() == "whole"
    assert not (tmp_path / ".key.new").exists()


def test_upper_directories_look_like_the_lower_ones(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    (lower / "root").mkdir(parents=True, mode=0o700)
    (lower / "root/list").write_text("one\n")
    upper.mkdir()
    tree = Tree(upper, lower)
    tree.write("/root/.ssh/authorized_keys", "key", 0o600)
    tree.append("/root/list", "two\n")
    assert stat.S_IMODE((upper / "root").stat().st_mode) == 0o700
    assert (upper / "root/list").read_text() == "one\ntwo\n"
    assert (lower / "root/list").read_text() == "one\n"


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"):
        with pytest.raises(BlockingIOError), locked(tmp_path / "lock", wait=False):
            pass
        script = "import sys; from pathlib import Path; from mailfleet.lab.files import locked\n"
        script += "with locked(Path(sys.argv[1]), lambda: print('waiting', flush=True)): pass"
        argv = [sys.executable, "-c", script, str(tmp_path / "lock")]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "waiting\n"
            other.kill()
    with locked(tmp_path / "lock", wait=False):
        pass


# -- requirements


def test_everything_missing_is_said_at_once(monkeypatch) -> None:
    monkeypatch.setattr(requirements, "_there", lambda program: program in {"unshare", "ip"})
    monkeypatch.setattr(requirements, "_machine", lambda lab: [])
    monkeypatch.setattr(requirements, "space", lambda lab: [])
    missing = requirements.missing()
    assert {item.package for item in missing} >= {"knot", "pebble", "mmdebstrap"}
    assert not any(item.essential for item in missing)
    with pytest.raises(LabError) as caught:
        requirements.require()
    assert "knotd is missing (Debian package knot)" in caught.value.problem
    assert "apt-get install" in caught.value.remedy
    assert "mailfleet lab install" in caught.value.remedy


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ((os, "geteuid", lambda: 1000), "Not root (effective user id 1000)"),
        ((requirements, "_namespaces", lambda: False), "namespaces"),
        ((requirements, "in_first_user_namespace", lambda: False), "user namespace"),
        ((requirements, "_overlay", lambda lab: "wrong fs type"), "wrong fs type"),
        ((sys, "platform", "darwin"), "not Linux"),
    ],
)
def test_what_no_package_mends_is_essential(monkeypatch, patch, words: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "in_first_user_namespace", lambda: True)
    monkeypatch.setattr(requirements, "_namespaces", lambda: True)
    monkeypatch.setattr(requirements, "_overlay", lambda lab: "")
    monkeypatch.setattr(requirements, "space", lambda lab: [])
    monkeypatch.setattr(*patch)
    essential = [item for item in requirements.missing() if item.essential]
    assert len(essential) == 1
    assert words in essential[0].what
    assert essential[0].remedy


def test_a_full_disk_is_noticed_before_anything_is_made(monkeypatch, tmp_path: Path) -> None:
    usage = type("Usage", (), {"free": 10_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    lab = layout(tmp_path / "lab", {"MAILFLEET_CACHE_DIR": str(tmp_path / "cache")})
    found = requirements.space(lab)
    assert [item.what.split()[0] for item in found] == [str(lab.directory), str(lab.cache)]
    assert "MAILFLEET_LAB_DIR" in found[0].remedy
    assert "MAILFLEET_CACHE_DIR" in found[1].remedy
    assert all(item in requirements.missing(lab) for item in found)
    assert all(item.essential for item in found)


@pytest.mark.parametrize(
    ("text", "first"),
    [("         0          0 4294967295\n", True), ("0 100000 65536\n", False), ("0 0 1\n", False)],
)
def test_root_of_a_user_namespace_is_told_from_root(tmp_path: Path, text: str, first: bool) -> None:
    (tmp_path / "uid_map").write_text(text)
    assert requirements.in_first_user_namespace(tmp_path / "uid_map") is first


def test_a_lab_on_an_overlay_is_refused_beforehand(tmp_path: Path) -> None:
    """In a mount namespace, on a directory that is an overlay as in a container."""
    if os.geteuid() != 0 or not requirements._namespaces():
        pytest.skip("needs root and mount namespaces")
    for name in ("lower", "upper", "work", "root"):
        (tmp_path / name).mkdir()
    code = (
        "import sys; from pathlib import Path; from mailfleet.lab import requirements\n"
        "from mailfleet.lab.layout import Layout\n"
        "here = Path(sys.argv[1]); lab = Layout(here / 'root/lab', here / 'cache')\n"
        "found = [item for item in requirements.missing(lab) if item.essential]\n"
        "print(*(item.what + ' ' + item.remedy for item in found), sep='\\n')"
    )
    script = (
        '[ -z "$2" ] || mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work"'
        ' overlay "$1/root" || exit 1; exec "$3" -c "$4" "$1"'
    )

    def found(overlay: str) -> str:
        argv = ["unshare", "--mount", "sh", "-c", script, "sh"]
        argv += [str(tmp_path), overlay, sys.executable, code]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    assert "overlay" not in found("")
    refused = found("yes")
    assert "cannot be mounted" in refused
    assert "MAILFLEET_LAB_DIR" in refused
    assert list((tmp_path / "upper").iterdir()) == []


# -- refusals and records


def test_a_directory_with_other_things_is_not_a_lab(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/precious").write_text("mine")
    with pytest.raises(LabError, match="something other than a lab"):
        Lab(tmp_path).down(purge=True)
    assert (tmp_path / "home/precious").read_text() == "mine"


def test_down_removes_what_up_makes_and_no_more(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    place = lab.layout
    write(place.lock_file, "")
    write(place.directory / "mine", "mine")
    write(place.hosts / "a/upper/etc/x", "x")
    write(place.state_file, "{")
    write(place.logs / "dns.log", "log")
    lab.down()
    assert sorted(p.name for p in place.directory.iterdir()) == [".mailfleet-lab", "log", "mine"]
    lab.down(purge=True)
    assert [p.name for p in place.directory.iterdir()] == ["mine"]


def test_down_without_a_lab_is_harmless(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    lab.down(purge=True)
    assert not (tmp_path / "lab").exists()
    assert not sweep.leftovers(lab.layout)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("198.18.0.53", "an address of the lab itself"),
        ("198.51.100.129", "an address of the lab itself"),
        ("192.0.2.7", "not in the lab's ranges"),
    ],
)
def test_a_host_may_not_sit_on_the_labs_own_addresses(address: str, words: str) -> None:
    with pytest.raises(LabError, match=words) as caught:
        lab_module._check_addresses([host("a.example.net", address)])
    assert "inventories/eu.py" in caught.value.remedy


def test_a_beginning_of_a_name_is_enough_when_it_is_only_one() -> None:
    record = state.State(
        fleet_directory=Path("/f"),
        fleet_name="f",
        hosts=(host("mta1.eu.example.net"), host("mta1.us.example.net"), host("mx1.example.net")),
        zones=(),
    )
    assert record.host("mx").name == "mx1.example.net"
    assert record.host("mta1.us").name == "mta1.us.example.net"
    with pytest.raises(LabError, match="matches several hosts"):
        record.host("mta1")
    with pytest.raises(LabError, match="is not a host") as caught:
        record.host("nobody")
    assert "mx1.example.net" in caught.value.remedy


def test_a_spoilt_record_says_what_to_do(tmp_path: Path) -> None:
    lab = layout(tmp_path, {})
    write(lab.state_file, '{"hosts": 3}')
    with pytest.raises(LabError) as caught:
        state.read(lab)
    assert str(lab.state_file) in caught.value.problem
    assert "mailfleet lab down" in caught.value.remedy


@pytest.mark.parametrize(
    "argv", [["ssh", "mx1"], ["run", "--", "true"], ["stop", "mx1"], ["reset", "mx1"], ["shell"]]
)
def test_commands_say_that_the_lab_is_down(argv: list[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MAILFLEET_LAB_DIR", str(tmp_path / "lab"))
    result = CliRunner().invoke(lab_command, argv)
    assert result.exit_code == 1
    assert "is not up" in result.output
    assert "mailfleet lab up" in result.output


@pytest.mark.parametrize("verb", ["up", "down"])
def test_up_and_down_are_not_for_inside(verb: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MAILFLEET_LAB_DIR", str(tmp_path / "lab"))
    monkeypatch.setenv("MAILFLEET_LAB_ID", "0123abcd")
    result = CliRunner().invoke(lab_command, [verb])
    assert result.exit_code == 1
    assert "from inside a lab" in result.output


def test_status_tells_the_off_from_the_on() -> None:
    members = tuple(
        HostStatus(
            name=name, role="mx", region="eu", debian=13, addresses=("198.51.100.25",), on=on
        )
        for name, on in (("a.example", True), ("b.example", False))
    )
    status = Status(
        up=True,
        directory="/d",
        cache="/c",
        namespace="mailfleet-1",
        fleet="/f",
        services={"dns": False},
        hosts=members,
    )
    text = status.text()
    assert "dns        DOWN" in text
    assert "a.example  on " in text
    assert "b.example  OFF" in text
