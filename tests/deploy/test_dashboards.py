"""The dashboards ask for what there is, in words that Prometheus takes, and say what they show."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import ROOT, load_yaml, promtool
from tests.deploy.metric_names import OF_DCGM_EXPORTER, OF_REDIS_EXPORTER, known_names, names_in

FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
PAGES: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
UNITS = {"none", "s", "bytes", "Bps", "reqps", "percent", "percentunit", "celsius", "watt"}
"""Grafana's own that are used; besides them a number may have a word behind it: `suffix:`."""

pages = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


def expressions(page: dict[str, Any]) -> list[str]:
    shown = [target["expr"] for panel in page["panels"] for target in panel["targets"]]
    return shown + [mark["expr"] for mark in page["annotations"]["list"]]


def test_the_files_are_what_the_script_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "dashboards.py", tmp_path], check=True)
    written = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert written == PAGES
    assert set(PAGES) == {"service", "workers", "jobs"}


@pages
def test_a_page_asks_only_for_series_that_there_are(page: dict[str, Any]) -> None:
    for expression in expressions(page):
        assert names_in(expression), expression
        assert names_in(expression) <= known_names(), expression


def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    asked = [expression for page in PAGES.values() for expression in expressions(page)]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "panels.yml"))


@pages
def test_a_panel_says_what_it_shows_and_in_which_unit(page: dict[str, Any]) -> None:
    (datasource,) = load_yaml("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    panels = page["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"] == {"type": datasource["type"], "uid": datasource["uid"]}
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit in UNITS or unit.startswith("suffix:"), unit
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0


@pages
def test_panels_lie_on_the_page_and_not_on_each_other(page: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert taken.isdisjoint(cells), panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_pages_are_told_apart_and_named_by_no_other() -> None:
    assert len({page["uid"] for page in PAGES.values()}) == len({page["title"] for page in PAGES.values()}) == 3


def test_every_series_that_is_recorded_or_listed_is_asked_for() -> None:
    recorded = {rule["record"] for group in load_yaml("deploy/recording.yml")["groups"] for rule in group["rules"]}
    asked = [expression for page in PAGES.values() for expression in expressions(page)]
    asked += [rule["expr"] for group in load_yaml("deploy/alerts.yml")["groups"] for rule in group["rules"]]
    assert set().union(*map(names_in, asked)) >= recorded | OF_REDIS_EXPORTER | OF_DCGM_EXPORTER


def test_grafana_finds_the_pages() -> None:
    (provider,) = load_yaml("deploy/grafana/provisioning/dashboards/highsync.yml")["providers"]
    mounted = load_yaml("docker-compose.yml")["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounted
    assert "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro" in mounted
