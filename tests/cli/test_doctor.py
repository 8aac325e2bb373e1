"""`highsync doctor` on houses that are well, and on houses with one thing wrong."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from redis import Redis

from cli import house_checks
from cli.console import EXIT_FAILED, EXIT_OK
from cli.doctor import run_doctor
from cli.findings import Finding, Level
from cli.house_checks import check_ports, check_redis, check_storage
from cli.machine_checks import CHECKS, check_machine
from core.settings import Settings
from core.storage import make_storage
from model.checkpoint import Checkpoint, Networks, save_folder
from model.weights import load_model
from tests.servers import MotoServer, RedisServer, free_port
from tests.sites import Site

SECRET_KEY = "a key for tests, long enough by far"

pytestmark = pytest.mark.e2e


def levels(findings: Iterable[Finding]) -> dict[str, Level]:
    """What was found, by check. Whatever is not well comes with a hint."""
    found = list(findings)
    assert all(finding.hint for finding in found if finding.level in (Level.WARNING, Level.FAILURE))
    assert SECRET_KEY not in repr(found)
    return {finding.check: finding.level for finding in found}


@pytest.fixture
def settings(redis_server: RedisServer, tmp_path: Path) -> Settings:
    return Settings(
        secret_key=SECRET_KEY, redis_url=redis_server.url, storage_url=(tmp_path / "storage").as_uri(), device="cpu"
    )


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        yield client


class TestRedis:
    def test_as_in_our_compose_file_it_is_well(self, settings: Settings) -> None:
        assert set(levels(check_redis(settings)).values()) == {Level.OK}

    def test_away(self, settings: Settings, redis_server: RedisServer) -> None:
        redis_server.kill()
        assert levels(check_redis(settings)) == {"redis": Level.FAILURE}

    @pytest.mark.parametrize(
        ("setting", "value", "check", "level"),
        [
            ("appendonly", "no", "redis durability", Level.FAILURE),
            ("appendfsync", "everysec", "redis durability", Level.WARNING),
            ("maxmemory-policy", "allkeys-lru", "redis eviction", Level.FAILURE),
        ],
    )
    def test_what_may_lose_jobs_is_told(
        self, settings: Settings, redis: Redis, setting: str, value: str, check: str, level: Level
    ) -> None:
        redis.config_set(setting, value)
        assert levels(check_redis(settings))[check] is level

    def test_nearly_full(self, settings: Settings, redis: Redis) -> None:
        redis.config_set("maxmemory", int(redis.info()["used_memory"] * 1.2))
        assert levels(check_redis(settings))["redis memory"] is Level.WARNING

    @pytest.mark.parametrize(("ahead_s", "level"), [(10, Level.WARNING), (-900, Level.FAILURE)])
    def test_a_clock_that_goes_wrong(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, ahead_s: float, level: Level
    ) -> None:
        monkeypatch.setattr(house_checks.time, "time", lambda now=time.time: now() + ahead_s)
        assert levels(check_redis(settings))["clock"] is level


class TestStorage:
    def test_a_folder(self, settings: Settings) -> None:
        assert levels(check_storage(settings)) == {"storage": Level.OK, "links": Level.SKIPPED}
        assert not list(make_storage(settings).list("doctor"))

    def test_a_bucket(self, settings: Settings, moto_server: MotoServer) -> None:
        assert levels(check_storage(in_bucket(settings, moto_server))) == {"storage": Level.OK, "links": Level.OK}

    def test_links_that_lead_nowhere_from_here(self, settings: Settings, moto_server: MotoServer) -> None:
        elsewhere = {"s3_public_endpoint": f"http://127.0.0.1:{free_port()}"}
        found = levels(check_storage(in_bucket(settings, moto_server).model_copy(update=elsewhere)))
        assert found == {"storage": Level.OK, "links": Level.WARNING}

    def test_links_that_lead_to_something_else(self, settings: Settings, moto_server: MotoServer) -> None:
        with Site() as site:
            house = in_bucket(settings, moto_server).model_copy(update={"s3_public_endpoint": site.url("")})
            site.pages = _AnyPath(lambda visit: visit.reply(200, b"a login page"))
            assert levels(check_storage(house))["links"] is Level.FAILURE

    def test_no_place_to_write(self, settings: Settings) -> None:
        nowhere = settings.model_copy(update={"storage_url": "file:///proc/highsync"})
        assert levels(check_storage(nowhere)) == {"storage": Level.FAILURE}


class _AnyPath(dict[str, Any]):
    """One page under every path."""

    def __init__(self, page: object) -> None:
        super().__init__()
        self._page = page

    def get(self, path: str, default: object = None) -> Any:
        return self._page


def in_bucket(settings: Settings, moto_server: MotoServer) -> Settings:
    bucket = {"storage_url": "s3://doctor", "s3_endpoint": moto_server.url, "s3_access_key": "a", "s3_secret_key": "b"}
    return Settings.model_validate(settings.model_dump() | bucket)


class TestPorts:
    def test_free_ours_and_somebody_elses(self, settings: Settings) -> None:
        house = settings.model_copy(update={"worker_metrics_port": free_port()})
        with Site() as site, socket.create_server(("127.0.0.1", 0)) as stranger:
            site.pages["/livez"] = lambda visit: visit.reply(200)
            stranger.settimeout(0.1)
            ours = int(site.url("").rpartition(":")[2].strip("/"))
            assert levels(check_ports(ours, house)) == {"api port": Level.OK, "worker metrics port": Level.OK}
            taken = house.model_copy(update={"worker_metrics_port": 0})
            found = levels(check_ports(stranger.getsockname()[1], taken))
            assert found == {"api port": Level.FAILURE, "worker metrics port": Level.SKIPPED}


class TestMachine:
    def test_a_laptop_without_a_gpu_can_be_tried_on(self, settings: Settings) -> None:
        found = levels(check_machine(settings))
        assert (found["device"], found["codecs"], found["face detector"]) == (Level.WARNING, Level.OK, Level.OK)

    def test_a_gpu_that_is_not_there(self, settings: Settings) -> None:
        wanting = settings.model_copy(update={"device": "cuda:7"})
        assert levels(check_machine(wanting))["device"] is Level.FAILURE

    def test_a_detector_that_is_not_there(self, settings: Settings, tmp_path: Path) -> None:
        wanting = settings.model_copy(update={"yunet_path": tmp_path / "yunet.onnx"})
        assert levels(check_machine(wanting))["face detector"] is Level.FAILURE

    def test_weights_are_read_to_the_last_byte(self, settings: Settings, tmp_path: Path) -> None:
        folder = tmp_path / "weights"
        trained = settings.model_copy(update={"weights": str(folder)})
        assert levels(check_machine(settings))["weights"] is Level.WARNING
        assert levels(check_machine(trained))["weights"] is Level.FAILURE

        tiny = load_model("tiny", device=torch.device("cpu"), dtype=torch.float32)
        networks = Networks(tiny.denoising_unet, tiny.reference_unet, tiny.vae, tiny.audio_encoder)
        save_folder(Checkpoint(networks, tiny.config, name="mine", trained=True, sha256=""), folder)
        assert levels(check_machine(trained))["weights"] is Level.OK

        damaged = folder / "vae.safetensors"
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
        assert levels(check_machine(trained))["weights"] is Level.FAILURE

    def test_where_the_model_is_not_installed_nothing_is_wrong(self) -> None:
        """As in the API's image: no torch, no PyAV, no diffusers."""
        program = (
            "import sys; from importlib.machinery import PathFinder; find = PathFinder.find_spec\n"
            "gone = {'torch', 'av', 'diffusers'}\n"
            "PathFinder.find_spec = lambda name, *rest: None if name.partition('.')[0] in gone else find(name, *rest)\n"
            "from cli.machine_checks import check_machine; from core.settings import Settings\n"
            f"print([f.level.value for f in check_machine(Settings(secret_key={SECRET_KEY!r}))])"
        )
        told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert told.stdout.strip() == str(["skipped"] * len(CHECKS))


class TestCommand:
    @pytest.fixture(autouse=True)
    def _environment(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HIGHSYNC_SECRET_KEY", SECRET_KEY)
        monkeypatch.setenv("HIGHSYNC_REDIS_URL", settings.redis_url)
        monkeypatch.setenv("HIGHSYNC_STORAGE_URL", settings.storage_url)
        monkeypatch.setenv("HIGHSYNC_WORKER_METRICS_PORT", "0")

    def test_a_house_that_is_well(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run_doctor(free_port(), as_json=True) == EXIT_OK

        told = json.loads(capsys.readouterr().out)
        assert told["ok"] is True
        assert {"redis", "clock", "storage", "scratch disk", "api port", "codecs"} <= {
            finding["check"] for finding in told["findings"]
        }

    def test_a_house_that_is_not(self, capsys: pytest.CaptureFixture[str], redis_server: RedisServer) -> None:
        redis_server.kill()

        assert run_doctor(free_port(), as_json=False) == EXIT_FAILED
        told = capsys.readouterr().out
        assert "failure" in told
        assert "HIGHSYNC_REDIS_URL" in told

    def test_settings_that_are_not_valid(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HIGHSYNC_SECRET_KEY", "short")

        assert run_doctor(free_port(), as_json=True) == EXIT_FAILED
        (finding,) = json.loads(capsys.readouterr().out)["findings"]
        assert (finding["check"], finding["level"]) == ("settings", "failure")
        assert "HIGHSYNC_SECRET_KEY" in finding["found"]
