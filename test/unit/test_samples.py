"""etc/*.conf-sample and the code agree: what is read is shown, what is shown is read, and both know the same defaults."""

from __future__ import annotations

import ast
import functools
import pathlib
import re
from dataclasses import fields

import pytest

from swift.core.constraints import Limits
from swift.run import known_options, option_names, option_values

ROOT = pathlib.Path(__file__).parents[2]
SAMPLES = {
    path.name.removesuffix(".conf-sample"): path for path in sorted((ROOT / "etc").glob("*.conf-sample"))
}
SERVERS = ("account-server", "container-server", "object-server", "proxy-server")
DAEMONS = {
    "object-updater": "object-server",
    "object-replicator": "object-server",
    "object-auditor": "object-server",
    "object-expirer": "object-server",
    "object-reconstructor": "object-server",
    "container-updater": "container-server",
    "container-sync": "container-server",
    "account-auditor": "account-server",
    "container-auditor": "container-server",
    "account-replicator": "account-server",
    "container-replicator": "container-server",
    "account-reaper": "account-server",
    "container-sharder": "container-server",
    "container-reconciler": "container-reconciler",
    "s3-lifecycle": "s3-lifecycle",
    "s3-notifier": "s3-notifier",
}

# Whose options stand in which samples: the first line that fits counts.
HOMES = [
    ("swift/account/", ["account-server"]),
    ("swift/cli/shard_ranges_args.py", ["container-server"]),
    ("swift/container/sync_realms.py", ["container-sync-realms"]),
    ("swift/container/reconciler.py", ["container-reconciler"]),
    ("swift/container/", ["container-server"]),
    ("swift/db/", ["account-server", "container-server"]),
    ("swift/obj/", ["object-server"]),
    ("swift/proxy/", ["proxy-server"]),
    ("swift/middleware/recon.py", ["account-server", "container-server", "object-server"]),
    ("swift/middleware/healthcheck.py", SERVERS),
    ("swift/middleware/backend_ratelimit.py", ["account-server", "container-server", "object-server"]),
    ("swift/middleware/memcache.py", ["memcache"]),
    ("swift/middleware/", ["proxy-server"]),
    ("swift/s3/lifecycle/daemon.py", ["s3-lifecycle"]),
    ("swift/s3/notifications/daemon.py", ["s3-notifier"]),
    ("swift/s3/notifications/targets/", ["s3-notifier"]),
    ("swift/s3/", ["proxy-server"]),
    ("swift/console/", ["proxy-server"]),
    ("swift/telemetry/access_line.py", SERVERS),
    ("swift/core/policy.py", ["swift"]),
    ("swift/core/hashing.py", ["swift"]),
    ("swift/core/constraints.py", ["swift"]),
    ("swift/core/backend_security.py", ["swift"]),
    ("swift/run/daemon.py", ["account-server", "container-server", "object-server"]),
    ("swift/core/config.py", ["proxy-server"]),
    ("swift/core/", SERVERS),
    ("swift/run/", SERVERS),
    ("swift/telemetry/disk_watch.py", ["account-server", "container-server", "object-server"]),
    ("swift/telemetry/shared_tables.py", ["account-server", "container-server", "object-server"]),
    ("swift/telemetry/node_metrics.py", ["account-server", "container-server", "object-server"]),
    ("swift/telemetry/node_", ["account-server", "container-server", "object-server"]),
    ("swift/telemetry/", SERVERS),
    ("swift/cache/", SERVERS),
    ("swift/wire/", SERVERS),
    ("swift/cli/dispersion.py", ["dispersion"]),
    ("swift/cli/recon_cron.py", ["object-server"]),
    ("swift/cli/drive_audit.py", ["drive-audit"]),
    ("swift/cli/", SERVERS),
]
# Options that stand in other files than their module's, and things that are looked up like options and are none.
ELSEWHERE = {
    "servers_per_port": ["object-server"],
    "ring_ip": ["object-server"],
    "ring_check_interval": ["object-server"],
    "log_requests": ["account-server", "container-server", "object-server"],
    "log_format": ["account-server", "container-server", "object-server"],
    "log_msg_template": ["proxy-server"],
    "workers": SERVERS,
    "swift_dir": SERVERS,
}
NONE = {"__file__", "__name__"}
# Read under names that the search below does not see.
COMPOSED = {
    "swift/account/auditor.py": {"accounts_per_second": "200"},
    "swift/core/backend_security.py": {
        "signing": "off",
        "signing_keys": "backend-keys",
        "tls": "off",
        "tls_cert_file": "",
        "tls_key_file": "",
        "tls_ca_file": "",
    },
    "swift/cli/drive_audit.py": {"regex_pattern_<number>": ""},
    "swift/container/auditor.py": {"containers_per_second": "200"},
    "swift/middleware/keystoneauth/authorization.py": {
        "operator_roles": "admin, swiftoperator",
        "service_roles": "",
        "project_reader_roles": "",
    },
    "swift/middleware/keymaster/keys.py": {
        "encryption_root_secret": "",
        "encryption_root_secret_<id>": "",
    },
    "swift/middleware/kms_keymaster.py": dict.fromkeys(
        (
            "key_id",
            "key_id_<id>",
            "password",
            "username",
            "user_id",
            "user_domain_id",
            "user_domain_name",
            "trust_id",
            "domain_id",
            "domain_name",
            "project_id",
            "project_name",
            "project_domain_id",
            "project_domain_name",
        ),
        "",
    ),
    "swift/middleware/kmip_keymaster.py": dict.fromkeys(
        ("host", "port", "certfile", "keyfile", "ca_certs", "username", "password"), ""
    ),
    "swift/middleware/backend_ratelimit.py": {
        f"{method}_requests_per_device_per_second": "0.0"
        for method in ("get", "head", "put", "post", "delete", "update", "replicate")
    },
    "swift/middleware/ratelimit.py": {
        "container_ratelimit_<size>": "",
        "container_listing_ratelimit_<size>": "",
        "account_whitelist": "",
        "account_blacklist": "",
    },
    "swift/middleware/tempauth/authorization.py": {"require_group": ""},
    "swift/middleware/tempauth/tokens.py": {"fernet_key_<id>": ""},
    "swift/obj/expirer/tasks.py": {"delay_reaping_<account>": "0"},
    "swift/telemetry/metrics.py": {"statsd_user_label_<name>": ""},
    "swift/s3/options.py": {"storage_class_<name>": ""},
}
# What a sample has for its reader or for PasteDeploy.
STRUCTURE = re.compile(
    r"use|pipeline|user(64)?_<account>_<user>|cluster_(one|two)|mtime_check_interval"
    # keystonemiddleware's
    r"|www_authenticate_uri|auth_type|username|(project|user)_domain_id|project_name|password|delay_auth_decision|cache|include_service_catalog"
    r"|service_token_roles(_required)?"
)


def shown(path: pathlib.Path) -> dict[str, set[str]]:
    """option → its values in a sample, active or commented."""
    found: dict[str, set[str]] = {}
    for line in path.read_text().splitlines():
        match = re.match(r"(?:# ?)?([a-z0-9_<>]+) =(?: (.*))?$", line)
        if match:
            found.setdefault(match[1], set()).add((match[2] or "").strip())
    return found


class Reads(ast.NodeVisitor):
    """Collects option → default (None: not a plain value) of what a module looks up in mappings named like configuration."""

    def __init__(self, relative: str) -> None:
        self.found: dict[str, set[str | None]] = {}
        names = {"conf", "local_conf", "access_conf", "first"}
        if relative in (
            "swift/middleware/memcache.py",
            "swift/core/backend_security.py",
            "swift/core/policy.py",
            "swift/container/sync_realms.py",
        ):
            names.add("options")
        if relative == "swift/core/hashing.py":
            names.add("section")
        self.names = names
        self.get_is_conf = relative == "swift/proxy/options.py"

    def is_conf(self, node: ast.expr) -> bool:
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        return name in self.names

    def add(self, name: ast.expr, default: ast.expr | None) -> None:
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            return
        plain = str(default.value) if isinstance(default, ast.Constant) else None
        self.found.setdefault(name.value, set()).add(plain)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self.is_conf(node.value) and isinstance(node.ctx, ast.Load):
            self.add(node.slice, None)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function, args = node.func, node.args
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        of_conf = self.is_conf(function.value) if isinstance(function, ast.Attribute) else self.get_is_conf
        if name == "get" and of_conf:
            self.add(args[0], args[1] if len(args) > 1 else None)
        elif name in ("_option", "_seconds", "skip_share") and self.is_conf(args[0]):
            self.add(args[1], args[3] if len(args) > 3 else None)
        self.generic_visit(node)


@functools.cache
def reads() -> list[tuple[str, str, set[str | None]]]:
    """(module, option, defaults) of all that the code reads."""
    found = []
    for path in sorted((ROOT / "swift").rglob("*.py")):
        relative = str(path.relative_to(ROOT))
        visitor = Reads(relative)
        visitor.visit(ast.parse(path.read_text()))
        found += [(relative, option, defaults) for option, defaults in visitor.found.items()]
        found += [(relative, option, {default}) for option, default in COMPOSED.get(relative, {}).items()]
    found += [("swift/core/constraints.py", limit.name, {None}) for limit in fields(Limits)]
    from swift.middleware.proxy_logging import _LOG_OPTIONS

    found += [("swift/middleware/proxy_logging.py", f"access_{option}", {None}) for option in _LOG_OPTIONS]
    return [entry for entry in found if entry[1] not in NONE]


def homes(module: str, option: str) -> list[str]:
    if option in ELSEWHERE:
        return list(ELSEWHERE[option])
    return next(list(names) for prefix, names in HOMES if module.startswith(prefix))


def test_the_search_finds_options():
    names = {option for _, option, _ in reads()}
    assert {"bind_port", "read_affinity", "log_statsd_host", "max_object_name_length", "mb_per_sync"} <= names
    assert len(names) > 150


def test_every_option_that_is_read_is_shown():
    missing = [
        f"{option} ({module}) is not in {name}.conf-sample"
        for module, option, _ in reads()
        for name in homes(module, option)
        if option not in shown(SAMPLES[name])
    ]
    assert missing == []


def test_an_option_that_nothing_reads_is_named(tmp_path):
    """The table of known options holds what is read, and nothing else."""
    named = {option for _, option, _ in reads() if "<" not in option}
    assert {name for name in named if not option_names.FREE.fullmatch(name)} - option_names.OPTIONS == set()
    assert option_names.OPTIONS - named == set()
    path = tmp_path / "proxy-server.conf"
    path.write_text(
        "[DEFAULT]\nbind_prt = 1\nworkers = 2\n[pipeline:main]\npipeline = other tempauth proxy-server\n"
        "[filter:tempauth]\nuse = egg:swift#tempauth\nuser_a_b = c\n"
        "[filter:other]\nuse = egg:other#x\nwhatever = 1\n"
        "[app:proxy-server]\nuse = egg:swift#proxy\nset account_autocreat = true\n"
    )
    assert known_options.unknown_options(str(path)) == [
        "unknown option bind_prt in [DEFAULT] has no effect (did you mean bind_port?)",
        "unknown option account_autocreat in [app:proxy-server] has no effect (did you mean account_autocreate?)",
    ]
    path.write_text("[object-updater]\nconcurency = 3\n[elsewhere]\nx = y\n")
    assert known_options.unknown_options(str(path), "object-updater") == [
        "unknown option concurency in [object-updater] has no effect (did you mean concurrency?)"
    ]
    path.write_text("[s3-target:hook]\ntype = kafka\nkafka.linger.ms = 5\nsecert = x\n")
    assert known_options.unknown_options(str(path), "s3-notifier") == [
        "unknown option secert in [s3-target:hook] has no effect (did you mean secret?)"
    ]


def test_every_option_that_is_shown_is_read():
    names = {option for _, option, _ in reads()}
    unread = [
        f"{name}.conf-sample: {option}"
        for name, path in SAMPLES.items()
        for option in shown(path)
        if option not in names and not STRUCTURE.fullmatch(option)
    ]
    assert unread == []


def test_defaults_are_those_of_the_code():
    """For the plain ones that differ nowhere: numbers and words written where the option is read."""
    wrong = []
    for module, option, defaults in reads():
        for default in defaults - {None, ""}:
            for name in homes(module, option):
                values = shown(SAMPLES[name])[option]
                if not any(_same(default, value) for value in values):
                    wrong.append(
                        f"{name}.conf-sample: {option} is {default} in {module}, not {sorted(values)}"
                    )
    assert wrong == []


def _same(default: str | None, value: str) -> bool:
    try:
        return float(default or "") == float(value)
    except ValueError:
        return default == value


def test_every_option_is_explained():
    """By the comment in front of it, which is not an option itself."""
    for path in SAMPLES.values():
        before = ""
        for line in path.read_text().splitlines():
            if re.match(r"# ([a-z0-9_<>]+) =", line):
                assert before.startswith("# "), f"{path.name}: {line}"
            else:
                before = line


# -- they work


@pytest.mark.parametrize(
    "unit", sorted((ROOT / "etc/systemd").glob("swift-[!r]*[!@].service")), ids=lambda path: path.stem
)
def test_units_start_what_there_is(unit):
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if re.match("[A-Z]", line))
    name, conf = re.fullmatch(r"swift-(\S+) /etc/swift/(\S+)\.conf", lines["ExecStart"]).groups()
    assert unit.stem == f"swift-{name}"
    assert (ROOT / "bin" / f"swift-{name}").exists()
    section = f"[app:{name}]" if name in SERVERS else f"[{name}]"
    assert f"\n{section}\n" in SAMPLES[conf].read_text()
    assert lines["Type"] == "notify"
    assert lines["ExecReload"] == ("swift-reload $MAINPID" if name in SERVERS else "/bin/kill -HUP $MAINPID")


def test_every_server_and_daemon_has_a_unit():
    units = {path.stem for path in (ROOT / "etc/systemd").glob("swift-[!r]*[!@].service")}
    assert units == {f"swift-{name}" for name in (*SERVERS, *DAEMONS)}


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_numbers_and_switches_are_known_as_such():
    """So that values which are none end the start: `swift.run.option_values`."""
    values: dict[str, set[str]] = {}
    for path in SAMPLES.values():
        for name, found in shown(path).items():
            values.setdefault(name, set()).update(found - {""})
    numbers, auto, switches = set(), set(), set()
    for name, found in values.items():
        if not found or "<" in name:
            continue
        if all(is_number(value) for value in found):
            numbers.add(name)
        elif all(is_number(value) or value == "auto" for value in found):
            auto.add(name)
        elif all(value.lower() in ("true", "false", "yes", "no", "on", "off") for value in found):
            switches.add(name)
    # handed on as they are: rsync takes 10m, Keystone's clients v3
    words = {"rsync_bwlimit", "auth_version"}
    assert numbers - {"bind_port"} - words == option_values.NUMBERS
    assert auto - {"log_file_encoding"} == option_values.NUMBERS_OR_AUTO
    assert switches == option_values.SWITCHES
