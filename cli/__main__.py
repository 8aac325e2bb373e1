"""`python -m cli` is the `highsync` command."""

from cli.main import app

if __name__ == "__main__":  # not again in the processes that `highsync api` starts
    app()
