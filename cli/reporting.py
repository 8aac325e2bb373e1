"""Turns what the user of a command can fix into one line with a code, and an exit code."""

from collections.abc import Callable

from cli.console import EXIT_CONFIG, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, CommandFailed, say_error
from client import ClientError
from core.errors import CATALOGUE, HighSyncError
from core.settings import SettingsError
from model.errors import ModelError
from worker.failures import error_code


def reporting_errors(command: Callable[[], None]) -> int:
    """Run a command; the exit code. A bug is not caught: it keeps its trace."""
    try:
        command()
    except (ModelError, HighSyncError) as error:
        code = error_code(error)
        say_error(f"{code}: {error} {CATALOGUE[code].hint}")
        return EXIT_FAILED
    except (CommandFailed, ClientError) as error:
        say_error(str(error))
        return EXIT_FAILED
    except OSError as error:
        say_error(f"{error.strerror}: {error.filename}" if error.filename else str(error))
        return EXIT_FAILED
    except SettingsError as error:
        say_error(str(error))
        return EXIT_CONFIG
    except KeyboardInterrupt:
        say_error("stopped")
        return EXIT_INTERRUPTED
    return EXIT_OK
