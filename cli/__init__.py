"""The `highsync` command."""
