"""When each alert fires, and when it does not: series as `promtool test rules` writes them, one sample a minute."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """What Prometheus sees, and what it makes of it `at` a time: an alert with these labels and this summary, or, with
    `summary` empty, none."""

    alert: str
    series: dict[str, str]
    at: str = "20m"
    labels: dict[str, str] = field(default_factory=dict)
    summary: str = ""


API, API_2, WORKER, WORKER_2 = 'instance="api:8000"', 'instance="api-2:8000"', 'instance="w:9101"', 'instance="w2:9101"'
UP, UP_2 = f'up{{job="api",{API}}}', f'up{{job="api",{API_2}}}'
DEPTH = f"highsync_queue_depth{{{API}}}"
REDIS = 'instance="redis-exporter:9121",job="redis-exporter"'
GPU = 'gpu="0",instance="gpu-exporter:9400"'
GPU_LABELS = {"gpu": "0", "instance": "gpu-exporter:9400"}
REDIS_LABELS = {"instance": "redis-exporter:9121", "job": "redis-exporter"}


def finished(outcome: str, code: str = "") -> str:
    """The series of jobs that ended in this way."""
    return f'highsync_jobs_finished_total{{outcome="{outcome}",error_code="{code}",{WORKER}}}'


def requests(status: str) -> str:
    """The series of requests that the API has answered so."""
    return f'http_requests_total{{job="api",status="{status}",handler="/jobs"}}'


def storage(outcome: str) -> str:
    """The series of operations on the storage that ended so."""
    return f'highsync_storage_op_seconds_count{{op="put_file",outcome="{outcome}"}}'


def rendering(stage: str, frames: str) -> dict[str, str]:
    """A worker that is busy, at this stage, with these frames done."""
    return {
        f"highsync_worker_busy{{{WORKER}}}": "1x30",
        f'highsync_worker_stage{{stage="{stage}",{WORKER}}}': "1x30",
        f'highsync_stage_frames_total{{stage="denoise",{WORKER}}}': frames,
    }


CASES = (
    Case(
        "HighSyncNoWorker",
        {f"highsync_worker_up{{{WORKER}}}": "1 1 0x30"},
        at="5m",
        summary="No worker has its model loaded; jobs wait.",
    ),
    Case("HighSyncNoWorker", {UP: "1x30"}, at="3m", summary="No worker has its model loaded; jobs wait."),
    Case("HighSyncNoWorker", {f"highsync_worker_up{{{WORKER}}}": "1 0 1x30"}, at="3m"),
    Case("HighSyncNoWorker", {f"highsync_worker_up{{{WORKER}}}": "0x30", f"highsync_worker_up{{{WORKER_2}}}": "1x30"}),
    Case("HighSyncApiDown", {UP: "1 0x30"}, summary="No API process answers."),
    Case("HighSyncApiDown", {UP: "0x30", UP_2: "1x30"}),
    Case(
        "HighSyncRedisAway",
        {UP: "1x30", DEPTH: "3x5 stale"},
        labels={"job": "api", "instance": "api:8000"},
        summary="The API cannot ask Redis; it takes no jobs.",
    ),
    Case("HighSyncRedisAway", {UP: "1x30", DEPTH: "0x30"}),
    Case(
        "HighSyncQueueOld",
        {f"highsync_queue_oldest_age_seconds{{{API}}}": "0+60x30"},
        summary="A job has waited for 20m 0s.",
    ),
    Case("HighSyncQueueOld", {f"highsync_queue_oldest_age_seconds{{{API}}}": "590x30"}),
    Case(
        "HighSyncJobsFail",
        {finished("succeeded"): "0+3x30", finished("failed", "gpu_oom"): "0+1x30"},
        summary="25% of the jobs fail through the service's own fault.",
    ),
    Case("HighSyncJobsFail", {finished("succeeded"): "0+3x30", finished("failed", "no_face_found"): "0+3x30"}),
    Case("HighSyncJobsFail", {finished("succeeded"): "0x30", finished("failed", "gpu_oom"): "0x16 1x14"}),
    Case(
        "HighSyncBug",
        {finished("failed", "internal_error"): "0x10 1x20"},
        summary="A job met a fault that the service has no name for.",
    ),
    Case("HighSyncBug", {finished("failed", "internal_error"): "1x30", finished("failed", "gpu_oom"): "0+1x30"}),
    Case(
        "HighSyncLeasesLost",
        {f"highsync_leases_lost_total{{{API}}}": "0x10 1x20"},
        summary="A worker vanished in the middle of a job.",
    ),
    Case("HighSyncLeasesLost", {f"highsync_leases_lost_total{{{API}}}": "0 1x30"}),
    Case(
        "HighSyncRenderStalled",
        {f"highsync_renders_stalled_total{{{WORKER}}}": "0x10 1x20"},
        summary="A render hung and was ended.",
    ),
    Case("HighSyncRenderStalled", {f"highsync_renders_stalled_total{{{WORKER}}}": "2x30"}),
    Case(
        "HighSyncRenderStuck",
        rendering("denoise", "0+50x5 250x30"),
        labels={"instance": "w:9101"},
        summary="A worker is busy and has done no frame for ten minutes.",
    ),
    Case("HighSyncRenderStuck", rendering("denoise", "0+50x30")),
    Case("HighSyncRenderStuck", rendering("fetch", "0+50x5 250x30")),
    Case("HighSyncRenderStuck", rendering("denoise", "0+50x5 250x30") | {f"highsync_worker_busy{{{WORKER}}}": "0x30"}),
    Case(
        "HighSyncDeadlinesMissed",
        {f'highsync_deadline_expired_total{{phase="queued",{API}}}': "0x10 1x20"},
        summary="Jobs expired: their deadlines passed before they were done.",
    ),
    Case("HighSyncDeadlinesMissed", {f'highsync_deadline_expired_total{{phase="queued",{API}}}': "4x30"}),
    Case(
        "HighSyncApiErrors",
        {requests("2xx"): "0+9x30", requests("5xx"): "0+1x30"},
        summary="10% of the requests are answered with 5xx.",
    ),
    Case("HighSyncApiErrors", {requests("2xx"): "0+99x30", requests("5xx"): "0+1x30", requests("4xx"): "0+99x30"}),
    Case(
        "HighSyncAvailabilityFastBurn",
        {requests("2xx"): "0+9x90", requests("5xx"): "0+1x90"},
        at="80m",
        summary="10% of an hour's requests failed: the month's error budget is gone in two days.",
    ),
    Case("HighSyncAvailabilityFastBurn", {requests("2xx"): "0+99x90", requests("5xx"): "0+5x90"}, at="80m"),
    # It is over: an hour's share is still high, the last five minutes' is not.
    Case("HighSyncAvailabilityFastBurn", {requests("2xx"): "0+9x90", requests("5xx"): "0+3x60 180x30"}, at="80m"),
    # One of two requests in an hour is no outage.
    Case("HighSyncAvailabilityFastBurn", {requests("2xx"): "0x75 1x15", requests("5xx"): "0x77 1x15"}, at="80m"),
    Case(
        "HighSyncAvailabilitySlowBurn",
        {requests("2xx"): "0+96x400", requests("5xx"): "0+4x400"},
        at="390m",
        summary="4% of six hours' requests failed: the month's error budget is gone in five days.",
    ),
    Case("HighSyncAvailabilitySlowBurn", {requests("2xx"): "0+99x400", requests("5xx"): "0+1x400"}, at="390m"),
    Case("HighSyncAvailabilitySlowBurn", {requests("2xx"): "0+96x400", requests("5xx"): "0+9x300 2700x90"}, at="390m"),
    Case(
        "HighSyncStorageErrors",
        {storage("ok"): "0+3x30", storage("StorageUnavailable"): "0+1x30"},
        summary="25% of the operations on the storage fail.",
    ),
    Case("HighSyncStorageErrors", {storage("ok"): "0+3x30", storage("ObjectNotFound"): "0+3x30"}),
    Case(
        "HighSyncScratchLow",
        {f"highsync_scratch_free_ratio{{{WORKER}}}": "0.1x30", f"highsync_scratch_free_ratio{{{WORKER_2}}}": "0.9x30"},
        summary="A worker's scratch disk has 10% left.",
    ),
    Case("HighSyncScratchLow", {f"highsync_scratch_free_ratio{{{WORKER}}}": "0.16x30"}),
    Case(
        "HighSyncWebhooksLate",
        {f"highsync_webhook_oldest_age_seconds{{{API}}}": "960x30"},
        summary="A webhook has been due for 16m 0s.",
    ),
    Case("HighSyncWebhooksLate", {f"highsync_webhook_oldest_age_seconds{{{API}}}": "890x30"}),
    Case(
        "HighSyncRedisDown",
        {f"redis_up{{{REDIS}}}": "1 0x30"},
        labels=REDIS_LABELS,
        summary="Redis does not answer its exporter.",
    ),
    Case("HighSyncRedisDown", {f"redis_up{{{REDIS}}}": "1x30"}),
    Case(
        "HighSyncRedisMemory",
        {f"redis_memory_used_bytes{{{REDIS}}}": "800x30", f"redis_memory_max_bytes{{{REDIS}}}": "1000x30"},
        labels=REDIS_LABELS,
        summary="Redis uses 80% of the memory it may have.",
    ),
    Case(
        "HighSyncRedisMemory",
        {f"redis_memory_used_bytes{{{REDIS}}}": "740x30", f"redis_memory_max_bytes{{{REDIS}}}": "1000x30"},
    ),
    # 0 is no limit.
    Case(
        "HighSyncRedisMemory",
        {f"redis_memory_used_bytes{{{REDIS}}}": "800x30", f"redis_memory_max_bytes{{{REDIS}}}": "0x30"},
    ),
    Case(
        "HighSyncRedisWriteFails",
        {f"redis_aof_last_write_status{{{REDIS}}}": "1 0x30"},
        labels=REDIS_LABELS,
        summary="Redis cannot write to its disk; it takes no jobs.",
    ),
    Case("HighSyncRedisWriteFails", {f"redis_aof_last_write_status{{{REDIS}}}": "1x30"}),
    Case(
        "HighSyncGpuXid",
        {f"DCGM_FI_DEV_XID_ERRORS{{{GPU}}}": "0x10 79x20"},
        labels=GPU_LABELS,
        summary="GPU 0 of gpu-exporter:9400 reported Xid 79.",
    ),
    Case("HighSyncGpuXid", {f"DCGM_FI_DEV_XID_ERRORS{{{GPU}}}": "0x30"}),
    Case(
        "HighSyncGpuHot",
        {f"DCGM_FI_DEV_GPU_TEMP{{{GPU}}}": "90x30"},
        labels=GPU_LABELS,
        summary="GPU 0 of gpu-exporter:9400 is at 90 degrees Celsius.",
    ),
    Case("HighSyncGpuHot", {f"DCGM_FI_DEV_GPU_TEMP{{{GPU}}}": "84x10 90x5 84x15"}),
    Case(
        "HighSyncNotMeasured",
        {'up{job="redis-exporter",instance="redis-exporter:9121"}': "0x30"},
        labels=REDIS_LABELS,
        summary="Prometheus cannot read redis-exporter at redis-exporter:9121: alerts on it are blind.",
    ),
    Case("HighSyncNotMeasured", {'up{job="redis-exporter",instance="redis-exporter:9121"}': "0x5 1x25"}),
)
