"""The studio stack, as docker-compose.yml and its overlay say it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from tests.deploy.conftest import ROOT, load_yaml

CPU = "deploy/compose.cpu.yml"
Services = dict[str, dict[str, Any]]


def compose_command() -> list[str]:
    """Whichever compose this machine has."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
        ):
            return command
    pytest.skip("neither docker compose nor docker-compose is installed")


@pytest.mark.parametrize("files", [["docker-compose.yml"], ["docker-compose.yml", CPU]])
def test_compose_takes_the_files(checkout: Path, files: list[str]) -> None:
    arguments = [argument for name in files for argument in ("-f", name)]
    result = subprocess.run(
        [*compose_command(), *arguments, "config"], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "redis://:" in result.stdout


def test_compose_refuses_to_start_without_secrets(checkout: Path) -> None:
    command = compose_command()
    (checkout / ".env").write_text("")
    result = subprocess.run([*command, "config", "-q"], cwd=checkout, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "make init" in result.stderr


def test_only_the_api_and_the_gateway_are_published_and_only_to_this_machine(stack: Services) -> None:
    published = {name: service["ports"] for name, service in stack.items() if "ports" in service}
    assert set(published) == {"api", "s3"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_redis_keeps_what_it_has_accepted(stack: Services) -> None:
    command = stack["redis"]["command"][-1]
    for words in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction", "--requirepass"):
        assert words in command
    assert stack["redis"]["volumes"] == ["redis:/data"]


def test_every_image_is_pinned(stack: Services) -> None:
    images = [service["image"] for service in stack.values() if "image" in service]
    assert images
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+[\w.-]*$", image), image


def test_what_is_waited_for_can_say_that_it_is_healthy(stack: Services, dockerfile: list[str]) -> None:
    """By a healthcheck of its own, or by the one in its image."""
    assert sum(line.startswith("HEALTHCHECK") for line in dockerfile) == 2  # api and worker
    awaited = {name for service in stack.values() for name in service.get("depends_on", {})}
    assert awaited == {"redis", "s3", "api"}
    assert all("healthcheck" in stack[name] for name in awaited - {"api"})


def test_no_secret_is_written_down() -> None:
    for name in ("docker-compose.yml", "deploy/common.yml", CPU):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if re.search(r"(KEY|PASSWORD):", line):
                assert re.search(r"\$\{HIGHSYNC_\w+:\?", line), line


def test_without_a_gpu_another_worker_takes_the_place_of_the_first(stack: Services) -> None:
    overlay = load_yaml(CPU)["services"]
    assert stack["worker"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert overlay["worker"]["profiles"] == ["gpu"]  # not started unless asked for
    assert overlay["worker-cpu"]["build"]["args"] == {"TORCH": "cpu"}
    assert "deploy" not in overlay["worker-cpu"]
    assert "deploy" not in load_yaml("deploy/common.yml")["services"]["worker"]


def test_every_setting_that_the_stack_makes_is_one_that_the_service_knows() -> None:
    known = {f"HIGHSYNC_{name.upper()}" for name in Settings.model_fields}
    common, overlay = load_yaml("deploy/common.yml")["services"], load_yaml(CPU)["services"]
    made = {*common["highsync"]["environment"], *overlay["worker-cpu"]["environment"]}
    assert made <= known


def test_a_worker_has_longer_to_stop_than_it_takes() -> None:
    from worker.parent import SHUTDOWN_GRACE_S

    grace = load_yaml("deploy/common.yml")["services"]["worker"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > SHUTDOWN_GRACE_S


def test_prometheus_asks_services_of_the_stack_on_the_ports_they_have(stack: Services) -> None:
    jobs = {job["job_name"]: job for job in load_yaml("deploy/prometheus.yml")["scrape_configs"]}
    port = Settings.model_fields["worker_metrics_port"].default
    asked = {name: job["dns_sd_configs"][0] for name, job in jobs.items() if "dns_sd_configs" in job}
    assert {(query["names"][0], query["port"]) for query in asked.values()} == {("api", 8000), ("worker", port)}
    assert set(asked) <= set(stack)


def test_inputs_cannot_name_a_service_of_the_stack(stack: Services) -> None:
    assert set(stack) <= set(Settings.model_fields["fetch_deny"].default.split(","))
