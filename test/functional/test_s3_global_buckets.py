"""One name, one bucket in the whole cluster (`bucket_namespace = global`): whose it is, who reaches it by its name alone, and what was there before.

Its cluster also trusts a provider of identities (AssumeRoleWithWebIdentity), and has a storage class that stands for a policy.
"""

import http.client
import http.server
import json
import pathlib
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
import botocore
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from test import certificate
from test.cluster import Cluster
from test.functional.conftest import assert_logs_are_clean
from test.functional.test_s3_policies import put, statement
from test.s3_clients import DENIED, refused, s3_client

ROOT = pathlib.Path(__file__).parents[2]
STRANGER = {"AWS": "arn:aws:iam::test2:user/tester2"}


class Provider:
    """Of identities: shows its public key at an https address."""

    def __init__(self, folder):
        self.key = rsa.generate_private_key(65537, 2048)
        shown = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key())), "kid": "one"}
        body = json.dumps({"keys": [shown]}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                """Of no interest."""

        folder.mkdir()
        self.ca_file, key_file = certificate.make(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, key_file)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.issuer = f"https://localhost:{self.server.server_port}"

    def conf(self):
        users = [{"user": "test:tester", "claims": {"sub": "job:*"}}]
        jwks = f"{self.issuer}/keys"
        one = {
            "issuer": self.issuer,
            "audience": "swift",
            "jwks": jwks,
            "ca_file": self.ca_file,
            "users": users,
        }
        return json.dumps({"jobs": one})

    def token(self, key=None, **more):
        claims = {"iss": self.issuer, "aud": "swift", "sub": "job:7", "exp": int(time.time()) + 600, **more}
        return jwt.encode(claims, key or self.key, "RS256", {"kid": "one"})


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    made = Provider(tmp_path_factory.mktemp("provider") / "tls")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def running(tmp_path_factory, provider):
    cluster = Cluster(tmp_path_factory.mktemp("global-buckets") / "saio")
    cluster.write()
    identities = cluster.layout.etc / "identities.json"
    identities.write_text(provider.conf())
    cluster.configure(
        "s3api",
        bucket_namespace="global",
        storage_domain="s3.localhost",
        website_domains="website.localhost",
        web_identity_providers=str(identities),
        storage_class_GLACIER_IR="silver",
    )
    with cluster:
        yield cluster
        assert_logs_are_clean(cluster)


@pytest.fixture(scope="module")
def where(running):
    return running.address


@pytest.fixture(scope="module")
def other_proxy(running):
    """The address of a second proxy."""
    return running.start_proxy("proxy2")


@pytest.fixture(scope="module")
def owner(where):
    return s3_client(where, "test:tester")


@pytest.fixture(scope="module")
def stranger(where):
    return s3_client(where, "test2:tester2")


def anybody(where, path, host="localhost"):
    connection = http.client.HTTPConnection(*where, timeout=60)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_name_is_one_accounts_until_its_bucket_is_gone(owner, stranger, name):
    owner.create_bucket(Bucket=name)
    assert refused(owner.create_bucket, Bucket=name) == ("BucketAlreadyOwnedByYou", 409)
    assert refused(stranger.create_bucket, Bucket=name) == ("BucketAlreadyExists", 409)
    owner.put_object(Bucket=name, Key="k", Body=b"")
    assert refused(owner.delete_bucket, Bucket=name) == ("BucketNotEmpty", 409)
    assert refused(stranger.create_bucket, Bucket=name) == ("BucketAlreadyExists", 409)
    assert name not in [row["Name"] for row in stranger.list_buckets()["Buckets"]]
    owner.delete_object(Bucket=name, Key="k")
    owner.delete_bucket(Bucket=name)
    stranger.create_bucket(Bucket=name)
    assert refused(owner.create_bucket, Bucket=name) == ("BucketAlreadyExists", 409)
    assert name in [row["Name"] for row in stranger.list_buckets()["Buckets"]]
    assert refused(owner.head_bucket, Bucket=name)[1] == 403
    assert refused(owner.head_bucket, Bucket=f"{name}-absent")[1] == 404


def test_whoever_has_rights_reaches_a_bucket_by_its_name_alone(owner, stranger, where, name):
    owner.create_bucket(Bucket=name)
    owner.put_object(Bucket=name, Key="open/a", Body=b"a")
    owner.put_object(Bucket=name, Key="shut/a", Body=b"secret")
    for call in (stranger.get_object, stranger.head_object, stranger.delete_object):
        assert refused(call, Bucket=name, Key="open/a")[1] == 403
    assert anybody(where, f"/{name}/open/a")[0] == 403
    put(
        owner,
        name,
        statement(name, "Allow", "*", "s3:GetObject", "open/*"),
        statement(name, "Allow", STRANGER, "s3:PutObject", "theirs/*"),
        statement(name, "Allow", STRANGER, "s3:ListBucket"),
    )
    assert stranger.get_object(Bucket=name, Key="open/a")["Body"].read() == b"a"
    assert refused(stranger.get_object, Bucket=name, Key="shut/a") == DENIED
    stranger.put_object(Bucket=name, Key="theirs/b", Body=b"b")
    assert owner.get_object(Bucket=name, Key="theirs/b")["Body"].read() == b"b"
    assert stranger.list_objects_v2(Bucket=name)["KeyCount"] == 3
    assert refused(stranger.get_object, Bucket=name, Key="open/a", ExpectedBucketOwner="test2") == DENIED
    assert stranger.get_object(Bucket=name, Key="open/a", ExpectedBucketOwner="test")["Body"].read() == b"a"
    mine = f"{name}-mine"
    stranger.create_bucket(Bucket=mine)
    stranger.copy_object(Bucket=mine, Key="copy", CopySource=f"{name}/open/a")
    stranger.copy_object(Bucket=name, Key="theirs/copy", CopySource=f"{mine}/copy")
    assert owner.get_object(Bucket=name, Key="theirs/copy")["Body"].read() == b"a"
    assert refused(stranger.copy_object, Bucket=mine, Key="x", CopySource=f"{name}/shut/a") == DENIED
    # Nobody in particular: in the path, by the host, and as a site
    assert anybody(where, f"/{name}/open/a") == (200, b"a")
    assert anybody(where, f"/{name}/shut/a")[0] == 403
    assert anybody(where, f"/test:{name}/open/a") == (200, b"a")
    assert anybody(where, "/open/a", f"{name}.s3.localhost") == (200, b"a")
    assert anybody(where, f"/{name}-absent/open/a")[0] == 404
    owner.put_bucket_website(Bucket=name, WebsiteConfiguration={"IndexDocument": {"Suffix": "a"}})
    assert anybody(where, "/open/", f"{name}.website.localhost") == (200, b"a")


def test_signed_addresses_lead_to_the_bucket(owner, stranger, where, name):
    owner.create_bucket(Bucket=name)
    owner.put_object(Bucket=name, Key="k", Body=b"k")
    put(owner, name, statement(name, "Allow", STRANGER, "s3:GetObject", "*"))
    for client in (owner, stranger):
        url = client.generate_presigned_url("get_object", {"Bucket": name, "Key": "k"})
        path = url.partition("//")[2].partition("/")[2]
        assert anybody(where, f"/{path}", f"{where[0]}:{where[1]}") == (200, b"k")


def test_of_all_who_create_it_at_once_one_has_it(where, other_proxy, running, name):
    users = [("test:tester", "testing"), ("test2:tester2", "testing2"), ("admin:admin", "admin")]
    clients = [s3_client(proxy, *user) for proxy in (where, other_proxy) for user in users]

    def create(client):
        try:
            client.create_bucket(Bucket=name)
        except client.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        return "made"

    with ThreadPoolExecutor(len(clients)) as pool:
        results = list(pool.map(create, clients))
    assert results.count("made") == 1, results
    known = ("made", "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "OperationAborted")
    assert all(result in known for result in results), results
    has = [name in [row["Name"] for row in client.list_buckets()["Buckets"]] for client in clients[:3]]
    assert has.count(True) == 1
    # What one proxy gives back, another one may give away.
    winner = clients[results.index("made")]
    winner.delete_bucket(Bucket=name)
    loser = next(client for client, has_it in zip(clients[3:], has, strict=True) if not has_it)
    loser.create_bucket(Bucket=name)
    assert refused(winner.create_bucket, Bucket=name) == ("BucketAlreadyExists", 409)


def command(running, *args):
    script = ROOT / "bin/swift-s3-buckets"
    made = [sys.executable, str(script), "--swift-dir", str(running.layout.etc), *args]
    return subprocess.run(made, capture_output=True, text=True, timeout=120, check=False)


def test_what_was_there_before_is_registered_and_what_collides_is_told(running, owner, stranger, name):
    for path in (f"/{name}-both", f"/{name}-mine", "/No.Bucket_"):
        assert running.request("PUT", path).status == 201
    stranger.create_bucket(Bucket=f"{name}-both")
    assert refused(stranger.head_bucket, Bucket=f"{name}-mine")[1] == 404
    found = command(running, "register", "AUTH_test", "--dry-run")
    assert found.returncode == 1 and f"{name}-mine  AUTH_test\n" in found.stdout, found.stderr
    # Each node knows of the accounts that it has databases of; of any two nodes one has this one's.
    nodes = [
        command(running, "register", "--devices", str(running.layout.disks / str(node))) for node in (1, 2)
    ]
    told = "".join(found.stdout for found in nodes)
    assert not any(found.stderr for found in nodes), nodes
    assert any(found.returncode == 1 for found in nodes)
    assert told.count(f"{name}-mine  AUTH_test\n") == 1 and "No.Bucket_" not in told
    assert f"{name}-both  AUTH_test  conflict: it is AUTH_test2's\n" in told
    assert refused(stranger.create_bucket, Bucket=f"{name}-mine") == ("BucketAlreadyExists", 409)
    assert refused(stranger.head_bucket, Bucket=f"{name}-mine")[1] == 403
    owner.head_bucket(Bucket=f"{name}-both")  # one's own container comes first
    assert command(running, "show", f"{name}-both").stdout == f"{name}-both  AUTH_test2\n"
    assert command(running, "release", f"{name}-mine").returncode == 1
    assert running.request("DELETE", f"/{name}-mine").status == 204
    assert "there is no container" in command(running, "show", f"{name}-mine").stdout
    found = command(running, "release", f"{name}-mine")
    assert found.returncode == 0, found.stderr
    stranger.create_bucket(Bucket=f"{name}-mine")


def test_nobody_writes_names_by_the_native_api(running, name):
    token = running.authenticate("admin:admin", "admin")  # a reseller's admin
    for path in ("/v1/.s3", "/v1/.s3/%00s3buckets%0000/%00photos", "/v1/.s3/c"):
        for method in ("GET", "PUT", "POST", "DELETE"):
            headers = {"X-Auth-Token": token, "X-Backend-Allow-Reserved-Names": "true"}
            assert running.raw(method, path, headers=headers).status in (400, 403, 404, 412)


def test_who_asks_before_is_answered_by_the_bucket(owner, where, name):
    owner.create_bucket(Bucket=name)
    rule = {"AllowedOrigins": ["https://a.example"], "AllowedMethods": ["GET"], "AllowedHeaders": ["*"]}
    owner.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [rule]})
    connection = http.client.HTTPConnection(*where, timeout=60)
    headers = {
        "Origin": "https://a.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,x-amz-date",
    }
    connection.request("OPTIONS", f"/{name}/k", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200 and answer.getheader("Access-Control-Allow-Origin") == "https://a.example"
    connection.close()


def test_a_policy_of_the_owner_is_read_by_its_name(owner, stranger, name):
    owner.create_bucket(Bucket=name)
    assert refused(stranger.get_bucket_policy, Bucket=name) == DENIED
    policy = {"Version": "2012-10-17", "Statement": [statement(name, "Allow", "*", "s3:GetObject", "*")]}
    assert refused(stranger.put_bucket_policy, Bucket=name, Policy=json.dumps(policy)) == DENIED


def test_a_provider_of_identities_vouches_for_a_user(where, provider, owner, name):
    sts = boto3.client(
        "sts",
        endpoint_url=f"http://{where[0]}:{where[1]}",
        region_name="us-east-1",
        config=botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"max_attempts": 0}),
    )
    role = {"RoleArn": "arn:aws:iam::test:role/jobs", "RoleSessionName": "job-7"}
    found = sts.assume_role_with_web_identity(WebIdentityToken=provider.token(), **role)
    assert found["SubjectFromWebIdentityToken"] == "job:7" and found["Audience"] == "swift"
    given = found["Credentials"]
    session = s3_client(
        where, given["AccessKeyId"], given["SecretAccessKey"], session_token=given["SessionToken"]
    )
    session.create_bucket(Bucket=name)
    session.put_object(Bucket=name, Key="k", Body=b"from a job")
    assert owner.get_object(Bucket=name, Key="k")["Body"].read() == b"from a job"
    others = rsa.generate_private_key(65537, 2048)
    for token, code in (
        (provider.token(others), "InvalidIdentityToken"),
        (provider.token(aud="else"), "InvalidIdentityToken"),
        (provider.token(exp=int(time.time()) - 600), "ExpiredTokenException"),
        (provider.token(sub="person:7"), "AccessDenied"),
    ):
        assert refused(sts.assume_role_with_web_identity, WebIdentityToken=token, **role)[0] == code


def test_a_class_is_that_of_the_policy_of_a_bucket(owner, running, name):
    cold = f"{name}-cold"
    owner.create_bucket(Bucket=name)
    location = {"LocationConstraint": "us-east-1:GLACIER_IR"}
    owner.create_bucket(Bucket=cold, CreateBucketConfiguration=location)
    assert running.request("HEAD", f"/{cold}").headers["x-storage-policy"] == "silver"
    there = {"StorageClass": "GLACIER_IR"}
    assert refused(owner.put_object, Bucket=name, Key="k", Body=b"", **there) == ("InvalidStorageClass", 400)
    assert refused(owner.create_multipart_upload, Bucket=name, Key="k", **there)[0] == "InvalidStorageClass"
    owner.put_object(Bucket=name, Key="k", Body=b"k")
    assert "StorageClass" not in owner.head_object(Bucket=name, Key="k")
    owner.put_object(Bucket=cold, Key="put", Body=b"k", **there)
    owner.put_object(Bucket=cold, Key="plain", Body=b"k")
    owner.copy_object(Bucket=cold, Key="copy", CopySource=f"{name}/k", **there)
    upload = {"Bucket": cold, "Key": "parts"}
    upload["UploadId"] = owner.create_multipart_upload(**upload, **there)["UploadId"]
    assert owner.list_multipart_uploads(Bucket=cold)["Uploads"][0]["StorageClass"] == "GLACIER_IR"
    part = owner.upload_part(**upload, PartNumber=1, Body=b"k")
    assert owner.list_parts(**upload)["StorageClass"] == "GLACIER_IR"
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    owner.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    for key in ("put", "plain", "copy", "parts"):
        assert owner.get_object(Bucket=cold, Key=key)["StorageClass"] == "GLACIER_IR", key
        assert owner.head_object(Bucket=cold, Key=key)["StorageClass"] == "GLACIER_IR"
    assert {row["StorageClass"] for row in owner.list_objects_v2(Bucket=cold)["Contents"]} == {"GLACIER_IR"}
    assert owner.list_objects_v2(Bucket=name)["Contents"][0]["StorageClass"] == "STANDARD"
    assert {row["StorageClass"] for row in owner.list_object_versions(Bucket=cold)["Versions"]} == {
        "GLACIER_IR"
    }
    rule = {"ID": "r", "Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 1, **there}]}
    rules = {"Rules": [rule]}
    refusal = refused(owner.put_bucket_lifecycle_configuration, Bucket=name, LifecycleConfiguration=rules)
    assert refusal == ("InvalidStorageClass", 400)
