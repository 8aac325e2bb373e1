"""A real Prometheus, with the stack's rules, watches a real API and worker: what panels show, which alerts fire."""

import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from client import HighSync
from tests.deploy.conftest import ROOT, load_yaml
from tests.deploy.metric_names import OF_DCGM_EXPORTER, OF_REDIS_EXPORTER, names_in
from tests.deploy.test_alerts import RULE_FILES
from tests.deploy.test_dashboards import PAGES, expressions
from tests.servers import ServerProcess, children_of, wait_until
from tests.stub_stack import StubStack, stub_clip, stub_voice

pytestmark = pytest.mark.e2e

TIMEOUT_S = 60.0
ELSEWHERE = OF_REDIS_EXPORTER | OF_DCGM_EXPORTER | {"highsync_gpu_memory_bytes"}
"""Series that need an exporter or a GPU, which are not here."""

NOT_HAPPENED = {
    "ALERTS",
    "highsync_fetch_seconds_bucket",
    "highsync_fetch_seconds_count",
    "highsync_requests_refused_total",
    "highsync_webhook_deliveries_total",
}
"""Of what a single good job with uploaded inputs makes none."""


class Prometheus(ServerProcess):
    """Prometheus with the stack's rules, asking every second, and quick to miss a worker."""

    def __init__(self, folder: Path, targets: dict[str, int]) -> None:
        super().__init__(folder)
        self.targets = targets

    def command(self) -> list[str]:
        """The command line."""
        place = [f"--storage.tsdb.path={self.folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"]
        return ["prometheus", f"--config.file={self._config()}", "--log.level=warn", *place]

    def _config(self) -> Path:
        rules = []
        for name in RULE_FILES:
            groups = load_yaml(name)["groups"]
            for rule in (rule for group in groups for rule in group["rules"]):
                if rule.get("alert") == "HighSyncNoWorker":
                    rule["for"] = "1s"
            rules.append(self.folder / Path(name).name)
            rules[-1].write_text(yaml.safe_dump({"groups": groups}))
        config = load_yaml("deploy/prometheus.yml")
        jobs = {job["job_name"] for job in config["scrape_configs"]}
        assert set(self.targets) <= jobs
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(path) for path in rules]
        config["scrape_configs"] = [
            {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for job, port in self.targets.items()
        ]
        path = self.folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        return path

    def answers(self) -> bool:
        """Whether it takes queries."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/-/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """What it answers; what it cannot take is an error."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query"
        reply = httpx.get(url, params={"query": expression}, trust_env=False, timeout=30.0).raise_for_status().json()
        result: list[dict[str, Any]] = reply["data"]["result"]
        return result

    def shows(self, expression: str) -> bool:
        """Whether there is any number to draw."""
        return any(not math.isnan(float(series["value"][1])) for series in self.ask(expression))

    def value(self, expression: str) -> float:
        """The one number that it answers; NaN for none."""
        found = self.ask(expression)
        return float(found[0]["value"][1]) if found else float("nan")

    def firing(self) -> dict[str, dict[str, str]]:
        """The annotations of the alerts that fire, by their names."""
        url = f"http://127.0.0.1:{self.port}/api/v1/alerts"
        alerts = httpx.get(url, trust_env=False).raise_for_status().json()["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert["annotations"] for alert in alerts if alert["state"] == "firing"}


@dataclass
class Watched:
    """A stack that has just finished a job, and who watches it."""

    stack: StubStack
    prometheus: Prometheus

    def dub(self, folder: Path) -> None:
        """A job from beginning to end."""
        with HighSync(self.stack.url) as client:
            job = client.wait(client.submit(stub_clip(folder / "c.mp4"), stub_voice(folder / "v.wav")).id, TIMEOUT_S)
        assert job.status == "succeeded", job

    def expect(self, expression: str, value: float) -> None:
        """Wait until Prometheus sees it so."""
        wait_until(lambda: self.prometheus.value(expression) == value, TIMEOUT_S, what=f"{expression} == {value}")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    folder = tmp_path_factory.mktemp("monitoring")
    with StubStack(folder / "stack", seconds_per_segment=0.5) as stack:
        targets = {"api": stack.port, "worker": stack.worker_metrics_port}
        with Prometheus(folder / "prometheus", targets) as prometheus:
            watched = Watched(stack, prometheus)
            watched.expect("count(up == 1)", 2)
            watched.dub(folder)
            watched.expect('sum(highsync_jobs_finished_total{outcome="succeeded"})', 1)
            time.sleep(3)  # another sample or two, and the recording rules after them
            yield watched


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_panel_shows_what_a_job_has_made(watched: Watched, page: dict[str, Any]) -> None:
    happened = [
        expression
        for expression in expressions(page)
        if names_in(expression).isdisjoint(ELSEWHERE | NOT_HAPPENED)
        and not ('outcome="failed"' in expression and expression.endswith(("> 0", "> 0)")))
    ]
    assert len(happened) > 10
    assert [expression for expression in happened if not watched.prometheus.shows(expression)] == []


def test_frames_are_counted_and_memory_is_seen(watched: Watched) -> None:
    assert watched.prometheus.value('sum(highsync_stage_frames_total{stage="composite"})') == 24
    assert watched.prometheus.value("highsync_worker_rss_bytes") > 50 * 1024**2
    assert watched.prometheus.value("sum(highsync_worker_stage)") == 0
    assert watched.prometheus.firing() == {}


def test_of_a_killed_child_the_counters_stay_and_the_gauges_go(watched: Watched, tmp_path: Path) -> None:
    before = watched.prometheus.value('sum(highsync_stage_frames_total{stage="composite"})')
    loaded = watched.prometheus.value("highsync_model_load_seconds")
    (child,) = children_of(watched.stack.worker.pid)
    os.kill(child, signal.SIGKILL)
    watched.expect(f"highsync_worker_up and highsync_model_load_seconds > 0 != {loaded}", 1)
    assert watched.prometheus.value('sum(highsync_stage_frames_total{stage="composite"})') == before
    watched.dub(tmp_path)
    watched.expect('sum(highsync_stage_frames_total{stage="composite"})', before + 24)


def test_without_a_worker_an_alert_fires_and_says_where_to_read(watched: Watched) -> None:
    watched.stack.worker.kill()
    wait_until(lambda: "HighSyncNoWorker" in watched.prometheus.firing(), TIMEOUT_S, what="the alert")
    runbook = watched.prometheus.firing()["HighSyncNoWorker"]["runbook"]
    page, _, section = runbook.partition("#")
    assert section in (ROOT / page).read_text(encoding="utf-8").lower()
