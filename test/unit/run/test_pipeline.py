import sys
import types

import pytest

from swift.core.errors import ConfigError
from swift.run import known_options, pipeline, pipeline_order


class Element:
    def __init__(self, kind, conf, app=None):
        self.kind, self.conf, self.app = kind, conf, app

    def chain(self):
        return [self.kind, *(self.app.chain() if self.app else [])]


def make_module():
    module = types.ModuleType("pipeline_elements")

    def filter_factory(global_conf, **local_conf):
        conf = {**global_conf, **local_conf}
        return lambda app: Element(conf["__name__"], conf, app)

    def app_factory(global_conf, **local_conf):
        conf = {**global_conf, **local_conf}
        return Element(conf["__name__"], conf)

    module.filter_factory = filter_factory
    module.app_factory = app_factory
    return module


@pytest.fixture(autouse=True)
def elements(monkeypatch):
    module = make_module()
    monkeypatch.setitem(sys.modules, "pipeline_elements", module)


class FakeEntryPoint:
    def __init__(self, name, group):
        self.name, self.group = name, group

    def load(self):
        module = sys.modules["pipeline_elements"]
        if self.group == "paste.app_factory":
            return module.app_factory

        def factory(global_conf, **local_conf):
            local_conf.setdefault("__name__", self.name)
            return module.filter_factory(global_conf, **local_conf)

        return factory


@pytest.fixture
def all_filters(monkeypatch):
    names = [
        *dict(pipeline_order.REQUIRED_FILTERS),
        "healthcheck",
        "proxy_logging",
        "memcache",
        "slo",
        "tempauth",
    ]
    distribution = types.SimpleNamespace(
        entry_points=[FakeEntryPoint(name, "paste.filter_factory") for name in names]
        + [FakeEntryPoint("proxy", "paste.app_factory"), FakeEntryPoint("object", "paste.app_factory")]
    )
    monkeypatch.setattr(
        pipeline.loadwsgi, "importlib_metadata", types.SimpleNamespace(distribution=lambda name: distribution)
    )


P = """
[DEFAULT]
bind_port = 9999
log_level = INFO
client_timeout = 60
fallocate_reserve = 1%
pct = %(bind_port)s

[pipeline:main]
pipeline = f1 proxy-server

[filter:f1]
paste.filter_factory = pipeline_elements:filter_factory
log_level = DEBUG
set client_timeout = 5
disable_path = /x

[app:proxy-server]
paste.app_factory = pipeline_elements:app_factory
log_level = WARNING
node_timeout = 7
set log_name = mine
get zz = bind_port
"""


def picked(conf, *names):
    return {name: conf.get(name) for name in names}


def test_which_value_counts(tmp_path):
    path = tmp_path / "p.conf"
    path.write_text(P)
    app = pipeline.load_app(str(path))
    assert picked(app.conf, "log_level", "client_timeout", "disable_path", "pct", "fallocate_reserve") == {
        "log_level": "INFO", "client_timeout": "5", "disable_path": "/x", "pct": "9999", "fallocate_reserve": "1%",
    }  # fmt: skip
    assert app.conf["__name__"] == "f1"
    assert picked(app.app.conf, "log_level", "log_name", "node_timeout", "zz", "client_timeout") == {
        "log_level": "INFO", "log_name": "mine", "node_timeout": "7", "zz": "9999", "client_timeout": "60",
    }  # fmt: skip
    assert app.app.conf["__file__"] == str(path) and app.app.conf["here"] == str(tmp_path)
    assert app._pipeline == [app, app.app] and app._pipeline_final_app is app.app
    assert app._pipeline_request_logging_app is app.app


def test_server_settings_are_default_plus_the_app_section(tmp_path):
    path = tmp_path / "p.conf"
    path.write_text(P)
    conf = pipeline.app_conf(str(path), "proxy-server")
    assert picked(conf, "bind_port", "node_timeout", "log_name") == {
        "bind_port": "9999", "node_timeout": "7", "log_name": "mine",
    }  # fmt: skip


def test_given_values_beat_default_but_not_set(tmp_path):
    path = tmp_path / "p.conf"
    path.write_text(P + "[filter:f2]\npaste.filter_factory = pipeline_elements:filter_factory\n")
    app = pipeline.load_app(str(path), global_conf={"log_name": "given", "log_level": "ERROR"})
    assert picked(app.conf, "log_name", "log_level") == {"log_name": "given", "log_level": "ERROR"}
    assert app.app.conf["log_name"] == "mine"


def test_a_directory_of_parts(tmp_path):
    directory = tmp_path / "proxy-server.conf.d"
    directory.mkdir()
    (directory / "00.conf").write_text(P)
    (directory / "20.conf").write_text(
        "[DEFAULT]\nclient_timeout = 1\nbind_port = 1\n[app:proxy-server]\nnode_timeout = 8\n"
    )
    app = pipeline.load_app(str(directory))
    assert picked(app.app.conf, "client_timeout", "node_timeout", "pct", "here", "__file__") == {
        "client_timeout": "1", "node_timeout": "8", "pct": "1", "here": str(directory), "__file__": str(directory),
    }  # fmt: skip


def test_text_instead_of_a_file():
    assert pipeline.load_app(pipeline.ConfigText(P)).chain() == ["f1", "proxy-server"]


class Log:
    def __init__(self):
        self.lines = []

    def __getattr__(self, level):
        return lambda message, *args: self.lines.append((level, message % args))


def test_hidden_options_are_warned_of(tmp_path):
    path = tmp_path / "p.conf"
    path.write_text(P)
    log = Log()
    pipeline.load_app(str(path), logger=log)
    assert (
        "warning",
        f"{path}: log_level = DEBUG in [filter:f1] is hidden by [DEFAULT]; "
        'write "set log_level = DEBUG" there',
    ) in log.lines
    assert len(log.lines) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("pipeline = f1 proxy-server", "pipeline ="), "the pipeline is empty"),
        (("pipeline = f1 ", "pipeline = f1 f9 "), "No section 'f9' (prefixed by 'filter') found in config"),
        (("paste.filter_factory = pipeline_elements:filter_factory", "use = egg:swift#nonesuch"),
         "[filter:f1]: egg:swift#nonesuch is not available"),
        (("paste.filter_factory = pipeline_elements:filter_factory", "use = egg:nonesuch#f"),
         "[filter:f1]: egg:nonesuch#f is not available"),
        (("paste.filter_factory = pipeline_elements:filter_factory", ""), "No loader given in section 'filter:f1'"),
        (("pipeline = f1 proxy-server", "pipeline = f1 proxy-server\ncolour = blue"), "extra (disallowed) settings: colour"),
        (("[filter:f1]", "[composite:proxy-server]\n[filter:f1]"), "Ambiguous section names"),
        (("pct = %(bind_port)s", "pct = %(nothing)s"), "nothing"),
    ],
)  # fmt: skip
def test_faults_end_in_one_line(tmp_path, change, message):
    path = tmp_path / "p.conf"
    path.write_text(P.replace(*change))
    with pytest.raises(ConfigError) as caught:
        pipeline.load_app(str(path))
    text = str(caught.value)
    assert text.startswith(f"Error trying to load config from {path}: ")
    assert message in text and "\n" not in text


def proxy_conf(*filters, app="proxy"):
    text = f"[pipeline:main]\npipeline = {' '.join(filters)} the-app\n[app:the-app]\nuse = egg:swift#{app}\n"
    for name in filters:
        text += f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_').replace('cache', 'memcache')}\n"
    return pipeline.ConfigText(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "catch_errors gatekeeper listing_formats copy dlo versioned_writes"),
        ("catch_errors gatekeeper healthcheck proxy-logging cache tempauth proxy-logging",
         "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats tempauth copy dlo versioned_writes "
         "proxy-logging"),
        ("healthcheck catch_errors", "gatekeeper healthcheck catch_errors listing_formats copy dlo versioned_writes"),
        ("catch_errors gatekeeper listing_formats copy slo dlo versioned_writes",
         "catch_errors gatekeeper listing_formats copy slo dlo versioned_writes"),
    ],
)  # fmt: skip
def test_required_filters_of_a_proxy(all_filters, given, expected):
    log = Log()
    app = pipeline.load_app(proxy_conf(*given.split()), logger=log)
    assert app.chain() == [*expected.split(), "the-app"]
    if given != expected:
        assert ("info", f'Pipeline was modified. New pipeline is "{expected} the-app".') in log.lines
    assert [element.kind for element in app._pipeline] == app.chain()


def test_pipelines_stay_as_they_are_when_told_and_for_other_servers(all_filters):
    assert pipeline.load_app(proxy_conf("healthcheck"), allow_modify_pipeline=False).chain() == [
        "healthcheck",
        "the-app",
    ]
    assert pipeline.load_app(proxy_conf("healthcheck", app="object")).chain() == ["healthcheck", "the-app"]


def test_the_logging_app_is_a_second_instance_of_the_last_proxy_logging(all_filters):
    app = pipeline.load_app(proxy_conf("proxy-logging", "cache"), allow_modify_pipeline=False)
    logging_app = app._pipeline_request_logging_app
    assert logging_app.chain() == ["proxy-logging", "the-app"]
    assert logging_app.app is app._pipeline_final_app and logging_app not in app._pipeline
    assert logging_app._pipeline_final_app is app._pipeline_final_app


def test_pipeline_names(all_filters):
    assert pipeline.pipeline_names(proxy_conf("proxy-logging", "cache")) == [
        "proxy_logging",
        "memcache",
        "proxy",
    ]


def test_sections_as_pipelines_see_them(all_filters):
    conf = proxy_conf("proxy-logging", "cache").replace(
        "[filter:cache]", "[filter:cache]\nx = 1\nlog_level = DEBUG"
    )
    shown = pipeline.evaluated_sections(pipeline.ConfigText("[DEFAULT]\nlog_level = INFO\n" + conf))
    common = {"here": "/", "__file__": "string", "log_level": "INFO"}
    assert list(shown.items()) == [
        ("pipeline:main", {**common, "__name__": "main", "pipeline": "proxy_logging memcache proxy"}),
        ("filter:proxy-logging", {**common, "__name__": "proxy-logging"}),
        ("filter:cache", {**common, "__name__": "cache", "x": "1"}),
        ("application:the-app", {**common, "__name__": "the-app"}),
    ]
    assert [
        str(entry)
        for entry in pipeline.hidden_options(pipeline.ConfigText("[DEFAULT]\nlog_level = INFO\n" + conf))
    ] == ['log_level = DEBUG in [filter:cache] is hidden by [DEFAULT]; write "set log_level = DEBUG" there']


@pytest.mark.parametrize(
    "option", ["encryption_root_secret", "password", "fernet_key_a", "user_test_tester", "admin_key"]
)
def test_what_is_hidden_is_told_without_secrets(option):
    told = str(pipeline.HiddenOption("filter:f", option, "sesame"))
    assert option in told and "sesame" not in told


def test_a_file_with_a_mistake_is_told_without_what_it_says(tmp_path):
    path = tmp_path / "proxy-server.conf"
    for text in (
        "user_a_b = sesame\n",
        "[DEFAULT]\nuser_a_b sesame\n",
        "[pipeline:main]\npipeline = app\n[app:app]\nuse = %(there)s sesame\n",
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as raised:
            pipeline.load_app(str(path))
        assert "sesame" not in str(raised.value)


def test_an_unknown_option_is_told_without_what_was_to_be_its_value(tmp_path):
    path = tmp_path / "proxy-server.conf"
    path.write_text("[filter:keymaster]\nuse = egg:swift#keymaster\nencryption_root_secret c2VzYW1l==\n")
    (told,) = known_options.unknown_options(str(path))
    assert "encryption_root_secret …" in told and "c2VzYW1l" not in told
