"""The file values themselves."""

import pytest

from mailfleet.hosts.files import File, digest


@pytest.mark.parametrize(
    "path", ["etc/x", "/", "/etc/../root/x", "/etc/a b", "/etc/$(id)", "/etc/x;y", "/etc/é", ""]
)
def test_refuses_paths_that_do_not_fit_a_shell_command(path: str) -> None:
    with pytest.raises(ValueError, match="expected an absolute path"):
        File(path, "")


@pytest.mark.parametrize(("mode", "user"), [("rw", "root"), ("8", "root"), ("644", "a b")])
def test_refuses_modes_and_names(mode: str, user: str) -> None:
    with pytest.raises(ValueError, match="/etc/x"):
        File("/etc/x", "", mode, user)


def test_repr_holds_no_content() -> None:
    assert "hunter2" not in repr(File("/etc/x", "hunter2"))


def test_staged_name_is_hidden_and_next_to_the_target() -> None:
    assert File("/etc/postfix/main.cf", "").staged == "/etc/postfix/.main.cf.mailfleet-new"


def test_digest_sees_contents_owners_and_modes_but_not_order() -> None:
    one, two = File("/a", "1"), File("/b", "2")
    assert digest([one, two]) == digest([two, one])
    others = [File("/a", "x"), File("/a", "1", "600"), File("/a", "1", user="mail")]
    assert len({digest([each, two]) for each in [one, *others]}) == 4
    assert digest([File("/a", "1", "0644")]) == digest([one])
