"""The lab's bridge is the same to its hosts whoever is switched on or off."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mailfleet.lab import network
from mailfleet.lab.layout import Layout

pytestmark = pytest.mark.lab


def test_the_gateway_keeps_its_hardware_address(able: None, tmp_path: Path) -> None:
    lab = Layout(directory=tmp_path / "lab", cache=tmp_path / "cache")

    def ip(words: str) -> str:
        command = ["ip", "-netns", lab.namespace, *words.split()]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    network.setup(lab, [])
    try:
        before = ip("-brief link show br0").split()[2]
        # A host's interface, with an address lower than any that a bridge would choose.
        ip("link add vb-host address 00:00:00:00:00:01 type veth peer name host")
        ip("link set vb-host master br0 up")
        assert ip("-brief link show br0").split()[2] == before
        ip("link del vb-host")
        assert ip("-brief link show br0").split()[2] == before
    finally:
        network.remove(lab)
