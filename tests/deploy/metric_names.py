"""Which series there are to ask for: our own, from the code, and those of the exporters in the stack."""

import re
from functools import cache

from core.job_store import MemoryJobStore
from core.metrics import SERVICE_METRICS, WORKER_METRICS, QueueCollector
from core.webhooks import BacklogCollector, MemoryOutbox
from tests.deploy.conftest import load_yaml

PROMETHEUS_OWN = {"up", "ALERTS"}
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}

OF_REDIS_EXPORTER = {
    "redis_up",
    "redis_memory_used_bytes",
    "redis_memory_max_bytes",
    "redis_aof_last_write_status",
}
"""Its names for what Redis says under INFO memory and INFO persistence: metricMapGauges in oliver006/redis_exporter,
exporter/exporter.go."""

OF_DCGM_EXPORTER = {
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_XID_ERRORS",
}
"""What NVIDIA/dcgm-exporter shows unless it is told otherwise: etc/default-counters.csv. Memory in MiB."""


def names_in(expression: str) -> set[str]:
    """The series that an expression asks for."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}", "", bare)
    return set(re.findall(r"\b(?:up|ALERTS|(?:highsync|http|redis|DCGM)[\w:]+)\b", bare))


@cache
def known_names() -> frozenset[str]:
    """Every series that API, worker, exporters and recording rules make."""
    store = MemoryJobStore()
    asked = (QueueCollector(store), BacklogCollector(MemoryOutbox(store)))
    ours = {
        family.name + suffix
        for collector in (*SERVICE_METRICS, *WORKER_METRICS, *asked)
        for family in collector.collect()
        for suffix in SUFFIXES.get(family.type, [""])
    }
    recorded = {rule["record"] for group in load_yaml("deploy/recording.yml")["groups"] for rule in group["rules"]}
    return frozenset(ours | recorded | PROMETHEUS_OWN | OF_REDIS_EXPORTER | OF_DCGM_EXPORTER)
