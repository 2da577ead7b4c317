"""How long a deploy takes that has nothing to do: many fake hosts, each command 30 ms.

    python bench/deploy_fake.py [HOSTS] [SECONDS_PER_COMMAND]

The hosts run the real deploy/site.py with all its roles; only the connector is pyinfra's @fake,
which answers every read as a host would that has everything.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from mailfleet.fleet.load import load
from mailfleet.hosts.apply import deploy_file
from mailfleet.hosts.runner import Job, run

ROOT = Path(__file__).parents[1]
REGIONS = ("eu_central", "us_east")
BYTES = {"eu_central": 0, "us_east": 1}

# Read by the fleet loader: plain hosts.
PLAIN = """
senders = [(f"mta{{n}}.{short}.example.net", {{"ipv4": f"198.{ip}.{{n // 250}}.{{n % 250 + 1}}",
            "debian": 12 + n % 2, "pool": ("transactional", "marketing")[n % 2]}})
           for n in range(1, {senders} + 1)]
mx = [(f"mx{{n}}.{short}.example.net", {{"ipv4": f"198.{ip}.9.{{n}}", "debian": 13}})
      for n in range(1, {mx} + 1)]
"""

# Read by pyinfra: the same hosts, fake.
FAKE = """
import sys
from pathlib import Path
sys.path.insert(0, {bench!r})
from _fake_answers import answers
from mailfleet.fleet.load import load
hosts = [
    (f"@fake/{{host.name}}", {{"fake_delay": {delay}, "fake_delay_jitter": 0,
                             "fake_responses": answers(_fleet, host)}})
    for _fleet in [load(Path({fleet!r}))] for host in _fleet.hosts if host.region == {region!r}
]
"""


def fleet_of(directory: Path, hosts: int) -> Path:
    """A fleet directory with that many hosts in two regions, one mx for nine senders."""
    fleet = directory / "fleet"
    shutil.copytree(ROOT / "recipients", fleet / "recipients")
    shutil.copytree(ROOT / "clamav", fleet / "clamav")
    shutil.copy(ROOT / "fleet.yml", fleet)
    (fleet / "inventories").mkdir()
    for number, region in enumerate(REGIONS):
        here = (hosts + number) // 2
        mx = max(1, here // 10)
        text = PLAIN.format(short=region[:2], ip=18 + number, senders=here - mx, mx=mx)
        (fleet / "inventories" / f"{region}.py").write_text(text)
    return fleet


def main() -> None:
    hosts = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.03
    with tempfile.TemporaryDirectory() as scratch:
        directory = fleet_of(Path(scratch), hosts)
        fleet = load(directory)
        jobs = []
        for region in fleet.regions:
            inventory = Path(scratch) / f"{region}.py"
            bench = str(ROOT / "bench")
            inventory.write_text(
                FAKE.format(bench=bench, delay=delay, fleet=str(directory), region=region)
            )
            names = tuple(f"@fake/{host.name}" for host in fleet.hosts if host.region == region)
            jobs.append(Job(inventory, deploy_file(fleet, "site.py"), names, whole=True))
        counted = 0

        def count(event: object) -> None:
            nonlocal counted
            counted += getattr(event, "what", "") in ("changed", "unchanged")

        begin = time.monotonic()
        results = run(jobs, directory, count)
        seconds = time.monotonic() - begin
    done = [host for result in results for host in result.hosts]
    bad = [host for host in done if host.status != "unchanged"]
    for host in bad[:5]:
        print(host.name, host.status, host.operation, *host.operations, *host.output, sep="\n  ")
    print(*(result.error for result in results if result.error), sep="\n", end="")
    print(
        f"{len(done)} hosts, {counted / max(1, len(done)):.1f} operations each, {delay * 1000:.0f} "
        f"ms a command: {seconds:.1f} s ({seconds / max(1, counted) * 1000:.2f} ms an operation "
        f"and host), {len(bad)} hosts not unchanged"
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
