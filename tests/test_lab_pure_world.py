"""The lab's zones, mirrors, names and addresses, as plain values."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import dns.zone
import pytest

from mailfleet.fleet.addresses import in_lab
from mailfleet.lab import mirrors, network, zones
from mailfleet.lab.errors import LabError
from mailfleet.lab.layout import layout
from mailfleet.lab.mirrors import Archive, Mirrors
from mailfleet.lab.providers.catalogue import PROVIDERS
from mailfleet.lab.world import WORLD_ADDRESSES

KEY = dns.rdata.from_text(
    "IN",
    "DNSKEY",
    "257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+"
    "KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==",
)
FLEET_ZONES = ("example.net", "example.com", "100.51.198.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa")


def parsed(zone: zones.Zone) -> dns.zone.Zone:
    return dns.zone.from_text(zone.text(serial=7), f"{zone.name}.", relativize=False)


@pytest.fixture
def world() -> dict[str, dns.zone.Zone]:
    return {zone.name: parsed(zone) for zone in zones.build(FLEET_ZONES, KEY)}


def test_every_zone_is_a_valid_zone_with_two_servers(world: dict[str, dns.zone.Zone]) -> None:
    for name, zone in world.items():
        servers = zone.get_rdataset(f"{name}.", "NS")
        assert servers is not None, name
        assert {str(item) for item in servers} == {"ns1.lab.test.", "ns2.lab.test."}, name
        assert zone.get_soa().serial == 7


def test_the_root_delegates_every_other_zone_securely(world: dict[str, dns.zone.Zone]) -> None:
    root = world[""]
    for name in world:
        if name:
            ds = root.get_rdataset(f"{name}.", "DS")
            assert ds is not None, name
            assert ds[0] == dns.dnssec.make_ds(dns.name.from_text(name), KEY, "SHA256")
            assert root.get_rdataset(f"{name}.", "NS") is not None
    assert root.get_rdataset("ns1.lab.test.", "A") is not None
    assert root.get_rdataset("ns2.lab.test.", "AAAA") is not None


def test_a_zone_inside_another_is_delegated_there() -> None:
    inner = "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
    built = {zone.name: parsed(zone) for zone in zones.build((*FLEET_ZONES, inner), KEY)}
    assert built["8.b.d.0.1.0.0.2.ip6.arpa"].get_rdataset(f"{inner}.", "DS") is not None
    assert built[""].get_rdataset(f"{inner}.", "DS") is None


def test_fleet_zones_hold_what_somebody_else_put_there(world: dict[str, dns.zone.Zone]) -> None:
    zone = world["example.com"]
    assert zone.get_rdataset("example.com.", "TXT") is not None
    assert zone.get_rdataset("www.example.com.", "A") is not None
    assert zone.get_rdataset("shop.example.com.", "CNAME") is not None
    assert zone.get_rdataset("example.com.", "MX") is None


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=list(PROVIDERS))
def test_a_provider_is_wholly_in_dns(provider, world: dict[str, dns.zone.Zone]) -> None:
    for domain in provider.domains:
        mx = world[domain].get_rdataset(f"{domain}.", "MX")
        assert mx is not None
        assert str(mx[0].exchange) == f"{provider.mx}."
    home = zones.enclosing(provider.mx, world)
    for address, rdtype in ((provider.ipv4, "A"), (provider.ipv6, "AAAA")):
        rdataset = world[home].get_rdataset(f"{provider.mx}.", rdtype)
        assert rdataset is not None
        assert ip_address(rdataset[0].address) == ip_address(address)
        pointer = ip_address(address).reverse_pointer
        reverse = world[zones.enclosing(pointer, world)].get_rdataset(f"{pointer}.", "PTR")
        assert reverse is not None
        assert str(reverse[0].target) == f"{provider.mx}."


def test_every_world_address_lies_in_the_ranges_kept_for_the_lab() -> None:
    assert all(in_lab(address) for address in WORLD_ADDRESSES)
    assert len(set(WORLD_ADDRESSES)) == len(WORLD_ADDRESSES)


def test_hints_and_anchor_have_the_forms_of_dns_root_data() -> None:
    hints = zones.root_hints()
    assert ". 3600000 NS ns1.lab.test." in hints
    assert "ns2.lab.test. 3600000 AAAA 2001:db8:0:18::54" in hints
    anchor = zones.trust_anchor(KEY)
    assert anchor["key"].startswith(". 172800 IN DNSKEY 257 3 13 ")
    assert anchor["ds"].startswith(". IN DS ")


@pytest.mark.parametrize(
    ("address", "net", "gateway"),
    [
        ("198.51.100.10", "198.51.100.0/25", "198.51.100.1"),
        ("198.51.100.138", "198.51.100.128/25", "198.51.100.129"),
        ("2001:db8:1::10", "2001:db8:1::/64", "2001:db8:1::1"),
    ],
)
def test_networks_and_gateways(address: str, net: str, gateway: str) -> None:
    assert str(network.network_of(ip_address(address))) == net
    assert str(network.gateway_of(ip_address(address))) == gateway


MIRROR = "http://mirror.example/debian"


def test_third_parties_and_other_schemes_are_not_the_debian_archive() -> None:
    found = mirrors.archives_from(
        [
            f"{MIRROR} bookworm main",
            f"{MIRROR} bookworm contrib",
            f"{MIRROR}/ bookworm-updates main",
            "https://security.example/debian-security bookworm-security main",
            "https://vendor.example/apt nodistro main",
            "https://vendor.example/apt cloud-sdk-bookworm main",
            "file:/srv/mirror bookworm main",
            "https://second.example/debian bookworm main",
            "",
        ],
        "bookworm",
    )
    assert found == (
        Archive(MIRROR, "", ("main", "contrib")),
        Archive(MIRROR, "-updates", ("main",)),
        Archive("https://security.example/debian-security", "-security", ("main",)),
    )


def test_sources_name_the_release_and_speak_plain_http() -> None:
    found = Mirrors(
        (Archive("https://m.example/debian", "", ("main",)), Archive(MIRROR, "-updates", ("main",)))
    )
    assert found.sources(13) == (
        "deb http://m.example/debian trixie main\n"
        "deb http://mirror.example/debian trixie-updates main\n"
    )
    assert found.upstreams == ("https://m.example/debian", MIRROR)


def test_settings_that_the_mirror_needs_come_along() -> None:
    dump = (
        'Acquire::Check-Date "false";\nAcquire::http::Proxy "http://p.example:1/";\nApt::X "y";\n'
    )
    options, proxy = mirrors._settings(dump)
    assert options == (("Acquire::Check-Date", "false"),)
    assert proxy == "http://p.example:1/"
    conf = Mirrors((), options).apt_conf("http://198.18.0.3:3142")
    assert 'Acquire::http::Proxy "http://198.18.0.3:3142";' in conf
    assert 'Acquire::Check-Date "false";' in conf


def test_a_machine_without_a_debian_mirror_is_told_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(mirrors, "_output", lambda argv: "")
    with pytest.raises(LabError, match=r"no Debian archive") as caught:
        mirrors.discover({})
    assert "MAILFLEET_LAB_MIRROR" in caught.value.remedy
    found = mirrors.discover({"MAILFLEET_LAB_MIRROR": "https://own.example/debian/"})
    assert found.archives == (Archive("https://own.example/debian", "", ("main",)),)


def test_two_labs_share_nothing_but_the_cache(tmp_path: Path) -> None:
    one = layout(tmp_path / "one", {})
    two = layout(environment={"MAILFLEET_LAB_DIR": str(tmp_path / "two")})
    assert one.namespace != two.namespace
    assert one.id != two.id
    assert one.cache == two.cache
    assert layout(environment={}).directory == Path("/var/lib/mailfleet/lab")


@pytest.mark.parametrize("bad", ["a,b", "a:b", "a b", "a\\b"])
def test_paths_that_overlay_mounts_cannot_take(bad: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="MAILFLEET_LAB_DIR"):
        layout(tmp_path / bad, {})
    with pytest.raises(LabError, match="MAILFLEET_CACHE_DIR"):
        layout(tmp_path, {"MAILFLEET_CACHE_DIR": str(tmp_path / bad)})
