"""`highsync submit`, `status`, `watch`, `cancel`, `download` against the API, as their user meets them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.console import EXIT_FAILED, EXIT_OK, EXIT_UNAVAILABLE
from cli.main import app
from cli.remote import Remote, parse_options, parse_pairs
from client import HighSync
from core.errors import ErrorCode
from core.jobs import JobFailure, JobId
from tests.client.conftest import DUBBED, VIDEO, VOICE, Service
from tests.core.houses import RESULT, claim
from tests.servers import free_port, wait_until


def run(service: Service, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"HIGHSYNC_URL": service.url})


def test_submit_prints_the_id_of_a_job_with_these_options(highsync: HighSync, service: Service) -> None:
    result = run(
        service, "submit", VIDEO, VOICE, "--option", "seed=7", "--option", "sync_mode=loop", "--metadata", "a=b"
    )
    assert result.exit_code == EXIT_OK, result.output
    job = highsync.job(result.stdout.strip())
    assert (job.options["seed"], job.options["sync_mode"], job.metadata) == (7, "loop", {"a": "b"})


def test_submit_of_files_uploads_them(highsync: HighSync, service: Service, tmp_path: Path) -> None:
    (tmp_path / "a scene.mp4").write_bytes(b"\x00a scene")
    result = run(service, "submit", tmp_path / "a scene.mp4", VOICE, "--json")
    assert result.exit_code == EXIT_OK, result.output
    assert highsync.job(json.loads(result.stdout)["id"]).video_url.startswith("upload://")


def test_status_of_a_job_and_of_the_latest_ones(highsync: HighSync, service: Service) -> None:
    first, second = (highsync.submit(VIDEO, VOICE).id for _ in range(2))
    service.work(first)
    assert "succeeded" in run(service, "status", first).stdout
    listed = run(service, "status").stdout
    assert listed.index(second) < listed.index(first)
    lines = run(service, "status", "--json", "--state", "succeeded").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [first]


def test_submit_says_deadlines_and_what_a_webhook_is_told_and_status_shows_them(service: Service) -> None:
    wishes = ("--deadline-s", "3600", "--start-deadline-s", "60", "--webhook-url", "https://studio.example.com/hook")
    submitted = run(
        service, "submit", VIDEO, VOICE, *wishes, "--webhook-event", "job.started", "--webhook-event", "job.failed"
    )
    assert submitted.exit_code == EXIT_OK, submitted.output
    job = service.services.store.get(JobId(submitted.stdout.strip()))
    assert job.webhook_events == ("job.started", "job.failed")
    shown = facts(run(service, "status", job.id).stdout)
    assert shown["place in the queue"] == "1"
    assert shown["to start by (UTC)"] == f"{job.start_deadline_at:%Y-%m-%d %H:%M:%S}"
    assert shown["to be done by (UTC)"] == f"{job.deadline_at:%Y-%m-%d %H:%M:%S}"


def test_status_of_a_job_tells_its_attempts_and_when_it_is_done(highsync: HighSync, service: Service) -> None:
    store = service.services.store
    service.services.workers.announce("worker-1")
    job_id = highsync.submit(VIDEO, VOICE).id
    service.work(job_id)
    over = facts(run(service, "status", job_id).stdout)
    assert over["attempt 1"] == "worker-1: succeeded"
    job_id = highsync.submit(VIDEO, VOICE).id
    assert facts(run(service, "status", job_id).stdout)["probably done"].startswith("in ")
    store.release(service.claim(job_id))
    claim(store, JobId(job_id), "worker-2")
    running = facts(run(service, "status", job_id).stdout)
    assert (running["attempt 1"], running["attempt 2"]) == ("worker-1: released", "worker-2: runs")


def facts(printed: str) -> dict[str, str]:
    """What a table of two columns says."""
    rows = (line.split("│")[1:3] for line in printed.splitlines() if line.count("│") == 3)
    return {name.strip(): value.strip() for name, value in rows}


def test_watch_ends_with_the_job_and_its_exit_code_tells_how(highsync: HighSync, service: Service) -> None:
    good, bad = (highsync.submit(VIDEO, VOICE).id for _ in range(2))
    service.work(good)
    service.services.store.fail(service.claim(bad), JobFailure.of(ErrorCode.NO_FACE_FOUND, "No frame shows a face."))
    watched = run(service, "watch", good, "--json")
    assert (watched.exit_code, json.loads(watched.stdout)["status"]) == (EXIT_OK, "succeeded")
    failed = run(service, "watch", bad)
    assert failed.exit_code == EXIT_FAILED
    assert "error: no_face_found: No frame shows a face." in failed.stderr


def test_a_batch_of_a_file_is_checked_submitted_and_followed(
    highsync: HighSync, service: Service, tmp_path: Path
) -> None:
    job = json.dumps({"video_url": VIDEO, "audio_url": VOICE})
    (tmp_path / "good.jsonl").write_text(f"{job}\n{job}\n")
    (tmp_path / "bad.jsonl").write_text(f'{job}\n{{"video_url": "ftp://h/a", "audio_url": "{VOICE}"}}')
    (tmp_path / "broken.jsonl").write_text(f"{job}\n\n{job}")

    assert run(service, "batch", tmp_path / "good.jsonl", "--dry-run").exit_code == EXIT_OK
    for options in ((), ("--dry-run",)):
        bad = run(service, "batch", tmp_path / "bad.jsonl", *options)
        assert bad.exit_code == EXIT_FAILED
        assert "line 2: video_url: ftp is not a scheme we fetch. (unsupported_url)" in bad.stderr
    assert "line 2" in run(service, "batch", tmp_path / "broken.jsonl").stderr
    assert list(highsync.jobs()) == []

    made = run(service, "batch", tmp_path / "good.jsonl", "--json")
    assert (made.exit_code, json.loads(made.stdout)["size"]) == (EXIT_OK, 2)
    highsync.batches.cancel(json.loads(made.stdout)["id"])
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run, service, "batch", tmp_path / "good.jsonl", "--wait")
        for _ in range(2):
            wait_until(lambda: service.services.store.stats().depth > 0, what="a job that waits")
            service.services.store.succeed(claim(service.services.store), RESULT)
        assert waiting.result(60).exit_code == EXIT_OK, waiting.result().output
    assert waiting.result().stdout.rstrip().endswith("2 succeeded")


def test_cancel_and_a_job_that_is_not_there(highsync: HighSync, service: Service) -> None:
    job_id = highsync.submit(VIDEO, VOICE).id
    assert run(service, "cancel", job_id).stdout.strip() == f"{job_id}: canceled"
    missing = run(service, "cancel", "no-such-job")
    assert (missing.exit_code, missing.stdout) == (EXIT_FAILED, "")
    assert "error: job_not_found" in missing.stderr


def test_download_brings_the_result(highsync: HighSync, service: Service, tmp_path: Path) -> None:
    job_id = highsync.submit(VIDEO, VOICE).id
    early = run(service, "download", job_id, tmp_path / "out.mp4")
    assert (early.exit_code, "is queued" in early.stderr) == (EXIT_FAILED, True)
    service.work(job_id)
    assert run(service, "download", job_id, tmp_path / "out.mp4").exit_code == EXIT_OK
    assert (tmp_path / "out.mp4").read_bytes() == DUBBED


def test_a_service_that_is_not_there_may_be_there_later() -> None:
    remote = Remote(f"http://127.0.0.1:{free_port()}", None, as_json=False, patience_s=0.2)
    assert remote.run(lambda service: next(service.jobs(), None)) == EXIT_UNAVAILABLE


def test_pairs_are_json_where_they_can_be() -> None:
    assert parse_pairs(["seed=7", 'face={"track": 1}', "sync_mode=loop", "note=a=b"]) == {
        "seed": 7,
        "face": {"track": 1},
        "sync_mode": "loop",
        "note": "a=b",
    }
    with pytest.raises(ValueError, match="NAME=VALUE"):
        parse_pairs(["seed"])


def test_a_dotted_option_reaches_into_an_object() -> None:
    assert parse_options(["seed=7", "output.container=mov", "output.codec=prores", "face.x=1.5"]) == {
        "seed": 7,
        "output": {"container": "mov", "codec": "prores"},
        "face": {"x": 1.5},
    }
    with pytest.raises(ValueError, match="'face' is no object"):
        parse_options(["face=auto", "face.x=1"])


def test_an_option_without_a_value_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["submit", VIDEO, VOICE, "--option", "seed"]).exit_code == 2
