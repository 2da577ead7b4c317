"""The steps of the demo, in the order in which an operator would go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from operator import eq

from mailfleet.fleet.model import Fleet, Host, Role
from mailfleet.hosts.apply import deploy_file
from mailfleet.lab import post
from mailfleet.lab.demo.story import DemoError, Say, Step, expect, wait_for
from mailfleet.lab.demo.tools import SERVER, SERVERS, Stage
from mailfleet.lab.mail import Job, Try, compose, eicar, gtube
from mailfleet.lab.providers.catalogue import PROVIDERS
from mailfleet.lab.providers.records import Message
from mailfleet.warmup.transports import transports

# Day of the warm-up to how long before today it was.
DAYS = {1: timedelta(days=29), 9: timedelta(days=21), 30: timedelta(days=0)}
# What main.cf must hold for caps of 200, 800 and 20,000 a day, by hand from the shares of
# fleet.yml (google 40 %, microsoft 30 %, yahoo 10 %, all others 20 %): ceil(86400 / (cap * share)).
DELAYS = {
    1: {"warm-google": "1080s", "warm-microsoft": "1440s", "warm-yahoo": "4320s", "warm": "2160s"},
    9: {"warm-google": "270s", "warm-microsoft": "360s", "warm-yahoo": "1080s", "warm": "540s"},
    30: {"warm-google": "11s", "warm-microsoft": "15s", "warm-yahoo": "44s", "warm": "22s"},
}


def steps(stage: Stage, today: date) -> list[Step]:
    """Everything the demo shows, on the example fleet. `today` is day 30 of the warm-up."""
    first_day = (today - DAYS[1]).isoformat()

    def lab_up(say: Say) -> Iterator[str]:
        stage.lab.down()
        stage.lab.up(stage.fleet)
        for host in stage.fleet.hosts:
            yield f"{host.name}: bare Debian {host.debian} at {host.ipv4} and {host.ipv6}"

    def fleet_up(say: Say) -> Iterator[str]:
        stage.mailfleet(say, "up", "--yes", "--today", first_day)
        regions = ", ".join(stage.fleet.regions)
        yield f"hosts, DNS, DKIM keys and day 1 of the warm-up in {regions}"

    return [
        Step("lab: a sealed internet with bare hosts", lab_up, essential=True),
        Step("mailfleet up: everything, in the right order", fleet_up, essential=True),
        Step("DNS, asked of every authoritative address with kdig", lambda say: _dns(stage, say)),
        Step("certificates, asked of the hosts", lambda say: _certificates(stage)),
        Step("warm-up: day 1, day 9, day 30", lambda say: _warmup(stage, say, today)),
        Step("a message from each sender to each provider", lambda say: _messages(stage)),
        Step("GTUBE and EICAR are refused at SMTP time", lambda say: _filters(stage)),
        Step("the backup_mx holds mail while the mx is off", lambda say: _backup(stage, say)),
        Step(
            "a second deploy and a second DNS plan change nothing", lambda say: _second(stage, say)
        ),
    ]


def _dns(stage: Stage, say: Say) -> Iterator[str]:
    wanted = _wanted(stage.fleet)
    found = stage.kdig([(s, name, kind) for s in SERVERS for name, kind in wanted])
    for (server, name, kind), lines in found.items():
        fits = wanted[name, kind]
        expect(fits(lines), f"{kind} of {name} at {server} to be right", lines)
    here = {
        (name, kind): lines for (server, name, kind), lines in found.items() if server == SERVER
    }
    mail = stage.fleet.domains[0].name
    senders = f"_spf.{stage.fleet.general.zone}"
    by_preference = sorted(here[mail, "MX"], key=lambda line: int(line.split()[0]))
    yield f"MX of {mail}: {', '.join(by_preference)}"
    yield f"SPF of {mail}: {' '.join(_spf(here[mail, 'TXT']))}; {' '.join(here[senders, 'TXT'])}"
    yield f"DMARC of {mail}: {' '.join(here[f'_dmarc.{mail}', 'TXT'])}"
    pointers = sum(kind == "PTR" for _, kind in wanted)
    yield f"PTR = hostname for all {pointers} addresses"
    yield f"{len(wanted)} RRsets, the same at {len(SERVERS)} addresses"
    stage.mailfleet(say, "dns", "verify")
    yield "mailfleet dns verify agrees"


def _wanted(fleet: Fleet) -> dict[tuple[str, str], Callable[[list[str]], bool]]:
    """Name and type to what the sorted answers must be, straight from the fleet files."""
    wanted: dict[tuple[str, str], Callable[[list[str]], bool]] = {}
    for host in fleet.hosts:
        for address in host.addresses:
            kind = "A" if address.version == 4 else "AAAA"
            wanted[host.name, kind] = partial(eq, [str(address)])
            wanted[address.reverse_pointer, "PTR"] = partial(eq, [f"{host.name}."])
    addresses = [f"ip{a.version}:{a}" for h in fleet.with_role(Role.SENDER) for a in h.addresses]
    wanted[f"_spf.{fleet.general.zone}", "TXT"] = partial(_lists, addresses)
    for domain in fleet.domains:
        hosts = sorted(f"{h.name}." for h in (*fleet.mx_of(domain), *fleet.backup_mx_of(domain)))
        wanted[domain.name, "MX"] = partial(_exchangers, hosts)
        wanted[domain.name, "TXT"] = partial(_includes, f"include:_spf.{fleet.general.zone}")
        wanted[f"_dmarc.{domain.name}", "TXT"] = partial(_lists, [f"p={domain.dmarc.policy}"])
    return wanted


def _exchangers(hosts: list[str], lines: list[str]) -> bool:
    return sorted(line.split()[1] for line in lines) == hosts


def _spf(lines: list[str]) -> list[str]:
    return [line for line in lines if "v=spf1" in line]


def _includes(words: str, lines: list[str]) -> bool:
    """One SPF record, with these words; other TXT records are others' business."""
    return len(_spf(lines)) == 1 and words in _spf(lines)[0].split()


def _lists(words: list[str], lines: list[str]) -> bool:
    """One record, with all of these words."""
    said = lines[0].replace(";", " ").replace('"', " ").split() if len(lines) == 1 else []
    return set(words) <= set(said)


def _certificates(stage: Stage) -> Iterator[str]:
    for host in stage.fleet.hosts:
        if host.role is Role.SENDER:  # serves nothing to the world but ACME challenges
            path = f"/etc/mailfleet/tls/{host.name}.pem"
            command = ["openssl", "x509", "-in", path, "-noout", "-issuer", "-enddate"]
            said = " ".join(stage.lab.ssh(host.name, command).stdout.split("\n")).strip()
            expect("Pebble" in said, f"a certificate of pebble on {host.name}", said)
            yield f"{host.name}: on disk: {said}"
        else:
            served = stage.certificate(host)
            expect("Pebble" in served["issuer"], f"pebble as issuer at {host.name}", served)
            expect(host.name in served["names"], f"{host.name} in the certificate", served)
            until = served["not_after"]
            yield f"{host.name}: served and verified, by {served['issuer']}, until {until}"


def _warmup(stage: Stage, say: Say, today: date) -> Iterator[str]:
    senders = stage.fleet.with_role(Role.SENDER)
    names = transports(stage.fleet)
    for day, before in DAYS.items():
        stage.mailfleet(say, "warmup", "run", "--yes", "--today", (today - before).isoformat())
        for sender in senders:
            held = {n: stage.main_cf(sender, f"{n}_transport_rate_delay") for n in names}
            expect(held == DELAYS[day], f"{DELAYS[day]} in main.cf of {sender.name}", held)
        shown = ", ".join(f"{name} {delay}" for name, delay in DELAYS[day].items())
        yield f"day {day}: main.cf of {len(senders)} senders: {shown}"
    stage.mailfleet(say, "warmup", "status")


def _messages(stage: Stage) -> Iterator[str]:
    posted = []
    for sender in stage.fleet.with_role(Role.SENDER):
        author = f"news@{stage.fleet.domains_of(sender)[0].name}"
        for provider in PROVIDERS.values():
            reader = f"user@{provider.domain}"
            message = compose(author, reader, "A message of the demo", "Hello.\n")
            since = time.time()
            post.via(stage.lab, sender.name, author, reader, message)
            posted.append((sender, provider.name, reader, message, since))
    for sender, provider_name, reader, message, since in posted:
        arrival = post.wait(stage.lab, message, reader, since, 120)
        if arrival is None or arrival.message is None:
            raise DemoError(f"expected the message of {sender.name} at {provider_name}: {arrival}")
        yield _judged(sender, provider_name, arrival.message)


def _judged(sender: Host, provider: str, message: Message) -> str:
    verdicts = message.verdicts
    said = {
        "SPF": verdicts.spf.result,
        "DKIM": verdicts.dkim_result,
        "DMARC": verdicts.dmarc.result,
        "PTR": verdicts.peer.reverse,
    }
    line = f"{sender.name} to {provider}: {' '.join(f'{k}={v}' for k, v in said.items())}"
    expect(set(said.values()) == {"pass"}, f"all to pass for {sender.name} at {provider}", said)
    peer = verdicts.peer
    own = {str(address) for address in sender.addresses}
    expect(peer.address in own, f"the peer to be one of {own}", peer.address)
    expect(
        peer.ptr == peer.helo == sender.name, f"PTR = HELO = {sender.name}", (peer.ptr, peer.helo)
    )
    tls = message.tls.version if message.tls else "none"
    return f"{line}, peer {peer.address} = {peer.ptr}, TLS {tls}"


def _world_job(recipient: str, subject: str, body: str) -> Job:
    """A message to a domain of ours, from the first provider's own address."""
    provider = next(iter(PROVIDERS.values()))
    sender = f"friend@{provider.domain}"
    return Job(
        sender=sender,
        recipient=recipient,
        message=compose(sender, recipient, subject, body),
        helo=provider.mx,
        sources=provider.addresses,
    )


def _filters(stage: Stage) -> Iterator[str]:
    recipient = _recipient(stage)
    for what, body in (("GTUBE", gtube()), ("EICAR", eicar())):
        tries = post.from_world(stage.lab, _world_job(recipient, f"demo {what}", f"{body}\n")).tries
        last = tries[-1]
        expect(
            last.step == "data" and last.code is not None and last.code // 100 == 5,
            f"{what} to be refused with 5xx after DATA",
            _shown(tries),
        )
        yield f"{what} at {last.host}: {last.code} {last.reply}"
    job, since = _world_job(recipient, "An honest message of the demo", "Hello.\n"), time.time()
    sent = post.from_world(stage.lab, job)
    expect(sent.accepted, "an honest message to be accepted", _shown(sent.tries))
    arrival = post.wait(stage.lab, job.message, recipient, since, 60)
    if arrival is None:
        raise DemoError(f"expected it in the Maildir of {recipient} within 60 s")
    yield f"an honest message was accepted: {arrival.path} on {arrival.place}"


def _backup(stage: Stage, say: Say) -> Iterator[str]:
    recipient = _recipient(stage)
    domain = stage.fleet.domain(recipient.partition("@")[2])
    primaries, backup = stage.fleet.mx_of(domain), stage.fleet.backup_mx_of(domain)[0]
    for mx in primaries:
        stage.lab.stop(mx.name)
    job = _world_job(recipient, "Sent while the mx was off", "Hello.\n")
    since = time.time()
    sent = post.from_world(stage.lab, job)
    expect(
        sent.accepted and sent.tries[-1].host == backup.name,
        f"{backup.name} to take the message",
        _shown(sent.tries),
    )
    yield f"with {', '.join(mx.name for mx in primaries)} off: {_shown(sent.tries)}"
    queue = stage.lab.ssh(backup.name, ["postqueue", "-p"]).stdout
    expect(recipient in queue, f"the message for {recipient} in the queue of {backup.name}", queue)
    yield f"{backup.name} holds it: {' '.join(queue.splitlines()[1].split())}"
    for mx in primaries:
        stage.lab.start(mx.name)

    def delivered() -> post.Arrival | None:
        # Postfix would try again by itself within minutes (minimal_backoff_time).
        stage.lab.ssh(backup.name, ["postqueue", "-f"])
        return post.wait(stage.lab, job.message, recipient, since, 1)

    found = wait_for(f"the message in the Maildir of {recipient}", 90, delivered)
    yield f"{found.place} is back and has it: {found.path}"


def _second(stage: Stage, say: Say) -> Iterator[str]:
    lines = stage.mailfleet(say, "deploy", "--yes")
    expect(any("no changes" in line.lower() for line in lines), "no changes", lines[-1:])
    yield f"deploy: {lines[-1].strip()}"
    for region in stage.fleet.regions:
        site = str(deploy_file(stage.fleet, "site.py"))
        lines = stage.pyinfra(say, "-y", f"inventories/{region}.py", site)
        # "Grand total", then how many there were, changed something, failed, changed nothing.
        total = next(line.split() for line in lines if "Grand total" in line)
        expect(total[2] == total[5] and total[3] == "-", f"no changes in {region}", total[2:])
        yield f"pyinfra on {region}: {total[5]} of {total[2]} operations without a change"
    plan = stage.mailfleet(say, "dns", "plan")
    expect(any("no changes" in line.lower() for line in plan), "no changes", plan[-1:])
    yield f"dns plan: {plan[-1].strip()}"


def _recipient(stage: Stage) -> str:
    """A person of the first domain that has one, with a Maildir of our own."""
    for domain in stage.fleet.domains:
        for address in stage.fleet.recipients[domain.name]:
            if domain.destination == "maildir" and not address.startswith(
                ("abuse@", "postmaster@")
            ):
                return address
    return f"postmaster@{stage.fleet.domains[0].name}"


def _shown(tries: tuple[Try, ...]) -> str:
    return "; ".join(f"{t.host} ({t.address}) {t.code or 'no answer'} {t.reply}" for t in tries)
