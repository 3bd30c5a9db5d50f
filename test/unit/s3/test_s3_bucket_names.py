"""Names of buckets in the whole cluster: of many who want one, one gets it, whoever dies in between (doc/s3.md, spec s3.md 13.4)."""

import functools
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swift.core.concurrency import Event, getcurrent, sleep, spawn
from swift.core.errors import ConfigError
from swift.core.timestamp import Timestamp
from swift.middleware.info import PROCESS_CACHE, forget_container
from swift.s3 import anonymous, buckets, copying, operations
from swift.s3.bucket_names import registry, resolving
from swift.s3.errors import S3Error
from swift.s3.filter import _done
from swift.s3.options import Options, parse_options
from swift.s3.request import S3Request
from swift.s3.rights import KnownUsers
from swift.s3.write_conditions import IF_CURRENT_KEY
from swift.wire.message import HTTPForbidden

GLOBAL = Options(has_global_buckets=True, allow_anonymous=True, allow_multipart_uploads=False)
OWNER_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_ACCOUNT"


class Signed:
    token = None

    def __init__(self, user):
        self.access_key = user

    def details(self):
        return {"access_key": self.access_key}

    def mismatch(self):
        return S3Error("SignatureDoesNotMatch")


class Killed(BaseException):
    """A process that is no more."""


class World:
    """An auth filter and the servers behind it. `gate(method, path)` is called before each native request is carried out."""

    def __init__(self):
        self.containers = set()  # (account, name)
        self.objects = {}  # path: (time, owner), owner None for what was deleted
        self.gate = lambda method, path: None
        self.asked = []
        self.plain = ()  # users who may make nothing
        self.fails = {}  # status by (method, part of a path)

    def __call__(self, environ, start_response):
        method = environ["REQUEST_METHOD"]
        if "s3api.auth_details" in environ:
            user = environ["REMOTE_USER"] = environ["s3api.user_id"] = environ["s3api.auth_details"][
                "access_key"
            ]
            account = f"AUTH_{user.partition(':')[0]}"
            parts = environ["PATH_INFO"].split("/", 3)
            if parts[2] == user:
                parts[2] = account
            environ["PATH_INFO"] = "/".join(parts)
            environ["swift.authorize"] = functools.partial(self.authorize, user, account)
        path = environ["PATH_INFO"]
        refusal = None
        if not environ.get("swift.authorize_override") and method != "TEST":
            refusal = environ["swift.authorize"](SimpleNamespace(environ=environ))
        if (environ.get("swift.source") or "")[:4] != "GET_":
            self.asked.append((method, path))
            if method != "TEST":
                self.gate(method, path)
        status, headers, body = (403, {}, b"") if refusal is not None else self.answer(method, path, environ)
        start_response(f"{status} X", [("Content-Length", str(len(body))), *headers.items()])
        return [body]

    def authorize(self, user, account, request):
        if user in self.plain or request.environ["PATH_INFO"].split("/")[2] != account:
            return HTTPForbidden(request=request)
        request.environ["swift_owner"] = True
        return None

    def answer(self, method, path, environ):
        for (of, part), status in self.fails.items():
            if of == method and part in path:
                return status, {}, b""
        _, _, account, *rest = path.split("/", 4)
        if len(rest) == 2:
            return self.answer_object(method, path, environ, (account, rest[0]) in self.containers)
        if not rest:
            prefix = environ["QUERY_STRING"].partition("prefix=")[2].partition("&")[0]
            names = [
                name for of, name in sorted(self.containers) if of == account and name.startswith(prefix)
            ]
            return 200, {}, ("[" + ",".join(f'{{"name":"{name}"}}' for name in names[:1]) + "]").encode()
        there = (account, rest[0]) in self.containers
        if method == "PUT":
            self.containers.add((account, rest[0]))
            return (202 if there else 201), {}, b""
        if method == "DELETE" and there:
            self.containers.discard((account, rest[0]))
        return (204 if there else 404), {}, b""

    def answer_object(self, method, path, environ, has_container):
        time, owner, *made = self.objects.get(path, ("0", None))
        if method == "HEAD":
            if owner is None:
                return 404, ({} if time == "0" else {"X-Backend-Timestamp": time}), b""
            return (
                200,
                {
                    "X-Backend-Data-Timestamp": time,
                    "X-Object-Sysmeta-S3api-Account": owner,
                    "X-Object-Sysmeta-S3api-Made": "".join(made),
                },
                b"",
            )
        if not has_container:
            return 404, {}, b""
        seen = environ[IF_CURRENT_KEY]
        if Timestamp(seen) != Timestamp(time) or ("HTTP_IF_NONE_MATCH" in environ and owner is not None):
            return 412, {}, b""
        assert Timestamp(environ["HTTP_X_TIMESTAMP"]) > Timestamp(time)
        if method == "PUT":
            made = environ["HTTP_X_OBJECT_SYSMETA_S3API_MADE"]
            self.objects[path] = environ["HTTP_X_TIMESTAMP"], environ[OWNER_KEY], made
        else:
            self.objects[path] = environ["HTTP_X_TIMESTAMP"], None
        return (201 if method == "PUT" else 204), {}, b""

    def owner(self, name):
        container, obj = registry.place_of(name)
        return self.objects.get(f"/v1/.s3/{container}/{obj}", ("0", None))[1]

    def owners(self, name):
        return {account for account, found in self.containers if found == name}


def request(world, user, method, path, options=GLOBAL, known=None, **more):
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_HOST": "s3.example.com",
        "SERVER_NAME": "s",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": None,
        "wsgi.errors": None,
        **more,
    }
    logger = SimpleNamespace(warning=lambda *args: None)
    return S3Request(environ, world, options, logger, Signed(user) if user else None, None, known)


def create(world, user, name="photos"):
    return buckets.create(request(world, user, "PUT", f"/{name}")).status


def delete(world, user, name="photos"):
    return buckets.delete(request(world, user, "DELETE", f"/{name}")).status


def refused(call, *args):
    with pytest.raises(S3Error) as raised:
        call(*args)
    return raised.value.code


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    resolving._KNOWN.clear()
    PROCESS_CACHE.clear()
    monkeypatch.setattr(registry, "_PAUSE", 0.0)
    yield
    PROCESS_CACHE.clear()
    resolving._KNOWN.clear()


def test_a_name_is_one_accounts():
    world = World()
    assert create(world, "a:u") == 200
    assert refused(create, world, "a:u") == "BucketAlreadyOwnedByYou"
    assert refused(create, world, "b:u") == "BucketAlreadyExists"
    assert world.owners("photos") == {"AUTH_a"}
    assert delete(world, "a:u") == 204 and world.owner("photos") is None
    assert create(world, "b:u") == 200
    assert refused(create, world, "a:u") == "BucketAlreadyExists"


def test_who_may_make_nothing_takes_no_name():
    world = World()
    world.plain = ("a:u",)
    assert refused(create, world, "a:u") == "AccessDenied"
    assert world.owner("photos") is None and create(world, "b:u") == 200


@pytest.mark.parametrize("status, is_left", [(400, False), (403, False), (507, True), (503, True)])
def test_a_name_whose_container_was_refused_is_free_again(status, is_left):
    world = World()
    world.fails["PUT", "/AUTH_a/"] = status
    refused(create, world, "a:u")
    # Nobody knows what a server that failed has done.
    assert world.owner("photos") == ("AUTH_a" if is_left else None)
    world.fails.clear()
    assert create(world, "a:u") == 200 and world.owner("photos") == "AUTH_a"


def test_a_container_of_the_native_api_keeps_its_name_by_create_bucket():
    world = World()
    world.containers.add(("AUTH_a", "photos"))
    assert refused(create, world, "a:u") == "BucketAlreadyOwnedByYou"
    assert world.owner("photos") == "AUTH_a"
    world.containers.add(("AUTH_b", "photos"))
    assert refused(create, world, "b:u") == "BucketAlreadyExists"
    assert delete(world, "b:u") == 204 and world.owner("photos") == "AUTH_a"  # it never was b's to give away


def test_a_registry_that_is_away_lets_nobody_make_or_remove_buckets():
    world = World()
    world.fails["HEAD", "/.s3/"] = 503
    assert refused(create, world, "a:u") == "ServiceUnavailable"
    world.containers.add(("AUTH_a", "photos"))
    assert refused(delete, world, "a:u") == "ServiceUnavailable"
    assert world.owners("photos") == {"AUTH_a"}


# -- who dies in between --------------------------------------------------------------------------------------------------


def killed_at(world, count, work):
    """Do a piece of work and die before its `count`th native request; returns False if it needs fewer."""
    left = [count]

    def gate(method, path):
        left[0] -= 1
        if not left[0]:
            raise Killed

    world.gate = gate
    try:
        work()
    except Killed:
        return True
    finally:
        world.gate = lambda method, path: None
    return False


@pytest.mark.parametrize("is_delete", [False, True])
@pytest.mark.parametrize("count", range(1, 12))
def test_a_half_made_bucket_is_finished_by_its_owner_and_nobody_elses(is_delete, count, monkeypatch):
    world = World()
    if is_delete:
        create(world, "a:u")
        work = functools.partial(delete, world, "a:u")
    else:
        work = functools.partial(create, world, "a:u")
    killed_at(world, count, work)
    if world.owner("photos") is not None or world.owners("photos"):
        assert refused(create, world, "b:u") == "BucketAlreadyExists"
    if world.owners("photos"):
        monkeypatch.setattr(registry, "LEFT_AFTER", 0.0)
        assert refused(create, world, "b:u") == "BucketAlreadyExists"
    else:
        assert create(world, "a:u") == 200
    assert world.owners("photos") == {"AUTH_a"} and world.owner("photos") == "AUTH_a"


@pytest.mark.parametrize("is_delete", [False, True])
@pytest.mark.parametrize("count", range(1, 12))
def test_what_a_dead_one_left_is_anybodys_later(is_delete, count, monkeypatch):
    world = World()
    if is_delete:
        create(world, "a:u")
    killed_at(world, count, functools.partial(delete if is_delete else create, world, "a:u"))
    monkeypatch.setattr(registry, "LEFT_AFTER", 0.0)
    if not world.owners("photos"):
        assert create(world, "b:u") == 200
        assert refused(create, world, "a:u") == "BucketAlreadyExists"
        assert world.owners("photos") == {"AUTH_b"}


def test_what_the_listing_still_has_is_not_left(monkeypatch):
    world = World()
    create(world, "a:u")
    monkeypatch.setattr(registry, "LEFT_AFTER", 0.0)
    world.fails["HEAD", "/AUTH_a/photos"] = 404
    assert refused(create, world, "b:u") == "BucketAlreadyExists"
    world.fails["HEAD", "/AUTH_a/photos"] = 503
    assert refused(create, world, "b:u") == "ServiceUnavailable"


def test_who_took_too_long_gives_the_container_back(monkeypatch):
    world = World()

    def slow(method, path):
        if (method, path) == ("PUT", "/v1/AUTH_a/photos"):
            world.gate = lambda method, path: None
            monkeypatch.setattr(registry, "LEFT_AFTER", 0.0)
            assert create(world, "b:u") == 200

    world.gate = slow
    assert refused(create, world, "a:u") == "BucketAlreadyExists"
    assert world.owners("photos") == {"AUTH_b"} and world.owner("photos") == "AUTH_b"


def test_a_removal_leaves_the_name_to_who_makes_the_bucket_again_and_dies():
    world = World()
    create(world, "a:u")

    def removed_meanwhile(method, path):
        if (method, path) != ("PUT", "/v1/AUTH_a/photos"):
            return
        world.gate = lambda method, path: None
        assert delete(world, "a:w") == 204
        world.gate = dead_behind_it

    def dead_behind_it(method, path):
        raise Killed

    world.gate = removed_meanwhile
    with pytest.raises(Killed):
        create(world, "a:v")
    world.gate = lambda method, path: None
    assert world.owners("photos") == {"AUTH_a"} and world.owner("photos") == "AUTH_a"
    assert refused(create, world, "b:u") == "BucketAlreadyExists"


# -- who comes at the same time -------------------------------------------------------------------------------------------


class Crowd:
    """Pieces of work of which each waits before each native request until its turn comes."""

    def __init__(self, world, works):
        self.results = [None] * len(works)
        self._waiting = {}
        self._who = {}
        world.gate = self._gate
        for at, work in enumerate(works):
            self._waiting[at] = None
            spawn(self._run, at, work)

    def _run(self, at, work):
        self._who[getcurrent()] = at
        try:
            self.results[at] = work()
        except S3Error as error:
            self.results[at] = error.code
        except Killed:
            self.results[at] = "killed"
        finally:
            self._waiting.pop(at, None)

    def _gate(self, method, path):
        self._waiting[self._who[getcurrent()]] = turn = Event()
        if turn.wait():
            raise Killed

    def run(self, choose):
        """`choose(most)`: (whose turn, whether it dies)."""
        for _ in range(5000):
            sleep(0)
            ready = [at for at, turn in sorted(self._waiting.items()) if turn is not None]
            if not ready:
                if not self._waiting:
                    return
                continue
            which, kill = choose(len(ready))
            at = ready[which]
            turn, self._waiting[at] = self._waiting[at], None
            turn.send(kill)
        raise AssertionError("it does not end")


@settings(max_examples=80, deadline=None)
@given(data=st.data(), may_die=st.booleans())
def test_of_all_who_create_at_once_one_wins(data, may_die):
    world = World()
    users = ["a:u", "a:v", "b:u", "c:u"]
    crowd = Crowd(world, [functools.partial(create, world, user) for user in users])
    crowd.run(
        lambda most: (
            data.draw(st.integers(0, most - 1)),
            may_die and data.draw(st.integers(0, 9)) == 0,
        )
    )
    assert len(world.owners("photos")) <= 1
    assert crowd.results.count(200) <= 1
    if not may_die:
        assert crowd.results.count(200) == 1 or "OperationAborted" in crowd.results
    if world.owners("photos"):
        assert {world.owner("photos")} == world.owners("photos")


@settings(max_examples=100, deadline=None)
@given(data=st.data(), may_die=st.booleans())
def test_names_and_containers_agree_after_creations_and_removals_at_once(data, may_die):
    world = World()
    create(world, "a:u")
    works = [
        functools.partial(delete, world, "a:u"),
        functools.partial(create, world, "a:v"),
        functools.partial(create, world, "b:u"),
        functools.partial(delete, world, "a:w"),
    ]
    crowd = Crowd(world, works)
    crowd.run(
        lambda most: (
            data.draw(st.integers(0, most - 1)),
            may_die and data.draw(st.integers(0, 9)) == 0,
        )
    )
    assert len(world.owners("photos")) <= 1
    if world.owners("photos"):
        assert {world.owner("photos")} == world.owners("photos")


# -- who is led where -----------------------------------------------------------------------------------------------------


def led(world, user, path="/photos/k", **more):
    found = request(world, user, "GET", path, known=KnownUsers(60.0, 10, lambda: 0.0), **more)
    resolving.resolve(found)
    return found.account


def test_a_name_leads_to_its_account_and_ones_own_bucket_comes_first():
    world = World()
    create(world, "a:u")
    assert led(world, "b:u") == led(world, None) == "AUTH_a"
    assert led(world, "b:u", "/x:photos/k") == "AUTH_x"
    world.containers.add(("AUTH_c", "photos"))  # by the native API
    asked = len(world.asked)
    assert led(world, "c:u") == "AUTH_c"
    assert not any("/.s3/" in path for _, path in world.asked[asked:])  # what is one's own costs no question
    assert refused(led, world, None, "/absent/k") == "NoSuchBucket"
    assert led(world, "b:u", "/absent/k") == "AUTH_b"  # not found there


def test_what_is_known_costs_nothing_and_goes_with_the_bucket():
    world = World()
    create(world, "a:u")
    led(world, None)
    asked = len(world.asked)
    for _ in range(5):
        assert led(world, None) == "AUTH_a"
    assert len(world.asked) == asked
    # By another node: nothing here hears of it.
    world.containers.remove(("AUTH_a", "photos"))
    world.containers.add(("AUTH_b", "photos"))
    container, obj = registry.place_of("photos")
    world.objects[f"/v1/.s3/{container}/{obj}"] = Timestamp.now().internal, "AUTH_b"
    PROCESS_CACHE.clear()
    assert led(world, None) == led(world, "c:u") == "AUTH_b"


def test_a_bucket_of_ones_own_that_is_made_on_this_node_counts_at_once():
    world = World()
    create(world, "a:u")
    assert led(world, "b:u") == "AUTH_a"
    world.containers.add(("AUTH_b", "photos"))  # by the native API, in another process
    forget_container({}, "AUTH_b", "photos")
    assert led(world, "b:u") == "AUTH_b"


def test_that_a_name_is_nobodys_is_known_until_it_is_somebodys():
    world = World()
    refused(led, world, None)
    asked = len(world.asked)
    refused(led, world, None)
    assert len(world.asked) == asked
    create(world, "a:u")
    assert led(world, None) == "AUTH_a"


def test_without_the_registry_ones_own_buckets_are_there():
    world = World()
    create(world, "a:u")
    world.fails["HEAD", "/.s3/"] = 503
    assert led(world, "a:u") == "AUTH_a"
    assert refused(led, world, "b:u") == "ServiceUnavailable"


def test_a_stranger_is_a_stranger():
    """A name is no right: natively he is refused."""
    world = World()
    create(world, "a:u")
    found = request(world, "b:u", "HEAD", "/photos")
    assert refused(_done, found, operations.find(found)) == "AccessDenied"
    assert not found.is_at_home


def test_the_source_of_a_copy_is_found_by_its_name_alone():
    world = World()
    create(world, "a:u", "theirs")
    create(world, "b:u", "ours")
    for source, account in (("theirs/k", None), ("ours/k", "AUTH_b"), ("absent/k", "AUTH_b")):
        found = request(world, "b:u", "PUT", "/theirs/new", HTTP_X_AMZ_COPY_SOURCE=source)
        resolving.resolve(found)
        assert found.account == "AUTH_a"
        assert copying.source_of(found).account == account
    found = request(world, "b:u", "PUT", "/ours/new", HTTP_X_AMZ_COPY_SOURCE="theirs/k")
    resolving.resolve(found)
    found.authenticate()
    assert copying.source_of(found).account == "AUTH_a"


@pytest.mark.parametrize(
    "path, is_s3",
    [
        ("/photos/k", True), ("/photos", True), ("/", False), ("/v1/AUTH_test/c", False), ("/auth/v1.0", False), ("/info", False),
        ("/healthcheck", False), ("/console/", False), ("/UPPER/k", False), ("/ab/k", False), ("/x:photos/k", True),
    ],
)  # fmt: skip
def test_unsigned_requests_by_the_name_alone(path, is_s3):
    environ = {"PATH_INFO": path, "QUERY_STRING": "", "HTTP_HOST": "h"}
    assert anonymous.is_s3(environ, GLOBAL) is is_s3
    assert not anonymous.is_s3({**environ, "HTTP_X_AUTH_TOKEN": "t"}, GLOBAL)


def test_the_option():
    assert not parse_options({}).has_global_buckets
    assert not parse_options({"bucket_namespace": "account"}).has_global_buckets
    assert parse_options({"bucket_namespace": "Global"}).has_global_buckets
    with pytest.raises(ConfigError):
        parse_options({"bucket_namespace": "world"})
