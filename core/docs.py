"""
The pages of `docs/` that follow from the code: `python -m core.docs` writes them, and a test compares.

    configuration.md    every setting
    errors.md           every error code
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.errors import CATALOGUE
from core.settings import ENV_PREFIX, Settings

_NOTICE = "<!-- Written by `python -m core.docs`; change the code instead. -->"


def configuration_page() -> str:
    """`docs/configuration.md`: the fields of Settings, in their order."""
    rows = [
        (f"`{ENV_PREFIX}{name.upper()}`", _default(field), _sentence(field.description), _allowed(name))
        for name, field in Settings.model_fields.items()
    ]
    intro = (
        "Every process reads these environment variables once, when it starts, and refuses to start when one is "
        "missing or not valid. An empty variable counts as absent."
    )
    return _page("Configuration", intro, _table(("Variable", "Default", "Meaning", "Allowed"), rows))


def errors_page() -> str:
    """`docs/errors.md`: the catalogue, in its order."""
    rows = [
        (f"`{code.value}`", str(spec.http_status), spec.title, spec.hint, "yes" if spec.retryable else "no")
        for code, spec in CATALOGUE.items()
    ]
    intro = (
        "Every error carries one of these codes: as problem+json when it answers a request, and in `error` of a job "
        "that failed. The service itself lists them at `GET /errors`. A code never changes its meaning. "
        "*Retry* says whether the same request may succeed later, with nothing changed."
    )
    return _page("Errors", intro, _table(("Code", "HTTP status", "Meaning", "What to do", "Retry"), rows))


PAGES = {"configuration.md": configuration_page, "errors.md": errors_page}


def main(folder: Path) -> None:
    """Write every page into the folder."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "" if field.default in (None, "") else f"`{field.default}`"


def _sentence(text: str | None) -> str:
    if not text:
        raise ValueError("every setting has a description")
    return text


def _allowed(name: str) -> str:
    """The limits of a setting, from its JSON schema."""
    schema: dict[str, Any] = Settings.model_json_schema()["properties"][name]
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "minLength": "length ≥"}
    return ", ".join(f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(title: str, intro: str, table: str) -> str:
    return f"{_NOTICE}\n\n# {title}\n\n{intro}\n\n{table}\n"


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["docs"]))
