"""S3 with the keys that Keystone keeps for its users (EC2 credentials): whose they are, in which bucket, and until when."""

import dataclasses
import datetime
import hashlib
import hmac
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.handlers import validate_bucket_name
from conftest import TOKEN_CACHE_TIME, ask

from test.s3_clients import DENIED, refused, s3_client

WHO = ("ann", "ben", "dan", "max", "ann2")


@dataclasses.dataclass
class Keys:
    """Of a user of Keystone, for its project."""

    access: str
    secret: str

    def client(self, address, access="", secret="", **config):
        """boto3's, which takes names of buckets that say whose they are."""
        made = s3_client(
            address, access or self.access, secret or self.secret, signature_version="s3v4", **config
        )
        made.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
        return made


@pytest.fixture(scope="module")
def keys(keystone, people):
    return {name: made_for(keystone, people[name]) for name in WHO}


def made_for(keystone, person):
    path = f"/users/{person.user_id}/credentials/OS-EC2"
    made = keystone.call("POST", path, {"tenant_id": person.project_id})["credential"]
    return Keys(made["access"], made["secret"])


@pytest.fixture(scope="module")
def clients(store, keys):
    """By user, at the proxy whose options are the usual ones."""
    return {name: keys[name].client(store.address) for name in WHO}


@pytest.fixture
def name(request):
    return re.sub("[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-") + f"-{time.time_ns()}"


@pytest.fixture
def bucket(clients, name):
    clients["ann"].create_bucket(Bucket=name)
    clients["ann"].put_object(Bucket=name, Key="o", Body=b"hello")
    return name


def read(s3: Any, bucket: str, key: str = "o") -> bytes:
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def grant(s3: Any, bucket: str, principal: Any, *actions: str) -> None:
    """A policy that lets somebody do something with a bucket and what is in it."""
    of = f"arn:aws:s3:::{bucket}"
    let = {"Effect": "Allow", "Principal": principal, "Action": list(actions), "Resource": [of, f"{of}/*"]}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [let]}))


def test_whose_keys_they_are(store, keys, clients, people, bucket):
    ann = clients["ann"]
    assert read(ann, bucket) == b"hello"
    assert bucket in [found["Name"] for found in ann.list_buckets()["Buckets"]]
    assert ann.list_buckets()["Owner"]["ID"] == "red:ann"
    assert people["ann"]("GET", f"/{bucket}/o").body == b"hello"
    assert (
        refused(clients["ben"].get_object, Bucket=bucket, Key="o") == DENIED
    )  # in the project, and no operator
    assert refused(clients["dan"].get_object, Bucket=bucket, Key="o") == ("NoSuchBucket", 404)
    wrong = keys["ann"].client(store.address, secret="wrong")
    assert refused(wrong.get_object, Bucket=bucket, Key="o") == ("SignatureDoesNotMatch", 403)
    nobody = keys["ann"].client(store.address, access="nobody")
    assert refused(nobody.get_object, Bucket=bucket, Key="o")[1] == 403


def test_addresses_that_are_signed(store, keys, clients, bucket):
    url = clients["ann"].generate_presigned_url("get_object", {"Bucket": bucket, "Key": "o"})
    assert ask("GET", url).body == b"hello"
    assert ask("GET", url[:-4] + "0000").status == 403
    url = clients["ben"].generate_presigned_url("get_object", {"Bucket": bucket, "Key": "o"})
    assert ask("GET", url).status == 403


def test_chunks_that_are_signed_each(store, keys, clients, bucket):
    """Their signatures are checked with the secret, which s3token reads from Keystone."""
    data = bytes(range(256)) * 700
    assert in_chunks(store.address, keys["ann"], f"/{bucket}/chunked", data).status == 200
    assert read(clients["ann"], bucket, "chunked") == data
    answer = in_chunks(store.address, keys["ann"], f"/{bucket}/chunked", data, changed=True)
    assert (answer.status, b"<Code>SignatureDoesNotMatch<" in answer.body) == (403, True)
    assert read(clients["ann"], bucket, "chunked") == data


def in_chunks(address, keys, path, data, changed=False):
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/us-east-1/s3/aws4_request"
    key = f"AWS4{keys.secret}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")

    def sign(kind, text):
        return hmac.digest(key, f"{kind}\n{moment}\n{scope}\n{text}".encode(), "sha256").hex()

    form = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    headers = {
        "host": f"{address[0]}:{address[1]}",
        "x-amz-content-sha256": form,
        "x-amz-date": moment,
        "x-amz-decoded-content-length": str(len(data)),
    }
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    names = ";".join(headers)
    canonical = hashlib.sha256(f"PUT\n{path}\n\n{lines}\n{names}\n{form}".encode()).hexdigest()
    signature = sign("AWS4-HMAC-SHA256", canonical)
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope},SignedHeaders={names},Signature={signature}"
    )
    empty = hashlib.sha256().hexdigest()
    body = b""
    for chunk in (data[:100_000], data[100_000:], b""):
        text = f"{signature}\n{empty}\n{hashlib.sha256(chunk).hexdigest()}"
        signature = sign("AWS4-HMAC-SHA256-PAYLOAD", text)
        sent = chunk[:-1] + b"?" if changed and chunk else chunk
        body += b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), signature.encode(), sent)
    return ask("PUT", f"http://{headers['host']}{path}", body, headers)


def test_a_key_that_is_taken_back_is_refused_once_it_is_asked_about_again(
    store, keystone, people, clients, bucket
):
    ann = people["ann"]
    keys = made_for(keystone, ann)
    client = keys.client(store.address)
    assert read(client, bucket) == b"hello"
    keystone.call("DELETE", f"/users/{ann.user_id}/credentials/OS-EC2/{keys.access}")
    start = time.monotonic()
    while True:
        try:
            read(client, bucket)
        except client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
                break
        assert time.monotonic() - start < TOKEN_CACHE_TIME + 60, "still good"
        time.sleep(0.1)


def test_what_a_policy_grants_to_users_and_projects(clients, people, bucket):
    ann, dan = clients["ann"], clients["dan"]
    there = f"{people['ann'].project_id}:{bucket}"
    blue = people["dan"].project_id
    assert refused(dan.get_object, Bucket=there, Key="o") == DENIED
    for principal in (
        f"arn:aws:iam::{blue}:user/dan",
        f"arn:aws:iam::{blue}:user/{people['dan'].user_id}",
        blue,
    ):
        grant(ann, bucket, {"AWS": principal}, "s3:GetObject")
        assert read(dan, there) == b"hello"
        assert refused(dan.put_object, Bucket=there, Key="n", Body=b"") == DENIED
        assert refused(clients["ann2"].get_object, Bucket=there, Key="o") == DENIED
    grant(ann, bucket, {"AWS": f"arn:aws:iam::{people['ann'].project_id}:user/ann"}, "s3:GetObject")
    assert refused(clients["ann2"].get_object, Bucket=there, Key="o") == DENIED


# -- names of the whole cluster ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everywhere(store, keys):
    """Clients of two proxies with one namespace of buckets, by user: a pair each."""
    addresses = [store.start_proxy(f"global{number}", bucket_namespace="global") for number in (1, 2)]
    return {name: [keys[name].client(address) for address in addresses] for name in WHO}


def test_a_name_is_one_projects(everywhere, people, name):
    (ann, ann_there), (dan, dan_there) = everywhere["ann"], everywhere["dan"]
    ann.create_bucket(Bucket=name)
    ann.put_object(Bucket=name, Key="o", Body=b"hello")
    assert refused(dan.create_bucket, Bucket=name) == ("BucketAlreadyExists", 409)
    assert refused(everywhere["ann2"][1].create_bucket, Bucket=name) == ("BucketAlreadyExists", 409)
    assert refused(ann_there.create_bucket, Bucket=name) == ("BucketAlreadyOwnedByYou", 409)
    assert refused(everywhere["ben"][0].create_bucket, Bucket=f"{name}-x") == DENIED
    for client in (dan, dan_there, everywhere["ann2"][0]):
        assert refused(client.get_object, Bucket=name, Key="o") == DENIED
        assert refused(client.delete_bucket, Bucket=name) == DENIED
    grant(ann, name, {"AWS": people["dan"].project_id}, "s3:GetObject", "s3:PutObject")
    for client in (dan, dan_there):
        assert read(client, name) == b"hello"
        client.put_object(Bucket=name, Key="of-dan", Body=b"x")
        assert name not in [found["Name"] for found in client.list_buckets()["Buckets"]]
    url = dan_there.generate_presigned_url("get_object", {"Bucket": name, "Key": "o"})
    assert ask("GET", url).body == b"hello"
    assert people["dan"]("GET", f"/{name}").status == 404
    assert b"of-dan" in people["ann"]("GET", f"/{name}").body
    for key in ("o", "of-dan"):
        ann_there.delete_object(Bucket=name, Key=key)
    ann_there.delete_bucket(Bucket=name)
    dan.create_bucket(Bucket=name)
    assert people["dan"]("HEAD", f"/{name}").status == 204


def test_of_all_who_make_it_at_once_one_project_has_it(everywhere, people, name):
    def create(client):
        try:
            client.create_bucket(Bucket=name)
        except client.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        return ""

    clients = [client for who in ("ann", "dan", "ann2") for client in everywhere[who]]
    with ThreadPoolExecutor(len(clients)) as pool:
        told = list(pool.map(create, clients))
    assert told.count("") >= 1
    assert set(told) <= {"", "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "OperationAborted"}
    there = [who for who in ("ann", "dan", "ann2") if people[who]("HEAD", f"/{name}").status == 204]
    assert len(there) == 1


# -- S3's own ACLs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_acls(store, keys):
    address = store.start_proxy("acls", s3_acl="true", check_bucket_owner="true")
    return {name: keys[name].client(address) for name in WHO}


def grants(answer):
    return {(grant["Grantee"].get("ID"), grant["Permission"]) for grant in answer["Grants"]}


def test_acls_of_users(with_acls, people, name):
    ann, ben, dan = (with_acls[who] for who in ("ann", "ben", "dan"))
    there = f"{people['ann'].project_id}:{name}"
    ann.create_bucket(Bucket=name)
    ann.put_object(Bucket=name, Key="o", Body=b"hello")
    assert grants(ann.get_object_acl(Bucket=name, Key="o")) == {("red:ann", "FULL_CONTROL")}
    assert refused(ben.get_object, Bucket=name, Key="o") == DENIED
    assert refused(dan.get_object, Bucket=there, Key="o") == DENIED
    ann.put_object_acl(Bucket=name, Key="o", GrantRead='id="blue:dan",id="red:ben"')
    assert read(ben, name) == read(dan, there) == b"hello"
    assert refused(dan.put_object, Bucket=there, Key="n", Body=b"") == DENIED
    ann.put_bucket_acl(Bucket=name, GrantWrite='id="blue:dan"', GrantFullControl='id="red:ann"')
    dan.put_object(Bucket=there, Key="of-dan", Body=b"dan's")
    assert grants(dan.get_object_acl(Bucket=there, Key="of-dan")) == {("blue:dan", "FULL_CONTROL")}
    assert refused(ann.get_object, Bucket=name, Key="of-dan") == DENIED  # its maker's
    assert refused(dan.get_bucket_acl, Bucket=there) == DENIED


def test_acls_know_who_is_called_alike_in_another_domain(with_acls, people, name):
    """ann2 is another ann of another red: names say who is meant in the default domain only."""
    ann, twin = with_acls["ann"], with_acls["ann2"]
    there = f"{people['ann'].project_id}:{name}"
    ann.create_bucket(Bucket=name)
    ann.put_object(Bucket=name, Key="o", Body=b"hello")
    assert refused(twin.get_object, Bucket=there, Key="o") == DENIED
    assert refused(twin.put_object, Bucket=there, Key="o", Body=b"") == DENIED
    assert refused(twin.get_bucket_acl, Bucket=there) == DENIED
    assert refused(twin.delete_object, Bucket=there, Key="o") == DENIED
    twin_id = f"{people['ann2'].project_id}:{people['ann2'].user_id}"
    ann.put_object_acl(Bucket=name, Key="o", GrantRead=f'id="{twin_id}"')
    assert read(twin, there) == b"hello"
    twin.create_bucket(Bucket=name)
    twin.put_object(Bucket=name, Key="o", Body=b"twin's")
    assert grants(twin.get_object_acl(Bucket=name, Key="o")) == {(twin_id, "FULL_CONTROL")}
    assert twin.list_buckets()["Owner"]["ID"] == twin_id
    assert name in [found["Name"] for found in twin.list_buckets()["Buckets"]]
    assert refused(ann.get_object, Bucket=f"{people['ann2'].project_id}:{name}", Key="o") == DENIED


# -- temporary credentials ---------------------------------------------------------------------------------------------------


def test_sessions_of_keystones_users(store, keys, clients, people, bucket):
    ann = keys["ann"]
    sts = boto3.client(
        "sts",
        endpoint_url=f"http://{store.address[0]}:{store.address[1]}",
        aws_access_key_id=ann.access,
        aws_secret_access_key=ann.secret,
        region_name="us-east-1",
    )
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{people['ann'].project_id}:user/ann"
    role = {"RoleArn": f"arn:aws:iam::{people['ann'].project_id}:role/any", "RoleSessionName": "job"}
    found = sts.assume_role(**role)["Credentials"]
    session = Keys(found["AccessKeyId"], found["SecretAccessKey"]).client(
        store.address, session_token=found["SessionToken"]
    )
    assert read(session, bucket) == b"hello"
    session.put_object(Bucket=bucket, Key="of-session", Body=b"x")
    assert refused(clients["ben"].get_object, Bucket=bucket, Key="of-session") == DENIED
