"""Users of a real Keystone at the store: who may do what, whose word counts, and until when."""

import json
import time

import pytest
from conftest import TOKEN_CACHE_TIME, Person, ask
from identity import KeystoneAnswer


def test_an_operator_owns_the_account_of_the_project(people, box):
    ann = people["ann"]
    assert ann("GET", f"{box}/o").body == b"hello"
    assert ann("GET", box).body == b"o\n"
    assert ann("POST", box, X_Container_Meta_A="b", X_Container_Read="x:y").status == 204
    assert ann("HEAD", box).header("x-container-read") == "x:y"
    assert box[1:] in ann("GET").body.decode()
    assert ann("DELETE").status == 403  # the account itself is its reseller's


@pytest.mark.parametrize("token", [None, "nonsense", "gAAAAAB" + "x" * 170, "a" * 5000, "\xe9"])
def test_without_a_good_token_there_is_401(people, box, token):
    answer = people["ann"]("GET", box, token=token)
    assert answer.status == 401
    asked = sorted(value.split()[0] for name, value in answer.headers if name == "www-authenticate")
    assert asked == ["Keystone", "Swift"]


@pytest.mark.parametrize(
    ("who", "status"),
    [("ben", 403), ("dan", 403), ("ann2", 403), ("worker", 403), ("max", 200), ("eve", 200)],
)
def test_who_reads_without_being_named(people, box, who, status):
    """ben: same project, no operator; dan: another project; ann2: the same names in another domain; eve: a project reader."""
    url = people["ann"].url
    assert people[who]("GET", f"{box}/o", url=url).status == status
    assert people[who]("PUT", f"{box}/new", b"x", url=url).status == (201 if who == "max" else 403)
    assert people[who]("POST", box, url=url).status == (204 if who == "max" else 403)


def test_what_clients_say_of_themselves_is_nothing(people, box):
    ann, ben = people["ann"], people["ben"]
    claims = {
        "X-Identity-Status": "Confirmed", "X-Roles": "admin,operator,ResellerAdmin", "X-User-Id": ann.user_id, "X-User-Name": "ann",
        "X-Project-Id": ann.project_id, "X-Project-Name": "red", "X-Tenant-Id": ann.project_id, "X-Service-Roles": "service",
        "X-Service-Identity-Status": "Confirmed", "X-User-Domain-Id": "default", "X-Project-Domain-Id": "default",
        "X-Account-Sysmeta-Project-Domain-Id": "default", "X-Backend-Allow-Reserved-Names": "true",
    }  # fmt: skip
    assert ann("GET", box, token=None, **claims).status == 401
    assert ben("GET", box, **claims).status == 403
    underscores = {name.replace("-", "_"): value for name, value in claims.items()}
    assert ask("GET", ann.url + box, None, underscores).status == 401
    assert ask("GET", ann.url + box, None, {**underscores, "X-Auth-Token": ben.token}).status == 403


@pytest.mark.parametrize(
    ("form", "may"),
    [
        ("{project}:{user}", True), ("{project}:*", True), ("*:{user}", True), ("*:*", True), ("x:y, {project}:{user}", True),
        ("blue:dan", True), ("blue:*", True), ("*:dan", True), ("{project}:dan", True), ("blue:{user}", True),
        ("{project}", False), ("{user}", False), ("blue", False), ("operator", False), ("red:dan", False), ("blue:ann", False),
    ],
)  # fmt: skip
def test_read_acls_across_projects(people, box, form, may):
    ann, dan = people["ann"], people["dan"]
    acl = form.format(project=dan.project_id, user=dan.user_id)
    assert ann("POST", box, X_Container_Read=acl).status == 204
    for method, path in (("GET", box), ("HEAD", f"{box}/o"), ("GET", f"{box}/o")):
        assert dan(method, path, url=ann.url).status in ((200, 204) if may else (403,)), (method, path)
    assert dan("PUT", f"{box}/x", b"x", url=ann.url).status == 403
    assert dan("POST", box, url=ann.url).status == 403
    assert dan("HEAD", box, url=ann.url).header("x-container-read") is None


def test_write_acls_across_projects(people, box):
    ann, dan = people["ann"], people["dan"]
    assert ann("POST", box, X_Container_Write=f"{dan.project_id}:{dan.user_id}").status == 204
    assert dan("PUT", f"{box}/x", b"x", url=ann.url).status == 201
    assert dan("POST", f"{box}/x", url=ann.url, X_Object_Meta_A="b").status == 202
    assert dan("GET", f"{box}/x", url=ann.url).status == 403
    assert dan("DELETE", f"{box}/x", url=ann.url).status == 204
    assert dan("PUT", f"{box}-other", url=ann.url).status == 403
    assert dan("DELETE", box, url=ann.url).status == 403


def test_roles_in_acls(people, box):
    ann, ben = people["ann"], people["ben"]
    assert ann("POST", box, X_Container_Read="Member").status == 204
    assert ben("GET", f"{box}/o").status == 200
    assert ben("PUT", f"{box}/o", b"").status == 403
    assert people["dan"]("GET", f"{box}/o", url=ann.url).status == 403


def test_open_to_everybody(people, box):
    ann = people["ann"]
    assert ann("POST", box, X_Container_Read=".r:*").status == 204
    assert ann("GET", f"{box}/o", token=None).body == b"hello"
    assert ann("GET", f"{box}/o", token="nonsense").status == 200
    assert ann("GET", box, token=None).status == 401
    assert ann("POST", box, X_Container_Read=".r:*,.rlistings").status == 204
    assert ann("GET", box, token=None).status == 200
    assert ann("PUT", f"{box}/x", b"", token=None).status == 401


def test_names_mean_the_default_domain(people, box):
    ann, twin, dan = people["ann"], people["ann2"], people["dan"]
    assert dan("PUT", box).status == 201
    assert dan("PUT", f"{box}/o", b"hello").status == 201
    assert dan("POST", box, X_Container_Read="red:ann").status == 204
    assert ann("GET", f"{box}/o", url=dan.url).status == 200
    assert twin("GET", f"{box}/o", url=dan.url).status == 403
    assert dan("POST", box, X_Container_Read=f"{twin.project_id}:{twin.user_id}").status == 204
    assert twin("GET", f"{box}/o", url=dan.url).status == 200


def test_names_open_no_account_of_another_domain(people, box):
    twin, dan = people["ann2"], people["dan"]
    assert twin("PUT", box).status == 201
    assert twin("PUT", f"{box}/o", b"hello").status == 201
    assert twin("HEAD").header("x-account-project-domain-id") not in (None, "default", "_unknown")
    assert twin("POST", box, X_Container_Read="blue:dan").status == 204
    assert dan("GET", f"{box}/o", url=twin.url).status == 403
    assert twin("POST", box, X_Container_Read=f"{dan.project_id}:{dan.user_id}").status == 204
    assert dan("GET", f"{box}/o", url=twin.url).status == 200


def test_services_act_with_the_users_token_and_their_own(people, box):
    ann, ben, glance = people["ann"], people["ben"], people["glance"]
    url = ann.url.replace("/AUTH_", "/SERVICE_")
    assert ann("PUT", box, url=url, X_Service_Token=glance.token).status == 201
    assert ann("PUT", f"{box}/o", b"hello", url=url, X_Service_Token=glance.token).status == 201
    assert ann("GET", f"{box}/o", url=url, X_Service_Token=glance.token).body == b"hello"
    assert ann("GET", f"{box}/o", url=url).status == 403
    assert glance("GET", f"{box}/o", url=url).status == 403
    assert glance("GET", f"{box}/o", url=url, X_Service_Token=glance.token).status == 403
    assert ann("GET", f"{box}/o", url=url, token=None, X_Service_Token=glance.token).status == 401
    assert ben("GET", f"{box}/o", url=url, X_Service_Token=glance.token).status == 403


@pytest.mark.parametrize("service", ["worker", "nonsense"])
def test_a_service_token_that_is_none_spoils_the_users(people, box, service):
    token = people[service].token if service in people else service
    assert people["ann"]("GET", box, X_Service_Token=token).status == 401


def test_a_good_service_token_changes_nothing_for_the_users_own_account(people, box):
    token = people["glance"].token
    assert people["ann"]("GET", box, X_Service_Token=token).status == 200
    assert people["ben"]("GET", box, X_Service_Token=token).status == 403


def test_other_prefixes_are_nobodys(people):
    ann = people["ann"]
    assert ann("GET", url=ann.url.replace("/AUTH_", "/OTHER_")).status == 403
    assert ann("GET", url=ann.url.replace("/AUTH_", "/")).status == 403


def test_a_token_for_no_project_owns_nothing(keystone, people, box):
    scopeless = Person(keystone, "ann", None).log_in()
    assert scopeless("GET", box, url=people["ann"].url).status == 403
    assert scopeless("PUT", box, url=people["ann"].url.rsplit("/", 1)[0] + "/AUTH_None").status == 403


def test_without_a_token_there_is_what_needs_none(people, store):
    assert people["ann"]("OPTIONS", token=None).status == 200
    for path in ("/info", "/healthcheck"):
        assert ask("GET", store.layout.endpoint + path).status == 200
    assert "keystoneauth" not in json.loads(ask("GET", store.layout.endpoint + "/info").body)


def test_application_credentials(keystone, people, box):
    ann = people["ann"]
    wish = {"name": box[1:], "secret": "s3cret", "roles": [{"name": "operator"}]}
    made = keystone.call(
        "POST", f"/users/{ann.user_id}/application_credentials", {"application_credential": wish}, ann.token
    )["application_credential"]
    token = keystone.token_of_credential(made["id"], "s3cret")
    assert ann("GET", f"{box}/o", token=token).body == b"hello"
    with pytest.raises(KeystoneAnswer):
        keystone.token_of_credential(made["id"], "wrong")


# -- until when ------------------------------------------------------------------------------------------------------------


def seconds_until_refused(person):
    start = time.monotonic()
    while (status := person("HEAD").status) != 401:
        assert status in (200, 204)
        assert time.monotonic() - start < TOKEN_CACHE_TIME + 20, "still good"
        time.sleep(0.1)
    return time.monotonic() - start


def test_a_token_revoked_before_its_first_use_is_no_good(keystone, people):
    ann = people["ann"].anew()
    keystone.revoke(ann.token)
    assert ann("HEAD").status == 401


def test_a_revoked_token_is_refused_once_it_is_asked_about_again(keystone, people):
    ann = people["ann"].anew()
    assert ann("HEAD").status == 204
    keystone.revoke(ann.token)
    assert (
        ann("HEAD").status == 204
    )  # what is known of it is still believed: Keystone is not asked for each request
    seconds_until_refused(ann)


def test_a_disabled_user_is_refused(keystone, people):
    dan = people["dan"].anew()
    assert dan("HEAD").status in (200, 204)
    keystone.call("PATCH", f"/users/{dan.user_id}", {"user": {"enabled": False}})
    try:
        seconds_until_refused(dan)
    finally:
        keystone.call("PATCH", f"/users/{dan.user_id}", {"user": {"enabled": True}})
        people["dan"].log_in()


def test_a_good_token_outlives_what_is_remembered_of_it(people):
    for _ in range(3):
        assert people["ann"]("HEAD").status == 204
        time.sleep(TOKEN_CACHE_TIME / 2 + 0.3)
