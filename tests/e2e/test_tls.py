"""deploy/Caddyfile in front of a real stack, with a certificate of Caddy's own authority."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cli.processes import ManagedProcess
from client import HighSync
from tests.servers import MotoServer, free_port, wait_until
from tests.stub_stack import ROOT, StubStack, stub_clip, stub_voice

pytestmark = pytest.mark.e2e

SECONDS_PER_SEGMENT = 0.7
LARGE_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class Front:
    """A client of the TLS front. `http` trusts its authority and nobody else."""

    url: str
    s3_url: str
    authority: Path
    http: httpx.Client
    caddy: ManagedProcess


@pytest.fixture(scope="module")
def front(moto_server: MotoServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed")
    folder = tmp_path_factory.mktemp("tls")
    url, s3_url = (f"https://127.0.0.1:{free_port()}" for _ in range(2))
    settings = {
        "HIGHSYNC_PUBLIC_URL": url,
        "HIGHSYNC_STORAGE_URL": "s3://tls-front",
        "HIGHSYNC_S3_ENDPOINT": moto_server.url,
        "HIGHSYNC_S3_PUBLIC_ENDPOINT": s3_url,
        "HIGHSYNC_S3_ACCESS_KEY": "test",
        "HIGHSYNC_S3_SECRET_KEY": "test",
    }
    with StubStack(folder / "stack", seconds_per_segment=SECONDS_PER_SEGMENT, settings=settings) as stack:
        environment = {
            **os.environ,
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
            "HIGHSYNC_PUBLIC_URL": url,
            "HIGHSYNC_S3_PUBLIC_ENDPOINT": s3_url,
            "HIGHSYNC_API_UPSTREAM": f"127.0.0.1:{stack.port}",
            "HIGHSYNC_S3_UPSTREAM": moto_server.url.removeprefix("http://"),
            "HIGHSYNC_CADDY_ADMIN": "off",
            "HIGHSYNC_HTTP_PORT": str(free_port()),
        }
        command = [caddy, "run", "--config", str(ROOT / "deploy" / "Caddyfile"), "--adapter", "caddyfile"]
        process = ManagedProcess("caddy", command, env=environment, log_path=folder / "caddy.log")
        authority = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        try:
            wait_until(authority.exists, what="Caddy's authority")
            trust = ssl.create_default_context(cafile=str(authority))
            with httpx.Client(verify=trust, trust_env=False, timeout=60.0) as http:
                wait_until(lambda: _answers(http, url), what="Caddy")
                yield Front(url, s3_url, authority, http, process)
        finally:
            process.stop(10.0)


def _answers(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(f"{url}/livez").status_code == 200
    except httpx.TransportError:
        return False


def test_a_job_is_followed_live_and_its_result_comes_by_a_signed_link(front: Front, tmp_path: Path) -> None:
    with HighSync(front.url, ca_file=front.authority) as client:
        # Given a job that takes about two seconds, submitted by https
        job_id = client.submit(stub_clip(tmp_path / "clip.mp4"), stub_voice(tmp_path / "line.wav")).id
        # When its events are read
        came_at, last = [], {}
        with front.http.stream("GET", f"{front.url}/jobs/{job_id}/events") as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    came_at.append(time.monotonic())
                    last = json.loads(line.removeprefix("data: "))
        # Then they came while it ran, not all at its end
        assert last["status"] == "succeeded", last
        assert came_at[-1] - came_at[0] > SECONDS_PER_SEGMENT
        # And the result is downloaded at the public address of the storage
        result = client.job(job_id).result
        assert result is not None
        assert result.url.startswith(front.s3_url)
        assert client.download(job_id, tmp_path / "dubbed.mp4").stat().st_size == result.bytes


def test_a_large_upload_is_passed_on_without_being_kept(front: Front) -> None:
    ticket = front.http.post(f"{front.url}/uploads", json={"filename": "large.mp4"}).raise_for_status().json()
    assert ticket["url"].startswith(front.s3_url)
    front.http.put(ticket["url"], content=bytes(LARGE_BYTES)).raise_for_status()
    status = Path(f"/proc/{front.caddy.pid}/status").read_text()
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kib * 1024 < LARGE_BYTES


def test_a_client_that_was_not_told_of_the_authority_does_not_trust_it(front: Front) -> None:
    strict = {"HIGHSYNC_URL": front.url}
    command = [sys.executable, "-m", "cli", "status"]
    refused = subprocess.run(command, env=os.environ | strict, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "certificate" in refused.stderr.lower()
    told = os.environ | strict | {"HIGHSYNC_CA_FILE": str(front.authority)}
    subprocess.run(command, env=told, check=True, capture_output=True)


def test_metrics_stay_inside(front: Front) -> None:
    assert front.http.get(f"{front.url}/metrics").status_code == 404
    assert front.http.get(f"{front.url}/readyz").json()["workers"] == 1
