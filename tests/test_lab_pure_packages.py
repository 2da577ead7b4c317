"""The package proxy: what it fetches, what it keeps, and all that it refuses."""

from __future__ import annotations

import http.client
import threading
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mailfleet.lab.packages import Handler, NotAllowed, Server, Store

DATE = "Sat, 01 Nov 2025 10:00:00 GMT"


@dataclass
class Mirror:
    """A mirror on loopback whose files the test sets, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    cut: bool = False
    url: str = ""


@pytest.fixture
def mirror(monkeypatch) -> Iterator[Mirror]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = Mirror()

    class Upstream(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            since = self.headers.get("If-Modified-Since")
            state.asked.append((self.path, since))
            body = state.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            if since == DATE:
                self.send_response(304)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", DATE)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if state.cut else body)

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/debian"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(mirror: Mirror, tmp_path: Path) -> Store:
    return Store(tmp_path, (mirror.url,))


def test_a_package_is_fetched_once(mirror: Mirror, store: Store) -> None:
    mirror.files["/debian/pool/main/p/pkg_1+2_all.deb"] = b"deb"
    for _ in range(3):
        assert store.get(f"{mirror.url}/pool/main/p/pkg_1%2b2_all.deb").read_bytes() == b"deb"
    assert len(mirror.asked) == 1


def test_an_index_is_asked_for_each_time_and_kept_when_unchanged(
    mirror: Mirror, store: Store
) -> None:
    mirror.files["/debian/dists/trixie/InRelease"] = b"one"
    url = f"{mirror.url}/dists/trixie/InRelease"
    assert store.get(url).read_bytes() == b"one"
    assert store.get(url).read_bytes() == b"one"
    assert [since for _, since in mirror.asked] == [None, DATE]


def test_by_hash_never_changes(mirror: Mirror, store: Store) -> None:
    path = "/dists/trixie/main/binary-amd64/by-hash/SHA256/00ff"
    mirror.files["/debian" + path] = b"index"
    store.get(mirror.url + path)
    store.get(mirror.url + path)
    assert len(mirror.asked) == 1


def test_without_the_mirror_what_was_fetched_is_still_there(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["/debian/dists/trixie/InRelease"] = b"one"
    store = Store(tmp_path, (mirror.url,))
    store.get(f"{mirror.url}/dists/trixie/InRelease")
    host = mirror.url.removeprefix("http://").partition("/")[0]
    # The same host name, now without anybody behind it.
    kept = next(tmp_path.rglob("InRelease"))
    offline = Store(tmp_path, ("http://127.0.0.1:9/debian",))
    moved = tmp_path / kept.relative_to(tmp_path).as_posix().replace(
        host.replace(":", "%3A"), "127.0.0.1%3A9"
    )
    moved.parent.mkdir(parents=True)
    moved.write_bytes(kept.read_bytes())
    assert offline.get("http://127.0.0.1:9/debian/dists/trixie/InRelease").read_bytes() == b"one"
    with pytest.raises(OSError, match=r"refused"):
        offline.get("http://127.0.0.1:9/debian/pool/never_1_all.deb")


def test_a_missing_file_is_the_mirrors_own_answer(mirror: Mirror, store: Store) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        store.get(f"{mirror.url}/pool/none.deb")
    assert caught.value.code == 404


def test_a_broken_transfer_leaves_nothing(mirror: Mirror, store: Store, tmp_path: Path) -> None:
    mirror.files["/debian/pool/big.deb"] = b"x" * 1000
    mirror.cut = True
    with pytest.raises((OSError, http.client.HTTPException)):
        store.get(f"{mirror.url}/pool/big.deb")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    mirror.cut = False
    store.away.clear()
    assert len(store.get(f"{mirror.url}/pool/big.deb").read_bytes()) == 1000


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example/debian/pool/a.deb",
        "http://m.example/other/pool/a.deb",
        "http://m.example/debian",
        "http://m.example/debian/../secret",
        "http://m.example/debian/%2e%2e/secret",
        "http://m.example/debian//etc/passwd",
        "http://m.example/debian/a.deb?x=1",
        "http://m.example.evil.example/debian/a.deb",
        "http://m.example@evil.example/debian/a.deb",
        "http://m.example:81/debian/a.deb",
        "https://m.example/debian/a.deb",
        "ftp://m.example/debian/a.deb",
        "file:///etc/passwd",
        "/debian/a.deb",
        "/",
        "*",
    ],
)
def test_nothing_but_the_mirrors_files(url: str, tmp_path: Path) -> None:
    store = Store(tmp_path, ("http://m.example/debian",))
    with pytest.raises(NotAllowed):
        store.resolve(url)


def test_an_https_mirror_is_asked_over_tls(tmp_path: Path) -> None:
    store = Store(tmp_path, ("https://m.example/debian",))
    upstream, path = store.resolve("http://m.example/debian/pool/a+b_1~2.deb")
    assert upstream == "https://m.example/debian/pool/a+b_1~2.deb"
    assert path == tmp_path / "m.example/debian/pool/a+b_1~2.deb"


@pytest.fixture
def proxy(store: Store) -> Iterator[http.client.HTTPConnection]:
    handler = type("Bound", (Handler,), {"store": store, "log_message": lambda *a: None})
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    server.shutdown()
    server.server_close()


def test_apts_connection_stays_open(mirror: Mirror, proxy: http.client.HTTPConnection) -> None:
    mirror.files["/debian/pool/a.deb"] = b"first"
    mirror.files["/debian/pool/b.deb"] = b"second"
    found = []
    for name in ("a", "missing", "b"):
        proxy.request("GET", f"{mirror.url}/pool/{name}.deb")
        answer = proxy.getresponse()
        found.append((answer.status, answer.read()))
    assert [status for status, _ in found] == [200, 404, 200]
    assert (found[0][1], found[2][1]) == (b"first", b"second")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "http://elsewhere.example/", 403),
        ("GET", "/", 403),
        ("CONNECT", "elsewhere.example:443", 501),
        ("POST", "http://elsewhere.example/", 501),
        ("PUT", "http://elsewhere.example/", 501),
        ("HEAD", "http://elsewhere.example/", 501),
    ],
)
def test_it_is_no_way_out(
    method: str, target: str, status: int, proxy: http.client.HTTPConnection
) -> None:
    proxy.request(method, target)
    assert proxy.getresponse().status == status
