"""The page of `docs/` that follows from the API: `python -m service.docs` writes openapi.json, and a test compares."""

import json
from pathlib import Path

from core.settings import Settings
from service.app import create_app

SNAPSHOT = Path("docs/openapi.json")


def document() -> str:
    """The document as it is kept in docs/: independent of this machine's settings."""
    app = create_app(Settings(secret_key="x" * 32))
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SNAPSHOT.write_text(document(), encoding="utf-8")
