"""The package proxy: the one thing the sealed hosts get from outside, and only packages.

It listens inside the lab's namespace and fetches from outside it, from the mirrors of this
machine's own apt configuration and from nowhere else: no CONNECT, no other host, no other path.
What it fetched it keeps, so a second lab needs the mirror only to ask what is new, and a lab
without any mirror in reach still gets what an earlier one had.

Run as `python -m mailfleet.lab.packages`; not apt-cacher-ng, which insists on a TCP port of the
machine and takes two instances on one cache badly.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

# Seconds without an answer after which a mirror counts as away, and how long it does.
TIMEOUT = 30.0
AWAY = 60.0


# How a file is called while it is fetched; what a killed proxy left is removed by a later one.
_PARTIAL = ".fetch-"


class NotAllowed(Exception):
    """A URL that is not a package of one of the mirrors."""


@dataclass
class Store:
    """The kept files, and how missing ones are fetched."""

    directory: Path
    mirrors: tuple[str, ...]
    away: dict[str, float] = field(default_factory=dict)
    locks: defaultdict[str, threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock)
    )

    def resolve(self, url: str) -> tuple[str, Path]:
        """The upstream URL and the kept file of a URL that a host asks for.

        Raises NotAllowed for everything that is not below a mirror.
        """
        parts = urlsplit(url)
        path = unquote(parts.path)
        segments = path.split("/")[1:]
        if parts.scheme != "http" or parts.query or any(s in {"", ".", ".."} for s in segments):
            raise NotAllowed(url)
        for mirror in self.mirrors:
            scheme, _, rest = mirror.partition("://")
            if f"{parts.netloc}{path}".startswith(rest.rstrip("/") + "/"):
                upstream = f"{scheme}://{parts.netloc}{quote(path, safe='/+~:@!$,;=()')}"
                return upstream, self.directory / quote(parts.netloc, safe="") / path[1:]
        raise NotAllowed(url)

    def get(self, url: str) -> Path:
        """The file of a URL, fetched or kept.

        Raises NotAllowed, urllib.error.HTTPError (the mirror's own answer) or OSError (the mirror
        is out of reach and the file was never fetched).
        """
        upstream, path = self.resolve(url)
        with self.locks[upstream]:
            # Packages and by-hash indices never change under their name; the rest is asked for.
            if path.is_file() and ("/by-hash/" in upstream or "/dists/" not in upstream):
                return path
            host = urlsplit(upstream).netloc
            if path.is_file() and time.monotonic() < self.away.get(host, 0):
                return path
            try:
                self._fetch(upstream, path)
            except urllib.error.HTTPError as error:
                if error.code != 304:
                    raise
            except OSError:
                self.away[host] = time.monotonic() + AWAY
                if not path.is_file():
                    raise
            return path

    def _fetch(self, upstream: str, path: Path) -> None:
        request = urllib.request.Request(upstream, headers={"User-Agent": "mailfleet-lab"})
        if path.is_file():
            stamp = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(path.stat().st_mtime))
            request.add_header("If-Modified-Since", stamp)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=_PARTIAL, delete=False
            ) as file:
                try:
                    shutil.copyfileobj(answer, file, 1 << 20)
                    length = answer.headers.get("Content-Length")
                    if length is not None and file.tell() != int(length):
                        raise OSError(f"{upstream}: {file.tell()} of {length} bytes")
                    file.flush()
                    modified = answer.headers.get("Last-Modified")
                    if modified:
                        seconds = _http_time(modified)
                        os.utime(file.name, (seconds, seconds))
                    os.replace(file.name, path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise


class Handler(BaseHTTPRequestHandler):
    """One connection of apt: absolute-form GET (RFC 9112, 3.2.2), nothing else."""

    protocol_version = "HTTP/1.1"
    store: Store

    def do_GET(self) -> None:
        try:
            path = self.store.get(self.path)
            file = path.open("rb")
        except NotAllowed:
            self._refuse(403, "Only this machine's Debian mirrors are reachable from the lab")
        except urllib.error.HTTPError as error:
            self._refuse(error.code, str(error.reason))
        except OSError as error:
            self._refuse(502, f"The mirror is out of reach: {error}")
        else:
            with file:
                self._send(file.fileno())

    def _send(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.send_response(200)
        self.send_header("Content-Length", str(status.st_size))
        self.send_header("Last-Modified", self.date_time_string(int(status.st_mtime)))
        self.end_headers()
        self.wfile.flush()
        with os.fdopen(os.dup(descriptor), "rb") as file:
            self.connection.sendfile(file)

    def _refuse(self, code: int, reason: str) -> None:
        body = (reason + "\n").encode(errors="replace")
        self.send_response(code, reason.splitlines()[0].encode("ascii", "replace").decode())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Every connection in its own thread; a connection that breaks concerns nobody else."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _http_time(value: str) -> float:
    try:
        return parsedate_to_datetime(value).timestamp()
    except ValueError:
        return time.time()


def main() -> None:
    """Take the listening socket from descriptor `--descriptor`, or bind, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--descriptor", type=int, required=True, help="a listening TCP socket")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--mirror", action="append", required=True)
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    for partial in options.cache.rglob(f"{_PARTIAL}*"):
        if time.time() - partial.stat().st_mtime > 3600:
            partial.unlink(missing_ok=True)
    listener = socket.socket(fileno=options.descriptor)
    Handler.store = Store(options.cache, tuple(options.mirror))
    server = Server(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


if __name__ == "__main__":
    main()
