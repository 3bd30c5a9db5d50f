"""What a request says of the condition keys (spec s3.md 16.2). Never here: which keys there are (`context_keys`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import unquote

from swift.core import clock
from swift.s3 import names, tagging
from swift.s3.errors import S3Error
from swift.s3.identity import Identity, account_id_of
from swift.s3.object_lock import document as lock_documents
from swift.s3.policy import context_keys
from swift.s3.policy.conditions import address_of, seconds_of
from swift.s3.request import S3Request
from swift.s3.xml import Node, read

_MOST_PROXIES = 20
_LISTS = ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads")
_DAY = 86400
# By action: the subresource, the document's root and form, and which of its elements stand for which headers.
_LOCK_DOCUMENTS: dict[str, tuple[str, str, Node, dict[str, str]]] = {
    "s3:PutObjectRetention": (
        "retention",
        "Retention",
        lock_documents.RETENTION_SCHEMA,
        {"x-amz-object-lock-mode": "Mode", "x-amz-object-lock-retain-until-date": "RetainUntilDate"},
    ),
    "s3:PutObjectLegalHold": (
        "legal-hold",
        "LegalHold",
        lock_documents.HOLD_SCHEMA,
        {"x-amz-object-lock-legal-hold": "Status"},
    ),
}


class Values:
    """`values(key)` for one decision: about an object (`key`), or a bucket. Each value is found out once."""

    def __init__(
        self,
        request: S3Request,
        who: Identity,
        account: str,
        action: str,
        bucket: str,
        key: str | None,
        version_id: str | None,
    ) -> None:
        self._request = request
        self._who = who
        self._account = account
        self._action = action
        self._bucket = bucket
        self._key = key
        self._version_id = version_id
        self._found: dict[str, tuple[str, ...] | None] = {}
        self._tags: dict[str, str] | None = None

    def __call__(self, key: str) -> tuple[str, ...] | None:
        """Raises S3Error if it can't be found out."""
        if key in self._found:
            return self._found[key]
        found = self._find(key)
        made = None if found is None else (found,) if isinstance(found, str) else tuple(found)
        self._found[key] = made
        return made

    def _find(self, key: str) -> str | Sequence[str] | None:
        request = self._request
        if key == context_keys.COPY_SOURCE:
            return self._copy_source()
        if key in context_keys.HEADERS:
            return request.header(key[3:])
        if key in context_keys.LOCKS:
            return self._lock(context_keys.LOCKS[key])
        if key in context_keys.LISTING:
            # of a listing: a request for an object could say anything there
            is_listing = self._action in _LISTS and request.key is None
            return request.params.get(context_keys.LISTING[key]) if is_listing else None
        if key.startswith(context_keys.EXISTING_TAG):
            return self._existing_tags().get(key[len(context_keys.EXISTING_TAG) :])
        if key.startswith(context_keys.REQUEST_TAG):
            return self._sent_tags().get(key[len(context_keys.REQUEST_TAG) :])
        finder = _FINDERS.get(key)
        return finder(self) if finder is not None else None

    # -- the caller ----------------------------------------------------------------------------------------------------

    def _user_name(self) -> str | None:
        return self._who.names[0] if self._who.names else None

    def _user_id(self) -> str | None:
        return self._who.user_id

    def _arn(self) -> str | None:
        return self._who.arn or None

    def _principal_account(self) -> str | None:
        return None if self._who.is_anonymous else self._who.account_id

    def _principal_type(self) -> str:
        if self._who.is_anonymous:
            return "Anonymous"
        return "User" if self._who.session is None else "AssumedRole"

    # -- the request ---------------------------------------------------------------------------------------------------

    def _address(self) -> str:
        return client_address(self._request)

    def _is_secure(self) -> str:
        return "true" if is_secure(self._request) else "false"

    def _now(self) -> str:
        return clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(clock.time()))

    def _epoch(self) -> str:
        return str(int(clock.time()))

    def _user_agent(self) -> str | None:
        return self._request.header("user-agent")

    def _referer(self) -> str | None:
        return self._request.header("referer")

    def _copy_source(self) -> list[str] | None:
        """What is copied, however it was written, as policies have it: with a slash in front and without."""
        given = self._request.header("x-amz-copy-source")
        if given is None:
            return None
        bucket, slash, key = unquote(given.partition("?")[0]).removeprefix("/").partition("/")
        account, name = names.qualified(bucket, self._request.options)
        if account == self._request.account:
            bucket = name
        return [f"{bucket}{slash}{key}", f"/{bucket}{slash}{key}"]

    def _if_match(self) -> str | None:
        return self._request.header("if-match")

    def _if_none_match(self) -> str | None:
        return self._request.header("if-none-match")

    def _region(self) -> str:
        return self._request.options.location

    def _resource_account(self) -> str:
        return account_id_of(self._account, self._request.options)

    def _version(self) -> str | None:
        return self._version_id

    def _signature_version(self) -> str | None:
        credential = self._request.credential
        if credential is None:
            return None
        return "AWS4-HMAC-SHA256" if credential.is_v4 else "AWS"

    def _signature_age(self) -> str | None:
        credential = self._request.credential
        if credential is None or credential.signed_at is None:
            return None
        return str(max(0, int((clock.time() - credential.signed_at) * 1000)))

    def _kind_of_signature(self) -> str | None:
        credential = self._request.credential
        if credential is None:
            return None
        if credential.is_form:
            return "POST"
        return "REST-QUERY-STRING" if credential.is_query else "REST-HEADER"

    def _lock(self, name: str) -> str | None:
        """What a request says of a lock: in its document if it is about nothing else, else in a header."""
        request = self._request
        about = _LOCK_DOCUMENTS.get(self._action)
        if about is None or about[0] not in request.params:
            return request.header(name)
        _, root, schema, fields = about
        field = fields.get(name)
        if field is None:
            return None
        found = read(request.document_body(lock_documents.LARGEST), root, schema).get(field)
        return None if found is None else str(found)

    def _remaining_days(self) -> str | None:
        text = self._lock("x-amz-object-lock-retain-until-date")
        until = seconds_of(text) if text else None
        return None if until is None else str(max(0, int(-(-(until - clock.time()) // _DAY))))

    # -- tags ----------------------------------------------------------------------------------------------------------

    def _sent_tags(self) -> dict[str, str]:
        """Names in lower case, as condition keys are."""
        request = self._request
        if request.method == "PUT" and "tagging" in request.params:
            tags = tagging.parse_document(request.document_body(tagging.DOCUMENT_LIMIT))
        else:
            tags = tagging.parse_header(self._tags_in_header())
        return {name.lower(): value for name, value in tags.items()}

    def _tags_in_header(self) -> str:
        request = self._request
        is_kept = (
            request.header("x-amz-copy-source") and request.header("x-amz-tagging-directive") != "REPLACE"
        )
        return (
            "" if is_kept else request.header("x-amz-tagging") or ""
        )  # what counts for nothing says nothing

    def _sent_tag_names(self) -> list[str] | None:
        request = self._request
        if request.method == "PUT" and "tagging" in request.params:
            return list(tagging.parse_document(request.document_body(tagging.DOCUMENT_LIMIT))) or None
        return list(tagging.parse_header(self._tags_in_header())) or None

    def _existing_tags(self) -> dict[str, str]:
        if self._tags is None:
            self._tags = {} if self._key is None else self._asked_tags(self._key)
        return self._tags

    def _asked_tags(self, key: str) -> dict[str, str]:
        query = {} if self._version_id is None else {"version-id": self._version_id}
        answer = self._request.ask(
            "HEAD",
            self._bucket,
            key,
            query,
            {"HTTP_X_NEWEST": "true"},
            rights="own",
            account=self._account or None,
        )
        answer.close()
        if answer.status in (400, 404):
            return {}
        if not answer.is_success:
            raise S3Error("ServiceUnavailable", reason="tags_unknown")
        tags = tagging.of_stored(answer.get(tagging.STORED))
        return {name.lower(): value for name, value in tags.items()}


_FINDERS = {
    "aws:sourceip": Values._address,
    "aws:securetransport": Values._is_secure,
    "aws:currenttime": Values._now,
    "aws:epochtime": Values._epoch,
    "aws:useragent": Values._user_agent,
    "aws:referer": Values._referer,
    "aws:username": Values._user_name,
    "aws:userid": Values._user_id,
    "aws:principalarn": Values._arn,
    "aws:principalaccount": Values._principal_account,
    "aws:principaltype": Values._principal_type,
    "aws:requestedregion": Values._region,
    "aws:resourceaccount": Values._resource_account,
    "s3:resourceaccount": Values._resource_account,
    "s3:versionid": Values._version,
    "s3:signatureversion": Values._signature_version,
    "s3:signatureage": Values._signature_age,
    "s3:authtype": Values._kind_of_signature,
    "s3:if-match": Values._if_match,
    "s3:if-none-match": Values._if_none_match,
    context_keys.TAG_KEYS: Values._sent_tag_names,
    context_keys.REMAINING_DAYS: Values._remaining_days,
}


# -- where from -----------------------------------------------------------------------------------------------------------


def _is_trusted(text: str, request: S3Request) -> bool:
    address = address_of(text)
    return address is not None and any(
        address.version == network.version and address in network
        for network in request.options.trusted_proxies
    )


def client_address(request: S3Request) -> str:
    """The address that a request comes from: the peer's, or behind trusted proxies the last one that is none of theirs."""
    environ = request.environ
    address: str = environ.get("REMOTE_ADDR") or ""
    if not request.options.trusted_proxies or not _is_trusted(address, request):
        return address
    forwarded = [part.strip() for part in environ.get("HTTP_X_FORWARDED_FOR", "").split(",")]
    for part in reversed(forwarded[-_MOST_PROXIES:]):
        host = _host_of(part)
        if host is None:
            return address
        address = host
        if not _is_trusted(address, request):
            return address
    return address


def _host_of(text: str) -> str | None:
    """An address that may have a port; None for what is none."""
    for candidate in (text, text.rpartition(":")[0].strip("[]"), text.strip("[]")):
        try:
            return str(ipaddress.ip_address(candidate))
        except ValueError:
            continue
    return None


def is_secure(request: S3Request) -> bool:
    """Returns True if it came by TLS, as far as that is known: also from a trusted proxy that says so."""
    environ = request.environ
    if environ.get("wsgi.url_scheme") == "https":
        return True
    told = environ.get("HTTP_X_FORWARDED_PROTO", "").strip().lower()
    return told == "https" and _is_trusted(environ.get("REMOTE_ADDR") or "", request)
