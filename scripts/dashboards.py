"""Writes the dashboards of deploy/grafana/dashboards/ (or another folder): `.venv/bin/python scripts/dashboards.py`.

A panel is what it asks for, what it means and in which unit; where it stands and how it looks follows from its kind. A
test compares the files with what this writes, and looks whether there is all that the panels ask for.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path("deploy/grafana/dashboards")
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24
KINDS = {"stat": (4, 4), "timeseries": (8, 8), "bargauge": (8, 8)}
"""Width of a panel in columns and its height in rows, of each kind."""

API = '{job="api"}'
FRAMES_PER_SECOND, TIMES = "suffix: frames/s", "suffix: times"


@dataclass(frozen=True)
class Panel:
    """`queries` by their legends. `stacked` for shares of a whole; `alarm_at` colours what is at or above it."""

    kind: str
    title: str
    description: str
    unit: str
    queries: dict[str, str]
    stacked: bool = False
    alarm_at: float | None = None


@dataclass(frozen=True)
class Dashboard:
    """One page."""

    name: str
    title: str
    panels: tuple[Panel, ...]


def quantiles(histogram: str, window: str, *names: str) -> dict[str, str]:
    """Queries for quantiles of a histogram, of all processes together. Names: median, 95 %, slowest."""
    levels = {"median": 0.5, "95 %": 0.95, "slowest": 1}
    series = f"sum by (le) (rate({histogram}[{window}]))"
    return {name: f"histogram_quantile({levels[name]}, {series})" for name in names}


SERVICE = Dashboard(
    "service",
    "HighSync: service",
    (
        Panel("stat", "Workers ready", "Workers with their model loaded.", "none", {"": "sum(highsync_worker_up)"}),
        Panel("stat", "Jobs waiting", "Jobs that wait for a worker.", "none", {"": "max(highsync_queue_depth)"}),
        Panel(
            "stat",
            "Longest wait",
            "How long the first of the waiting jobs waits. Above 10 minutes HighSyncQueueOld calls.",
            "s",
            {"": "max(highsync_queue_oldest_age_seconds)"},
            alarm_at=600,
        ),
        Panel("stat", "Jobs running", "Jobs at a worker.", "none", {"": 'max(highsync_jobs{state="running"})'}),
        Panel(
            "stat",
            "Requests that fail",
            "Share of requests answered with 5xx in five minutes. A month may have 0.5 %.",
            "percentunit",
            {"": "highsync:api_errors:ratio_rate5m"},
            alarm_at=0.05,
        ),
        Panel(
            "stat",
            "Alerts",
            "Alerts that fire now. What to do about each: docs/operations.md.",
            "none",
            {"": 'count(ALERTS{alertstate="firing"}) or vector(0)'},
            alarm_at=1,
        ),
        Panel(
            "timeseries",
            "Requests by route",
            "Rate of requests, by method and route. Probes and metrics are left out.",
            "reqps",
            {"{{method}} {{handler}}": f"sum by (method, handler) (rate(http_requests_total{API}[5m]))"},
        ),
        Panel(
            "timeseries",
            "Requests by status",
            "Rate of requests by the kind of their answer. 5xx are the service's fault, 4xx are not.",
            "reqps",
            {"{{status}}": f"sum by (status) (rate(http_requests_total{API}[5m]))"},
            stacked=True,
        ),
        Panel(
            "timeseries",
            "Time of a request",
            "Seconds until a request is answered. Whoever waits for a job with ?wait= is among the slowest.",
            "s",
            quantiles("http_request_duration_seconds_bucket" + API, "5m", "median", "95 %", "slowest"),
        ),
        Panel(
            "timeseries",
            "Queue",
            "Jobs that wait, and jobs accepted per hour.",
            "none",
            {
                "waiting": "max(highsync_queue_depth)",
                "accepted per hour": "sum(increase(highsync_jobs_submitted_total[1h]))",
            },
        ),
        Panel(
            "timeseries",
            "Age of the queue",
            "How long the first of the waiting jobs waits. The best sign of too little or broken capacity.",
            "s",
            {"longest wait": "max(highsync_queue_oldest_age_seconds)"},
            alarm_at=600,
        ),
        Panel(
            "timeseries",
            "Wait before the start",
            "From the acceptance of a job to its first start, of the jobs that started within the hour.",
            "s",
            quantiles("highsync_queue_wait_seconds_bucket", "1h", "median", "95 %"),
        ),
        Panel(
            "timeseries",
            "Jobs by outcome",
            "Jobs that ended within the hour.",
            "none",
            {"{{outcome}}": "sum by (outcome) (increase(highsync_jobs_finished_total[1h]))"},
            stacked=True,
        ),
        Panel(
            "timeseries",
            "Failed jobs by code",
            "Jobs that failed within the hour, by error code. docs/operations.md says which are the service's fault.",
            "none",
            {
                "{{error_code}}": "sum by (error_code)"
                ' (increase(highsync_jobs_finished_total{outcome="failed"}[1h])) > 0',
            },
            stacked=True,
        ),
        Panel(
            "timeseries",
            "Requests refused",
            "Requests refused for who sent them or for a limit of theirs, by code.",
            "reqps",
            {"{{error_code}}": "sum by (error_code) (rate(highsync_requests_refused_total[5m]))"},
        ),
        Panel(
            "timeseries",
            "Storage",
            "95 % of the operations on the storage take less, by operation; of API and workers.",
            "s",
            {"{{op}}": "histogram_quantile(0.95, sum by (op, le) (rate(highsync_storage_op_seconds_bucket[5m])))"},
        ),
        Panel(
            "timeseries",
            "Storage errors",
            "Share of the operations on the storage that fail. That an object is not there is no failure.",
            "percentunit",
            {
                "failing": '(sum(rate(highsync_storage_op_seconds_count{outcome!~"ok|ObjectNotFound"}[5m]))'
                " or vector(0))"
                " / sum(rate(highsync_storage_op_seconds_count[5m]))",
            },
            alarm_at=0.05,
        ),
        Panel(
            "timeseries",
            "Webhooks",
            "Attempts to deliver by outcome, per hour; and the events that are still to be told.",
            "none",
            {
                "{{outcome}}": "sum by (outcome) (increase(highsync_webhook_deliveries_total[1h]))",
                "to be told": "max(highsync_webhook_backlog)",
            },
        ),
        Panel(
            "timeseries",
            "Webhooks overdue",
            "How late the most overdue delivery is; 0 while the service keeps up, however often receivers refuse.",
            "s",
            {"overdue": "max(highsync_webhook_oldest_age_seconds)"},
            alarm_at=900,
        ),
        Panel(
            "timeseries",
            "Redis",
            "Share of the memory that Redis may have. Full, it takes no more jobs.",
            "percentunit",
            {"memory": "redis_memory_used_bytes / (redis_memory_max_bytes > 0)"},
            alarm_at=0.75,
        ),
        Panel(
            "timeseries",
            "Cleaning up",
            "What the janitor removed within the hour, by kind.",
            "none",
            {"{{kind}}": "sum by (kind) (increase(highsync_janitor_removed_total[1h]))"},
        ),
    ),
)

WORKERS = Dashboard(
    "workers",
    "HighSync: workers and GPUs",
    (
        Panel("stat", "Workers ready", "Workers with their model loaded.", "none", {"": "sum(highsync_worker_up)"}),
        Panel(
            "stat",
            "Busy",
            "Share of the ready workers that render a job now.",
            "percentunit",
            {"": "sum(highsync_worker_busy) / sum(highsync_worker_up)"},
        ),
        Panel(
            "stat",
            "Frames rendered",
            "Frames denoised per second, by all workers together.",
            FRAMES_PER_SECOND,
            {"": 'sum(highsync:stage_frames:rate5m{stage="denoise"})'},
        ),
        Panel(
            "stat",
            "Weights",
            "The weights that workers have loaded, and on what.",
            "none",
            {"{{weights}} on {{device}}, {{dtype}}": "sum by (weights, device, dtype) (highsync_model_info)"},
        ),
        Panel(
            "stat",
            "Loading the model",
            "How long the slowest worker took to load its model.",
            "s",
            {"": "max(highsync_model_load_seconds)"},
        ),
        Panel(
            "stat",
            "Least scratch",
            "Free share of the fullest scratch disk. Below 15 % HighSyncScratchLow calls.",
            "percentunit",
            {"": "min(highsync_scratch_free_ratio)"},
        ),
        Panel(
            "timeseries",
            "Busy workers",
            "1 while a worker renders.",
            "none",
            {"{{instance}}": "max by (instance) (highsync_worker_busy)"},
        ),
        Panel(
            "timeseries",
            "Workers at each stage",
            "How many workers are at which stage of a job.",
            "none",
            {"{{stage}}": "sum by (stage) (highsync_worker_stage)"},
            stacked=True,
        ),
        Panel(
            "timeseries",
            "Frames by stage",
            "Frames that each stage has done per second, counted while it runs.",
            FRAMES_PER_SECOND,
            {"{{stage}}": "sum by (stage) (highsync:stage_frames:rate5m)"},
        ),
        Panel(
            "timeseries",
            "Frames rendered by worker",
            "Frames denoised per second. A busy worker at 0 is stuck: HighSyncRenderStuck.",
            FRAMES_PER_SECOND,
            {"{{instance}}": 'highsync:stage_frames:rate5m{stage="denoise"}'},
        ),
        Panel(
            "timeseries",
            "Real-time factor",
            "Seconds of work per second of result, of the jobs of an hour. Without the wait in the queue.",
            TIMES,
            quantiles("highsync_realtime_factor_bucket", "1h", "median", "95 %"),
        ),
        Panel(
            "timeseries",
            "Where the time goes",
            "Share of each stage in the work of the jobs that ended within the hour.",
            "percentunit",
            {
                "{{stage}}": "highsync:stage_seconds:rate1h"
                " / ignoring (stage) group_left () (sum(highsync:stage_seconds:rate1h) > 0)",
            },
            stacked=True,
        ),
        Panel(
            "timeseries",
            "Memory of workers",
            "Memory of the process that renders. It does not grow with the length of a video.",
            "bytes",
            {"{{instance}}": "max by (instance) (highsync_worker_rss_bytes)"},
        ),
        Panel(
            "timeseries",
            "GPU memory of renders",
            "GPU memory of the process that renders, after its latest job. The peak is what a render needs.",
            "bytes",
            {"{{instance}} {{kind}}": "highsync_gpu_memory_bytes"},
        ),
        Panel(
            "timeseries",
            "GPU memory",
            "Share of each card's memory that is in use, by whomever.",
            "percentunit",
            {
                "{{instance}} GPU {{gpu}}": "DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)",
            },
        ),
        Panel(
            "timeseries",
            "GPU in use",
            "Share of time in which the card computed something.",
            "percent",
            {"{{instance}} GPU {{gpu}}": "DCGM_FI_DEV_GPU_UTIL"},
        ),
        Panel(
            "timeseries",
            "GPU temperature",
            "Cards slow themselves down when they get hot. Above 85 degrees HighSyncGpuHot calls.",
            "celsius",
            {"{{instance}} GPU {{gpu}}": "DCGM_FI_DEV_GPU_TEMP"},
            alarm_at=85,
        ),
        Panel(
            "timeseries",
            "GPU power",
            "What each card draws.",
            "watt",
            {"{{instance}} GPU {{gpu}}": "DCGM_FI_DEV_POWER_USAGE"},
        ),
        Panel(
            "timeseries",
            "GPU faults",
            "The latest Xid of each card; 0 is none. HighSyncGpuXid says what to do.",
            "none",
            {"{{instance}} GPU {{gpu}}": "DCGM_FI_DEV_XID_ERRORS"},
            alarm_at=1,
        ),
        Panel(
            "timeseries",
            "Scratch",
            "Free share of each worker's scratch disk.",
            "percentunit",
            {"{{instance}}": "min by (instance) (highsync_scratch_free_ratio)"},
        ),
        Panel(
            "timeseries",
            "Frames of results",
            "Frames of the jobs that ended within the hour: synced, or passed through as they were.",
            "none",
            {"{{result}}": "sum by (result) (increase(highsync_frames_total[1h]))"},
            stacked=True,
        ),
    ),
)

JOBS = Dashboard(
    "jobs",
    "HighSync: jobs",
    (
        Panel(
            "timeseries",
            "Time of a job",
            "From the first start of a job to its success, of the jobs of an hour; up to the bound of a bucket. "
            "Which job it was: attempt_timed in the workers' logs.",
            "s",
            {
                "median": "highsync:job_duration_seconds:median_1h",
                "95 %": "highsync:job_duration_seconds:p95_1h",
                **quantiles('highsync_job_duration_seconds_bucket{outcome="succeeded"}', "1h", "slowest"),
            },
        ),
        Panel(
            "bargauge",
            "Slowest stages",
            "Mean seconds that a job spends in each stage, of the jobs of a day.",
            "s",
            {
                "{{stage}}": "sort_desc(sum by (stage) (increase(highsync_stage_duration_seconds_sum[1d]))"
                " / (sum by (stage) (increase(highsync_stage_duration_seconds_count[1d])) > 0))",
            },
        ),
        Panel(
            "timeseries",
            "Slow jobs by stage",
            "95 % of the jobs of an hour spend less in this stage.",
            "s",
            {
                "{{stage}}": "histogram_quantile(0.95, sum by (stage, le)"
                " (rate(highsync_stage_duration_seconds_bucket[1h])))",
            },
        ),
        Panel(
            "timeseries",
            "Failures",
            "Share of the jobs of an hour that failed, users' faults included.",
            "percentunit",
            {
                "failed": 'sum(increase(highsync_jobs_finished_total{outcome="failed"}[1h]))'
                " / sum(increase(highsync_jobs_finished_total[1h]))",
            },
        ),
        Panel(
            "bargauge",
            "Failures by code",
            "Jobs that failed within a day, by error code.",
            "none",
            {
                "{{error_code}}": "sort_desc(sum by (error_code)"
                ' (increase(highsync_jobs_finished_total{outcome="failed"}[1d])) > 0)',
            },
        ),
        Panel(
            "timeseries",
            "Deadlines missed",
            "Jobs of an hour that expired: queued, they never started; running, they took too long.",
            "none",
            {"{{phase}}": "sum by (phase) (increase(highsync_deadline_expired_total[1h]))"},
            stacked=True,
        ),
        Panel(
            "timeseries",
            "Starts",
            "Starts of jobs within the hour: first ones, and those again after a lost or handed back attempt.",
            "none",
            {"{{reason}}": "sum by (reason) (increase(highsync_job_attempts_total[1h]))"},
            stacked=True,
        ),
        Panel(
            "timeseries",
            "Attempts lost",
            "Attempts of an hour that ended with their worker, and renders that the watchdog ended.",
            "none",
            {
                "worker vanished": "sum(increase(highsync_leases_lost_total[1h]))",
                "render hung": "sum(increase(highsync_renders_stalled_total[1h]))",
            },
        ),
        Panel(
            "timeseries",
            "Repetitions that cost nothing",
            "Requests of an hour answered again by their Idempotency-Key, and messages for which there was no job.",
            "none",
            {
                "requests": "sum(increase(highsync_idempotent_replays_total[1h]))",
                "messages": "sum(increase(highsync_duplicate_deliveries_total[1h]))",
            },
        ),
        Panel(
            "timeseries",
            "Downloads",
            "Time to download an input, of the downloads of an hour.",
            "s",
            quantiles("highsync_fetch_seconds_bucket", "1h", "median", "95 %"),
        ),
        Panel(
            "timeseries",
            "Downloads that fail",
            "Downloads of an hour that did not end well, by what was wrong.",
            "none",
            {"{{outcome}}": 'sum by (outcome) (increase(highsync_fetch_seconds_count{outcome!="ok"}[1h]))'},
            stacked=True,
        ),
        Panel(
            "timeseries",
            "Downloaded",
            "Bytes of inputs downloaded per second.",
            "Bps",
            {"all workers": "sum(rate(highsync_fetch_bytes_total[5m]))"},
        ),
        Panel(
            "timeseries",
            "Jobs kept",
            "Jobs in the store by state. Those that are over leave with HIGHSYNC_RETENTION_S.",
            "none",
            {"{{state}}": "max by (state) (highsync_jobs)"},
            stacked=True,
        ),
    ),
)


def main(folder: Path) -> None:
    """Write every dashboard into the folder."""
    for dashboard in (SERVICE, WORKERS, JOBS):
        text = json.dumps(dashboard_json(dashboard), indent=1, ensure_ascii=False)
        (folder / f"{dashboard.name}.json").write_text(f"{text}\n", encoding="utf-8")


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """The page as Grafana reads it: panels from left to right, a new line where the next one does not fit."""
    panels: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(dashboard.panels, start=1):
        width = KINDS[panel.kind][0]
        if x + width > COLUMNS or (panels and KINDS[panel.kind][1] != height):
            x, y = 0, y + height
        height = KINDS[panel.kind][1]
        place = {"x": x, "y": y, "w": width, "h": height}
        panels.append({"id": number, "gridPos": place, **panel_json(panel)})
        x += width
    fired = {"name": "Alerts", "datasource": DATASOURCE, "enable": True, "iconColor": "red"}
    return {
        "uid": f"highsync-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["highsync"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["highsync"], "title": "HighSync", "keepTime": True}],
        "annotations": {
            "list": [fired | {"expr": 'ALERTS{alertstate="firing"}', "titleFormat": "{{alertname}}", "step": "60s"}]
        },
        "panels": panels,
    }


def panel_json(panel: Panel) -> dict[str, Any]:
    """One panel, but for its number and place."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarm_at is not None:
        steps.append({"color": "red", "value": panel.alarm_at})
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
    }
    options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"]}}
    if panel.kind == "timeseries":
        options = {"tooltip": {"mode": "multi", "sort": "desc"}}
        defaults["custom"] = {"fillOpacity": 30 if panel.stacked else 5}
        if panel.stacked:
            defaults["custom"]["stacking"] = {"mode": "normal"}
        if panel.alarm_at is not None:
            defaults["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    if panel.kind == "bargauge":
        options |= {"orientation": "horizontal", "displayMode": "basic"}
    if panel.kind == "stat" and "" not in panel.queries:
        options |= {"textMode": "name"}  # what is said is in the labels
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": expression,
                "legendFormat": legend,
                "instant": panel.kind != "timeseries",
            }
            for index, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or [FOLDER]))
