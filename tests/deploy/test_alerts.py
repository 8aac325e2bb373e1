"""The alerts ask for metrics that there are, fire when they should and only then, and the runbook says what to do about
each, and about each error code."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import CATALOGUE, ErrorCode
from tests.deploy.alert_cases import CASES, Case
from tests.deploy.conftest import ROOT, load_yaml, promtool
from tests.deploy.metric_names import known_names, names_in

RULE_FILES = ("deploy/alerts.yml", "deploy/recording.yml")


def rules_of(*files: str) -> list[dict[str, Any]]:
    return [rule for name in files for group in load_yaml(name)["groups"] for rule in group["rules"]]


RULES = rules_of("deploy/alerts.yml")
RUNBOOK = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", rules_of(*RULE_FILES), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_that_there_are(rule: dict[str, Any]) -> None:
    named = names_in(rule["expr"])
    assert named
    assert named <= known_names()


def test_prometheus_takes_rules_and_configuration(tmp_path: Path) -> None:
    promtool("check", "rules", *(str(ROOT / name) for name in RULE_FILES))
    config = load_yaml("deploy/prometheus.yml")
    config["rule_files"] = [str(ROOT / name) for name in RULE_FILES]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_each_alert_is_tried_both_ways() -> None:
    tried = {(case.alert, bool(case.summary)) for case in CASES}
    assert tried == {(rule["alert"], fires) for rule in RULES for fires in (True, False)}


def rule_test(case: Case) -> dict[str, Any]:
    """The case in promtool's words."""
    (rule,) = [rule for rule in RULES if rule["alert"] == case.alert]
    expected = {
        "exp_labels": case.labels | rule["labels"],
        "exp_annotations": {"summary": case.summary, "runbook": rule["annotations"]["runbook"]},
    }
    asked = {"eval_time": case.at, "alertname": case.alert, "exp_alerts": [expected] if case.summary else []}
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"interval": "1m", "input_series": series, "alert_rule_test": [asked], "name": case.alert}


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    tests = {
        "rule_files": [str(ROOT / name) for name in RULE_FILES],
        "evaluation_interval": "1m",
        "tests": [rule_test(case) for case in CASES],
    }
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests, sort_keys=False))
    promtool("test", "rules", str(tmp_path / "tests.yml"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_the_runbook_has_a_section_for_each_alert(rule: dict[str, Any]) -> None:
    section = re.search(rf"^### {rule['alert']}\n\n(.+)", RUNBOOK, re.MULTILINE)
    assert section, rule["alert"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


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


def test_prometheus_reads_the_rules() -> None:
    mounted = load_yaml("docker-compose.yml")["services"]["prometheus"]["volumes"]
    for name, path in zip(RULE_FILES, load_yaml("deploy/prometheus.yml")["rule_files"], strict=True):
        assert f"./{name}:{path}:ro" in mounted
