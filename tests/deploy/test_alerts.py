"""The alerts ask for metrics that there are, and the runbook says what to do about each, and about each error code."""

import re
from typing import Any

import pytest

from core.errors import CATALOGUE, ErrorCode
from core.job_store import MemoryJobStore
from core.metrics import SERVICE_METRICS, WORKER_METRICS, QueueCollector
from core.webhooks import BacklogCollector, MemoryOutbox
from tests.deploy.conftest import ROOT, load_yaml

PROMETHEUS_OWN = {"up"}

RULES: list[dict[str, Any]] = [rule for group in load_yaml("deploy/alerts.yml")["groups"] for rule in group["rules"]]
RUNBOOK = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def metric_names() -> set[str]:
    """Every series that API and worker export."""
    store = MemoryJobStore()
    collectors = [*SERVICE_METRICS, *WORKER_METRICS, QueueCollector(store), BacklogCollector(MemoryOutbox(store))]
    names: set[str] = set()
    for collector in collectors:
        for family in collector.collect():
            suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
            names |= {family.name + suffix for suffix in suffixes}
    return names


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    expression = re.sub(r'"[^"]*"|\{|\}', " ", rule["expr"])
    named = set(re.findall(r"\b(?:highsync|http)_\w+|\bup\b", expression))
    assert named
    assert named <= metric_names() | PROMETHEUS_OWN


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_the_runbook_has_a_section_for_each_alert(rule: dict[str, Any]) -> None:
    section = re.search(rf"^### {rule['alert']}\n\n(.+)", RUNBOOK, re.MULTILINE)
    assert section, rule["alert"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


def test_the_runbook_names_no_alert_that_is_not_there() -> None:
    assert set(re.findall(r"^### (HighSync\w+)", RUNBOOK, re.MULTILINE)) == {rule["alert"] for rule in RULES}


def test_the_runbook_says_what_to_do_about_each_error_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", RUNBOOK, re.MULTILINE)
    assert sorted(code for code, _ in rows) == sorted(code.value for code in ErrorCode)


def test_an_alert_on_failures_counts_what_is_the_services_own_fault() -> None:
    (rule,) = [rule for rule in RULES if rule["alert"] == "HighSyncJobsFail"]
    counted = re.search(r'error_code=~"([^"]+)"', rule["expr"])
    assert counted
    others = {ErrorCode.DOWNLOAD_FAILED, ErrorCode.DEADLINE_EXCEEDED}  # the fault of a server, and of a deadline
    ours = {code for code, spec in CATALOGUE.items() if spec.http_status >= 500} - others
    assert set(counted[1].split("|")) == ours


def test_prometheus_reads_the_alerts() -> None:
    mounted = load_yaml("docker-compose.yml")["services"]["prometheus"]["volumes"]
    (path,) = load_yaml("deploy/prometheus.yml")["rule_files"]
    assert f"./deploy/alerts.yml:{path}:ro" in mounted
