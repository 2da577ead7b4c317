"""Templates to text.

    render("etc/postfix/main.cf.j2", host=host, networks=networks)

renders `templates/etc/postfix/main.cf.j2` of the fleet directory where it exists, else the one
that ships with mailfleet. Undefined names are errors, decisions belong into Python.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from pathlib import Path

import jinja2

from mailfleet.fleet.load import fleet_directory


class RenderError(Exception):
    """A template is missing, or is not right; the message names file, line and remedy."""


@lru_cache
def environment(fleet: Path) -> jinja2.Environment:
    """Templates of the fleet directory first, then those of mailfleet itself."""
    own = Path(import_module("mailfleet.templates").__path__[0])
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([fleet / "templates", own]),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # configuration files, not HTML
    )


def render(template_path: str, **values: object) -> str:
    """The text of a template, by its path below `templates/`.

    Raises RenderError when there is no such template, when it has a syntax error or when it
    uses a name that was not given.
    """
    templates = environment(fleet_directory())
    try:
        return templates.get_template(template_path).render(values)
    except jinja2.TemplateNotFound as error:
        raise RenderError(
            f"No template {error.name}: looked in {' and '.join(_places(templates))}"
        ) from error
    except jinja2.TemplateSyntaxError as error:
        raise RenderError(f"{error.filename} line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        place = _place(error, templates) or template_path
        known = ", ".join(sorted(values)) or "none"
        raise RenderError(f"{place}: {error.message}; names given to it: {known}") from error


def _places(templates: jinja2.Environment) -> list[str]:
    loader = templates.loader
    return list(loader.searchpath) if isinstance(loader, jinja2.FileSystemLoader) else []


def _place(error: Exception, templates: jinja2.Environment) -> str | None:
    """The template's own file and line in a traceback that jinja2 has rewritten."""
    place = None
    traceback = error.__traceback__
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if any(filename.startswith(directory) for directory in _places(templates)):
            place = f"{filename} line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place
