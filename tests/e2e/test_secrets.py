"""Secrets are used, and left nowhere: not in logs, metrics, answers, Redis or storage. And what the logs do tell."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from core.jobs import WebhookEvent
from tests.e2e.conftest import WEBHOOK_SECRET
from tests.e2e.house import JOB_TIMEOUT_S, QUICK, Studio
from tests.servers import wait_until
from tests.sites import Site

pytestmark = pytest.mark.e2e

PLANTED = {name: f"planted{name}hunter2" for name in ("video", "voice", "line", "hook", "batch", "missing", "fragment")}
API_KEY = f"hs_{'0' * 12}_planted{'key' * 8}hunter2"
"""No key of this service, but a secret of somebody's."""


def everything_in(redis: Redis) -> Iterator[str]:
    """Every key with its value, as text."""
    readers = {
        "string": redis.get,
        "hash": redis.hgetall,
        "list": lambda key: redis.lrange(key, 0, -1),
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1),
        "stream": redis.xrange,
    }
    for key in redis.scan_iter():
        kind = redis.type(key).decode()  # type: ignore[union-attr]
        yield f"{key!r}: {readers[kind](key)!r}"


def post(api: httpx.Client, site: Site, video: str) -> str:
    """A job whose every address carries a secret, in a batch of its own whose address does so, too; its id."""
    line = {"audio_url": site.url(f"/secret.wav?token={PLANTED['line']}")}
    body = {
        "video_url": f"{video}#{PLANTED['fragment']}",
        "audio_url": site.url(f"/secret.wav?token={PLANTED['voice']}"),
        "webhook_url": site.url(f"/secret-hook?token={PLANTED['hook']}"),
        "webhook_events": list(WebhookEvent),
        "options": QUICK | {"segments": [{"start_s": 0, "end_s": 0.32}, {"start_s": 0.32, "end_s": 0.64, **line}]},
    }
    answer = api.post(
        "/batches",
        params={"webhook_url": site.url(f"/batch-hook?token={PLANTED['batch']}")},
        content=json.dumps(body),
        headers={"Content-Type": "application/jsonl"},
    )
    assert answer.status_code == 202, answer.text
    (job,) = api.get("/jobs", params={"batch": answer.json()["id"]}).json()["jobs"]
    return str(job["id"])


def told(site: Site, job_id: str, event: str) -> bool:
    messages = (json.loads(body) for _, path, _, body in site.visits if path.startswith("/secret-hook"))
    return any(message["type"] == event and message["data"]["id"] == job_id for message in messages)


def spans(collector: Site) -> str:
    """All spans that were sent so far: protobuf, whose strings are plain."""
    return "\n".join(body.decode(errors="replace") for _, _, _, body in collector.visits)


def batches_told(site: Site) -> int:
    return sum(path.startswith("/batch-hook") for _, path, _, _ in site.visits)


def answers(api: httpx.Client, worker_port: int, *jobs: str) -> dict[str, str]:
    """What anybody can read from outside."""
    paths = ["/jobs", "/metrics", *(f"/jobs/{job}" for job in jobs)]
    paths += [f"/webhooks/deliveries?job_id={job}" for job in jobs]
    refused: dict[str, Any] = {"video_url": f"ftp://h.org/?t={PLANTED['video']}", "audio_url": "x", "options": {}}
    found = {path: api.get(path).text for path in paths}
    found["a refusal of a key"] = api.get("/jobs", headers={"Authorization": f"Bearer {API_KEY}"}).text
    found["a refusal"] = api.post("/jobs", json=refused).text
    found["the worker's metrics"] = httpx.get(f"http://127.0.0.1:{worker_port}/metrics", trust_env=False).text
    return found


@dataclass(frozen=True)
class Run:
    """One job that has succeeded, one that has failed, and all that can be read of them afterwards."""

    good: str
    bad: str
    texts: dict[str, str]
    rotated: str


@pytest.fixture(scope="module")
def run(studio: Studio, site: Site, clip: Path, line: Path) -> Run:
    """Two jobs whose addresses and keys carry secrets, from the request to the last webhook."""
    site.pages["/secret.mp4"] = lambda visit: visit.reply(200, clip.read_bytes())
    site.pages["/secret.wav"] = lambda visit: visit.reply(200, line.read_bytes())
    site.pages["/secret-hook"] = site.pages["/batch-hook"] = lambda visit: visit.reply(200)
    with httpx.Client(base_url=studio.stack.url, timeout=60, trust_env=False) as api:
        rotated: str = api.post("/webhooks/secret/rotate").json()["secret"]
        good = post(api, site, site.url(f"/secret.mp4?token={PLANTED['video']}"))
        bad = post(api, site, site.url(f"/nowhere.mp4?token={PLANTED['missing']}"))
        wait_until(lambda: told(site, good, "job.succeeded"), JOB_TIMEOUT_S, what="job.succeeded")
        wait_until(lambda: told(site, bad, "job.failed"), JOB_TIMEOUT_S, what="job.failed")
        wait_until(lambda: batches_told(site) == 2, JOB_TIMEOUT_S, what="batch.completed, twice")
        texts = answers(api, studio.stack.worker_metrics_port, good, bad)
    return Run(good, bad, texts, rotated)


def test_secrets_are_left_nowhere(studio: Studio, site: Site, collector: Site, run: Run) -> None:
    # Given secrets that were used where they belong
    used = " ".join(path for _, path, _, _ in site.visits)
    assert {name for name, secret in PLANTED.items() if secret in used} == set(PLANTED) - {"fragment"}

    # When all that is shown or kept is read
    texts = dict(run.texts)
    texts["webhooks"] = "\n".join(body.decode() for _, path, _, body in site.visits if "-hook" in path)
    wait_until(
        lambda: run.good in spans(collector) and run.bad in spans(collector), JOB_TIMEOUT_S, what="spans of both jobs"
    )
    texts["spans"] = spans(collector)
    with Redis.from_url(studio.stack.redis_url) as redis:
        texts["Redis"] = "\n".join(everything_in(redis))
    files = [path for path in studio.stack.data_dir.rglob("*") if path.is_file() and path.name != "secrets.json"]
    assert any(path.suffix == ".log" for path in files)
    assert any("appendonly" in path.name for path in files)
    kept = {name: text.encode() for name, text in texts.items()} | {str(path): path.read_bytes() for path in files}

    # Then none of them is there
    secrets = [*PLANTED.values(), *(secret.removeprefix("whsec_") for secret in (run.rotated, WEBHOOK_SECRET))]
    secrets += [API_KEY, *json.loads((studio.stack.data_dir / "secrets.json").read_text()).values()]
    assert [(name, secret) for name, content in kept.items() for secret in secrets if secret.encode() in content] == []


def log_lines(studio: Studio, process: str) -> list[dict[str, Any]]:
    logs = sorted((studio.stack.data_dir / "logs").glob(f"{process}*.log"))
    return [json.loads(line) for log in logs for line in log.read_text().splitlines()]


def test_logs_tell_whose_job_which_attempt_and_which_trace(studio: Studio, run: Run) -> None:
    # Every line is one JSON object, and none is from before or beside our own format
    served, worked = log_lines(studio, "api"), log_lines(studio, "worker")
    assert all({"event", "level", "logger", "process", "timestamp"} <= set(line) for line in served + worked)

    # What the API does for a request has the request's id and its trace
    accepted = {line["job_id"]: line for line in served if line["event"] == "job_accepted"}
    requests = {line["request_id"]: line for line in served if line["event"] == "request"}
    for job_id in (run.good, run.bad):
        assert requests[accepted[job_id]["request_id"]]["trace_id"] == accepted[job_id]["trace_id"]

    # What the worker does for the job has the job, the attempt and the same trace
    for job_id in (run.good, run.bad):
        lines = [line for line in worked if line.get("job_id") == job_id]
        assert lines
        assert {(line["attempt"], line["trace_id"]) for line in lines} == {(1, accepted[job_id]["trace_id"])}
