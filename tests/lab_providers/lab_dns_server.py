"""A small authoritative name server on loopback that answers from a dictionary."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterable
from types import TracebackType

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

SERVFAIL, SILENT = "SERVFAIL", "SILENT"


class DnsServer:
    """`records[(name, type)]` is a list of values in zone file form; `failing[name]` is SERVFAIL
    or SILENT. An alias is answered with the alias alone, as by a server that does not have the
    target's zone. Both may be changed while it runs."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.failing: dict[str, str] = {}
        self.questions: list[tuple[str, str]] = []
        handler = self._handler()
        self._udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), handler)
        self._udp.max_packet_size = 65535
        self._threads = [threading.Thread(target=self._udp.serve_forever, args=(0.05,))]

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1@{self._udp.server_address[1]}"

    def add(self, name: str, rdtype: str, *values: str) -> None:
        self.records[(name.rstrip(".").lower(), rdtype)] = list(values)

    def remove(self, name: str, rdtype: str) -> None:
        del self.records[(name.rstrip(".").lower(), rdtype)]

    def text(self, name: str, value: str) -> None:
        """A TXT record cut into strings of 255 bytes as a zone file needs."""
        chunks = [value[i : i + 250] for i in range(0, len(value), 250)]
        self.add(name, "TXT", " ".join(f'"{chunk}"' for chunk in chunks))

    def load(self, records: Iterable[tuple[str, str, str]]) -> None:
        for name, rdtype, value in records:
            self.records.setdefault((name.rstrip(".").lower(), rdtype), []).append(value)

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, rdtype))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        how = self.failing.get(name)
        if how == SILENT:
            return None
        found = self.records.get((name, rdtype))
        alias = self.records.get((name, "CNAME"))
        if how == SERVFAIL:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif found:
            response.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", rdtype, found))
        elif alias:
            response.answer.append(
                dns.rrset.from_text_list(question.name, 60, "IN", "CNAME", alias)
            )
        elif not any(owner == name or owner.endswith(f".{name}") for owner, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire(max_size=65535)

    def _handler(server) -> type[socketserver.BaseRequestHandler]:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                wire, socket = self.request
                reply = server.answer(wire)
                if reply is not None:
                    socket.sendto(reply, self.client_address)

        return Handler

    def __enter__(self) -> DnsServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._udp.shutdown()
        self._udp.server_close()
        for thread in self._threads:
            thread.join()
