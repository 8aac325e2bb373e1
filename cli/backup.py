"""`highsync backup` and `highsync restore`: for the operator. Nothing of worker or model is needed."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cli.console import EXIT_CONFIG, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, out, say_error
from core.backup import BackupFacts, BackupRefused, back_up, restore
from core.errors import HighSyncError
from core.settings import Settings, SettingsError, load_settings
from core.storage import make_storage


def run_backup(folder: Path) -> int:
    """Write a backup of the service of the settings; the exit code."""

    def command(settings: Settings) -> BackupFacts:
        return back_up(settings.redis_url, make_storage(settings), folder, lambda: datetime.now(UTC))

    return _run(command, "Backed up")


def run_restore(folder: Path, *, force: bool) -> int:
    """Bring a backup back into the service of the settings; the exit code."""

    def command(settings: Settings) -> BackupFacts:
        return restore(settings.redis_url, make_storage(settings), folder, force=force)

    return _run(command, "Restored")


def _run(command: Callable[[Settings], BackupFacts], done: str) -> int:
    try:
        facts = command(load_settings())
    except SettingsError as error:
        say_error(str(error))
        return EXIT_CONFIG
    except HighSyncError as error:
        say_error(f"{error.code}: {error.message} {error.spec.hint}")
        return EXIT_FAILED
    except BackupRefused as error:
        say_error(str(error))
        return EXIT_FAILED
    except OSError as error:
        say_error(f"{error.strerror}: {error.filename}" if error.filename else str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        say_error("stopped")
        return EXIT_INTERRUPTED
    size = f"{facts.records} records and {facts.objects} files of {facts.bytes / 1024**2:.1f} MiB"
    out.print(f"{done}: {size}, version {facts.version}, {facts.made_at:%Y-%m-%d %H:%M:%S} UTC.")
    return EXIT_OK
