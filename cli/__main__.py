"""`python -m cli` is the `highsync` command."""

from cli.main import app

app()
