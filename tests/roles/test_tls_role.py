"""The role `tls`: its settings, and its script against a CA and a DNS that lie or fail."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from mailfleet.fleet.load import load
from mailfleet.fleet.model import Fleet
from mailfleet.roles import tls

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("openssl", "flock"))), reason="needs openssl and flock"
)

NAME = "mx1.eu.example.net"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return load(Path(__file__).parents[2])


def put(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


class Machine:
    """A directory that looks like a host to the script: its files, and the commands it calls."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "tls" / f"{NAME}.pem"
        files = {file.path: file.content for file in tls.files(fleet, fleet.host(NAME))}
        self.script = directory / "mailfleet-cert"
        put(self.script, files[tls.SCRIPT])
        settings = files["/etc/mailfleet/cert.conf"]
        settings = settings.replace("/etc/mailfleet/tls", str(directory / "tls"))
        settings = settings.replace("/var/lib/mailfleet", str(directory / "lib"))
        (directory / "cert.conf").write_text(settings)
        self.bin = directory / "bin"
        self.bin.mkdir()
        put(self.bin / "unbound-control", "#!/bin/sh\n")
        put(self.bin / "systemctl", f'#!/bin/sh\necho "$@" >>{directory}/systemctl.log\n')
        self.dns("198.51.100.25", "2001:db8:1::25")
        self.ca(days=90)

    def dns(self, *addresses: str) -> None:
        lines = "".join(f"echo '{address} STREAM {NAME}'\n" for address in addresses)
        put(self.bin / "getent", f"#!/bin/sh\n{lines}[ -n '{lines[:1]}' ]\n")

    def ca(self, days: int) -> None:
        """A `lego` that issues certificates, for one account at one CA."""
        put(
            self.bin / "lego",
            f"""#!/bin/sh
set -eu
echo "$@" >>{self.directory}/lego.log
while [ "$1" != --path ]; do shift; done
path=$2
c=$path/certificates
mkdir -p $c $path/accounts/acme.lab.test_14000/postmaster@example.net
echo '{{}}' >$path/accounts/acme.lab.test_14000/postmaster@example.net/account.json
[ -s $c/ca.key ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -days 3650 -subj /CN=testca -keyout $c/ca.key -out $c/ca.crt 2>/dev/null
[ -s $c/{NAME}.key ] || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 \
    -out $c/{NAME}.key 2>/dev/null
printf 'subjectAltName=DNS:{NAME}\\n' >$c/ext
openssl req -new -key $c/{NAME}.key -subj /CN={NAME} | openssl x509 -req -days {days} \
    -CA $c/ca.crt -CAkey $c/ca.key -CAcreateserial -extfile $c/ext -out $c/{NAME}.crt 2>/dev/null
""",
        )

    def no_ca(self) -> None:
        put(
            self.bin / "lego",
            "#!/bin/sh\necho '[INFO] noise'\necho 'acme: 403 unauthorized'\nexit 1\n",
        )

    def run(self, verb: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "MAILFLEET_CERT_CONF": str(self.directory / "cert.conf"),
        }
        return subprocess.run(
            [str(self.script), verb], capture_output=True, text=True, env=environment, check=False
        )

    def status(self) -> dict[str, str] | None:
        return tls.Certificate().process(self.run("status").stdout.splitlines())

    def log(self, name: str) -> list[str]:
        path = self.directory / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(fleet: Fleet, tmp_path: Path) -> Machine:
    return Machine(fleet, tmp_path)


def subject_key(path: Path) -> str:
    command = ["openssl", "x509", "-in", str(path), "-noout", "-pubkey"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_ca_gives_a_certificate_when_dns_points_here(machine: Machine) -> None:
    assert machine.status() == {
        "state": "missing",
        "dns": "here",
        "found": "198.51.100.25,2001:db8:1::25",
    }
    done = machine.run("ensure")
    assert done.returncode == 0, done.stderr
    assert machine.status() == {"state": "issued"}
    content = machine.certificate.read_text()
    assert content.index("PRIVATE KEY") < content.index("BEGIN CERTIFICATE")
    assert stat.S_IMODE(machine.certificate.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "found",
    [
        pytest.param((), id="nothing"),
        pytest.param(("192.0.2.7",), id="another-host"),
        pytest.param(("198.51.100.25", "2001:db8::bad"), id="one-right-one-wrong"),
    ],
)
def test_without_dns_it_stays_self_signed_and_says_so(
    machine: Machine, found: tuple[str, ...]
) -> None:
    machine.dns(*found)
    done = machine.run("ensure")
    assert done.returncode == 0, done.stderr
    assert "does not point to this host yet" in done.stdout
    state = machine.status()
    assert state is not None
    assert state == {
        "state": "self-signed",
        "dns": "elsewhere",
        "found": ",".join(found) or "nothing",
    }
    assert tls.waits_for_dns(state)
    assert machine.log("lego") == []


def test_one_address_of_the_host_is_enough(machine: Machine) -> None:
    machine.dns("198.51.100.25")
    machine.run("ensure")
    assert machine.status() == {"state": "issued"}


def test_a_ca_that_refuses_is_an_error_in_its_own_words(machine: Machine) -> None:
    machine.no_ca()
    done = machine.run("ensure")
    assert done.returncode == 1
    assert "acme: 403 unauthorized" in done.stderr
    assert "noise" not in done.stderr
    # The host can serve TLS all the same.
    assert machine.certificate.exists()


def test_a_good_certificate_is_left_alone(machine: Machine) -> None:
    machine.run("ensure")
    before = machine.certificate.stat().st_mtime_ns
    machine.run("ensure")
    assert machine.certificate.stat().st_mtime_ns == before
    assert len(machine.log("lego")) == 1


def test_renewal_keeps_the_key_and_reloads_postfix(machine: Machine) -> None:
    machine.ca(days=20)
    machine.run("ensure")
    assert machine.status() == {
        "state": "expiring",
        "dns": "here",
        "found": "198.51.100.25,2001:db8:1::25",
    }
    key = subject_key(machine.certificate)
    machine.ca(days=90)
    machine.run("ensure")
    assert machine.status() == {"state": "issued"}
    assert subject_key(machine.certificate) == key
    assert "--reuse-key" in machine.log("lego")[-1]
    assert machine.log("systemctl")[-1] == "reload postfix.service"


def test_another_ca_means_to_begin_again(machine: Machine) -> None:
    machine.run("ensure")
    settings = machine.directory / "cert.conf"
    settings.write_text(settings.read_text().replace("acme.lab.test:14000", "acme.example:443"))
    assert (machine.status() or {})["state"] == "other-ca"
    machine.run("ensure")
    assert machine.status() == {"state": "issued"}
    assert machine.log("lego")[-1].endswith(" run")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="half"),
        pytest.param(lambda text: text[text.index("-----BEGIN CERT") :], id="no-key"),
    ],
)
def test_a_damaged_file_is_replaced(machine: Machine, damage: object) -> None:
    machine.run("ensure")
    assert callable(damage)
    machine.certificate.write_text(damage(machine.certificate.read_text()))
    assert (machine.status() or {})["state"] == "missing"
    assert machine.run("ensure").returncode == 0
    assert machine.status() == {"state": "issued"}


def test_no_secret_and_no_dns_credential_in_the_files(fleet: Fleet) -> None:
    text = "".join(file.content for file in tls.files(fleet, fleet.host(NAME)))
    assert "TSIG" not in text
    assert "--dns" not in text
    assert "MAILFLEET_TSIG_SECRET" not in text


def test_settings_are_quoted_for_the_shell(fleet: Fleet, tmp_path: Path) -> None:
    acme = fleet.acme.model_copy(update={"contact": "it's; touch pwned"})
    host = fleet.host(NAME)
    files = tls.files(fleet.model_copy(update={"acme": acme}), host)
    settings = tmp_path / "cert.conf"
    settings.write_text(next(f.content for f in files if f.path.endswith("cert.conf")))
    said = subprocess.run(
        ["sh", "-euc", f'. {settings}; echo "$CONTACT"'],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    ).stdout
    assert said == "it's; touch pwned\n"
    assert not (tmp_path / "pwned").exists()
