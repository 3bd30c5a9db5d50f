"""A form as the PUT that it means, and what is answered to it (spec s3.md 24).

The fields become the headers of a PutObject, which is decided on and carried out as any other. Headers of the form's own request count
for nothing: nobody has signed them. Never here: reading the form (`fields`), its policy (`policy_document`).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from swift.core import clock
from swift.core.constraints import limits
from swift.core.names import str_to_wsgi
from swift.s3 import metadata, names, signature, tagging
from swift.s3.answers import Answer, empty, xml_answer
from swift.s3.errors import S3Error
from swift.s3.options import Options
from swift.s3.post_form import fields as form_fields
from swift.s3.post_form import policy_document
from swift.s3.post_form.policy_document import Policy
from swift.s3.request import S3Request
from swift.s3.signature import Credential
from swift.s3.xml import document, element
from swift.wire import form_data
from swift.wire.errors import ClientDisconnected, ClientError
from swift.wire.message import environ_key, host_url, wsgi_to_str
from swift.wire.parser import UNDERSCORED

SMALL_FILE = 65536  # bytes up to which a file is put with its length known
_NO_KEY = (
    "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields."
)
_STORED = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires")  # fmt: skip
_AMZ = (
    "x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-sdk-checksum-algorithm", "x-amz-server-side-encryption",
)  # fmt: skip
_AMZ_PREFIXES = (
    "x-amz-meta-", "x-amz-checksum-", "x-amz-grant-", "x-amz-object-lock-", "x-amz-server-side-encryption-",
)  # fmt: skip
_FILENAME = "${filename}"
_TOLD = ("swift.access_logging", "swift.backend_path")  # what the access log says of the request
_Values = Mapping[str, str]


def is_form(environ: Mapping[str, Any], options: Options) -> bool:
    """Returns True for a POST that sends a form to a bucket."""
    if not environ.get("CONTENT_TYPE", "").startswith(form_data.TYPE):
        return False
    path = environ["PATH_INFO"].strip("/")
    return "/" not in path and bool(path) == (names.host_bucket(environ, options) is None)


class Upload:
    """One form on its way in, which its policy lets be sent to `bucket`.

    `environ`: of the PUT that it means; `key`: text; `credential`: None if nobody signed it.
    """

    def __init__(self, environ: dict[str, Any], options: Options, bucket: str, said: str) -> None:
        """Reads the fields. `said`: what the form calls the bucket, which may say whose it is. Raises S3Error, and what reading the body
        raises."""
        found = form_fields.read(environ)
        self._sent = environ
        self.values = found.values
        key = self.values.get("key")
        if not key:
            raise S3Error("InvalidArgument", _NO_KEY, ArgumentName="key", ArgumentValue="")
        # Before the policy looks: it is about what will be stored.
        self.key = self.values["key"] = key.replace(_FILENAME, found.filename)
        if "\0" in self.key:
            raise S3Error("InvalidArgument", ArgumentName="key", ArgumentValue=self.key)
        self.credential = _credential(self.values, options)
        policy = None if self.credential is None else policy_document.parse(self.values["policy"])
        if policy is not None:
            policy.check(self.values, said, clock.time())
        self._bucket = bucket
        self._file = _File(found.file, policy)
        self.environ = self._environ(environ)

    def done_by(self, put: Callable[[S3Request], Answer], request: S3Request) -> Answer:
        """The answer once `put` has stored the file. Raises S3Error."""
        try:
            answer = put(request)
        except (S3Error, ClientError):
            if self._file.error is not None:
                raise self._file.error from None
            raise
        finally:
            for name in _TOLD:
                if name in self.environ:
                    self._sent[name] = self.environ[name]
        return self._answer(answer)

    def _environ(self, environ: dict[str, Any]) -> dict[str, Any]:
        """Raises S3Error."""
        made = metadata.carried_environ(environ)
        made.pop(UNDERSCORED, None)
        values = self.values
        for name, value in values.items():
            if name == "acl":
                name = "x-amz-acl"
            elif name == "tagging":
                name, value = (
                    "x-amz-tagging",
                    tagging.stored(tagging.parse_document(value.encode("utf-8", "replace"))),
                )
            elif name not in _STORED and name not in _AMZ and not name.startswith(_AMZ_PREFIXES):
                continue
            _set_header(made, name, value)
        beginning = self._file.beginning()
        if self._file.is_whole:
            made["CONTENT_LENGTH"] = str(len(beginning))
            made["wsgi.input"] = io.BytesIO(beginning)
        else:
            made["HTTP_TRANSFER_ENCODING"] = "chunked"
            made["wsgi.input"] = self._file
        return made

    def _answer(self, answer: Answer) -> Answer:
        bucket, values = self._bucket, self.values
        told = [pair for pair in answer.headers if pair[0] != "Content-Length"]
        etag = next((value for name, value in told if name == "ETag"), "")
        address = values.get("success_action_redirect") or values.get("redirect") or ""
        target = _redirect(address, {"bucket": bucket, "key": self.key, "etag": etag})
        if target is not None:
            return empty(303, [*told, ("Location", target)])
        host = host_url(self._sent)
        path = self._sent["PATH_INFO"].strip("/")
        in_path = f"/{quote(path.encode('latin-1'))}" if path else ""
        location = f"{host}{in_path}/{quote(self.key)}"
        headers = [*told, ("Location", location)]
        status = values.get("success_action_status")
        if status == "201":
            body = document(
                "PostResponse",
                element("Location", location),
                element("Bucket", bucket),
                element("Key", self.key),
                element("ETag", etag),
                namespace="",
            )
            return xml_answer(body, headers, 201)
        return empty(200 if status == "200" else 204, headers)


def received(environ: dict[str, Any], options: Options, host_bucket: str | None) -> Upload:
    """The form of a request (`is_form`), read up to its file. Raises S3Error, and what reading the body raises."""
    path = {"PATH_INFO": environ["PATH_INFO"].rstrip("/") or "/"}
    account, bucket, _ = names.of_path(path, options, host_bucket)
    assert bucket is not None
    # A policy for a bucket of one account is none for another account's of the same name.
    said = bucket if account is None else wsgi_to_str(path["PATH_INFO"][1:])
    return Upload(environ, options, bucket, said)


def _credential(values: dict[str, str], options: Options) -> Credential | None:
    """Who signed the policy. Raises S3Error: who says who he is must send one, and a policy needs somebody."""
    signed = "x-amz-signature" in values or "signature" in values
    signer = "x-amz-credential" in values or "awsaccesskeyid" in values
    if not signed and not signer and "policy" not in values:
        return None
    if "policy" not in values:
        raise S3Error("AccessDenied", reason="invalid_form_auth")
    if not signed or not signer:
        name = "AWSAccessKeyId" if not signer else "signature"
        raise S3Error(
            "InvalidArgument",
            f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.",
            ArgumentName=name,
            ArgumentValue="",
        )
    return signature.of_form(values, options)


def _set_header(environ: dict[str, Any], name: str, value: str) -> None:
    """Raises S3Error for what can't be a header."""
    if any(letter < " " or letter == "\x7f" for letter in name + value) or not name.isascii():
        raise S3Error(
            "InvalidArgument",
            "A field that is kept as a header has control characters in it.",
            ArgumentName=name,
        )
    wsgi = str_to_wsgi(value).strip()
    if "_" in name:
        environ.setdefault(UNDERSCORED, []).append((name, wsgi))
    elif wsgi or name not in _STORED:
        environ[environ_key(name)] = wsgi


def _redirect(address: str, told: dict[str, str]) -> str | None:
    """Where a browser goes next (WSGI string); None for what is no address of a page."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    if any(letter <= " " or letter == "\x7f" for letter in address):
        return None
    address, mark, fragment = address.partition("#")
    address += ("&" if "?" in address else "?") + urlencode(told, quote_via=quote, safe="")
    return str_to_wsgi(address + mark + fragment)


class _File(form_data.FileBody):
    """The file, which ends well only if it has as many bytes as the policy allows. `error`: what was found while reading."""

    def __init__(self, document: Any, policy: Policy | None) -> None:
        self._least = policy.least if policy is not None else 0
        self._most = policy.most if policy is not None else limits().max_file_size
        super().__init__(document, min(self._most, limits().max_file_size))
        self.error: S3Error | None = None
        self.is_whole = False

    def beginning(self) -> bytes:
        """The first SMALL_FILE bytes, which are handed out once more if there are others. Raises S3Error, and what the source raises."""
        parts, size = [], 0
        try:
            while size < SMALL_FILE and (data := self.pull(SMALL_FILE - size)):
                parts.append(data)
                size += len(data)
        except ClientDisconnected:
            if self.error is not None:
                raise self.error from None
            raise
        self.is_whole = size < SMALL_FILE
        found = b"".join(parts)
        if not self.is_whole:
            self.put_back(found)
        return found

    def pull(self, size: int) -> bytes:
        try:
            data = super().pull(size)
        except ClientDisconnected:
            if self.is_too_long:
                self.error = S3Error("EntityTooLarge", ProposedSize=self.passed, MaxSizeAllowed=self._most)
            elif self.problem is not None:
                self.error = S3Error("MalformedPOSTRequest")
            raise
        if not data and self.passed < self._least:
            self.error = S3Error("EntityTooSmall", ProposedSize=self.passed, MinSizeAllowed=self._least)
            raise ClientDisconnected(str(self.error))
        return data
