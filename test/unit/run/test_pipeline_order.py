"""The order of a proxy's filters: which orders end the start, of which the operator is told."""

import itertools

import pytest

from swift.core.errors import ConfigError
from swift.deploy import configs
from swift.run import pipeline_order
from swift.run.pipeline import ConfigText, load_app

SAMPLE = [
    "catch_errors",
    "gatekeeper",
    "healthcheck",
    "proxy_logging",
    "memcache",
    "etag_quoter",
    "listing_formats",
    "container_sync",
    "bulk",
    "tempurl",
    "formpost",
    "ratelimit",
    "read_only",
    "s3api",
    "tempauth",
    "staticweb",
    "copy",
    "container_quotas",
    "account_quotas",
    "slo",
    "dlo",
    "versioned_writes",
    "symlink",
    "keymaster",
    "encryption",
    "proxy_logging",
]


def test_the_usual_order_is_right_and_so_is_each_part_of_it():
    assert pipeline_order.check(SAMPLE) == ([], [])
    for pair in itertools.combinations([name for name in SAMPLE[:-1] if name != "encryption"], 2):
        assert pipeline_order.check(pair) == ([], [])
    names = [
        {"cache": "memcache"}.get(name, name).replace("-", "_")
        for name in configs.pipeline("tempauth").split()[:-1]
    ]
    assert pipeline_order.check(names) == ([], [])
    assert pipeline_order.check(["cname_lookup", "domain_remap", "listing_formats"]) == ([], [])


@pytest.mark.parametrize(
    "names, text",
    [
        ("tempauth memcache gatekeeper catch_errors", "gatekeeper must stand before tempauth"),
        ("catch_errors keystoneauth gatekeeper", "gatekeeper must stand before keystoneauth"),
        ("catch_errors copy gatekeeper", "gatekeeper must stand before copy"),
        ("gatekeeper keymaster encryption slo", "slo must stand before encryption"),
        ("gatekeeper encryption keymaster", "keymaster must stand before encryption"),
        ("gatekeeper encryption", "encryption needs a keymaster"),
    ],
)
def test_what_gives_away_data_is_refused(names, text):
    assert text in "; ".join(pipeline_order.check(names.split())[0])


@pytest.mark.parametrize(
    "names, text",
    [
        ("gatekeeper catch_errors", "catch_errors must stand before gatekeeper"),
        ("gatekeeper tempauth memcache", "memcache must stand before tempauth"),
        ("gatekeeper tempauth tempurl", "tempurl must stand before tempauth"),
        ("gatekeeper tempauth container_quotas copy", "copy must stand before container_quotas"),
        ("gatekeeper tempauth symlink slo", "slo must stand before symlink"),
        ("memcache proxy_logging", "proxy_logging must stand before memcache"),
    ],
)
def test_of_what_goes_wrong_otherwise_the_operator_is_told(names, text):
    refused, warned = pipeline_order.check(names.split())
    assert refused == [] and text in "; ".join(warned)


class Log:
    def __init__(self):
        self.warnings = []

    def warning(self, message, *args):
        self.warnings.append(message % args)

    info = debug = notice = lambda self, *args: None


def _text(pipeline):
    sections = "".join(f"\n[filter:{name}]\nuse = egg:swift#{name}\n" for name in set(pipeline.split()))
    return ConfigText(
        f"[pipeline:main]\npipeline = {pipeline} proxy-server\n[app:proxy-server]\nuse = egg:swift#proxy\n{sections}"
    )


def test_a_proxy_does_not_start_with_a_dangerous_pipeline():
    with pytest.raises(ConfigError, match="gatekeeper must stand before tempauth") as caught:
        load_app(_text("tempauth memcache gatekeeper catch_errors"))
    assert "\n" not in str(caught.value)


def test_warnings_come_at_the_start(monkeypatch):
    log = Log()
    monkeypatch.setattr("swift.run.pipeline._build", lambda context: None)
    load_app(_text("catch_errors gatekeeper healthcheck tempauth memcache"), logger=log)
    told = [text for text in log.warnings if "must stand" in text]
    assert told and "memcache must stand before tempauth" in told[0]
