"""The studio stack, as docker-compose.yml and its overlays say it."""

import configparser
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from core import __version__
from core.settings import Settings
from tests.deploy.conftest import ROOT, load_yaml

STACK = "docker-compose.yml"
CPU = "deploy/compose.cpu.yml"
GPUS = "deploy/compose.gpus.yml"
TLS = "deploy/compose.tls.yml"
GARAGE = "deploy/compose.garage.yml"
DEV = "deploy/compose.dev.yml"
ADDRESSES = {
    "HIGHSYNC_PUBLIC_URL": "https://dub.studio.example",
    "HIGHSYNC_S3_PUBLIC_ENDPOINT": "https://dub.studio.example:9443",
}
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


def merged(checkout: Path, *overlays: str) -> Services:
    """The services as compose understands these files together."""
    arguments = [argument for name in (STACK, *overlays) for argument in ("-f", name)]
    command = [*compose_command(), *arguments, "config"]
    environment = os.environ | ADDRESSES
    result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    services: Services = yaml.safe_load(result.stdout)["services"]
    return services


@pytest.mark.parametrize("overlays", [[], [CPU], [GPUS], [CPU, DEV], [CPU, TLS]], ids=str)
def test_compose_takes_the_files(checkout: Path, overlays: list[str]) -> None:
    services = merged(checkout, *overlays)
    assert services["api"]["environment"]["HIGHSYNC_REDIS_URL"].startswith("redis://:")
    for overlay in overlays:
        assert load_yaml(overlay)["services"].keys() <= services.keys()


def test_each_of_several_gpus_has_a_worker_of_its_own() -> None:
    workers = load_yaml(GPUS)["services"]
    for number in range(1, 8):
        worker = workers[f"worker-{number}"]
        (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
        assert device["device_ids"] == [str(number)]
        assert worker["profiles"] == [f"gpus-{count}" for count in range(number + 1, 9)]
        assert worker["networks"]["default"]["aliases"] == ["worker"]  # Prometheus finds it


def test_the_first_gpu_worker_names_its_gpu(stack: Services) -> None:
    """With a count in place of a name, Docker gives every container the first GPUs."""
    (device,) = stack["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["${HIGHSYNC_GPU:-0}"]


def test_the_tls_front_serves_nobody_without_a_key_and_is_alone_on_the_network() -> None:
    services = load_yaml(TLS)["services"]
    assert services["api"]["environment"]["HIGHSYNC_ALLOW_UNAUTHENTICATED"] == "false"
    open_to_all = {name for name, ports in services.items() if "ports" in ports}
    assert open_to_all == {"caddy"}
    caddyfile = (ROOT / "deploy" / "Caddyfile").read_text(encoding="utf-8")
    upstreams = dict(re.findall(r"\{\$(HIGHSYNC_\w+_UPSTREAM):([\w:]+)\}", caddyfile))
    assert upstreams == {"HIGHSYNC_API_UPSTREAM": "api:8000", "HIGHSYNC_S3_UPSTREAM": "s3:7070"}


def test_the_caddyfile_is_one() -> None:
    if shutil.which("caddy") is None:
        pytest.skip("caddy is not installed")
    command = ["caddy", "validate", "--config", "deploy/Caddyfile", "--adapter", "caddyfile"]
    result = subprocess.run(command, cwd=ROOT, env=os.environ | ADDRESSES, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_garage_takes_the_place_of_the_gateway_with_the_same_keys(checkout: Path) -> None:
    garage = merged(checkout, GARAGE)["s3"]
    made = garage["environment"]
    assert (
        made["GARAGE_DEFAULT_ACCESS_KEY"] == made["ROOT_ACCESS_KEY"]
    )  # the gateway's, which has no use for it any more
    assert made["GARAGE_DEFAULT_SECRET_KEY"] == made["ROOT_SECRET_KEY"]
    assert re.fullmatch("GK[0-9a-f]{24}", made["GARAGE_DEFAULT_ACCESS_KEY"])  # the form that Garage imports
    assert re.fullmatch("[0-9a-f]{64}", made["GARAGE_DEFAULT_SECRET_KEY"])
    assert re.fullmatch("[0-9a-f]{64}", made["GARAGE_RPC_SECRET"])
    config = tomllib.loads((ROOT / "deploy" / "garage.toml").read_text(encoding="utf-8"))
    assert config["s3_api"]["api_bind_addr"].endswith(":7070")
    assert config["s3_api"]["s3_region"] == Settings.model_fields["s3_region"].default
    folders = {config["metadata_dir"], config["data_dir"]}
    assert all(folder.startswith("/data/") for folder in folders)
    (data,) = [volume for volume in garage["volumes"] if "/data" in str(volume)]
    assert "garage" in str(data)  # not the volume that holds the gateway's plain files


def test_the_development_overlay_opens_ports_on_loopback_only() -> None:
    ports = [port for service in load_yaml(DEV)["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_refuses_to_start_without_secrets(checkout: Path) -> None:
    command = compose_command()
    (checkout / ".env").write_text("")
    result = subprocess.run([*command, "config", "-q"], cwd=checkout, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "make init" in result.stderr


def test_only_api_gateway_and_grafana_are_published_and_only_to_this_machine(stack: Services) -> None:
    published = {name: service["ports"] for name, service in stack.items() if "ports" in service}
    assert set(published) == {"api", "s3", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_redis_keeps_what_it_has_accepted(stack: Services) -> None:
    command = stack["redis"]["command"][-1]
    for words in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction", "--requirepass"):
        assert words in command
    assert stack["redis"]["volumes"] == ["redis:/data"]


def test_every_image_is_pinned(stack: Services) -> None:
    overlays = [load_yaml(name)["services"] for name in (TLS, GARAGE)]
    services = [service for services in (stack, *overlays) for service in services.values()]
    images = [service["image"] for service in services if "image" in service]
    assert images
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+[\w.-]*$", image), image


def test_our_images_bear_the_version_of_the_code(stack: Services) -> None:
    workers = (load_yaml("deploy/common.yml")["services"]["worker"], load_yaml(CPU)["services"]["worker-cpu"])
    assert stack["api"]["image"] == f"highsync/api:{__version__}"
    assert [worker["image"] for worker in workers] == [f"highsync/worker:{__version__}{end}" for end in ("", "-cpu")]
    overlay = load_yaml("deploy/kubernetes/overlays/studio/kustomization.yaml")
    assert {image["newTag"] for image in overlay["images"]} == {__version__}


def test_the_trial_without_docker_replaces_other_peoples_images_only(stack: Services) -> None:
    replaced = load_yaml("tests/stack/compose.yml")["services"] | load_yaml("tests/stack/compose.tls.yml")["services"]
    others = stack | load_yaml(TLS)["services"]
    targets = set(re.findall(r" AS (\w+)$", (ROOT / "tests/stack/Dockerfile").read_text(), re.MULTILINE))
    for name, service in replaced.items():
        assert "build" not in others[name]
        assert service["image"] == f"localhost/stand-in-{name}"
    assert replaced.keys() == targets


def test_what_is_waited_for_can_say_that_it_is_healthy(stack: Services, dockerfile: list[str]) -> None:
    """By a healthcheck of its own, or by the one in its image."""
    assert sum(line.startswith("HEALTHCHECK") for line in dockerfile) == 2  # api and worker
    awaited = {name for service in stack.values() for name in service.get("depends_on", {})}
    assert awaited == {"redis", "s3", "api", "prometheus", "weights"}
    assert all("healthcheck" in stack[name] for name in awaited - {"api", "weights"})


def test_every_worker_waits_until_the_weights_that_it_names_are_there(checkout: Path) -> None:
    for overlays, workers in (((), {"worker"}), ((GPUS,), {"worker", "worker-1"}), ((CPU,), {"worker-cpu"})):
        services = merged(checkout, *overlays)
        weights = services["weights"]
        assert weights["restart"] == "no"  # what has ended well is not started again
        assert "highsync weights pull" in " ".join(weights["command"]).replace("python -m cli", "highsync")
        (volume,) = weights["volumes"]
        assert "/weights" in str(volume)
        assert not any("SECRET" in name or "PASSWORD" in name for name in weights["environment"])
        for name in workers:
            worker = services[name]
            assert worker["depends_on"]["weights"]["condition"] == "service_completed_successfully"
            assert worker["image"] == weights["image"]
            for setting in ("HIGHSYNC_WEIGHTS", "HIGHSYNC_YUNET_PATH"):
                assert worker["environment"][setting] == weights["environment"][setting]


def test_without_a_gpu_nothing_has_to_be_fetched(checkout: Path) -> None:
    made = merged(checkout, CPU)["weights"]["environment"]
    assert (made["HIGHSYNC_WEIGHTS"], made["HIGHSYNC_YUNET_PATH"]) == ("tiny", "")


def test_no_secret_is_written_down() -> None:
    for name in (STACK, "deploy/common.yml", CPU, GPUS, TLS, GARAGE, DEV):
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
            if re.search(r"(KEY|PASSWORD|SECRET):", line):
                assert re.search(r"\$\{(HIGHSYNC|GRAFANA)_\w+:\?", line), line


def test_without_a_gpu_another_worker_takes_the_place_of_the_first(stack: Services) -> None:
    overlay = load_yaml(CPU)["services"]
    assert stack["worker"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    for name in ("worker", "gpu-exporter"):
        assert overlay[name]["profiles"] == ["gpu"]  # not started unless asked for
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
    asked = {job["dns_sd_configs"][0]["names"][0]: job for job in jobs.values() if "dns_sd_configs" in job}
    ports = {name: job["dns_sd_configs"][0]["port"] for name, job in asked.items()}
    assert ports == {"api": 8000, "worker": port, "gpu-exporter": 9400}
    assert set(asked) <= set(stack)
    assert jobs["redis-exporter"]["static_configs"] == [{"targets": ["redis-exporter:9121"]}]
    # The names that rules and dashboards select by
    assert set(jobs) == {"prometheus", "api", "worker", "redis-exporter", "gpu-exporter"}


def test_every_service_of_the_stack_is_contained(stack: Services) -> None:
    """All but what writes its own files keep their root file system as it is."""
    assert all(service["extends"]["file"] == "deploy/common.yml" for service in stack.values())
    writing = {name for name, service in stack.items() if not service.get("read_only")}
    assert writing == {"api", "weights", "worker", "s3", "gpu-exporter"}  # the first three are, by deploy/common.yml


def test_grafana_shows_nothing_to_strangers_and_tells_nobody(stack: Services) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "deploy" / "grafana" / "grafana.ini")
    assert not config.getboolean("auth.anonymous", "enabled")
    assert not config.getboolean("users", "allow_sign_up")
    for telling in ("reporting_enabled", "check_for_updates", "check_for_plugin_updates", "feedback_links_enabled"):
        assert not config.getboolean("analytics", telling)
    assert not config.getboolean("news", "news_feed_enabled")
    assert config.getboolean("plugins", "preinstall_disabled")
    home = config.get("dashboards", "default_home_dashboard_path")
    assert (ROOT / "deploy" / "grafana" / "dashboards" / Path(home).name).is_file()
    mounted = dict(volume.removesuffix(":ro").split(":") for volume in stack["grafana"]["volumes"])
    assert mounted["./deploy/grafana/dashboards"] == str(Path(home).parent)


def test_prometheus_finds_the_alertmanager_when_there_is_one(stack: Services) -> None:
    assert stack["alertmanager"]["profiles"] == ["alerts"]
    (found,) = load_yaml("deploy/prometheus.yml")["alerting"]["alertmanagers"]
    assert found["dns_sd_configs"][0]["names"] == ["alertmanager"]


def test_inputs_cannot_name_a_service_of_the_stack(stack: Services) -> None:
    named = set(stack) | (load_yaml(TLS)["services"].keys())  # each further worker is also a `worker`
    assert named <= set(Settings.model_fields["fetch_deny"].default.split(","))
