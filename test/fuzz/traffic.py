"""What clients and nodes send in earnest, one request of each kind: what a run of the fuzz begins from.

What lives here: requests as they are before they are signed. What never does: changing or sending them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import io
import itertools
import json
import tarfile
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from swift.core.hashing import hash_path
from swift.ring.lookup import Ring

PROXY, OBJECT, CONTAINER, ACCOUNT = "proxy", "object", "container", "account"
CODED = "object-2"  # object servers as erasure-coded policies have them
UPLOAD_ID = "VXBsb2FkIElE"  # in the place of one that there is
KEY = "fuzz-key"
ACCESS, SECRET = "test:tester", "testing"


@dataclass
class Sent:
    """One request. `path` is quoted; `way`: how it is shown to be somebody's: "token", "s3", "s3 in the address", "node" or "" (nobody's)."""

    to: str
    way: str
    method: str
    path: str
    query: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    chunked: bool = False

    def copy(self) -> Sent:
        return replace(self, headers=list(self.headers))


def _native() -> list[Sent]:
    """Of a client of the native API; container `fuzz` and what is in it are there."""
    c, o = "/v1/AUTH_test/fuzz", "/v1/AUTH_test/fuzz/o"

    def sent(
        method: str,
        path: str,
        query: str = "",
        body: bytes = b"",
        chunked: bool = False,
        way: str = "token",
        **headers: str,
    ) -> Sent:
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return Sent(PROXY, way, method, path, query, lines, body, chunked)

    manifest = json.dumps([{"path": "/fuzz/o", "range": "0-3"}, {"data": "aGVsbG8="}]).encode()
    expires = str(int(time.time()) + 86400)
    tempurl = hmac.new(KEY.encode(), f"GET\n{expires}\n{o}".encode(), "sha256").hexdigest()
    form, boundary = _form(c, expires)
    return [
        sent("GET", "/info"),
        sent("GET", "/healthcheck", way=""),
        sent("GET", "/auth/v1.0", way="", X_Auth_User=ACCESS, X_Auth_Key=SECRET),
        sent("GET", "/v1/AUTH_test", "format=json&limit=3&marker=a&end_marker=z&prefix=f&delimiter=/&reverse=on"),
        sent("HEAD", "/v1/AUTH_test"),
        sent("POST", "/v1/AUTH_test", X_Account_Meta_Color="blue", X_Remove_Account_Meta_Shape="x"),
        sent("POST", "/v1/AUTH_test", X_Account_Meta_Temp_URL_Key=KEY),
        sent("PUT", c + "-more", X_Container_Meta_A="b", X_Storage_Policy="silver", X_Container_Read=".r:*,test:tester2"),
        sent("POST", c, X_Container_Meta_Quota_Bytes="99999999", X_Versions_Enabled="true", X_Container_Sync_To="//a/b/c/d"),
        sent("POST", c, X_Container_Meta_Web_Index="index.html", X_Container_Meta_Access_Control_Allow_Origin="*"),
        sent("GET", c, "format=xml&limit=5&delimiter=%2F&path=a&versions"),
        sent("GET", c, "format=json&version_marker=1&marker=a&partNumber=1"),
        sent("OPTIONS", c, Origin="http://x", Access_Control_Request_Method="GET", Access_Control_Request_Headers="x-a"),
        sent("DELETE", c + "-more"),
        sent("PUT", o, body=b"0123456789", Content_Type="text/plain", X_Object_Meta_A="b", X_Delete_After="86400"),
        sent("PUT", o + "2", body=b"x" * 70_000, ETag=hashlib.md5(b"x" * 70_000).hexdigest(), If_None_Match="*"),
        sent("PUT", o + "3", body=b"chunked body" * 900, chunked=True, X_Object_Manifest="fuzz/o", Content_Encoding="gzip"),
        sent("PUT", o + "4", body=b"body", Expect="100-continue", X_Symlink_Target="fuzz/o"),
        sent("PUT", o + "5", X_Copy_From="/fuzz/o", Content_Length="0", X_Fresh_Metadata="true"),
        sent("COPY", o, Destination="fuzz/o6", Destination_Account="AUTH_test"),
        sent("GET", o, Range="bytes=0-3,5-7,-2", If_Match="*", If_Modified_Since="Mon, 30 Nov 2020 12:00:00 GMT"),
        sent("GET", o, "multipart-manifest=get&format=raw&symlink=get&version-id=null"),
        sent("HEAD", o, X_Newest="true", If_None_Match='"a", "b"'),
        sent("POST", o, X_Object_Meta_C="d", X_Delete_At=expires, Content_Type="a/b; charset=x"),
        sent("DELETE", o + "2", "multipart-manifest=delete&version-id=1700000000.00000"),
        sent("PUT", o + "-slo", "multipart-manifest=put", manifest),
        sent("GET", o + "-slo", "part-number=1", Range="bytes=2-5"),
        sent("PUT", "/v1/AUTH_test/fuzz", "extract-archive=tar.gz", _archive()),
        sent("POST", "/v1/AUTH_test", "bulk-delete", b"fuzz/o9\nfuzz/a%20b\n", Content_Type="text/plain", Accept="application/json"),
        sent("GET", o, f"temp_url_sig={tempurl}&temp_url_expires={expires}&filename=x&inline", way=""),
        sent("POST", c, body=form, way="", Content_Type=f"multipart/form-data; boundary={boundary}"),
        sent("GET", "/v1/AUTH_test/fuzz/", way="", Host="fuzz.localhost"),
        sent("GET", "/endpoints/AUTH_test/fuzz/o"),
        sent("GET", "/healthcheck", "ready", way=""),
        sent("OPTIONS", o, way="", Origin="http://x", Access_Control_Request_Method="PUT", Access_Control_Request_Headers="X-Auth-Token"),
        sent("GET", o, way="", Origin="http://x"),
        sent("COPY", o, "symlink=get", Destination="fuzz/copy", X_Fresh_Metadata="true"),
        sent("PUT", c + "/copied", X_Copy_From="fuzz/o", X_Copy_From_Account="AUTH_test", Content_Length="0", Range="bytes=1-3"),
        sent("PUT", c + "/link", X_Symlink_Target="fuzz/o", X_Symlink_Target_Account="AUTH_test", Content_Length="0", Content_Type="application/symlink"),
        sent("GET", c + "/link", "symlink=get", Range="bytes=-2"),
        sent("PUT", c + "/dlo", X_Object_Manifest="fuzz/o", Content_Length="0"),
        sent("GET", c + "/dlo", Range="bytes=0-1,4-", If_Modified_Since="Thu, 01 Jan 1970 00:00:01 GMT"),
        sent("PUT", c + "/expected", body=b"x" * 70_000, Expect="100-continue"),
        *(sent("GET", f"/console/{page}") for page in ("", "app.js", "settings.json", "operator", "operator/nodes")),
    ]  # fmt: skip


def _s3_form() -> tuple[bytes, str]:
    """What a browser sends with a policy that was signed for it."""
    now = time.gmtime()
    day = time.strftime("%Y%m%d", now)
    free = (
        "key",
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "success_action_status",
        "Content-Type",
    )
    conditions: list[Any] = [{"bucket": "fuzz-s3"}, ["content-length-range", 0, 1000]]
    conditions += [["starts-with", f"${name}", ""] for name in free]
    policy = base64.b64encode(
        json.dumps({"expiration": "2035-01-01T00:00:00Z", "conditions": conditions}).encode()
    ).decode()
    scope = f"{day}/us-east-1/s3/aws4_request"
    given = {
        "key": "form-${filename}", "policy": policy, "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"{ACCESS}/{scope}",
        "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", now), "x-amz-signature": _s3_signature(scope, policy), "success_action_status": "201",
    }  # fmt: skip
    parts = [
        f'--s3\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in given.items()
    ]
    file = '--s3\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--s3--\r\n'
    return "".join([*parts, file]).encode(), "s3"


def _form(path: str, expires: str) -> tuple[bytes, str]:
    given = {"redirect": "http://x/", "max_file_size": "1000", "max_file_count": "2", "expires": expires}
    said = "\n".join([path, *given.values()])
    given["signature"] = hmac.new(KEY.encode(), said.encode(), "sha256").hexdigest()
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in given.items()
    ]
    file = '--b\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n'
    return "".join([*parts, file]).encode(), "b"


def _archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("a/b", "c"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"hello"))
    return gzip.compress(out.getvalue(), 1)


def _s3() -> list[Sent]:
    def sent(
        method: str, path: str, query: str = "", body: bytes = b"", way: str = "s3", **headers: str
    ) -> Sent:
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return Sent(PROXY, way, method, path, query, lines, body)

    versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    deletion = b"<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object><Object><Key>b</Key><VersionId>null</VersionId></Object></Delete>"
    completion = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag></Part></CompleteMultipartUpload>"
    rule = b"<LifecycleConfiguration><Rule><ID>r</ID><Prefix>a</Prefix><Status>Enabled</Status><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>"
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    cors = b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": "*",
                    "Action": "s3:GetObject",
                    "Resource": "arn:aws:s3:::fuzz-s3/pub/*",
                }
            ],
        }
    ).encode()
    retention = b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate></Retention>"
    selection = b"<SelectObjectContentRequest><Expression>select * from s3object</Expression></SelectObjectContentRequest>"

    form, boundary = _s3_form()
    pieces = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    key = base64.b64encode(b"k" * 32).decode()

    def md5(body: bytes) -> str:
        return base64.b64encode(hashlib.md5(body).digest()).decode()

    return [
        sent("GET", "/"),
        sent("PUT", "/fuzz-s3"),
        sent("GET", "/fuzz-s3", "list-type=2&prefix=a&delimiter=/&max-keys=3&start-after=a&encoding-type=url&continuation-token=x"),
        sent("GET", "/fuzz-s3", "versions&key-marker=a&version-id-marker=null"),
        sent("GET", "/fuzz-s3", "uploads&max-uploads=3"),
        sent("PUT", "/fuzz-s3/o", body=b"hello", x_amz_meta_a="b", Content_Type="text/plain", x_amz_storage_class="STANDARD"),
        sent("PUT", "/fuzz-s3/o", body=b"hello", x_amz_checksum_crc32="NhCmhg==", x_amz_tagging="a=b"),
        sent("GET", "/fuzz-s3/o", "response-content-type=a/b&partNumber=1&versionId=null", Range="bytes=1-2"),
        sent("HEAD", "/fuzz-s3/o", If_None_Match="x"),
        sent("PUT", "/fuzz-s3/p", x_amz_copy_source="/fuzz-s3/o", x_amz_metadata_directive="REPLACE"),
        sent("DELETE", "/fuzz-s3/p"),
        sent("PUT", "/fuzz-s3/c", body=pieces, x_amz_content_sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER", x_amz_decoded_content_length="5",
             Content_Encoding="aws-chunked", x_amz_trailer="x-amz-checksum-crc32"),
        sent("PUT", "/fuzz-s3/k", body=b"hello", x_amz_server_side_encryption_customer_algorithm="AES256",
             x_amz_server_side_encryption_customer_key=key, x_amz_server_side_encryption_customer_key_MD5=md5(b"k" * 32)),
        sent("GET", "/fuzz-s3/o", "X-Amz-Expires=600&response-content-disposition=inline", way="s3 in the address"),
        sent("PUT", "/fuzz-s3/o", "X-Amz-Expires=600", b"hello", way="s3 in the address"),
        sent("POST", "/fuzz-s3", body=form, way="", Content_Type=f"multipart/form-data; boundary={boundary}"),
        sent("GET", "/fuzz-s3", "location"), sent("GET", "/fuzz-s3", "website"), sent("GET", "/", way="", Host="fuzz-s3.website.localhost"),
        sent("POST", "/fuzz-s3", "delete", deletion, Content_MD5=md5(deletion)),
        sent("POST", "/fuzz-s3/m", "uploads"),
        sent("PUT", "/fuzz-s3/m", "partNumber=1&uploadId=" + UPLOAD_ID, b"part"),
        sent("POST", "/fuzz-s3/m", "uploadId=" + UPLOAD_ID, completion),
        sent("GET", "/fuzz-s3/m", "uploadId=" + UPLOAD_ID + "&max-parts=1"),
        sent("PUT", "/fuzz-s3", "versioning", versioning),
        sent("PUT", "/fuzz-s3", "lifecycle", rule, Content_MD5=md5(rule)),
        sent("PUT", "/fuzz-s3", "tagging", tags, Content_MD5=md5(tags)),
        sent("PUT", "/fuzz-s3/o", "tagging", tags, Content_MD5=md5(tags)),
        sent("PUT", "/fuzz-s3", "cors", cors, Content_MD5=md5(cors)),
        sent("PUT", "/fuzz-s3", "policy", policy),
        sent("GET", "/fuzz-s3", "policy"),
        sent("GET", "/fuzz-s3", "acl"),
        sent("GET", "/fuzz-s3/o", "acl"),
        sent("PUT", "/fuzz-s3/o", "acl", x_amz_acl="private"),
        sent("PUT", "/fuzz-s3/o", "retention", retention),
        sent("POST", "/fuzz-s3/o", "select&select-type=2", selection),
        sent("GET", "/fuzz-s3/o", "attributes", x_amz_object_attributes="ETag,Checksum,ObjectSize"),
        sent("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15"),
    ]  # fmt: skip


def _nodes(swift_dir: str) -> list[Sent]:
    """Of proxies and daemons, to the first node of each, about an account of their own: they delete what clients still need."""
    places = {}
    for kind, names in (
        (ACCOUNT, ("AUTH_node",)),
        (CONTAINER, ("AUTH_node", "fuzz")),
        (OBJECT, ("AUTH_node", "fuzz", "o")),
        (CODED, ("AUTH_node", "fuzz", "o")),
    ):
        part, nodes = Ring(swift_dir, kind).get_nodes(*names)
        places[kind] = f"/{nodes[0]['device']}/{part}"
    now = f"{time.time():.5f}"
    times = itertools.count(time.time(), 0.01)
    coded = places[CODED] + "/AUTH_node/fuzz/o"
    account, container, obj = (
        places[ACCOUNT] + "/AUTH_node",
        places[CONTAINER] + "/AUTH_node/fuzz",
        places[OBJECT] + "/AUTH_node/fuzz/o",
    )
    hashed = "0123456789abcdef0123456789abcdef"
    databases = {ACCOUNT: hash_path("AUTH_node"), CONTAINER: hash_path("AUTH_node", "fuzz")}

    def sent(
        to: str,
        method: str,
        path: str,
        query: str = "",
        body: bytes = b"",
        chunked: bool = False,
        **headers: str,
    ) -> Sent:
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        # one after the other: what is not newer than what is there comes to nothing
        lines += [
            ("X-Timestamp", f"{next(times):.5f}"),
            ("X-Backend-Storage-Policy-Index", "2" if to == CODED else "0"),
            ("X-Trans-Id", "tx-fuzz"),
        ]
        return Sent(to, "node", method, path, query, lines, body, chunked)

    def call(to: str, place: str, *words: Any) -> Sent:
        return sent(
            to,
            "REPLICATE",
            f"{place}/{databases[to]}",
            body=json.dumps(words).encode(),
            Content_Type="application/json",
        )

    row = {
        "name": "r",
        "created_at": now,
        "size": 1,
        "content_type": "a/b",
        "etag": "e",
        "deleted": 0,
        "storage_policy_index": 0,
        "ROWID": 1,
    }
    document = b"--B\r\nX-Document: object body\r\n\r\nhello\r\n--B\r\nX-Document: object metadata\r\nContent-MD5: %s\r\n\r\n%s\r\n--B--\r\n"
    footer = json.dumps(
        {"Etag": hashlib.md5(b"hello").hexdigest(), "X-Backend-Body-Crc32": "3610a686"}
    ).encode()
    mime = document % (hashlib.md5(footer).hexdigest().encode(), footer)
    offer = f":MISSING_CHECK: START\r\n{hashed} {now} m:1,d:2\r\n:MISSING_CHECK: END\r\n:UPDATES: START\r\n"
    sub = f"PUT /a/c/o\r\nX-Timestamp: {now}\r\nContent-Length: 3\r\nContent-Type: a/b\r\nETag: 900150983cd24fb0d6963f7d28e17f72\r\n\r\nabc"
    ranges = [{"name": ".shards_a/c-1", "timestamp": now, "lower": "", "upper": "m", "object_count": 1, "bytes_used": 1, "meta_timestamp": now,
               "deleted": 0, "state": 20, "state_timestamp": now, "epoch": None, "reported": 0, "tombstones": -1}]  # fmt: skip
    update = {"X_Size": "5", "X_Content_Type": "a/b", "X_Etag": "e" * 32}
    fragment = {"X_Object_Sysmeta_Ec_Frag_Index": "1", "X_Object_Sysmeta_Ec_Etag": "e" * 32, "X_Object_Sysmeta_Ec_Content_Length": "5",
                "X_Object_Sysmeta_Ec_Segment_Size": "1048576", "X_Object_Sysmeta_Ec_Scheme": "liberasurecode_rs_vand 4+2"}  # fmt: skip
    listener = {"X_Container_Host": "127.0.0.1:1", "X_Container_Device": "sdb1", "X_Container_Partition": "1"}
    return [
        sent(ACCOUNT, "PUT", account), sent(ACCOUNT, "HEAD", account), sent(ACCOUNT, "POST", account, X_Account_Meta_A="b"),
        sent(ACCOUNT, "GET", account, "format=json&marker=a&limit=3&prefix=f&delimiter=/&reverse=1"),
        sent(ACCOUNT, "PUT", account + "/fuzz", X_Put_Timestamp=now, X_Delete_Timestamp="0", X_Object_Count="1", X_Bytes_Used="1"),
        sent(ACCOUNT, "DELETE", account + "-none"),
        sent(CONTAINER, "PUT", container, X_Container_Read=".r:*", X_Backend_Storage_Policy_Default="0"),
        sent(CONTAINER, "POST", container, X_Container_Sync_To="//realm/cluster/a/c", X_Container_Sync_Key="k", X_Container_Sysmeta_A="b"),
        sent(CONTAINER, "GET", container, "format=json&marker=a&limit=3&end_marker=z&delimiter=/&path=a&states=listing&includes=a",
             X_Backend_Record_Type="auto", X_Backend_Include_Deleted="true", X_Backend_Override_Shard_Name_Filter="sharded"),
        sent(CONTAINER, "GET", container, "format=json", X_Backend_Record_Type="shard", X_Backend_Record_Shard_Format="namespace"),
        sent(CONTAINER, "HEAD", container), sent(CONTAINER, "POST", container, X_Container_Meta_A="b"),
        sent(CONTAINER, "PUT", container + "/row", **update),
        sent(CONTAINER, "DELETE", container + "/row"),
        sent(CONTAINER, "PUT", container, body=json.dumps(ranges).encode(), X_Backend_Record_Type="shard"),
        sent(CONTAINER, "UPDATE", container, body=json.dumps([row]).encode(), X_Backend_Record_Type="object"),
        sent(CONTAINER, "DELETE", container + "-none"),
        call(CONTAINER, places[CONTAINER], "sync", 1, hashed, "id", now, now, "0", "{}"),
        call(CONTAINER, places[CONTAINER], "merge_items", [row], "remote-id"),
        call(CONTAINER, places[CONTAINER], "merge_syncs", [{"remote_id": "x", "sync_point": 3}]),
        call(CONTAINER, places[CONTAINER], "merge_shard_ranges", ranges, "local"),
        call(CONTAINER, places[CONTAINER], "get_shard_ranges"),
        call(CONTAINER, places[CONTAINER], "rsync_then_merge", "tmp", "x"), call(ACCOUNT, places[ACCOUNT], "complete_rsync", "tmp", "x"),
        call(ACCOUNT, places[ACCOUNT], "sync_many", [[1, hashed, 1, hashed, "id", now, now, "0", "{}"]]),
        call(ACCOUNT, places[ACCOUNT], "bring", [1]),
        sent(CONTAINER, "REPLICATE", f"{places[CONTAINER]}/{hashed}", body=b"SQLite format 3\0", X_Backend_Database_Files="complete",
             X_Backend_Database_Name=hashed + ".db", X_Backend_Database_Id="x", X_Backend_Database_Crc32="1"),
        sent(OBJECT, "PUT", obj, body=b"hello", Content_Type="text/plain", Etag=hashlib.md5(b"hello").hexdigest(), **listener),
        sent(OBJECT, "PUT", obj, body=b"hello", Content_Type="text/plain", X_Backend_Body_Crc32="3610a686", X_Delete_At="1900000000",
             Etag=hashlib.md5(b"hello").hexdigest(), X_Backend_Container_Path="AUTH_node/fuzz"),
        sent(OBJECT, "PUT", obj + "m", body=mime, chunked=True, Content_Type="a/b", X_Backend_Obj_Metadata_Footer="yes",
             X_Backend_Obj_Multipart_Mime_Boundary="B", X_Backend_Body_Crc32="footer", X_Backend_Obj_Content_Length="5", Expect="100-continue"),
        sent(CODED, "PUT", coded, body=mime, chunked=True, Content_Type="a/b", X_Backend_Obj_Metadata_Footer="yes",
             X_Backend_Obj_Multipart_Mime_Boundary="B", X_Backend_Obj_Multiphase_Commit="yes", **fragment),
        sent(CODED, "PUT", coded + "2", body=b"hello" + b"put_commit_confirmation", Content_Type="a/b", X_Backend_Obj_Multiphase_Commit="yes",
             X_Backend_Obj_Content_Length="5", Etag=hashlib.md5(b"hello").hexdigest(), X_Backend_Body_Crc32="3610a686", Expect="100-continue", **fragment),
        sent(CODED, "GET", coded + "2", X_Backend_Fragment_Preferences='[{"timestamp": "1", "exclude": [1]}]', X_Backend_Replication="true"),
        sent(CODED, "DELETE", coded + "2", X_Backend_Replication_Headers="X-Timestamp"),
        sent(CODED, "SSYNC", places[CODED], body=(offer + sub + ":UPDATES: END\r\n").encode(), chunked=True, X_Backend_Ssync_Frag_Index="3"),
        sent(OBJECT, "GET", obj, Range="bytes=0-1,3-", X_Backend_Fragment_Preferences='[{"timestamp": "1", "exclude": [1]}]', X_Backend_Replication="true"),
        sent(OBJECT, "HEAD", obj, If_Match="x", X_Backend_Ignore_Range_If_Metadata_Present="a"), sent(OBJECT, "POST", obj, X_Object_Meta_A="b", X_Delete_At="1900000000"),
        sent(OBJECT, "DELETE", obj + "-none", X_If_Delete_At="1", X_Backend_Object_Lock="x"),
        sent(OBJECT, "REPLICATE", places[OBJECT]), sent(OBJECT, "REPLICATE", places[OBJECT] + "/abc-def"),
        sent(OBJECT, "REPLICATE", places[OBJECT], X_Backend_Compare_Partitions="1=abc,2=def"),
        sent(OBJECT, "REPLICATE", places[OBJECT], X_Backend_Inventory="device"), sent(OBJECT, "REPLICATE", places[OBJECT], X_Backend_Inventory="suffixes"),
        sent(OBJECT, "SSYNC", places[OBJECT], body=(offer + sub + ":UPDATES: END\r\n").encode(), chunked=True, X_Backend_Ssync_Frag_Index="0"),
        *(sent(to, "GET", f"/recon/{what}") for to, what in ((OBJECT, "diskusage"), (CONTAINER, "sharding"), (ACCOUNT, "ringmd5"), (OBJECT, "async"))),
        sent(OBJECT, "OPTIONS", "/"), sent(OBJECT, "GET", "/metrics"), sent(ACCOUNT, "GET", "/healthcheck"),
    ]  # fmt: skip


def all_kinds(swift_dir: str) -> list[Sent]:
    """One of each."""
    return [*_native(), *_s3(), *_nodes(swift_dir)]


def s3_signed(sent: Sent, host: str) -> list[tuple[str, str]]:
    """Headers of a request with its signature of version 4; the body is not covered."""
    now = time.gmtime()
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    scope = f"{day}/us-east-1/s3/aws4_request"
    payload = {name.lower(): value for name, value in sent.headers}.get(
        "x-amz-content-sha256", "UNSIGNED-PAYLOAD"
    )
    mine = [("Host", host), ("x-amz-date", stamp), ("x-amz-content-sha256", payload)]
    lines = [
        pair for pair in sent.headers if pair[0].lower() not in ("host", "x-amz-date", "x-amz-content-sha256")
    ] + mine
    signed = sorted({name.lower() for name, _ in lines if name.lower().startswith("x-amz-")} | {"host"})
    values = {
        name: ",".join(" ".join(value.split()) for other, value in lines if other.lower() == name)
        for name in signed
    }
    pairs = sorted(part.partition("=")[::2] for part in sent.query.split("&") if part)
    canonical = "\n".join(
        [
            sent.method, sent.path, "&".join(f"{name}={quote(value, safe='~%')}" for name, value in pairs),
            *(f"{name}:{values[name]}" for name in signed), "", ";".join(signed), payload,
        ]
    )  # fmt: skip
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            stamp,
            scope,
            hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest(),
        ]
    )
    signature = _s3_signature(scope, text)
    said = f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    return [*lines, ("Authorization", said)]


def s3_in_address(sent: Sent, host: str) -> str:
    """The query of a request with its signature in it, as those get who shall ask without knowing a secret."""
    now = time.gmtime()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", now)
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    pairs = [part.partition("=")[::2] for part in sent.query.split("&") if part]
    pairs += [
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", quote(f"{ACCESS}/{scope}", safe="")), ("X-Amz-Date", stamp),
        ("X-Amz-SignedHeaders", "host"),
    ]  # fmt: skip
    query = "&".join(f"{name}={value}" for name, value in sorted(pairs))
    canonical = "\n".join([sent.method, sent.path, query, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"])
    hashed = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashed])
    return f"{query}&X-Amz-Signature={_s3_signature(scope, text)}"


def _s3_signature(scope: str, text: str) -> str:
    key = ("AWS4" + SECRET).encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()
