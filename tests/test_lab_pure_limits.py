"""The inotify limit is raised, never lowered, and said."""

from pathlib import Path

import pytest

from mailfleet.lab.limits import raise_inotify


@pytest.mark.parametrize(("before", "after"), [("128", "1024"), ("1024", "1024"), ("8192", "8192")])
def test_the_limit_is_never_lowered(tmp_path: Path, before: str, after: str) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text(f"{before}\n")
    said: list[str] = []
    raise_inotify(said.append, limit)
    assert limit.read_text().strip() == after
    assert bool(said) == (before != after)


def test_a_limit_that_cannot_be_raised_is_said(tmp_path: Path) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")
    said: list[str] = []

    class ReadOnly(type(limit)):  # type: ignore[misc]
        def write_text(self, *args: object, **kwargs: object) -> int:
            raise PermissionError(13, "Permission denied")

    raise_inotify(said.append, ReadOnly(limit))
    assert limit.read_text() == "128\n"
    assert "Permission denied" in said[0]
