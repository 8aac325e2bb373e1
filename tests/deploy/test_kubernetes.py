"""deploy/kubernetes: what kustomize makes of it is valid, hangs together, and is the stack of docker-compose.yml."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from core.settings import Settings
from tests.deploy.conftest import ROOT, load_yaml
from tests.deploy.metric_names import known_names
from tests.deploy.test_init import read_env
from worker.parent import SHUTDOWN_GRACE_S

BASE = "deploy/kubernetes/base"
STUDIO = "deploy/kubernetes/overlays/studio"
OLDEST, NEWEST = "1.25", kubernetes_validate.latest_version()
OF_OPERATORS = {"ScaledObject", "ServiceMonitor"}
"""Kinds that Kubernetes itself does not know."""

CONFINED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
STRANGERS = ("10.1.2.3", "100.100.100.200", "169.254.169.254", "172.20.0.1", "192.168.1.1", "fd00::1", "fe80::1", "::1")

Object = dict[str, Any]


def has_kustomize() -> bool:
    """Whether there is a kubectl with a kustomize of today; Debian 12 has an older one."""
    if shutil.which("kubectl") is None:
        return False
    said = json.loads(subprocess.check_output(["kubectl", "version", "--client", "--output", "json"]))
    return int(said["clientVersion"]["minor"].rstrip("+")) >= 21


def built(folder: str) -> list[Object]:
    if not has_kustomize():
        pytest.skip("there is no kubectl 1.21 or newer")
    command = ["kubectl", "kustomize", folder]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """What the example overlay applies."""
    return built(STUDIO)


def of_kind(objects: list[Object], *kinds: str) -> dict[str, Object]:
    return {found["metadata"]["name"]: found for found in objects if found["kind"] in kinds}


def pods(objects: list[Object]) -> dict[str, Object]:
    """The pod templates, by the name of what makes them."""
    return {name: found["spec"]["template"] for name, found in of_kind(objects, "Deployment", "StatefulSet").items()}


def containers(objects: list[Object]) -> dict[str, Object]:
    """The one container of each, likewise."""
    found = {name: pod["spec"]["containers"] for name, pod in pods(objects).items()}
    assert all(len(several) == 1 for several in found.values())
    return {name: container for name, (container,) in found.items()}


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        rule["operator"] == "In" and labels.get(rule["key"]) in rule["values"]
        for rule in selector.get("matchExpressions", [])
    )


def chosen(objects: list[Object], selector: Object) -> set[str]:
    return {name for name, pod in pods(objects).items() if matches(selector, pod["metadata"]["labels"])}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("folder", [BASE, STUDIO])
def test_every_object_is_valid_to_the_letter(folder: str, version: str) -> None:
    unknown = set()
    for found in built(folder):
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(found["kind"])
    assert unknown == OF_OPERATORS


def test_the_scaled_object_is_one_that_keda_knows(objects: list[Object]) -> None:
    (scaled,) = of_kind(objects, "ScaledObject").values()
    assert scaled["apiVersion"] == "keda.sh/v1alpha1"
    assert scaled["spec"]["scaleTargetRef"]["name"] in of_kind(objects, "Deployment")
    assert scaled["spec"].keys() == {
        "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "advanced", "triggers",
    }  # fmt: skip
    assert scaled["spec"]["advanced"].keys() == {"horizontalPodAutoscalerConfig"}
    assert scaled["spec"]["minReplicaCount"] >= 1
    for trigger in scaled["spec"]["triggers"]:
        assert trigger["type"] == "prometheus"
        assert trigger["metadata"].keys() == {"serverAddress", "query", "threshold"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())
        assert set(re.findall(r"highsync_\w+", trigger["metadata"]["query"])) <= known_names()
        assert f'namespace="{scaled["metadata"]["namespace"]}"' in trigger["metadata"]["query"]
    asked = " ".join(trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"])
    assert "highsync_queue_oldest_age_seconds" in asked


def test_prometheus_finds_the_services_under_the_names_that_the_alerts_use(objects: list[Object]) -> None:
    services, asked = of_kind(objects, "Service"), set()
    for monitor in of_kind(objects, "ServiceMonitor").values():
        assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
        assert monitor["spec"].keys() == {"selector", "endpoints"}
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint.keys() == {"port", "path", "interval"}
        (service,) = [
            found for found in services.values() if matches(monitor["spec"]["selector"], found["metadata"]["labels"])
        ]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        asked.add(service["metadata"]["name"])
    assert asked == {job["job_name"] for job in load_yaml("deploy/prometheus.yml")["scrape_configs"]} & services.keys()
    assert asked == {"api", "worker", "redis-exporter"}


def test_every_selector_chooses_what_it_is_named_for(objects: list[Object]) -> None:
    for name, found in of_kind(objects, "Deployment", "StatefulSet", "PodDisruptionBudget").items():
        assert chosen(objects, found["spec"]["selector"]) == {name}
    for name, service in of_kind(objects, "Service").items():
        assert chosen(objects, {"matchLabels": service["spec"]["selector"]}) == {name}
    for policy in of_kind(objects, "NetworkPolicy").values():
        assert chosen(objects, policy["spec"]["podSelector"]), policy["metadata"]["name"]
    for autoscaler in of_kind(objects, "HorizontalPodAutoscaler").values():
        assert autoscaler["spec"]["scaleTargetRef"]["name"] in of_kind(objects, "Deployment")


def test_ports_have_the_same_name_and_number_everywhere(objects: list[Object]) -> None:
    named = {
        name: {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        for name, container in containers(objects).items()
    }
    for name, service in of_kind(objects, "Service").items():
        assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == named[name]
    for name, container in containers(objects).items():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if "httpGet" in container.get(probe, {}):
                assert container[probe]["httpGet"]["port"] in named[name]
    for ingress in of_kind(objects, "Ingress").values():
        for rule in ingress["spec"]["rules"]:
            backend = rule["http"]["paths"][0]["backend"]["service"]
            assert backend["port"]["name"] in named[backend["name"]]
            assert rule["host"] in ingress["spec"]["tls"][0]["hosts"]
    assert named["api"] == {"http": 8000}
    assert named["worker"] == {"metrics": Settings.model_fields["worker_metrics_port"].default}


def test_images_are_those_of_compose(stack: dict[str, Any]) -> None:
    worker = load_yaml("deploy/common.yml")["services"]["worker"]
    of_compose = {name: service.get("image", worker["image"]) for name, service in stack.items()}
    ours = {name: container["image"] for name, container in containers(built(BASE)).items()}
    assert ours.pop("admin") == of_compose["api"]
    assert ours == {name: of_compose[name] for name in ours}
    assert ours.keys() == {"api", "worker", "redis", "redis-exporter", "s3"}


def environment_of(objects: list[Object], container: Object, secrets: dict[str, str]) -> dict[str, str]:
    """What a process in this container reads, with these secrets in the cluster. KeyError for one that is missing."""
    made: dict[str, str] = {}
    for source in container.get("envFrom", []):
        made |= of_kind(objects, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    for variable in container["env"]:
        if "valueFrom" in variable:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["name"] == "secrets"
            made[variable["name"]] = secrets[reference["key"]]
        else:
            made[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: made[match[1]], variable["value"])
    return made


@pytest.mark.parametrize("name", ["api", "worker", "admin"])
def test_the_environment_makes_settings_with_the_secrets_of_make_init(
    name: str, objects: list[Object], checkout: Path
) -> None:
    secrets = read_env(checkout)
    made = environment_of(objects, containers(objects)[name], secrets)
    known = {f"HIGHSYNC_{field.upper()}" for field in Settings.model_fields}
    assert made.keys() - known == {"HIGHSYNC_REDIS_PASSWORD"}  # part of the address
    settings = Settings.model_validate({field.removeprefix("HIGHSYNC_").lower(): made[field] for field in made})
    assert settings.redis_url == f"redis://:{secrets['HIGHSYNC_REDIS_PASSWORD']}@redis:6379/0"
    assert settings.redis_url.endswith(f"@{name_and_port(objects, 'redis')}/0")
    if name != "admin":
        assert settings.s3_endpoint == f"http://{name_and_port(objects, 's3')}"
        assert settings.public_url.startswith("https://")
        assert not settings.allow_unauthenticated


def name_and_port(objects: list[Object], service: str) -> str:
    (port,) = of_kind(objects, "Service")[service]["spec"]["ports"]
    return f"{service}:{port['port']}"


def test_no_secret_is_part_of_it(objects: list[Object]) -> None:
    assert of_kind(objects, "Secret") == {}


def test_redis_keeps_its_promises_as_in_compose(objects: list[Object], stack: dict[str, Any]) -> None:
    ours, of_compose = containers(objects)["redis"]["command"][-1], stack["redis"]["command"][-1]
    assert ours.partition("--requirepass")[0] == of_compose.partition("--requirepass")[0]
    (claim,) = of_kind(objects, "StatefulSet")["redis"]["spec"]["volumeClaimTemplates"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in containers(objects)["redis"]["volumeMounts"]


def test_every_container_is_confined_and_writes_to_volumes_only(objects: list[Object]) -> None:
    for name, pod in pods(objects).items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True, name
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
    for name, container in containers(objects).items():
        assert container["securityContext"] == CONFINED, name
        assert "memory" in container["resources"]["limits"], name
    for pod in pods(objects).values():
        for volume in pod["spec"].get("volumes", []):
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": None})


def test_a_worker_has_one_gpu_its_scratch_and_time_to_hand_its_job_back(objects: list[Object]) -> None:
    worker = containers(objects)["worker"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    places = {mount["mountPath"] for mount in worker["volumeMounts"]}
    (volumes,) = re.findall(r"^VOLUME (.+)$", (ROOT / "Dockerfile.gpu").read_text(encoding="utf-8"), re.MULTILINE)
    assert places == {*re.findall(r'"(/\w+)"', volumes), "/tmp"}
    assert pods(objects)["worker"]["spec"]["terminationGracePeriodSeconds"] > SHUTDOWN_GRACE_S


def test_a_worker_is_started_when_the_weights_that_it_names_are_there(objects: list[Object]) -> None:
    worker, pod = containers(objects)["worker"], pods(objects)["worker"]["spec"]
    (weights,) = pod["initContainers"]
    assert weights["command"][-3:] == ["cli", "weights", "pull"]
    assert weights["image"] == worker["image"]
    assert weights["envFrom"] == worker["envFrom"]
    assert "env" not in weights  # no secrets
    assert weights["securityContext"] == CONFINED
    assert "memory" in weights["resources"]["limits"]
    assert {mount["name"] for mount in weights["volumeMounts"]} == {"weights", "tmp"}


def reachable(objects: list[Object]) -> Iterator[tuple[str, str, int]]:
    """Which pod may connect to which, on which port: both sides have to allow it."""
    policies = of_kind(objects, "NetworkPolicy").values()
    ways: dict[str, set[tuple[str, str, int]]] = {"ingress": set(), "egress": set()}
    for policy in policies:
        here = chosen(objects, policy["spec"]["podSelector"])
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, []):
                selectors = [peer["podSelector"] for peer in rule[side] if "podSelector" in peer]
                there = {name for selector in selectors for name in chosen(objects, selector)}
                pairs = [(a, b) if direction == "egress" else (b, a) for a in here for b in there]
                ways[direction] |= {(*pair, port["port"]) for pair in pairs for port in rule["ports"]}
    yield from ways["ingress"] & ways["egress"]


def test_nobody_reaches_what_is_not_needed(objects: list[Object]) -> None:
    policies = of_kind(objects, "NetworkPolicy")
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    to_redis = {(name, "redis", 6379) for name in ("api", "worker", "admin", "redis-exporter")}
    assert set(reachable(objects)) == to_redis | {("api", "s3", 7070), ("worker", "s3", 7070)}
    let_in = {
        (name, *peer["namespaceSelector"]["matchLabels"])
        for name, policy in policies.items()
        for rule in policy["spec"].get("ingress", [])
        for peer in rule["from"]
        if "namespaceSelector" in peer
    }
    clients, monitoring = "highsync/clients", "highsync/monitoring"
    measured = {("api", monitoring), ("worker", monitoring), ("redis-exporter", monitoring)}
    assert let_in == {("api", clients), ("s3", clients)} | measured


def test_inputs_and_webhooks_reach_public_addresses_only(objects: list[Object]) -> None:
    policy = of_kind(objects, "NetworkPolicy")["to-the-internet"]["spec"]
    assert chosen(objects, policy["podSelector"]) == {"api", "worker"}
    blocks = [peer["ipBlock"] for rule in policy["egress"] for peer in rule["to"]]

    def allowed(address: str) -> bool:
        return any(
            ip_address(address) in ip_network(block["cidr"])
            and not any(ip_address(address) in ip_network(hole) for hole in block["except"])
            for block in blocks
        )

    assert allowed("93.184.216.34")
    assert allowed("2606:2800:220:1::1")
    assert [address for address in STRANGERS if allowed(address)] == []


def test_the_api_is_not_taken_away_when_the_last_worker_goes(objects: list[Object]) -> None:
    api = containers(objects)["api"]
    assert {api[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")} == {"/livez"}
