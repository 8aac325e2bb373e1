"""`python -m worker`, also `highsync worker`: what has to be in place before Celery and the metrics are imported."""

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from core.logging import configure_logging
from core.settings import SettingsError, load_settings
from worker.exit_codes import EX_CONFIG
from worker.scratch import open_home

if TYPE_CHECKING:
    from worker.child import PipelineLoader


def main(load: "PipelineLoader | None" = None) -> int:
    """Run one worker until a signal; the exit status. `load` brings another pipeline than the one of the settings."""
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    configure_logging(settings, "worker")
    with closing(open_home(settings.scratch_dir)) as scratch:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(scratch.metrics)  # read by prometheus_client when it is imported
        os.environ.pop("REMAP_SIGTERM", None)  # read by Celery when it is imported; see worker.parent
        from worker.child import load_pipeline
        from worker.parent import run_worker

        return run_worker(settings, scratch, load or load_pipeline)


if __name__ == "__main__":
    sys.exit(main())
