"""etc/prometheus and etc/grafana: every metric and label that they name is one that a running cluster exposes."""

import http.client
import json
import pathlib
import re
import time

import pytest
import yaml

from swift.telemetry.families import FAMILIES, HISTOGRAMS

ROOT = pathlib.Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "etc/prometheus/swift-alerts.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
DASHBOARDS = sorted((ROOT / "etc/grafana").glob("*.json"))
OF_PROMETHEUS = {"instance", "job"}
# Families whose samples a cluster at rest has none of.
LABELS = {name: set(family.labels) for name, family in {**FAMILIES, **HISTOGRAMS}.items()}
LABELS |= {"swift_s3_notifier_is_down": {"target"}}
WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def names_and_labels(expression):
    """({metric: labels it is selected by}, labels that results are grouped by) of a PromQL expression."""
    bare = STRING.sub('""', expression)
    metrics: dict[str, set[str]] = {}
    for name, inside in SELECTOR.findall(bare):
        assert name, expression
        metrics.setdefault(name, set()).update(re.findall(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)", inside))
    grouped = {label.strip() for inside in GROUPING.findall(bare) for label in inside.split(",")}
    plain = GROUPING.sub("", SELECTOR.sub(lambda match: match[1], bare))
    for word in WORD.findall(plain):
        if word.startswith("swift_") or word == "up":
            metrics.setdefault(word, set())
    return metrics, grouped


def test_the_tokenizer():
    metrics, grouped = names_and_labels(
        'sum by (le, x) (rate(swift_a_bucket{m=~"GET|{}",s!="x"}[5m])) / swift_b > max(swift_c{k="v"})'
    )
    assert metrics == {"swift_a_bucket": {"m", "s"}, "swift_b": set(), "swift_c": {"k"}}
    assert grouped == {"le", "x"}


@pytest.fixture(scope="module")
def exposed(cluster):
    """{name as Prometheus has it: labels} of all servers, once each daemon has been through."""
    (cluster.layout.home / "cache" / "1" / "drive.recon").write_text('{"drive_audit_errors": 0}\n')
    give_up = time.monotonic() + 60
    while True:
        found: dict[str, set[str]] = {"up": set()}
        for address in cluster.layout.addresses():
            connection = http.client.HTTPConnection(*address, timeout=60)
            connection.request("GET", "/metrics")
            _take(connection.getresponse().read().decode(), found)
            connection.close()
        if all(name in found for name in wanted()) or time.monotonic() > give_up:
            return found
        time.sleep(0.5)


def _take(text, found):
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            known = LABELS.get(name.removesuffix("_total"), set()) | OF_PROMETHEUS
            for suffix in ("_bucket", "_count", "_sum") if kind == "histogram" else ("",):
                found.setdefault(name + suffix, set()).update(
                    known | ({"le"} if suffix == "_bucket" else set())
                )
        elif not line.startswith("#"):
            name, _, labels = line.rpartition(" ")[0].partition("{")
            found.setdefault(name, set()).update(re.findall(r'([a-z0-9_]+)="', labels), OF_PROMETHEUS)


def expressions():
    yield from ((rule["alert"], rule["expr"]) for rule in ALERTS)
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


def wanted():
    return {name for _, expression in expressions() for name in names_and_labels(expression)[0]}


def test_what_dashboards_and_alerts_ask_for_is_exposed(exposed):
    wrong = []
    for where, expression in expressions():
        metrics, grouped = names_and_labels(expression)
        labels = set()
        for name, selected in metrics.items():
            if name not in exposed:
                wrong.append(f"{where}: no metric {name}")
                continue
            labels |= exposed[name] | OF_PROMETHEUS
            wrong += [f"{where}: {name} has no label {label}" for label in selected - labels]
        wrong += [f"{where}: nothing to group by {label}" for label in grouped - labels]
        wrong += [] if metrics else [f"{where}: no metric in {expression}"]
    assert wrong == []


def test_texts_name_only_labels_that_there_are(exposed):
    wrong = []
    for rule in ALERTS:
        metrics, grouped = names_and_labels(rule["expr"])
        known = grouped or set().union(*(exposed.get(name, set()) for name in metrics))
        if re.match(r"(?:sum|count|max|min|histogram_quantile)\b", rule["expr"]) and not grouped:
            known = set()
        for text in rule["annotations"].values():
            used = set(re.findall(r"\$labels\.(\w+)", text))
            wrong += [f"{rule['alert']}: {label}" for label in used - known - OF_PROMETHEUS]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                metrics, grouped = names_and_labels(target["expr"])
                known = grouped or set().union(*(exposed.get(name, set()) for name in metrics))
                used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                wrong += [f"{path.name}: {panel['title']}: {label}" for label in used - known]
    assert wrong == []


def test_each_alert_says_what_it_means_what_to_type_and_where_there_is_more():
    guide = (ROOT / "doc/operators-guide.md").read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", guide, re.MULTILINE)
    }
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names) > 25
    for rule in ALERTS:
        assert set(rule["annotations"]) == {"summary", "means", "do", "guide"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        page, _, anchor = rule["annotations"]["guide"].partition("#")
        assert (ROOT / page).exists() and anchor in anchors, rule["alert"]
        assert rule["alert"] in guide, rule["alert"]


def test_dashboards_are_whole():
    assert len(DASHBOARDS) == 2
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids) and dashboard["uid"] == path.stem
        places = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            cells = {
                (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & places, panel["title"]
            places |= cells


def test_what_prometheus_is_to_ask_are_the_addresses_of_an_all_in_one_cluster(cluster):
    conf = yaml.safe_load((ROOT / "etc/prometheus/prometheus.yml").read_text())
    from swift.cli.saio_layout import Layout

    targets = {
        target
        for job in conf["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }
    assert targets == {f"{ip}:{port}" for ip, port in Layout(cluster.layout.home).addresses()}
    assert {job["job_name"] for job in conf["scrape_configs"]} == {
        "swift-proxy",
        "swift-account",
        "swift-container",
        "swift-object",
    }
