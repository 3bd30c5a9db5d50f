"""Hosts that name accounts and containers, and what else is asked of a host. Answers are the reference's, where nothing else is said."""

import socket
import threading

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from filter_stand_ins import App, call, memory_logger
from hypothesis import given as holds_for
from hypothesis import strategies as st

from swift.cache.local_cache import LocalCache
from swift.core import capabilities
from swift.core.concurrency import sleep, spawn
from swift.middleware import cname_lookup, crossdomain, domain_remap
from swift.middleware.cname_lookup import CnameLookup
from swift.middleware.cname_lookup import dns as asking
from swift.middleware.cname_lookup.dns import Found, cname, parse_servers, servers_of_system
from swift.middleware.cname_lookup.filter import MAX_QUESTIONS
from swift.middleware.crossdomain import CrossDomain
from swift.middleware.domain_remap import DomainRemap
from swift.middleware.hosts import below, is_address, split_port, storage_domains
from test.ports import free_port

# -- hosts -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host, parts",
    [
        ("a.b", ("a.b", "")), ("a.b:80", ("a.b", ":80")), ("a:", ("a", ":")), ("a:x", ("a", ":x")), ("[::1]", ("[::1]", "")),
        ("[::1]:80", ("[::1]", ":80")), ("", ("", "")), (":80", ("", ":80")),
    ],
)  # fmt: skip
def test_ports(host, parts):
    assert split_port(host) == parts


@pytest.mark.parametrize(
    "name, address",
    [("1.2.3.4", True), ("[::1]", True), ("::1", True), ("1.2.3", False), ("a", False), ("", False)],
)
def test_addresses(name, address):
    assert is_address(name) is address


@pytest.mark.parametrize(
    "name, front",
    [
        ("c.a.example.com", "c.a"), ("C.A.Example.COM", "C.A"), ("example.com", ""), (".example.com", ""), ("a.example.com.", "a"),
        ("notexample.com", None), ("example.com.evil.org", None), ("a.other.net", "a"), ("", None), ("com", None),
    ],
)  # fmt: skip
def test_names_below_the_stores_own(name, front):
    """In any case, with or without the dot at the end; the reference compares them as they are written."""
    assert below(name, storage_domains({"storage_domain": "example.com, .Other.NET"})) == front


# -- domain_remap ----------------------------------------------------------------------------------------------------------


def remapped(host, path="/", conf=None, app=None, **headers):
    app = app or App()
    answer = call(
        DomainRemap(app, conf or {}), path, headers={"Host": host, **headers} if host is not None else headers
    )
    answer.path = app.arrived["PATH_INFO"] if app.calls else None
    return answer


@pytest.mark.parametrize(
    "host, path, meant",
    [
        ("c.AUTH-test.example.com", "/o", "/v1/AUTH_test/c/o"),
        ("c.AUTH_test.example.com", "/o", "/v1/AUTH_test/c/o"),
        ("c.auth-test.example.com:8080", "/o", "/v1/AUTH_test/c/o"),
        ("C.auth-TEST.Example.COM", "/o", "/v1/AUTH_TEST/C/o"),
        ("c.AUTH-a-b.example.com", "/v1/o", "/v1/AUTH_a-b/c/v1/o"),
        ("c.AUTH_a-b.example.com", "/", "/v1/AUTH_a-b/c/"),
        ("AUTH-test.example.com", "/c/o", "/v1/AUTH_test/c/o"),
        ("AUTH-test.example.com", "/", "/v1/AUTH_test/"),
        (".c.AUTH-test.example.com", "/o", "/v1/AUTH_test/c/o"),
        ("c.AUTH-.example.com", "/o", "/v1/AUTH_/c/o"),
        ("c.AUTH.example.com", "/o", "/v1/AUTH/c/o"),
        ("c.AUTH-test.example.com", "//o", "/v1/AUTH_test/c//o"),
        ("c.AUTH-test.example.com", "/%2e%2e/%C3%BC", "/v1/AUTH_test/c/../Ã¼"),
        ("c.AUTH-test.example.com", "/info", "/v1/AUTH_test/c/info"),
        ("c.test.example.com", "/o", "/o"),
        ("c.FOO-test.example.com", "/o", "/o"),
        ("c.-test.example.com", "/o", "/o"),
        ("c.AUTHX-test.example.com", "/o", "/o"),
        ("c..example.com", "/o", "/o"),
        ("example.com", "/o", "/o"),
        (".example.com", "/o", "/o"),
        ("AUTH-test.example.org", "/o", "/o"),
        ("1.2.3.4", "/v1/a/c/o", "/v1/a/c/o"),
        ("", "/o", "/o"),
        (None, "/o", "/o"),
    ],
)
def test_hosts_that_name_accounts(host, path, meant):
    assert remapped(host, path).path == meant


@pytest.mark.parametrize("host", ["x.c.AUTH-test.example.com", "a.b.c.d.example.com"])
def test_hosts_of_too_many_parts(host):
    answer = remapped(host)
    assert (answer.status_int, answer.body, answer.path) == (400, b"Bad domain in host header", None)
    assert answer.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize(
    "conf, host, path, meant",
    [
        ({"mangle_client_paths": "yes"}, "c.AUTH-a.example.com", "/v1/o", "/v1/AUTH_a/c/o"),
        ({"mangle_client_paths": "yes"}, "c.AUTH-a.example.com", "/v1", "/v1/AUTH_a/c/v1"),
        ({"mangle_client_paths": "yes"}, "c.AUTH-a.example.com", "/v10/o", "/v1/AUTH_a/c/v10/o"),
        ({"path_root": "v1.0/"}, "c.AUTH-a.example.com", "/o", "/v1.0/AUTH_a/c/o"),
        ({"storage_domain": "s.net,.t.net"}, "c.AUTH-a.t.net", "/o", "/v1/AUTH_a/c/o"),
        ({"storage_domain": ""}, "c.AUTH-a.example.com", "/o", "/o"),
        ({"reseller_prefixes": "AUTH,Other"}, "c.OTHER-a.example.com", "/o", "/v1/Other_a/c/o"),
        ({"reseller_prefixes": ""}, "c.any-a.example.com", "/o", "/v1/any-a/c/o"),
        ({"default_reseller_prefix": "AUTH"}, "c.a.example.com", "/o", "/v1/AUTH_a/c/o"),
        ({"default_reseller_prefix": "AUTH"}, "c.a-b-c.example.com", "/o", "/v1/AUTH_a_b-c/c/o"),
    ],
)
def test_options_of_domain_remap(conf, host, path, meant):
    assert remapped(host, path, conf).path == meant


@pytest.mark.parametrize(
    "location, told",
    [
        ("http://c.AUTH-a.example.com/v1/AUTH_a/c/s%20b/", "http://c.AUTH-a.example.com/s%20b/"),
        ("https://elsewhere:1/v1/AUTH_a/c/s%20b", "https://elsewhere:1/s%20b"),
        ("http://h/v1/AUTH_a/c/s%20b?x=y", "http://h/s%20b?x=y"),
        ("http://h/v1/AUTH_a/d/s%20b/", "http://h/v1/AUTH_a/d/s%20b/"),
        ("/v1/AUTH_a/c/s%20b/", "/v1/AUTH_a/c/s%20b/"),
        ("http://h", "http://h"),
        ("javascript:x", "javascript:x"),
    ],
)
@pytest.mark.parametrize("name", ["Location", "Content-location"])
def test_places_are_told_in_the_clients_words(name, location, told):
    app = App("301 Moved Permanently", [("X-Other", location), (name, location)])
    answer = remapped("c.AUTH-a.example.com", "/s%20b", app=app)
    assert answer.header_list == [("X-Other", location), (name, told)]
    answer = remapped("h", "/s%20b", app=app)
    assert answer.header_list[1] == (name, location)


@holds_for(
    st.text(alphabet="abAUTH-_.example.com:[]/%\u00e9", max_size=60), st.text(alphabet="/ab.%", max_size=20)
)
def test_no_host_leads_out_of_its_account(host, path):
    app = App()
    answer = call(DomainRemap(app, {}), "/" + path.replace("%", "%25"), headers={"Host": host})
    assert answer.status_int in (200, 400)
    if app.calls and app.arrived["PATH_INFO"] != "/" + path:
        assert app.arrived["PATH_INFO"].startswith("/v1/AUTH")


def test_info_of_domain_remap():
    capabilities.forget_all()
    domain_remap.filter_factory({})(App())
    assert capabilities.disclosed()["domain_remap"] == {"default_reseller_prefix": None}
    capabilities.forget_all()


# -- cname_lookup ----------------------------------------------------------------------------------------------------------

KNOWN = {
    "www.good.org": "c.AUTH-test.example.com",
    "www.two.org": "www.Good.org",
    "www.three.org": "www.two.org",
    "www.self.org": "WWW.self.org",
    "www.root.org": "example.com",
    "www.case.org": "MyC.AUTH-test.EXAMPLE.com",
}


class Names:
    """Stands for DNS."""

    def __init__(self, known=KNOWN, ttl=300):
        self.known = known
        self.ttl = ttl
        self.asked = []

    def __call__(self, name, servers):
        self.asked.append(name)
        return Found(self.known.get(name), self.ttl)


def looked_up(host, names=None, cache=None, app=None, path="/o", **conf):
    app = app or App()
    names = names or Names()
    filtered = CnameLookup(app, {"nameservers": "127.0.0.1", **conf}, memory_logger()[0], names)
    answer = call(
        filtered, path, headers={"Host": host} if host is not None else {}, environ={"swift.cache": cache}
    )
    answer.host = app.arrived.get("HTTP_HOST") if app.calls else None
    answer.names = names
    return answer


UNRESOLVED = b"CNAME lookup failed to resolve to a valid domain"


@pytest.mark.parametrize(
    "host, found",
    [
        ("www.good.org", "c.AUTH-test.example.com"),
        ("WWW.Good.ORG", "c.AUTH-test.example.com"),
        ("www.good.org.", "c.AUTH-test.example.com"),
        ("www.good.org:8080", "c.AUTH-test.example.com:8080"),
        ("www.root.org", "example.com"),
        ("www.case.org", "MyC.AUTH-test.EXAMPLE.com"),
        ("c.AUTH-test.example.com:1", "c.AUTH-test.example.com:1"),
        ("example.com", "example.com"),
        ("1.2.3.4:80", "1.2.3.4:80"),
        ("[::1]:80", "[::1]:80"),
    ],
)
def test_hosts_that_stand_for_ours(host, found):
    """The reference takes addresses of IPv6 for names, and knows domains in lower case only."""
    answer = looked_up(host)
    assert (answer.status_int, answer.host) == (200, found)


@pytest.mark.parametrize(
    "host, depth, body",
    [
        ("www.none.org", 1, UNRESOLVED),
        ("www.self.org", 5, UNRESOLVED),
        ("www.two.org", 1, b"CNAME lookup failed after 1 tries"),
        ("www.two.org", 2, None),
        ("www.three.org", 2, b"CNAME lookup failed after 2 tries"),
        ("www.three.org", 3, None),
        ("", 1, UNRESOLVED),
        ("notexample.com", 1, UNRESOLVED),
    ],
)
def test_hosts_that_do_not(host, depth, body):
    answer = looked_up(host, lookup_depth=str(depth))
    if body is None:
        assert answer.host == "c.AUTH-test.example.com"
    else:
        assert (answer.status_int, answer.body, answer.host) == (400, body, None)
        assert answer.headers["Content-Type"] == "text/plain"


def test_what_dns_said_is_kept_as_long_as_it_said():
    cache = LocalCache()
    names = Names()
    for _ in range(3):
        assert looked_up("www.two.org", names, cache, lookup_depth="2").status_int == 200
        assert looked_up("www.none.org", names, cache).status_int == 400
    assert sorted(names.asked) == ["www.good.org", "www.none.org", "www.two.org"]
    # Each name under its own key: the reference reads them there, but writes all under the first.
    assert (
        cache.get("cname-www.two.org") == "www.Good.org"
        and cache.get("cname-www.good.org") == "c.AUTH-test.example.com"
    )
    assert cache.get("cname-www.none.org") is False
    forgetful = Names(ttl=0)
    for _ in range(2):
        looked_up("www.case.org", forgetful, cache)
    assert forgetful.asked == ["www.case.org"] * 2 and cache.get("cname-www.case.org") is None


@pytest.mark.parametrize("junk", [5, ["a"], {"a": 1}, True, None])
def test_nonsense_in_the_cache_is_not_believed(junk):
    cache = LocalCache()
    cache.set("cname-www.good.org", junk)
    assert looked_up("www.good.org", cache=cache).status_int == 200


def test_the_same_name_is_asked_for_once_at_a_time_and_not_too_many_names():
    asked = []

    def slow(name, servers):
        asked.append(name)
        sleep(0.05)
        return Found("c.AUTH-test.example.com", 0)

    filtered = CnameLookup(App(), {"nameservers": "127.0.0.1"}, memory_logger()[0], slow)
    answers = []

    def ask(host):
        answers.append(call(filtered, headers={"Host": host}).status_int)

    for number in range(MAX_QUESTIONS + 3):
        spawn(ask, f"www{number}.org")
    for _ in range(5):
        spawn(ask, "www0.org")
    while len(answers) < MAX_QUESTIONS + 8:
        sleep(0.01)
    assert len(asked) == MAX_QUESTIONS
    assert sorted(answers) == [200] * (MAX_QUESTIONS + 5) + [503] * 3
    ask("www0.org")
    assert answers[-1] == 200


@pytest.mark.parametrize(
    "location, told",
    [
        ("http://c.AUTH-test.example.com:81/sub/?a", "http://www.good.org:81/sub/?a"),
        ("https://c.AUTH-test.example.com:81", "https://www.good.org:81"),
        ("http://c.AUTH-test.example.com/sub/", "http://c.AUTH-test.example.com/sub/"),
        ("http://c.AUTH-test.example.com:81.evil.org/", "http://c.AUTH-test.example.com:81.evil.org/"),
        ("/sub/", "/sub/"),
    ],
)
def test_places_are_told_with_the_clients_host(location, told):
    answer = looked_up("www.good.org:81", app=App(headers=[("Location", location)]))
    assert answer.headers["Location"] == told


@pytest.mark.parametrize(
    "text, servers",
    [
        ("127.0.0.1", [("127.0.0.1", 53)]),
        (
            "127.0.0.1:5353, [::1]:99,[fd00::2], fd00::3",
            [("127.0.0.1", 5353), ("::1", 99), ("fd00::2", 53), ("fd00::3", 53)],
        ),
    ],
)
def test_name_servers(text, servers):
    assert CnameLookup(App(), {"nameservers": text}, memory_logger()[0]).servers == servers


@pytest.mark.parametrize(
    "text",
    ["ns.example.com", "1.2.3", "1.2.3.4:0", "1.2.3.4:70000", "[::1", "1.2.3.4:x", "::1::", "[1.2.3.4.5]"],
)
def test_name_servers_that_are_none(text):
    with pytest.raises(ValueError, match="nameservers"):
        parse_servers([text])


def test_options_of_cname_lookup():
    with pytest.raises(ValueError):
        CnameLookup(App(), {"lookup_depth": "0", "nameservers": "127.0.0.1"}, memory_logger()[0])
    assert looked_up("www.none.org", storage_domain="").status_int == 200
    assert servers_of_system()
    capabilities.forget_all()
    cname_lookup.filter_factory({"lookup_depth": "3"})
    assert capabilities.disclosed()["cname_lookup"] == {"lookup_depth": 3}
    capabilities.forget_all()


# -- DNS -------------------------------------------------------------------------------------------------------------------


class NameServer:
    """A name server on loopback that answers as told: name → target, a rcode, bytes, or None for silence."""

    def __init__(self, zone):
        self.zone = zone
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = self.socket.getsockname()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            data, client = self.socket.recvfrom(4096)
            if data == b"end":
                return
            query = dns.message.from_wire(data)
            name = query.question[0].name.to_text().rstrip(".")
            self.asked.append(name)
            reply = dns.message.make_response(query)
            found = self.zone.get(name, dns.rcode.NXDOMAIN)
            if isinstance(found, str):
                reply.answer.append(
                    dns.rrset.from_text(query.question[0].name, 77, "IN", "CNAME", found + ".")
                )
            elif isinstance(found, int):
                reply.set_rcode(found)
            elif isinstance(found, bytes):
                self.socket.sendto(found, client)
                reply.id ^= 1
                self.socket.sendto(reply.to_wire(), client)
                continue
            elif found is None:
                continue
            self.socket.sendto(reply.to_wire(), client)

    def end(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"end", self.address)
        self.thread.join(60)
        self.socket.close()


@pytest.fixture
def name_server():
    server = NameServer(
        {"www.good.org": "C.AUTH-test.example.com", "www.none.org": dns.rcode.NOERROR, "www.fail.org": dns.rcode.SERVFAIL, "www.silent.org": None, "www.odd.org": "a/b.AUTH-test.example.com",
         "www.forged.org": b"nonsense"}
    )  # fmt: skip
    yield server
    server.end()


@pytest.mark.parametrize(
    "name, found",
    [
        ("www.good.org", Found("C.AUTH-test.example.com", 77)),
        ("www.none.org", Found(None, 60)),
        ("nx.org", Found(None, 60)),
        ("www.fail.org", Found(None, 0)),
        ("www.silent.org", Found(None, 0)),
        ("www.forged.org", Found(None, 0)),
        ("www.odd.org", Found(None, 77)),
    ],
)
def test_questions(name_server, monkeypatch, name, found):
    monkeypatch.setattr(asking, "TRY", 0.1)
    monkeypatch.setattr(asking, "LIFETIME", 0.3)
    assert cname(name, [name_server.address]) == found


def test_the_next_server_is_asked_when_one_is_away(name_server, monkeypatch):
    monkeypatch.setattr(asking, "TRY", 0.1)
    away = ("127.0.0.1", free_port())
    assert cname("www.good.org", [away, name_server.address]).name == "C.AUTH-test.example.com"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "a..b",
        ".a",
        "a b",
        "a" * 64 + ".org",
        "a." * 130 + "org",
        "\u00fc.org",
        "a\0b",
        "-a.org",
        "a/b",
        "[:",
    ],
)
def test_what_is_no_host_is_asked_of_nobody(name_server, name):
    assert cname(name, [name_server.address]) == Found(None, 0)
    assert name_server.asked == []


# -- crossdomain -----------------------------------------------------------------------------------------------------------

POLICY = (
    b'<?xml version="1.0"?>\n<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd" >\n'
    b"<cross-domain-policy>\n%s\n</cross-domain-policy>"
)


def test_the_policy_file():
    answer = call(CrossDomain(App(), {}), "/crossdomain.xml?x")
    assert (answer.status_int, answer.body) == (
        200,
        POLICY % b'<allow-access-from domain="*" secure="false" />',
    )
    assert answer.header_list == [("Content-Type", "application/xml"), ("Content-Length", "209")]
    policy = '<allow-access-from domain="a" />\n<allow-access-from domain="b" />'
    assert (
        call(CrossDomain(App(), {"cross_domain_policy": policy}), "/crossdomain.xml").body
        == POLICY % policy.encode()
    )


@pytest.mark.parametrize(
    "method, path",
    [
        ("HEAD", "/crossdomain.xml"),
        ("POST", "/crossdomain.xml"),
        ("GET", "/crossdomain.xml/"),
        ("GET", "/v1/crossdomain.xml"),
        ("GET", "/"),
    ],
)
def test_other_requests_pass(method, path):
    app = App()
    call(CrossDomain(app, {}), path, method)
    assert app.calls == 1


def test_info_of_crossdomain():
    capabilities.forget_all()
    crossdomain.filter_factory({})(App())
    assert capabilities.disclosed()["crossdomain"] == {}
    capabilities.forget_all()
