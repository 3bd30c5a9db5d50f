import pytest
from filter_stand_ins import App, call, memory_logger
from hypothesis import given
from hypothesis import strategies as st

from swift.middleware.gatekeeper import GatekeeperMiddleware, filter_factory, is_internal

INTERNAL = [
    "X-Account-Sysmeta-Core-Access-Control",
    "X-Container-Sysmeta-",
    "X-Object-Sysmeta-Foo",
    "X-Object-Transient-Sysmeta-Crypto-Meta",
    "X-Backend",
    "X-Backend-Storage-Policy-Index",
    "X-Backendless",
    "X-Account-Host",
    "X-Account-Device",
    "X-Account-Partition",
    "X-Container-Host",
    "X-Container-Device",
    "X-Container-Partition",
    "X-Container-Root-Db-State",
    "X-Delete-At-Host",
    "X-Delete-At-Device",
    "X-Delete-At-Partition",
    "X-Delete-At-Container",
]
PUBLIC = [
    "X-Account-Meta-Sysmeta-X",
    "X-Account-Host-Name",
    "X-Account-Hosts",
    "X-Container-Root-Db-State-X",
    "X-Account-Root-Db-State",
    "X-Account-Container",
    "X-Delete-At",
    "X-Delete-After",
    "X-Object-Meta-X-Backend",
    "X-Object-Sysmeta",
    "X-Transient-Sysmeta-X",
    "X-Object-Device",
    "X-Trans-Id-Extra",
    "Y-X-Backend-Foo",
]


def build(app, conf=None, level=10):
    logger, lines = memory_logger(level)
    return GatekeeperMiddleware(app, conf or {}, logger), lines


@pytest.mark.parametrize("name", INTERNAL)
def test_internal_headers_do_not_pass_in_either_direction(name):
    for spelled in (name, name.lower(), name.upper()):
        app = App(headers=[("Etag", "x"), (spelled, "secret")])
        gate, _ = build(app)
        answer = call(gate, headers={spelled: "evil", "X-Object-Meta-Color": "red"})
        assert "evil" not in app.arrived.values()
        assert app.arrived["HTTP_X_OBJECT_META_COLOR"] == "red"
        assert answer.header_list == [("Etag", "x")]
        assert app.headers == [("Etag", "x"), (spelled, "secret")]


@pytest.mark.parametrize("name", PUBLIC)
def test_other_headers_pass(name):
    app = App(headers=[(name, "kept")])
    gate, _ = build(app)
    answer = call(gate, headers={name: "kept"})
    assert "kept" in app.arrived.values()
    assert answer.header_list == [(name, "kept")]


_PIECES = st.sampled_from(
    [
        "x",
        "account",
        "container",
        "object",
        "delete",
        "at",
        "sysmeta",
        "transient",
        "backend",
        "host",
        "device",
        "partition",
        "root",
        "db",
        "state",
        "meta",
    ]
)


@given(st.lists(_PIECES, min_size=1, max_size=6).map("-".join))
def test_what_is_internal_never_arrives_whatever_it_is_made_of(name):
    app = App(headers=[(name, "v")])
    gate, _ = build(app)
    answer = call(gate, headers={name: "evil"})
    arrived = "evil" in app.arrived.values()
    assert arrived is not is_internal(name)
    assert bool(answer.header_list) is not is_internal(name)


def test_many_strange_names_do_not_fill_the_memory():
    verdicts = build(App())[0]._verdicts
    for number in range(5000):
        assert not verdicts[f"X-Strange-{number}"]
        assert verdicts[f"X-Backend-{number}"]
    assert len(verdicts) <= 4096


def test_the_clients_timestamp_is_shunted():
    app = App()
    gate, lines = build(app)
    call(gate, headers={"X-Timestamp": "1234", "X-Backend-Inbound-X-Timestamp": "evil"})
    assert "HTTP_X_TIMESTAMP" not in app.arrived
    assert app.arrived["HTTP_X_BACKEND_INBOUND_X_TIMESTAMP"] == "1234"
    assert any("X-Timestamp" in line for line in lines)


def test_shunting_can_be_switched_off():
    app = App()
    gate, _ = build(app, {"shunt_inbound_x_timestamp": "false"})
    call(gate, headers={"X-Timestamp": "1234", "X-Backend-Inbound-X-Timestamp": "evil"})
    assert app.arrived["HTTP_X_TIMESTAMP"] == "1234"
    assert "HTTP_X_BACKEND_INBOUND_X_TIMESTAMP" not in app.arrived


def test_reserved_names_only_where_the_operator_allows_them():
    headers = {"X-Allow-Reserved-Names": "true", "X-Backend-Allow-Reserved-Names": "evil"}
    app = App()
    call(build(app)[0], headers=headers)
    assert "HTTP_X_BACKEND_ALLOW_RESERVED_NAMES" not in app.arrived
    call(build(app, {"allow_reserved_names_header": "yes"})[0], headers=headers)
    assert app.arrived["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] == "true"
    assert "HTTP_X_ALLOW_RESERVED_NAMES" not in app.arrived


@pytest.mark.parametrize(
    "location, reduced",
    [
        ("http://host:8080/v1/a/c?x=y#z", "/v1/a/c?x=y#z"),
        ("/v1/a/c", "/v1/a/c"),
        ("http://[bad/x", "http://[bad/x"),
        ("http://h//evil.example.com/x", "http://h//evil.example.com/x"),
    ],
)
def test_location_is_reduced_where_it_is_to_stay_relative(location, reduced):
    app = App(headers=[("Location", location)])
    gate, _ = build(app)
    assert call(gate).headers["Location"] == location
    assert call(gate, environ={"swift.leave_relative_location": True}).headers["Location"] == reduced


def test_removed_headers_are_named_in_the_debug_log_only():
    app = App(headers=[("X-Backend-Foo", "1")])
    gate, lines = build(app)
    call(gate, headers={"X-Backend-Bar": "1"})
    assert any("X-Backend-Bar" in line for line in lines)
    assert any("X-Backend-Foo" in line for line in lines)
    gate, lines = build(app, level=20)
    call(gate, headers={"X-Backend-Bar": "1"})
    assert not lines


def test_bodies_and_errors_pass_untouched():
    body = iter(())
    gate, _ = build(App(body=body))
    assert call(gate, read=False).raw_body is body
    gate = filter_factory({"log_to": "stderr"})(App(error=KeyError("x")))
    with pytest.raises(KeyError):
        call(gate)


def test_what_was_harmless_before_hides_nothing_that_comes_later():
    gate, _ = build(App())
    for _ in range(2):
        for name in [*PUBLIC, *INTERNAL]:
            app = gate.app = App()
            call(gate, headers={name: "evil", "X-Object-Meta-Color": "red"})
            arrived = app.arrived.get("HTTP_" + name.upper().replace("-", "_"))
            assert arrived == ("evil" if name in PUBLIC else None), name
