"""One S3 request: what it asks for, who asks, and the native requests that are made for it.

What a request means is its handler's; what it may, `access`'s. Native requests pass the filters on the right, the auth filter
among them, which finds out by the signature who asks (spec s3.md 3.5).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from swift.middleware.info import container_key, get_container_info
from swift.s3 import answers, metadata, names, payload
from swift.s3.answers import Answer
from swift.s3.errors import S3Error
from swift.s3.identity import NOBODY, Identity, identity_of
from swift.s3.notifications.events import Event
from swift.s3.options import Options
from swift.s3.rights import Granted, KnownUsers, Native, without_referrers
from swift.s3.signature import Credential
from swift.s3.token.identities import SAID_BY_KEYSTONE
from swift.wire.call import Application
from swift.wire.input import NO_BODY
from swift.wire.message import HTTPForbidden, environ_key, str_to_wsgi, wsgi_to_str
from swift.wire.subanswer import Subanswer, ask
from swift.wire.subrequest import make_environ

SOURCE = "S3"
_OVERRIDDEN = ".wsgi.pre_authed"
_LOGGED = "swift.proxy_access_log_made"
_OF_OTHERS = ("swift.authorize", "swift.authorize_override", "swift_owner", "REMOTE_USER", "reseller_request")
_LONGEST_USER = 128
_READ = 65536


def _within(account: str, granted: Granted | None = None) -> Callable[[Any], Any]:
    """Lets all be in one account (WSGI string), and what is granted elsewhere: what a link leads to there is not ours to decide on."""

    def authorize(request: Any) -> Any:
        parts = request.environ["PATH_INFO"].split("/", 3)
        if len(parts) > 2 and parts[2] == account:
            return None
        if granted and granted.covers(request.environ["PATH_INFO"]):
            return None
        return HTTPForbidden(request=request)

    return authorize


class S3Request:
    """`bucket`, `key`, `params`: text, None or absent where the request does not say them. `credential`: None of who does not sign.

    `account`: the storage account (text) once it is known, `user_id`: the user as S3 knows it. Making one raises S3Error.
    """

    # Of most requests; those that differ say so.
    is_at_home = False  # the account is that of who asks, not one that an access key only names
    # May do it by a decision of our own: native requests are not asked about it again.
    is_decided = False
    # Of temporary credentials: anything with `policy` and `name`, None for all others.
    session: Any = None
    ignores_public_acls = False  # what is open to everybody is not to count
    _is_unknown = False  # nobody has the access key
    _assumed: Identity | None = None
    _read_document: bytes | None = None  # by a decision that hangs on it
    _native: Native | None = None
    _told: Mapping[str, Any] | None = None  # the environ in which the auth filter has said who asks

    def __init__(
        self,
        environ: dict[str, Any],
        app: Application,
        options: Options,
        logger: Any,
        credential: Credential | None,
        host_bucket: str | None = None,
        known_users: KnownUsers | None = None,
    ) -> None:
        for key in SAID_BY_KEYSTONE.intersection(environ):
            del environ[key]  # a client says so: who asks is found out by those on the right
        self.environ = environ
        self.app = app
        self.options = options
        self.logger = logger
        self.credential = credential
        self.method: str = environ["REQUEST_METHOD"]
        # The storage account: the one that the request names, else that of who asks.
        self.account, self.bucket, self.key = names.of_path(environ, options, host_bucket)
        self.params = names.parameters(environ)
        self.user_id: str | None = credential.access_key if credential is not None else None
        self.is_known = credential is None  # the auth filter has said yes to the signature
        self.granted = Granted()  # by policies
        self._known_users = known_users
        self._identity: Identity | None = None if credential is not None else NOBODY
        self.events: list[Event] = []  # that the bucket's targets may want to know of
        if credential is not None:
            user = credential.access_key
            shown = user if len(user) <= _LONGEST_USER else user[:125] + "..."
            environ["swift.access_logging"] = {"user_id": str_to_wsgi(shown)}

    # -- what it says ------------------------------------------------------------------------------------------------------

    def header(self, name: str) -> str | None:
        """The value of a header (lower-case name) as text, None if it is not there. Raises S3Error for bytes that are no text."""
        value: str | None = self.environ.get(environ_key(name))
        if value is None or value.isascii():
            return value
        try:
            return wsgi_to_str(value)
        except UnicodeError:
            raise S3Error("InvalidArgument", ArgumentName=name) from None

    @property
    def resource(self) -> str:
        """What error documents call it."""
        path = self.environ["PATH_INFO"]
        return path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace")

    @property
    def version_id(self) -> str | None:
        return self.params.get("versionId")

    def document_body(self, limit: int, required: bool = True, is_described: bool = True) -> bytes:
        """A document that came as the body, checked against what the headers say of it. Raises S3Error.

        `is_described`: the checksum in the headers is the document's, not that of an object that it is about.
        """
        environ = self.environ
        data = self._read_document
        if data is None:
            data = b""
            if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
                data = self._document(limit, is_described)
            self._read_document = data
        if not data and required:
            raise S3Error("MissingRequestBodyError")
        return data

    def _document(self, limit: int, is_described: bool) -> bytes:
        if self.credential is not None:
            self.authenticate()  # nothing is read for a stranger, and chunks may be signed with the key
        body = payload.prepared(self, is_described=is_described)
        if body.length is not None and body.length > limit:
            raise S3Error("MalformedXML")
        parts: list[bytes] = []
        size = 0
        try:
            while data := body.input.read(min(_READ, limit + 1 - size)):
                parts.append(data)
                size += len(data)
                if size > limit:
                    raise S3Error("MalformedXML")
        except payload.BadBody:
            raise body.error or S3Error("IncompleteBody") from None
        found = b"".join(parts)
        if body.etag is not None and body.etag != hashlib.md5(found, usedforsecurity=False).hexdigest():
            raise S3Error("BadDigest", ExpectedDigest=self.header("content-md5"))
        return found

    # -- native requests ---------------------------------------------------------------------------------------------------

    def native_path(
        self, container: str | None = None, obj: str | None = None, account: str | None = None
    ) -> str:
        """As a PATH_INFO, in the request's account unless one is named; the access key stands for it as long as only the auth filter
        knows that."""
        account = account or self.account
        if account is None:
            account = self.credential.access_key if self.credential is not None else ""
        if container is None:
            return str_to_wsgi(f"/v1/{account}")
        if obj is None:
            return str_to_wsgi(f"/v1/{account}/{container}")
        return str_to_wsgi(f"/v1/{account}/{container}/{obj}")

    def ask(
        self,
        method: str,
        container: str | None = None,
        obj: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        rights: str = "client",
        account: str | None = None,
    ) -> Subanswer:
        """A request of our own; what it answers is to be read or closed. Raises S3Error if the signature is not right.

        `headers`: environ keys (`HTTP_X_NEWEST`) with WSGI strings; `query`: text; `rights`: "own" for what the client has a right to by
        our decision, or must not know of. It may then name what is reserved. `account`: another one than the request's.
        """
        made = make_environ(
            self.environ,
            method,
            path=self.native_path(container, obj, account),
            query=urlencode(query) if query else "",
            agent="%(orig)s",
            source=SOURCE,
        )
        made.pop("HTTP_ORIGIN", None)
        if headers:
            made.update(headers)
        if body is not None:
            made["wsgi.input"] = io.BytesIO(body)
            made["CONTENT_LENGTH"] = str(len(body))
        return self._answered(made, container, obj, rights)

    def given(
        self,
        method: str,
        container: str | None = None,
        obj: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        input: Any = None,
        length: int | None = None,
        rights: str = "client",
    ) -> Subanswer:
        """The native request that takes the client's body (`input`), or whose body is the client's: that is handed on as it is, by
        `passed(...)`. Arguments and errors as of `ask`; `length`: of the input, None for one that ends where it ends.
        """
        made = metadata.carried_environ(self.environ)
        made["REQUEST_METHOD"] = method
        made["SCRIPT_NAME"] = ""
        made["PATH_INFO"] = self.native_path(container, obj)
        made["QUERY_STRING"] = urlencode(query) if query else ""
        made["swift.source"] = SOURCE
        made["swift.leave_relative_location"] = True
        if input is not None:
            made["wsgi.input"] = input
            if length is None:
                made["HTTP_TRANSFER_ENCODING"] = "chunked"
            else:
                made["CONTENT_LENGTH"] = str(length)
        else:
            made["wsgi.input"] = NO_BODY
            if method in ("PUT", "POST"):
                made["CONTENT_LENGTH"] = "0"
        if headers:
            made.update(headers)
        answer = self._answered(made, container, obj, rights)
        self.environ["swift.backend_path"] = self.native_path(container, obj)
        return answer

    def _answered(
        self, made: dict[str, Any], container: str | None, obj: str | None, rights: str
    ) -> Subanswer:
        self._authorize(made, rights)
        made["swift.infocache"] = self.environ.setdefault("swift.infocache", {})
        answer = ask(self.app, made)
        self._is_unknown = bool(made.get("s3api.unknown_access_key"))
        self._learn(made, container, obj)
        if self._assumed is not None and self._identity is not None and self._assumed != self._identity:
            # What was decided was about somebody else; the next try knows better.
            answer.close()
            raise S3Error("ServiceUnavailable", reason="access_key_changed")
        if answer.status == 401:
            answer.close()
            raise self.refused()
        return answer

    def _authorize(self, made: dict[str, Any], rights: str) -> None:
        if not self.options.force_swift_request_proxy_log:
            made[_LOGGED] = True
        if rights == "own" or self.is_decided:
            granted = self.granted if rights == "client" else None
            made["swift.authorize"] = _within(made["PATH_INFO"].split("/", 3)[2], granted)
            made["swift.authorize_override"] = True
            made["swift_owner"] = True
            made["REMOTE_USER"] = _OVERRIDDEN
            if rights == "own":
                made["HTTP_X_BACKEND_ALLOW_RESERVED_NAMES"] = "true"
        elif self.granted or self.ignores_public_acls:
            made["swift.authorize"] = self._refusal
            made["swift.authorize_override"] = True
            made["REMOTE_USER"] = _OVERRIDDEN
        elif self.credential is not None:
            # Who signs is who asks: what a filter on the left has allowed, it has allowed for another path.
            for key in _OF_OTHERS:
                made.pop(key, None)
            made["s3api.auth_details"] = self.credential.details()

    def _refusal(self, request: Any) -> Any:
        """The authorization of native requests where something is granted: that, or what the auth filter lets who asks."""
        environ = request.environ
        if self.granted.covers(environ["PATH_INFO"]):
            environ["swift_owner"] = True
            return None
        if not self.ignores_public_acls or "swob.ACL" not in environ:
            return self.native_rights().refusal(environ)
        acl = environ["swob.ACL"]
        environ["swob.ACL"] = without_referrers(acl)
        try:
            return self.native_rights().refusal(environ)
        finally:
            environ["swob.ACL"] = acl

    def _learn(self, made: dict[str, Any], container: str | None, obj: str | None) -> None:
        """The account, by what the auth filter made of the path."""
        if self.account is not None or "REMOTE_USER" not in made or made["REMOTE_USER"] == _OVERRIDDEN:
            return
        parts = made["PATH_INFO"].split("/", 3)
        below = "/".join(name for name in (container, obj) if name is not None)
        if len(parts) < 3 or (parts[3] if len(parts) > 3 else "") != str_to_wsgi(below):
            return
        self._know(made, wsgi_to_str(parts[2]))
        self.account = wsgi_to_str(parts[2])

    def _know(self, made: dict[str, Any], account: str) -> None:
        """Who asks, by what the auth filter left in a request's environ; `account`: what the access key leads to."""
        assert self.credential is not None
        self.is_known = True
        self._native, self._told = None, made
        project = made.get("HTTP_X_PROJECT_ID") or made.get("HTTP_X_TENANT_ID") or ""
        self.is_at_home = not project or account.rpartition("_")[2] == project
        if "s3api.user_id" in made:
            self.user_id = made["s3api.user_id"]
        elif made.get("HTTP_X_USER_NAME") and made.get("HTTP_X_TENANT_NAME"):
            self.user_id = f"{made['HTTP_X_TENANT_NAME']}:{made['HTTP_X_USER_NAME']}"
        also = made.get("s3api.user_names") or ""
        named = self.user_id, account, made.get("HTTP_X_USER_ID") or "", project, also
        known = self._known_users
        found = known.identity(named) if known is not None and self.session is None else None
        if found is None:
            found = identity_of(*named, self.options, self.session)
        self._identity = found
        if known is not None:
            known.put(self.credential.access_key, found, account, named)

    def authenticate(self) -> None:
        """Have the auth filter look at the signature, if it has not yet. Raises S3Error if it is not right, or if nobody can say so."""
        if self.is_known:
            return
        named, self.account = self.account, None
        try:
            answer = self.ask("TEST")
            answer.close()
        finally:
            if named is not None:
                self.is_at_home = self.is_at_home and self.account == named
                self.account = named
        if not self.is_known:
            if answer.status >= 500:
                raise S3Error("ServiceUnavailable", reason="not_authenticated")
            raise self.refused()

    def lead_to(self, account: str) -> None:
        """The bucket is in this account: its name alone has said so."""
        self.account = account
        self.is_at_home = False

    def native_rights(self) -> Native:
        """What the auth filter lets who asks. Raises S3Error if the signature is not right."""
        self.authenticate()
        if self._native is None and self._told is not None:
            self._native = Native(self._told)
        if self._native is None:
            made = make_environ(self.environ, "TEST", path=self.native_path(), query="", source=SOURCE)
            for key in (*_OF_OTHERS, "HTTP_ORIGIN"):
                made.pop(key, None)
            made[_LOGGED] = True
            if self.credential is not None:
                made["s3api.auth_details"] = self.credential.details()
            ask(self.app, made).close()
            self._native = Native(made)
        return self._native

    @property
    def identity(self) -> Identity:
        """Who asks; the signature has been looked at by then. Raises S3Error if it is not right."""
        if self._identity is None:
            self.authenticate()
        assert self._identity is not None
        return self._identity

    def likely(self) -> tuple[Identity, str]:
        """(who asks if the signature is right, the account that is asked about), by what is known of the access key."""
        if self._identity is not None and self.account is not None:
            return self._identity, self.account
        found = None
        if self._known_users is not None and self.credential is not None and self.account is None:
            found = self._known_users.get(self.credential.access_key)
        if found is None:
            self.authenticate()
            assert self._identity is not None
            return self._identity, self.account or ""
        who, account = found
        return (who if who.session is self.session else who._replace(session=self.session)), account

    def assume(self, who: Identity) -> None:
        """Who asks must turn out to be this: something was decided by it."""
        if self._identity is None:
            self._assumed = who

    def likely_info(self, bucket: str | None = None) -> Mapping[str, Any]:
        """`container_info` of the likely account, without a look at the signature."""
        name = str_to_wsgi(bucket if bucket is not None else self.bucket or "")
        info: Mapping[str, Any] = get_container_info(
            self.environ, self.app, str_to_wsgi(self.likely()[1]), name
        )
        return info

    def seems_owner(self) -> bool:
        """Returns True if the auth filter said so of the access key lately, about the account that is asked about: it will do so again, and if not,
        it refuses. Raises S3Error if the signature is not right, as far as that is looked at."""
        known, credential = self._known_users, self.credential
        if known is None or credential is None:
            return False
        who, account = self.likely()
        if who.account != account:
            return False
        found = known.owns(credential.access_key)
        if found is None:
            found = self.owns_account()
            known.put_owns(credential.access_key, found)
        return found

    def owns_account(self, account: str | None = None) -> bool:
        """Returns True if who asks is an owner of the account by the auth filter's word. Raises S3Error if the signature is not right."""
        if self.identity.is_anonymous or not self.account:
            return False
        made = make_environ(self.environ, "GET", path=self.native_path(account=account), query="")
        return self.native_rights().refusal(made) is None and bool(made.get("swift_owner"))

    def refused(self) -> S3Error:
        """What is told of a signature that nobody believes."""
        if self.credential is None:
            return S3Error("AccessDenied", reason="not_signed")
        if self._is_unknown:
            return S3Error("InvalidAccessKeyId", AWSAccessKeyId=self.user_id)
        return self.credential.mismatch()

    # -- what is told ------------------------------------------------------------------------------------------------------

    def tell(
        self,
        event: str,
        key: str,
        *,
        size: int | None = None,
        etag: str | None = None,
        version_id: str | None = None,
        timestamp: str | None = None,
    ) -> None:
        """Something is done to a key of the bucket: queued before the client is answered, if a target wants to know.

        `event`: of `notifications.events`; `size`: in bytes, None if nobody knows; `timestamp`: of the native request that did it.
        """
        if self.options.notification_targets:
            self.events.append(Event(event, key, size, etag, version_id, timestamp))

    # -- what is known -----------------------------------------------------------------------------------------------------

    def container_info(self, bucket: str | None = None, account: str | None = None) -> Mapping[str, Any]:
        """What is known of a bucket's container (status 404 if there is none); the signature has been looked at by then."""
        if not self.is_known:
            self.authenticate()
        if self.account is None:
            raise S3Error("AccessDenied", reason="no_account")
        of = account or self.account
        name = (bucket if bucket is not None else self.bucket) or ""
        info: Mapping[str, Any]
        known = self.environ.get("swift.infocache")
        if known:  # by a native request of this one: asked for several times in each
            info = known.get(container_key(of, name))
            if info is not None and not info["sysmeta"].get("versions-container"):
                return info
        info = get_container_info(self.environ, self.app, str_to_wsgi(of), str_to_wsgi(name))
        return info

    def forget_infos(self) -> None:
        """What was found out of containers in this request counts no more."""
        self.environ.pop("swift.infocache", None)

    def error_of(self, answer: Subanswer, bucket: str | None = None, key: str | None = None) -> S3Error:
        """The error of a native answer of an unexpected status; it is done with."""
        slow_down = 429 if self.options.ratelimit_as_client_error else 503
        return answers.native_error(answer, answer.method, bucket=bucket, key=key, slow_down=slow_down)

    def passed(self, answer: Subanswer, headers: answers.Headers, status: int | None = None) -> Answer:
        """A native answer with other headers; its body goes to the client as it is."""
        return Answer(status or answer.status, headers, answer.given_to(self.environ))


Handler = Callable[[S3Request], Answer]


def quoted(text: str, safe: str = "/") -> str:
    """A name as it stands in URLs and in what is encoded as one."""
    return quote(text, safe=safe)
