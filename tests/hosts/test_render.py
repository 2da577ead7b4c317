"""Templates: where they come from, and what an error says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mailfleet.hosts.render import RenderError, render

Write = Callable[[str], None]


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.setenv("MAILFLEET_FLEET", str(tmp_path))

    def write(text: str) -> None:
        path = tmp_path / "templates" / "etc" / "x.conf.j2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_a_fleet_directory_overrides_what_ships(template: Write, tmp_path: Path) -> None:
    template("own {{ name }}\n")
    (tmp_path / "templates/etc/hosts.j2").write_text("# ours\n")
    assert render("etc/x.conf.j2", name="mx1") == "own mx1\n"
    assert render("etc/hosts.j2") == "# ours\n"
    assert "nameserver" in render("etc/resolv.conf.j2")


def test_nothing_is_escaped(template: Write) -> None:
    template("{{ text }}\n")
    assert render("etc/x.conf.j2", text="<a> & 'b'") == "<a> & 'b'\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\n{{ nmae }}\n", "x.conf.j2 line 2.*nmae.*given to it: name"),
        ("one\n{{ name.nothing }}\n", "x.conf.j2 line 2.*nothing"),
        ("one\ntwo\n{% if %}\n", "x.conf.j2 line 3"),
        ("{% include 'none.j2' %}\n", "No template none.j2.*templates"),
    ],
)
def test_errors_name_file_and_line(template: Write, text: str, said: str) -> None:
    template(text)
    with pytest.raises(RenderError, match=said):
        render("etc/x.conf.j2", name="mx1")


def test_a_missing_template_tells_where_it_was_looked_for(template: Write) -> None:
    with pytest.raises(RenderError, match=r"No template etc/none\.j2: looked in .*templates and"):
        render("etc/none.j2")
