"""
The pages of `docs/` that follow from the code: `python -m core.docs` writes them, and a test compares.

    configuration.md    every setting
    errors.md           every error code
    metrics.md          every metric of ours
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.errors import CATALOGUE
from core.job_store import MemoryJobStore
from core.metrics import SERVICE_METRICS, WORKER_METRICS, QueueCollector
from core.settings import ENV_PREFIX, Settings
from core.webhooks import BacklogCollector, MemoryOutbox

_NOTICE = "<!-- Written by `python -m core.docs`; change the code instead. -->"


def configuration_page() -> str:
    """`docs/configuration.md`: the fields of Settings, in their order."""
    rows = [
        (f"`{ENV_PREFIX}{name.upper()}`", _default(field), _sentence(field.description), _allowed(name))
        for name, field in Settings.model_fields.items()
    ]
    intro = (
        "Every process reads these environment variables once, when it starts, and refuses to start when one is "
        "missing or not valid. An empty variable counts as absent."
    )
    return _page("Configuration", intro, _table(("Variable", "Default", "Meaning", "Allowed"), rows))


def errors_page() -> str:
    """`docs/errors.md`: the catalogue, in its order."""
    rows = [
        (f"`{code.value}`", str(spec.http_status), spec.title, spec.hint, "yes" if spec.retryable else "no")
        for code, spec in CATALOGUE.items()
    ]
    intro = (
        "Every error carries one of these codes: as problem+json when it answers a request, and in `error` of a job "
        "that failed. The service itself lists them at `GET /errors`. A code never changes its meaning. "
        "*Retry* says whether the same request may succeed later, with nothing changed."
    )
    return _page("Errors", intro, _table(("Code", "HTTP status", "Meaning", "What to do", "Retry"), rows))


def metrics_page() -> str:
    """`docs/metrics.md`: the metrics of the API, then those that only a worker has, in the order of core.metrics."""
    rows = [
        _metric_row(described, metric._labelnames, _exporters(metric))
        for metric in dict.fromkeys((*SERVICE_METRICS, *WORKER_METRICS))
        for described in metric.describe()
    ]
    store = MemoryJobStore()
    asked = (*QueueCollector(store).collect(), *BacklogCollector(MemoryOutbox(store)).collect())
    rows += [_metric_row(family, _labels_seen(family), "API") for family in asked]
    intro = (
        "What `GET /metrics` of the API and of a worker shows, for Prometheus. A counter's name ends in `_total`; a "
        "histogram is exported as `_bucket`, `_sum` and `_count`. Labels are bounded: never a job, a URL or a tenant. "
        "*From* says which process shows it; gauges about the queue and the webhooks are absent while Redis is away."
    )
    return _page("Metrics", intro, _table(("Metric", "Type", "Labels", "From", "Meaning"), rows))


PAGES = {"configuration.md": configuration_page, "errors.md": errors_page, "metrics.md": metrics_page}


def main(folder: Path) -> None:
    """Write every page into the folder."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def _metric_row(metric: Metric, labels: Iterable[str], exporters: str) -> tuple[str, ...]:
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    return f"`{name}`", metric.type, ", ".join(f"`{label}`" for label in labels), exporters, metric.documentation


def _exporters(metric: MetricWrapperBase) -> str:
    processes = {"API": SERVICE_METRICS, "worker": WORKER_METRICS}
    return ", ".join(process for process, shown in processes.items() if metric in shown)


def _labels_seen(family: Metric) -> list[str]:
    return sorted({label for sample in family.samples for label in sample.labels})


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "" if field.default in (None, "") else f"`{field.default}`"


def _sentence(text: str | None) -> str:
    if not text:
        raise ValueError("every setting has a description")
    return text


def _allowed(name: str) -> str:
    """The limits of a setting, from its JSON schema."""
    schema: dict[str, Any] = Settings.model_json_schema()["properties"][name]
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "minLength": "length ≥"}
    return ", ".join(f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(title: str, intro: str, table: str) -> str:
    return f"{_NOTICE}\n\n# {title}\n\n{intro}\n\n{table}\n"


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["docs"]))
