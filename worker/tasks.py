"""What the queue can ask of a worker."""

import time

from celery import Celery

from core.metrics import DUPLICATE_DELIVERIES
from core.queue import RENDER_TASK
from worker.child import Child
from worker.render import run_render


def register_tasks(app: Celery, child: Child) -> None:
    """Teach the app its one task. The message is a hint that work waits: the store decides which job is next."""

    @app.task(name=RENDER_TASK)
    def render_job(job_id: str) -> None:
        asked_ns = time.time_ns()
        if lease := child.bench.store.claim_next(child.bench.worker_id):
            run_render(lease, child.bench, asked_ns)
        else:
            DUPLICATE_DELIVERIES.inc()
