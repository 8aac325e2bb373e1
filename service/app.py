"""The API: validates, stores, enqueues, presents. It renders nothing."""

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from core import __version__
from core.settings import Settings
from service import catalogue, health
from service.background import background
from service.batches import endpoints as batches
from service.batches.lines import WrongLines, answer_wrong_lines
from service.errors import install_error_handlers
from service.files import endpoints as files
from service.health import install_probe
from service.jobs import endpoints as jobs
from service.jobs import following
from service.jobs.changes import Seats, install_change_watch
from service.metrics import install_metrics
from service.middleware import BodyLimit, RequestContext
from service.openapi import DESCRIPTION, describe
from service.services import Services
from service.uploads import endpoints as uploads
from service.web.page import install_page
from service.webhooks import endpoints as webhooks
from service.webhooks.contract import describe_webhooks


def create_app(settings: Settings, services: Services | None = None) -> FastAPI:
    """
    The application. `services` default to the real ones of these settings; nothing is connected before the first use.

    Raises SettingsError when a setting cannot be read.
    """
    services = services or Services.from_settings(settings)
    app = FastAPIOffline(
        title="HighSync Service",
        version=__version__,
        description=DESCRIPTION,
        redoc_url=None,
        redirect_slashes=False,
        static_url="/docs/static",
        lifespan=background,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.services = services
    of_jobs = (jobs.router, following.router, jobs.preflight_router, batches.router)
    for router in (*of_jobs, uploads.router, files.router, webhooks.router, catalogue.router, health.router):
        app.include_router(router)
    install_page(app, settings)
    install_probe(app, services)
    install_change_watch(app, services.store, Seats(settings.followers_max, settings.followers_max_per_tenant))
    install_error_handlers(app)
    app.add_exception_handler(WrongLines, answer_wrong_lines)
    # The last one added is the outermost.
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.request_max_bytes,
        max_bytes_of={batches.PATH: settings.batch_max_bytes},
        files_path=files.PATH,
    )
    install_metrics(app, services)
    app.add_middleware(RequestContext)
    describe_webhooks(app)
    describe(app)
    return app
