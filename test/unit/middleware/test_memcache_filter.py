import socket

import pytest
from filter_stand_ins import App, call, memory_logger

from swift.cache.local_cache import LocalCache
from swift.cache.memcache import MemcacheClient
from swift.core.concurrency import raw_threading
from swift.middleware import memcache
from swift.middleware.memcache import filter_factory, load_cache, with_memcache_conf
from test.ports import free_port


@pytest.fixture
def no_usual_server(monkeypatch):
    monkeypatch.setattr(memcache, "USUAL_SERVER", f"127.0.0.1:{free_port()}")


def load(tmp_path, **conf):
    return load_cache({"swift_dir": str(tmp_path), "log_to": "stderr", **conf}, memory_logger()[0])


def test_requests_get_the_cache(tmp_path, no_usual_server):
    app = App(body=[b"x"])
    filter_ = filter_factory({"swift_dir": str(tmp_path), "log_to": "stderr"})(app)
    answer = call(filter_)
    assert app.arrived["swift.cache"] is filter_.cache
    assert answer.raw_body is app.body


def test_without_servers_the_process_caches_for_itself(tmp_path, no_usual_server):
    cache = load(tmp_path)
    assert isinstance(cache, LocalCache)
    cache.set("AUTH_/token/t", [1.5, "g"], time=10)
    assert cache.get("AUTH_/token/t") == [1.5, "g"]


@pytest.mark.parametrize(
    "answer, kind",
    [
        (b"VERSION 1.6.18\r\n", MemcacheClient),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", LocalCache),
        (b"", LocalCache),
    ],
)
def test_a_server_at_the_usual_place_is_used_if_it_is_memcached(tmp_path, monkeypatch, answer, kind):
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(memcache, "USUAL_SERVER", f"127.0.0.1:{listener.getsockname()[1]}")

    def serve():
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(100))
            connection.sendall(answer)

    asked = []
    thread = raw_threading.Thread(target=serve)
    thread.start()
    cache = load(tmp_path)
    thread.join(60)
    listener.close()
    assert asked == [b"version\r\n"]
    assert type(cache) is kind
    if kind is MemcacheClient:
        assert list(cache._servers) == [memcache.USUAL_SERVER]


def test_configured_servers_are_used_whether_they_run_or_not(tmp_path):
    cache = load(tmp_path, memcache_servers="10.0.0.1:1, [::1]:2", tries="5")
    assert list(cache._servers) == ["10.0.0.1:1", "[::1]:2"]
    assert cache._tries == 2


def test_memcache_conf_supplies_what_the_section_lacks(tmp_path):
    (tmp_path / "memcache.conf").write_text(
        "[memcache]\nmemcache_servers = a:1\nmemcache_max_connections = 7\ntries = 9\nio_timeout = 4\n"
    )
    merged = with_memcache_conf({"swift_dir": str(tmp_path), "tries": "1"})
    assert (merged["memcache_servers"], merged["memcache_max_connections"]) == ("a:1", "7")
    assert (merged["tries"], merged["io_timeout"]) == ("1", "4")
    merged = with_memcache_conf(
        {"swift_dir": str(tmp_path), "memcache_servers": "b:2", "memcache_max_connections": "0"}
    )
    assert (merged["memcache_servers"], merged["memcache_max_connections"]) == ("b:2", "7")


def test_memcache_conf_is_not_read_where_the_section_is_complete(tmp_path):
    (tmp_path / "memcache.conf").write_text("this is no ini file")
    conf = {"swift_dir": str(tmp_path), "memcache_servers": "b:2", "max_connections": "3"}
    assert with_memcache_conf(conf) == conf
    with pytest.raises(ValueError, match="memcache.conf"):
        with_memcache_conf({"swift_dir": str(tmp_path)})


@pytest.mark.parametrize(
    "option, value",
    [
        ("memcache_max_connections", "many"),
        ("connect_timeout", "-1"),
        ("pool_timeout", "0"),
        ("io_timeout", "soon"),
        ("tries", "0"),
        ("error_suppression_interval", "-1"),
        ("error_suppression_limit", "x"),
        ("item_size_warning_threshold", "x"),
        ("memcache_servers", "::1"),
    ],
)
def test_bad_options_stop_the_start_with_their_name(tmp_path, option, value):
    with pytest.raises(ValueError, match=f"{option}|Invalid memcached server"):
        load(tmp_path, **{"memcache_servers": "a:1", option: value})


def test_tls_options(tmp_path):
    missing = str(tmp_path / "nothing.pem")
    with pytest.raises(ValueError, match="TLS"):
        load(tmp_path, memcache_servers="a:1", tls_enabled="true", tls_cafile=missing)
    assert load(tmp_path, memcache_servers="a:1", tls_enabled="true").options.tls_context is not None
    assert load(tmp_path, memcache_servers="a:1", tls_cafile=missing).options.tls_context is None
