"""The worker's Celery app: the settings of `core.queue`, our task, and what happens around a child process."""

from celery import Celery, signals

from core.queue import make_celery
from core.settings import Settings
from worker.child import Child
from worker.tasks import register_tasks

MODEL_LOAD_S = 1800.0


def create_app(settings: Settings, child: Child) -> Celery:
    """An app whose pool child is `child`: opened when the process begins, closed when it ends."""
    app = make_celery(settings)
    app.conf.update(
        worker_pool="prefork",
        worker_concurrency=1,
        worker_proc_alive_timeout=MODEL_LOAD_S,  # Celery would kill a child that loads longer than 4 s
    )
    register_tasks(app, child)
    signals.worker_process_init.connect(lambda **_: child.open(), weak=False)
    signals.worker_process_shutdown.connect(lambda **_: child.close(), weak=False)
    return app
