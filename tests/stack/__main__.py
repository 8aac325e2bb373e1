"""
`python -m tests.stack`, in a folder with the files of the stack: up, dub, kill, heal, TLS, down; a line for each.

Containers end by SIGKILL from outside, as a crash does: after `docker kill` Docker would take it for somebody's wish.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from client import HighSync, Job
from client.errors import NotAllowed
from tests.e2e.house import portrait_clip, voice
from tests.servers import wait_until

API = "http://127.0.0.1:8000"
PROJECT = "highsync-try"
SERVICES = ("redis", "s3", "api", "worker-cpu", "prometheus")
FRAMES = 75
API_MAX_BYTES = 400_000_000
TLS_ADDRESSES = {
    "HIGHSYNC_PUBLIC_URL": "https://localhost",
    "HIGHSYNC_S3_PUBLIC_ENDPOINT": "https://localhost:9443",
}
START_TIMEOUT_S = 300.0
JOB_TIMEOUT_S = 600.0
RESTART_TIMEOUT_S = 30.0
"""A container that is not there again by itself after so long has to be started by somebody."""

STRANGE_TO_THE_API = "import importlib.util as i; print([n for n in ('torch', 'worker', 'model') if i.find_spec(n)])"
COMPILERS = "command -v gcc cc g++ c++ clang make; true"
WRITE = "touch /app/x /opt/venv/x /x 2>&1 | grep -c 'Read-only file system'"


class Stack:
    """The services of this folder's files, by whichever compose and engine are installed."""

    def __init__(self, stand_ins: bool) -> None:
        self._files = ["docker-compose.yml", "deploy/compose.cpu.yml"]
        self._stand_ins = stand_ins
        self._add_stand_ins("tests/stack/compose.yml")
        self._engine = "podman" if stand_ins else "docker"
        if stand_ins:
            threading.Thread(target=self._check_health, daemon=True).start()

    def _check_health(self) -> None:
        """Podman leaves healthchecks to timers of systemd, which may not be there."""
        while True:
            for container in subprocess.check_output([self._engine, "ps", "-q"], text=True).split():
                subprocess.run([self._engine, "healthcheck", "run", container], capture_output=True, check=False)
            time.sleep(1)

    def _add_stand_ins(self, overlay: str) -> None:
        self._files += [overlay] if self._stand_ins else []

    def add_tls(self) -> None:
        """From now on with the overlay for other machines."""
        os.environ |= TLS_ADDRESSES
        self._files.append("deploy/compose.tls.yml")
        self._add_stand_ins("tests/stack/compose.tls.yml")

    def compose(self, *arguments: str) -> str:
        """What compose prints."""
        compose = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        files = [word for name in self._files for word in ("-f", name)]
        return subprocess.check_output([*compose, "-p", PROJECT, *files, *arguments], text=True)

    def inside(self, service: str, *command: str) -> str:
        """What a command prints in the service's container."""
        return self._ask("exec", self._container(service), *command)

    def pid(self, service: str) -> int:
        """The process of the service's container, as this machine counts; 0 when it does not run."""
        return int(self._ask("inspect", "--format", "{{.State.Pid}}", self._container(service)))

    def images(self) -> str:
        """The size of each image."""
        lines = self._ask("images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}").splitlines()
        return "\n".join(sorted(line for line in lines if "highsync/" in line or "stand-in" in line))

    def bytes_of(self, image: str) -> int:
        """The size of an image with all its layers, unpacked."""
        return int(self._ask("image", "inspect", "--format", "{{.Size}}", image))

    def _container(self, service: str) -> str:
        return self.compose("ps", "-q", service).strip()

    def _ask(self, *arguments: str) -> str:
        return subprocess.check_output([self._engine, *arguments], text=True).strip()


class Trial:
    """One run through the stack, told line by line."""

    def __init__(self, stack: Stack, client: HighSync, folder: Path) -> None:
        self._stack = stack
        self._client = client
        self._out = folder / "dubbed.mp4"
        self._inputs = portrait_clip(folder / "clip.mp4", FRAMES), voice(folder / "voice.wav", FRAMES / 25)

    def start(self) -> None:
        """Bring everything up, and wait until jobs are taken and rendered."""
        seconds = self._seconds(lambda: self._stack.compose("up", "-d", "--no-build", *SERVICES))
        self._say("`up` has returned", f"{seconds:.0f} s")
        self._say("… and a worker has its model loaded", f"{self._seconds(self._wait_until_ready):.0f} s later")

    def look_inside(self) -> None:
        """What the images promise, asked in the running containers."""
        size = self._stack.bytes_of("highsync/api:0.1.0")
        assert size < API_MAX_BYTES, size
        self._say("API image", f"{size / 1e6:.0f} MB, of {API_MAX_BYTES / 1e6:.0f} at most")
        self._say("API: of torch, worker, model it has", self._stack.inside("api", "python", "-c", STRANGE_TO_THE_API))
        for service in ("api", "worker-cpu"):
            user, compilers, closed = (
                self._stack.inside(service, "sh", "-c", command) for command in ("id -u", COMPILERS, WRITE)
            )
            listed = json.loads(self._stack.inside(service, "python", "-m", "core.sbom"))["components"]
            self._say(f"{service}: user, compilers", f"{user}, {compilers or 'none'}")
            self._say(f"{service}: read-only, of 3 places tried", closed)
            self._say(f"{service}: components in its SBOM", str(len(listed)))
        wait_until(lambda: self._scraped() == ["1", "1"], START_TIMEOUT_S, what="metrics of API and worker")
        self._say("Prometheus has the metrics of", "API and worker")

    def _scraped(self) -> list[str]:
        """The values of `up` of API and worker."""
        url = "http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D~%22api%7Cworker%22%7D"
        answer = json.loads(self._stack.inside("prometheus", "wget", "-q", "-O", "-", url))
        return [series["value"][1] for series in answer["data"]["result"]]

    def dub(self) -> None:
        """A job through the published port."""
        seconds = self._seconds(lambda: self._finish(self._submit()))
        self._say(f"a job of {FRAMES} frames, posted to {API}: succeeded, its result downloaded", f"{seconds:.0f} s")

    def kill(self, service: str) -> None:
        """Kill a container while a job renders; the job has to succeed all the same."""
        job_id = self._submit()
        wait_until(lambda: self._stage(job_id) == "denoise", JOB_TIMEOUT_S, what="a job that renders")
        killed = self._stack.pid(service)
        os.kill(killed, signal.SIGKILL)
        started = time.monotonic()
        who = "its restart policy"
        try:
            wait_until(lambda: self._stack.pid(service) not in (0, killed), RESTART_TIMEOUT_S, what="a restart")
        except TimeoutError:
            who = "`up`, said again"
            self._stack.compose("up", "-d", "--no-build", *SERVICES)
        self._wait_until_ready()
        healed_s = time.monotonic() - started
        job = self._finish(job_id)
        attempts = len(job.attempts)
        self._say(
            f"{service} killed in the middle of a job: started again by {who}, ready after {healed_s:.0f} s",
            f"succeeded after {time.monotonic() - started:.0f} s, at attempt {attempts}",
        )

    def put_tls_in_front(self) -> None:
        """As docs/install.md says: a key, then the overlay, then the certificate of Caddy's own authority."""
        key = self._stack.compose("exec", "-T", "api", "python", "-m", "cli", "keys", "create", "studio-a").strip()
        self._stack.add_tls()
        self._stack.compose("up", "-d", "--no-build", *SERVICES, "caddy")
        root = self._out.with_name("root.crt")

        def has_authority() -> bool:
            found = "/data/caddy/pki/authorities/local/root.crt"
            root.write_text(self._stack.compose("exec", "-T", "caddy", "sh", "-c", f"cat {found} || true"))
            return root.stat().st_size > 0

        wait_until(has_authority, START_TIMEOUT_S, what="Caddy's authority")
        self._wait_until_ready()
        url = TLS_ADDRESSES["HIGHSYNC_PUBLIC_URL"]
        with HighSync(url, key.split()[-1], ca_file=root) as client:
            job = client.dub(*self._inputs, self._out, num_inference_steps=2, guidance_scale=1.0)
            result = client.job(job.id).result
        assert result is not None
        assert result.url.startswith(TLS_ADDRESSES["HIGHSYNC_S3_PUBLIC_ENDPOINT"])
        with pytest.raises(NotAllowed), HighSync(url, ca_file=root) as stranger:
            stranger.job(job.id)
        self._say(f"with Caddy in front: a job posted to {url} with a key, uploads and result over TLS", "succeeded")

    def _submit(self) -> str:
        return self._client.submit(*self._inputs, num_inference_steps=2, guidance_scale=1.0).id

    def _finish(self, job_id: str) -> Job:
        job = self._client.wait(job_id, JOB_TIMEOUT_S)
        if job.status != "succeeded":
            raise SystemExit(f"{job}\n{self._stack.compose('logs', '--tail', '50')}")
        self._client.download(job_id, self._out)  # compares size and sha256
        return job

    def _stage(self, job_id: str) -> str | None:
        progress = self._client.job(job_id).progress
        return None if progress is None else progress.stage

    def _wait_until_ready(self) -> None:
        def ready() -> bool:
            time.sleep(0.5)
            return subprocess.run(["curl", "-sf", f"{API}/readyz"], capture_output=True, check=False).returncode == 0

        wait_until(ready, START_TIMEOUT_S, what="a ready stack")

    @staticmethod
    def _seconds(action: Callable[[], object]) -> float:
        started = time.monotonic()
        action()
        return time.monotonic() - started

    @staticmethod
    def _say(what: str, result: str) -> None:
        print(f"| {what} | {result} |", flush=True)


def main() -> int:
    """Run it all; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack", description="Try the compose stack of this folder.")
    parser.add_argument("--stand-ins", action="store_true", help="images of tests/stack/Dockerfile, engine podman")
    stack = Stack(parser.parse_args().stand_ins)
    with tempfile.TemporaryDirectory() as folder, HighSync(API) as client:
        trial = Trial(stack, client, Path(folder))
        try:
            trial.start()
            trial.look_inside()
            trial.dub()
            for service in ("worker-cpu", "api", "redis"):
                trial.kill(service)
            trial.put_tls_in_front()
        except BaseException:
            print(stack.compose("ps"), stack.compose("logs", "--tail", "40"), sep="\n", file=sys.stderr)
            raise
        finally:
            print(stack.images())
            stack.compose("down", "--volumes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
