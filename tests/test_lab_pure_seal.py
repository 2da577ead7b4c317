"""What covers the machine's name services, without a lab: one mount namespace."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mailfleet.lab import requirements, seal
from mailfleet.lab.layout import Layout, layout

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not requirements._namespaces(), reason="needs root and mount namespaces"
)


@pytest.fixture
def place(tmp_path: Path) -> Layout:
    made = replace(layout(tmp_path / "lab"), cache=tmp_path / "cache")
    seal.prepare(made)
    return made


def said(argv: list[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_libc_is_told_to_read_files_and_ask_the_labs_servers(place: Layout) -> None:
    text = said(seal.sealed(place, ["cat", "/etc/nsswitch.conf", "/etc/resolv.conf"]))
    assert "hosts: files dns\n" in text
    assert "nameserver 198.18.0.53\n" in text
    assert not any(word in text for word in ("resolve ", "mdns", "systemd", "sss"))


def test_covered_directories_are_empty_and_only_here(
    place: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "socket").touch()
    monkeypatch.setattr(seal, "COVERED", (str(run), str(tmp_path / "absent")))
    assert said(seal.sealed(place, ["ls", str(run)])) == ""
    assert (run / "socket").exists()


def test_a_resolv_conf_that_is_a_link_into_a_covered_directory(
    place: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Ubuntu: /etc/resolv.conf is a link to systemd-resolved's stub."""
    run, link, dangling = tmp_path / "run", tmp_path / "resolv.conf", tmp_path / "dangling"
    run.mkdir()
    (run / "stub").write_text("nameserver 127.0.0.53\n")
    link.symlink_to(run / "stub")
    dangling.symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(seal, "COVERED", (str(run),))
    binds = {place.home / "resolv.conf": link, place.home / "nsswitch.conf": dangling}
    assert "198.18.0.53" in said(seal.sealed(place, ["cat", str(link)], binds))
    assert (run / "stub").read_text() == "nameserver 127.0.0.53\n"
    assert not (tmp_path / "elsewhere").exists()


def test_the_command_keeps_its_words_and_its_exit_code(place: Layout) -> None:
    argv = seal.sealed(place, ["sh", "-c", 'printf "%s|" "$@"; exit 7', "x", "--", "a b", ""])
    result = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("--|a b||", 7)
