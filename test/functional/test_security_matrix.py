"""Who may and who may not, for each verb on each level and each kind of grant; and what nobody may from outside, whoever it is.

The tables say it; what single features let through is told by their own tests.
"""

import itertools
import json
import urllib.parse
import xml.etree.ElementTree

import pytest

from swift.core import swift_dir
from swift.ring.lookup import Ring
from swift.wire import direct

READ = {("GET", "object"), ("HEAD", "object")}
LIST = {("GET", "container"), ("HEAD", "container")}
WRITE = {("PUT", "object"), ("POST", "object"), ("DELETE", "object")}
CONTAINERS = {("PUT", "container"), ("POST", "container"), ("DELETE", "container")}
LOOK = {("GET", "account"), ("HEAD", "account")}
SETTINGS = {("POST", "account")}
MANAGE = {("PUT", "account"), ("DELETE", "account")}
ALL = READ | LIST | WRITE | CONTAINERS | LOOK | SETTINGS | MANAGE

STRANGER = "test2:tester2"
# what is granted: ({header of the container}, account ACL, what the one it is granted to may, what somebody without a token may)
GRANTS = {
    "nothing": ({}, None, set(), set()),
    "reading": ({"Read": STRANGER}, None, READ | LIST, set()),
    "reading, by account": ({"Read": "test2"}, None, READ | LIST, set()),
    "writing": ({"Write": STRANGER}, None, WRITE, set()),
    "both": ({"Read": STRANGER, "Write": STRANGER}, None, READ | LIST | WRITE, set()),
    "reading for somebody else": ({"Read": "test:tester3,test2:tester", "Write": "x"}, None, set(), set()),
    "reading for everybody": ({"Read": ".r:*"}, None, READ, READ),
    "reading and listing for everybody": ({"Read": ".r:*,.rlistings"}, None, READ | LIST, READ | LIST),
    "the listing alone": ({"Read": ".rlistings"}, None, set(), set()),
    "reading for a page": ({"Read": ".r:.example.com,.rlistings"}, None, set(), set()),
    "names of the inner side": ({"Read": ".reseller_admin,.admin,AUTH_test2"}, None, READ | LIST, set()),
    "account, read-only": ({}, "read-only", READ | LIST | LOOK, set()),
    "account, read-write": ({}, "read-write", READ | LIST | LOOK | WRITE | CONTAINERS, set()),
    "account, admin": ({}, "admin", READ | LIST | LOOK | WRITE | CONTAINERS | SETTINGS, set()),
}  # fmt: skip


class Box:
    """A container of test2's neighbour with an object in it, made anew where a request took it away."""

    def __init__(self, owner, path):
        self.owner, self.path = owner, path
        self.headers = {}

    def target(self, level):
        return {"account": "", "container": self.path, "object": f"{self.path}/o"}[level]

    def restore(self):
        assert self.owner("PUT", self.path, headers=self.headers).status in (201, 202)
        assert self.owner("PUT", f"{self.path}/o", b"0123456789").status == 201

    def empty(self):
        assert self.owner("DELETE", f"{self.path}/o").status in (204, 404)


@pytest.fixture
def box(user, name):
    box = Box(user, f"/{name}")
    box.restore()
    yield box
    assert user("POST", headers={"X-Account-Access-Control": ""}).status == 204


def may_do(client, box):
    """What of ALL the client gets through with; an account is never asked to be deleted by who might succeed."""
    done = set()
    for method, level in sorted(ALL):
        if (method, level) == ("DELETE", "container"):
            box.empty()
        answer = client(method, box.target(level), b"new" if method == "PUT" else None, account="AUTH_test")
        if answer.status // 100 == 2:
            done.add((method, level))
        else:
            assert answer.status == (403 if client.token else 401), (method, level, answer)
            assert b"0123456789" not in answer.body
            assert not {"etag", "x-container-object-count", "x-account-bytes-used"} & set(answer.headers)
        if method in ("PUT", "DELETE") or level == "object":
            box.restore()
    return done


@pytest.mark.parametrize("grant", GRANTS)
def test_who_may_what(clients, user, box, grant):
    headers, level, granted, anybody = GRANTS[grant]
    box.headers = {f"X-Container-{kind}": acl for kind, acl in headers.items()}
    box.restore()
    if level is not None:
        acl = json.dumps({level: [STRANGER]})
        assert user("POST", headers={"X-Account-Access-Control": acl}).status == 204
    assert may_do(clients[STRANGER], box) == granted
    assert may_do(clients[None], box) == anybody
    # A user of the account who is not its admin has no more rights than a stranger.
    others = anybody | (READ | LIST if "tester3" in headers.get("Read", "") else set())
    assert may_do(clients["test:tester3"], box) == others


def test_who_owns(clients, box):
    admins = READ | LIST | LOOK | WRITE | CONTAINERS | SETTINGS
    assert may_do(clients["test:tester"], box) == admins
    assert may_do(clients["test:tester2"], box) == admins


def test_a_bad_token_is_worse_than_none(anybody, box):
    box.headers = {"X-Container-Read": ".r:*"}
    box.restore()
    for token in ("AUTH_tk0", "AUTH_ftkgAAAA"):
        for method, level in sorted(ALL):
            answer = anybody(method, box.target(level), account="AUTH_test", headers={"X-Auth-Token": token})
            assert answer.status == 401, (method, level)


def test_whether_something_is_there_is_told_to_nobody_without_rights(clients, box):
    for who, status in ((STRANGER, 403), (None, 401)):
        for method, path in itertools.product(
            ("GET", "HEAD", "PUT", "POST", "DELETE"),
            (f"{box.path}-not", f"{box.path}/not", f"{box.path}-not/o"),
        ):
            there = clients[who](method, path.replace("-not", "").replace("/not", "/o"), account="AUTH_test")
            missing = clients[who](method, path, account="AUTH_test")
            assert (there.status, missing.status) == (status, status), (method, path)
            assert there.body == missing.body


@pytest.mark.parametrize("level", ["read-write", "admin"])
def test_privileged_headers_are_the_owners(clients, user, box, level):
    """One who may write all of the account neither sees nor sets who else may; an admin by the ACL does."""
    secret = {"X-Container-Read": "test2:x", "X-Container-Write": "test2:y", "X-Container-Sync-Key": "k",
              "X-Container-Sync-To": "//saio/saio_endpoint/AUTH_a/c", "X-Container-Meta-Temp-Url-Key": "t",
              "X-Container-Meta-Temp-Url-Key-2": "u"}  # fmt: skip
    sync_to = secret.pop("X-Container-Sync-To")
    assert user("POST", box.path, headers=secret).status == 204
    acl = json.dumps({level: [STRANGER]})
    assert user("POST", headers={"X-Account-Access-Control": acl}).status == 204
    stranger = clients[STRANGER]
    seen = stranger("HEAD", box.path, account="AUTH_test").headers
    assert {name for name in secret if name.lower() in seen} == (set(secret) if level == "admin" else set())
    assert ("x-account-access-control" in stranger("HEAD", account="AUTH_test").headers) == (level == "admin")
    if level == "admin":
        return
    theirs = dict.fromkeys(secret, "theirs")
    removed = {name.replace("X-", "X-Remove-", 1): "x" for name in secret}
    for headers in (theirs, removed, {"X-Container-Sync-To": sync_to}):
        assert stranger("POST", box.path, account="AUTH_test", headers=headers).status == 204
        assert stranger("PUT", box.path, account="AUTH_test", headers=headers).status == 202
        kept = user("HEAD", box.path).headers
        assert {name: kept.get(name.lower()) for name in secret} == secret
        assert "x-container-sync-to" not in kept
    assert stranger("PUT", f"{box.path}-new", account="AUTH_test", headers=theirs).status == 201
    kept = user("HEAD", f"{box.path}-new").headers
    assert not [name for name in secret if name.lower() in kept]


def test_who_may_write_a_container_may_not_open_it(clients, user, box):
    box.headers = {"X-Container-Write": STRANGER}
    box.restore()
    opened = {"X-Container-Read": ".r:*"}
    for method, path in (("PUT", f"{box.path}/o"), ("POST", f"{box.path}/o")):
        assert clients[STRANGER](method, path, b"", account="AUTH_test", headers=opened).status // 100 == 2
    assert clients[STRANGER]("POST", box.path, account="AUTH_test", headers=opened).status == 403
    assert clients[None]("GET", f"{box.path}/o", account="AUTH_test").status == 401
    assert "x-container-read" not in user("HEAD", f"{box.path}/o").headers


# -- copies ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [({}, {}, 403), ({"Read": STRANGER}, {}, 403), ({}, {"Write": STRANGER}, 403), ({"Read": STRANGER}, {"Write": STRANGER}, 201),
     ({"Write": STRANGER}, {"Read": STRANGER}, 403), ({"Read": ".r:*"}, {"Write": STRANGER}, 201),
     ({"Read": ".rlistings"}, {"Write": STRANGER}, 403)],
)  # fmt: skip
def test_a_copy_reads_there_and_writes_here(clients, user, box, source, target, status):
    """Within somebody else's account, and with one's own account at either end."""
    stranger = clients[STRANGER]
    other = f"{box.path}-target"
    assert stranger("PUT", box.path).status == 201
    assert stranger("PUT", f"{box.path}/mine", b"mine").status == 201
    for path, acl in ((box.path, source), (other, target)):
        assert user("PUT", path, headers={f"X-Container-{k}": v for k, v in acl.items()}).status in (201, 202)
    there = {"account": "AUTH_test"}
    assert stranger("COPY", f"{box.path}/o", **there, headers={"Destination": f"{other}/o"}).status == status
    assert (
        stranger(
            "PUT", f"{other}/p", **there, headers={"X-Copy-From": f"{box.path}/o", "Content-Length": "0"}
        ).status
        == status
    )
    reads = 201 if source.get("Read") in (STRANGER, ".r:*") else 403
    taken = {"Destination": f"{box.path}/taken", "Destination-Account": "AUTH_test2"}
    assert stranger("COPY", f"{box.path}/o", **there, headers=taken).status == reads
    writes = 201 if "Write" in target else 403
    brought = {"Destination": f"{other}/brought", "Destination-Account": "AUTH_test"}
    assert stranger("COPY", f"{box.path}/mine", headers=brought).status == writes
    assert stranger("GET", f"{box.path}/taken").status == (200 if reads == 201 else 404)
    assert user("GET", f"{other}/brought").status == (200 if writes == 201 else 404)


# -- features ----------------------------------------------------------------------------------------------------------------


def test_old_versions_are_of_the_container_they_were_in(clients, user, box):
    """Who may not look at the object sees none of its versions either, and changes none; listings show no hidden container."""
    assert user("POST", box.path, headers={"X-Versions-Enabled": "true"}).status == 204
    for body in (b"first", b"second"):
        assert user("PUT", f"{box.path}/o", body).status == 201
    rows = json.loads(user("GET", f"{box.path}?versions&format=json").body)
    ids = [row["version_id"] for row in rows if row["name"] == "o"]
    assert len(ids) >= 2
    for who, status in ((STRANGER, 403), ("test:tester3", 403), (None, 401)):
        client = clients[who]
        assert client("GET", f"{box.path}?versions", account="AUTH_test").status == status
        for method, version in itertools.product(
            ("GET", "HEAD", "PUT", "DELETE"), (*ids, "null", "1700000000.00000")
        ):
            body = b"" if method == "PUT" else None
            answer = client(method, f"{box.path}/o?version-id={version}", body, account="AUTH_test")
            wanted = 400 if (method, version) == ("PUT", "null") else status  # which can't be brought back
            assert answer.status == wanted, (who, method, version)
        settings = {"X-Versions-Enabled": "false"}
        assert client("POST", box.path, account="AUTH_test", headers=settings).status == status
    assert json.loads(user("GET", f"{box.path}?versions&format=json").body) == rows
    for client in (user, clients["admin:admin"]):
        listed = json.loads(client("GET", "?format=json", account="AUTH_test").body)
        names = [row["name"] for row in listed]
        assert not any("\0" in name or (box.path[1:] in name and name != box.path[1:]) for name in names)
    for version in ids:
        assert user("DELETE", f"{box.path}/o?version-id={version}").status == 204


def test_quotas_of_accounts_are_the_resellers(clients, user, box):
    quotas = ("X-Account-Meta-Quota-Bytes", "X-Account-Quota-Bytes", "X-Account-Quota-Count")
    headers = [{name: "1000000000000"} for name in quotas] + [
        {name.replace("X-", "X-Remove-", 1): "x"} for name in quotas
    ]
    for given in headers:
        for who in ("test:tester", "test:tester3", STRANGER, None):
            answer = clients[who]("POST", account="AUTH_test", headers=given)
            assert answer.status in ((403,) if who else (401, 403)), (who, given)
        assert clients["admin:admin"]("POST", account="AUTH_test", headers=given).status == 204, given
    assert not [name for name in user("HEAD").headers if "quota" in name]


# -- what is never taken from outside --------------------------------------------------------------------------------------

INTERNAL = {
    "X-{level}-Sysmeta-Core-Access-Control": '{{"admin":["test2:tester2"]}}',
    "X-{level}-Sysmeta-Project-Domain-Id": "evil",
    "X-{level}-Sysmeta-Quota-Bytes": "1",
    "X-{level}-Sysmeta-Versions-Container": "x",
    "X-{level}-Sysmeta-Evil": "1",
    "x-{level}-sysmeta-lower": "1",
    "X_{level}_Sysmeta_Under": "1",
    "X-{level}_Sysmeta-Mixed": "1",
    "X-Remove-{level}-Sysmeta-Evil": "1",
    "X-Object-Transient-Sysmeta-Evil": "1",
    "X-Object-Sysmeta-Container-Update-Override-Etag": "0" * 32,
    "X-Backend-Container-Update-Override-Etag": "0" * 32,
    "X-Backend-Container-Update-Override-Size": "999",
    "X-Backend-Inbound-X-Timestamp": "1",
    "X-Backend-Storage-Policy-Index": "1",
    "X-Backend-Allow-Reserved-Names": "true",
    "X-Backend-Allow-Private-Methods": "true",
    "X-Backend-Override-Deleted": "true",
    "X-Backend-Use-Replication-Network": "true",
    "X-Backend-Replication": "true",
    "X-Backend-Record-Type": "shard",
    "X-Backend-Evil": "1",
    "X_Backend_Evil": "1",
    "X-Timestamp": "9999999999.00000",
    "X-Allow-Reserved-Names": "true",
    "X-Account-Host": "127.0.0.1:1",
    "X-Container-Host": "127.0.0.1:1",
    "X-Container-Partition": "1",
    "X-Container-Device": "sdb1",
    "X-Delete-At-Host": "127.0.0.1:1",
    "X-Delete-At-Container": "x",
    "X-Container-Root-Db-State": "sharded",
}


def internal_headers(level):
    return {name.format(level=level): value.format() for name, value in INTERNAL.items()}


@pytest.fixture
def stored(cluster):
    """What a storage server has of a path: the headers of a HEAD, asked of the server itself."""
    swift_dir.use(str(cluster.layout.etc))
    account_ring, container_ring = (
        Ring(str(cluster.layout.etc), "account"),
        Ring(str(cluster.layout.etc), "container"),
    )
    object_ring = Ring(str(cluster.layout.etc), "object")

    def look(path):
        names = ["AUTH_test", *path.split("/", 2)[1:]]
        ring = (account_ring, container_ring, object_ring)[len(names) - 1]
        part, nodes = ring.get_nodes(*names)
        head = (_head_account, _head_container, direct.head_object)[len(names) - 1]
        return {name.lower(): value for name, value in dict(head(nodes[0], part, *names)).items()}

    return look


def _head_account(node, part, account):
    return _head(node, f"/{node['device']}/{part}/{account}")


def _head_container(node, part, account, container):
    return _head(node, f"/{node['device']}/{part}/{account}/{container}")


def _head(node, path):
    response = direct.call(node, "HEAD", path)
    response.drain()
    return dict(response.headers)


def marks(headers):
    """What of INTERNAL has arrived; sums that servers keep for themselves have other names."""
    words = ("sysmeta-evil", "sysmeta-lower", "sysmeta-under", "sysmeta-mixed", "core-access-control", "project-domain", "quota-bytes",
             "versions-container", "update-override", "backend-evil")  # fmt: skip
    return [name for name in headers if any(word in name for word in words)]


@pytest.mark.parametrize("level", ["Account", "Container", "Object"])
def test_nothing_of_the_inner_side_is_taken_from_clients(clients, user, box, stored, level):
    """Whoever sends it, the reseller's admin included."""
    path = box.target(level.lower())
    for who in ("test:tester", "admin:admin"):
        for method in ("POST", "PUT") if level != "Account" else ("POST",):
            body = b"0123456789" if (method, level) == ("PUT", "Object") else None
            answer = clients[who](method, path, body, account="AUTH_test", headers=internal_headers(level))
            assert answer.status // 100 == 2
            kept = stored(path)
            assert marks(kept) == [], (who, method)
            assert not kept["x-timestamp"].startswith("9999"), (who, method)
            assert kept.get("x-backend-storage-policy-index", "0") == "0"
            for verb in ("HEAD", "GET"):
                shown = user(verb, path).headers
                assert not [n for n in shown if "sysmeta" in n or "backend" in n], (who, method)
    row = json.loads(user("GET", f"{box.path}?format=json").body)[0]
    assert (row["bytes"], row["hash"]) == (10, "781e5e245d69b566979b86e28d23f2c7")


def test_a_policy_is_not_chosen_from_inside(user, box, name):
    headers = {"X-Backend-Storage-Policy-Index": "1"}
    assert user("PUT", f"/{name}-new", headers=headers).headers.get("x-storage-policy") != "silver"
    assert user("HEAD", f"/{name}-new").headers["x-storage-policy"] == "gold"
    for method in ("GET", "HEAD"):
        assert user(method, f"{box.path}/o", headers=headers).status == 200


def test_private_verbs_stay_private(clients, box):
    headers = {"X-Backend-Allow-Private-Methods": "true", "X-Backend-Storage-Policy-Index": "0"}
    for who, method in itertools.product(
        ("test:tester", "admin:admin"), ("UPDATE", "REPLICATE", "SSYNC", "GETorHEAD")
    ):
        for level in ("account", "container", "object"):
            answer = clients[who](method, box.target(level), b"[]", account="AUTH_test", headers=headers)
            assert answer.status == 405, (who, method, level)


def test_listings_show_objects_whatever_is_asked_for(user, box):
    plain = user("GET", f"{box.path}?format=json").body
    for headers in (
        {"X-Backend-Record-Type": "shard"},
        {"X-Backend-Record-Type": "auto"},
        {"X-Backend-Include-Deleted": "true"},
        {"X-Backend-Override-Deleted": "true"},
        {"X-Backend-Allow-Reserved-Names": "true"},
    ):
        assert user("GET", f"{box.path}?format=json&states=listing", headers=headers).body == plain


# -- reserved names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["test:tester", "admin:admin", None])
@pytest.mark.parametrize(
    "path",
    ["/v1/AUTH_test/%00versions%00c", "/v1/AUTH_test/%00versions%00c/o", "/v1/AUTH_test/%00versions%00c/%00o%00v",
     "/v1/AUTH_test/c/%00o", "/v1/AUTH_test/c/o%00", "/v1/%00AUTH_test", "/v1/AUTH_test%00/c/o", "/v1/AUTH_test/c%00x"],
)  # fmt: skip
def test_reserved_names_are_out_of_reach(clients, path, who):
    client = clients[who]
    tricks = {
        "X-Backend-Allow-Reserved-Names": "true",
        "X-Allow-Reserved-Names": "true",
        "X_Backend_Allow_Reserved_Names": "1",
    }
    if client.token:
        tricks["X-Auth-Token"] = client.token
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "COPY"):
        for headers in ({}, tricks):
            given = {
                **({"X-Auth-Token": client.token} if client.token else {}),
                **headers,
                "Destination": "c/o",
            }
            assert client.raw(method, path, b"" if method == "PUT" else None, given).status == 412, method


def test_reserved_names_are_out_of_reach_by_copies_and_listings(user, box):
    for reserved in ("%00c/o", f"{box.path[1:]}/%00o", "%00c/%00o"):
        for where in (reserved, "/" + reserved):
            assert user("COPY", f"{box.path}/o", headers={"Destination": where}).status in (400, 412)
            headers = {"X-Copy-From": where, "Content-Length": "0"}
            assert user("PUT", f"{box.path}/p", headers=headers).status in (400, 412)
    account = {"Destination": f"{box.path}/p", "Destination-Account": "%00AUTH_test"}
    assert user("COPY", f"{box.path}/o", headers=account).status in (400, 403, 412)
    for query in (
        "prefix=%00",
        "marker=%00",
        "end_marker=%01",
        "delimiter=%00",
        "reverse=on",
        "prefix=%00versions%00",
    ):
        for path in ("", box.path):
            answer = user("GET", f"{path}?{query}")
            assert answer.status in (200, 204, 400, 412), query
            assert b"\0" not in answer.body


@pytest.mark.parametrize(
    "account", [".expiring_objects", ".misplaced_objects", ".shards_AUTH_test", "AUTH_.x", "AUTH_", "x"]
)
def test_accounts_of_the_inner_side_are_nobodys(clients, account):
    for who in ("test:tester", "admin:admin", None):
        for method, path in itertools.product(("GET", "HEAD", "PUT", "POST", "DELETE"), ("", "/c", "/c/o")):
            answer = clients[who](method, path, account=account)
            assert answer.status == (403 if who else 401), (who, method, path)


# -- what advisories once told of ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd", ['"><script>alert(1)</script>', "a\r\nX-Evil: 1", "a%0d%0aX-Evil:%201", "é", "a\tb"]
)
def test_an_answer_repeats_nothing_that_a_browser_would_take_for_its_own(clients, odd):
    """CVE-2014-3497: the account's name came back unquoted in the realm."""
    path = f"/v1/AUTH_{urllib.parse.quote(odd)}/{urllib.parse.quote(odd)}"
    for who, token in ((None, None), (None, "bad"), ("test:tester", None)):
        for method in ("GET", "PUT", "POST"):
            given = token or clients[who].token
            answer = clients[who].raw(method, path, headers={"X-Auth-Token": given} if given else {})
            assert answer.status in (401, 403, 404)
            assert "x-evil" not in answer.headers
            assert b"<script" not in answer.body
            assert not set(answer.headers.get("www-authenticate", "")) & set("<>\r\n\t")
            assert answer.headers.get("www-authenticate", '""').count('"') == 2


def test_names_are_names_in_xml_too(user, box):
    """CVE-2013-2161: names came back unescaped in XML listings."""
    odd = "<script>alert('1')&amp;]]>\""
    quoted = urllib.parse.quote(odd, safe="")
    container = f"{box.path}{quoted}"
    assert user("PUT", container).status == 201
    assert user("PUT", f"{container}/{quoted}", b"", headers={"Content-Type": "a/b;c=<d>"}).status == 201
    for path, prefix, name in (("", box.path[1:], container[1:]), (container, "", quoted)):
        body = user("GET", f"{path}?format=xml&prefix={prefix}").body
        assert b"<script" not in body
        names = [element.text for element in xml.etree.ElementTree.fromstring(body).iter("name")]
        assert urllib.parse.unquote(name) in names


@pytest.mark.parametrize("level", ["account", "container"])
def test_limits_of_metadata_hold_for_all_that_is_kept(clients, user, box, level):
    """CVE-2014-7960: several requests could store more than one may."""
    client, path = (clients["test2:tester2"], "") if level == "account" else (user, box.path)
    client("PUT", "/any")
    before = [name for name in client("HEAD", path).headers if name.startswith(f"x-{level}-meta-")]
    cleared = {name.replace(f"x-{level}", f"X-Remove-{level}"): "x" for name in before}
    # the account is one that other tests have used, too
    assert client("POST", path, headers=cleared).status == 204
    refused = 0
    for part in range(4):
        headers = {f"X-{level}-Meta-Part{part}-{i}": "v" for i in range(30)}
        refused += client("POST", path, headers=headers).status == 400
    kept = [name for name in client("HEAD", path).headers if name.startswith(f"x-{level}-meta-part")]
    assert (refused, len(kept) <= 90) == (1, True)
    cleared = {f"X-Remove-{level}-Meta-{name.removeprefix(f'x-{level}-meta-')}": "x" for name in kept}
    assert client("POST", path, headers=cleared).status == 204


def test_deletions_are_of_now(user, box):
    """CVE-2013-4155: deletions with old timestamps left tombstones for each of which a server looked in vain."""
    for stamp in ("0000000001.00000", "1000000000.00000", "9999999999.99999", "x"):
        box.restore()
        assert user("DELETE", f"{box.path}/o", headers={"X-Timestamp": stamp}).status == 204
        assert user("GET", f"{box.path}/o").status == 404
