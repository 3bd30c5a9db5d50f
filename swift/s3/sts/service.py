"""The requests for temporary credentials: `POST /` with an Action, signed for the service `sts`, and their answers.

Who asks is found out as for any other request: by the auth filter. Never here: the form of tokens.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from swift.core import clock
from swift.s3 import signature
from swift.s3.answers import Answer
from swift.s3.errors import S3Error
from swift.s3.options import Options
from swift.s3.policy import document as policy_document
from swift.s3.request import S3Request
from swift.s3.signature import Credential, unsigned
from swift.s3.sts import tokens
from swift.s3.sts.key_sets import Away
from swift.s3.sts.sessions import session_of
from swift.s3.sts.tokens import Session
from swift.s3.sts.web_identity import BadIdentity, Expired, Nobody
from swift.s3.xml import document, element, node
from swift.wire.call import Application

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_FORM = "application/x-www-form-urlencoded"
_MOST_BYTES = 32 * 1024
_MOST_PARAMETERS = 100
LEAST_SECONDS, MOST_SECONDS, USUAL_SECONDS = 900, 43_200, 3600
_LONGEST_POLICY = 2048  # characters
_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_ARN = re.compile(r"[\x20-\x7e]{0,2048}")
_WEB_IDENTITY = "AssumeRoleWithWebIdentity"
_NOT_HERE = frozenset(("AssumeRoleWithSAML", "AssumeRoot", "GetFederationToken", "DecodeAuthorizationMessage", "GetAccessKeyInfo"))  # fmt: skip
_CODES = {
    "InvalidAccessKeyId": "InvalidClientTokenId",
    "InvalidToken": "InvalidClientTokenId",
    "ExpiredToken": "ExpiredTokenException",
}


class _Refused(Exception):
    """What a client is told of in an error document of this service."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def is_asked(environ: Mapping[str, Any]) -> bool:
    """Returns True for a request to this service rather than to S3."""
    if environ["PATH_INFO"] != "/":
        return False
    if environ["REQUEST_METHOD"] == "POST" and environ.get("CONTENT_TYPE", "").startswith(_FORM):
        return True
    return environ["REQUEST_METHOD"] in ("GET", "POST") and "Action=" in (environ.get("QUERY_STRING") or "")


def answer(environ: dict[str, Any], app: Application, options: Options, logger: Any) -> Answer:
    """What is answered to a request of this service (`is_asked`). Raises what reading its body raises."""
    request_id = environ.get("swift.trans_id", "")
    try:
        told = _Call(environ, app, options, logger).done()
        status, body = 200, _document(*told, request_id=request_id)
    except S3Error as error:
        if error.code == "InternalError":
            raise
        status, body = _told(environ, _CODES.get(error.code, error.code), error.message, error.status)
    except _Refused as error:
        status, body = _told(environ, error.code, error.message, error.status)
    headers = [
        ("Content-Type", "text/xml"),
        ("Content-Length", str(len(body))),
        ("x-amzn-RequestId", request_id),
        ("Cache-Control", "no-store"),
    ]
    return Answer(status, headers, [body])


def _document(action: str, inner: list[str], request_id: str) -> bytes:
    return document(
        f"{action}Response",
        node(f"{action}Result", *inner),
        node("ResponseMetadata", element("RequestId", request_id)),
        namespace=NAMESPACE,
    )


def _told(environ: dict[str, Any], code: str, message: str, status: int) -> tuple[int, bytes]:
    """(status, document) of an error, which the access log knows of, too."""
    environ.setdefault("swift.log_info", []).append(f"sts:err:{code}")
    request_id = environ.get("swift.trans_id", "")
    kind = "Sender" if status < 500 else "Receiver"
    inner = node("Error", element("Type", kind), element("Code", code), element("Message", message))
    return status, document("ErrorResponse", inner, element("RequestId", request_id), namespace=NAMESPACE)


class _Call:
    """One request: what it asks for, and who asks. Making one raises _Refused."""

    def __init__(self, environ: dict[str, Any], app: Application, options: Options, logger: Any) -> None:
        if not options.sts_keys:
            raise _Refused("NotImplemented", "There are no temporary credentials here.", 501)
        self.options = options
        self.environ = environ
        self._app = app
        self._logger = logger
        self._body = _body(environ)
        self.params = _parameters(environ, self._body)

    def done(self) -> tuple[str, list[str]]:
        """(action, what its result holds). Raises _Refused, S3Error."""
        action = self.params.get("Action", "")
        actions: dict[str, Callable[[S3Request, Credential, Session | None], list[str]]] = {
            "AssumeRole": self._assume_role,
            "GetSessionToken": self._session_token,
            "GetCallerIdentity": self._caller,
        }
        if action in _NOT_HERE or (action == _WEB_IDENTITY and self.options.web_identities is None):
            raise _Refused(
                "NotImplemented",
                f"{action} is not implemented: there is no provider of identities that this store trusts.",
                501,
            )
        if action not in actions and action != _WEB_IDENTITY:
            raise _Refused("InvalidAction", f"Could not find operation {action[:128]}")
        if self.params.get("Version", "2011-06-15") != "2011-06-15":
            raise _Refused("InvalidAction", "The version must be 2011-06-15.")
        if action == _WEB_IDENTITY:
            return action, self._web_identity()
        credential = self._credential()
        session = session_of(credential, self.options)
        request = S3Request(self.environ, self._app, self.options, self._logger, credential)
        request.authenticate()
        return action, actions[action](request, credential, session)

    def _credential(self) -> Credential:
        authorization = self.environ.get("HTTP_AUTHORIZATION", "")
        if not authorization.startswith("AWS4-HMAC-SHA256 "):
            raise _Refused(
                "MissingAuthenticationToken",
                "The request must be signed, with version 4 and in its Authorization header.",
                403,
            )
        return signature.of_service(self.environ, self.options, "sts", hashlib.sha256(self._body).hexdigest())

    # -- actions -----------------------------------------------------------------------------------------------------------

    def _assume_role(self, request: S3Request, credential: Credential, session: Session | None) -> list[str]:
        return self._assumed(request, self._begun(credential, session, *self._role()))

    def _role(self) -> tuple[str, str, str | None]:
        """(name of the session, role, policy) that are asked for. Raises _Refused."""
        params = self.params
        if any(name.startswith("PolicyArns.") for name in params):
            raise _Refused("NotImplemented", "Policies can't be named by ARNs, only be sent.", 501)
        name = params.get("RoleSessionName", "session")
        role = params.get("RoleArn", "")
        if not _NAME.fullmatch(name):
            raise _invalid("RoleSessionName", "must be 2 to 64 letters, digits and any of _+=,.@-")
        if not _ARN.fullmatch(role):
            raise _invalid("RoleArn", "is no ARN")
        return name, role, _policy(params.get("Policy"))

    def _assumed(self, request: S3Request, made: Session) -> list[str]:
        role_name = made.role.rpartition("/")[2] or "session"
        used = 0 if made.policy is None else 100 * len(made.policy) // _LONGEST_POLICY
        return [
            self._shown(made),
            node(
                "AssumedRoleUser",
                element("Arn", _session_arn(request, role_name, made.name)),
                element("AssumedRoleId", f"{made.access_key}:{made.name}"),
            ),
            element("PackedPolicySize", used),
        ]

    def _web_identity(self) -> list[str]:
        """AssumeRoleWithWebIdentity: nobody signs, a provider's token says who asks. Raises _Refused, S3Error."""
        token = self.params.get("WebIdentityToken")
        if not token:
            raise _invalid("WebIdentityToken", "must not be empty")
        role = self._role()
        self._duration()
        try:
            assert self.options.web_identities is not None
            found = self.options.web_identities.verified(token)
        except Expired:
            raise _Refused("ExpiredTokenException", "The web identity token has expired.") from None
        except BadIdentity as error:
            raise _Refused(
                "InvalidIdentityToken", f"The web identity token does not count: {error}."
            ) from None
        except Nobody:
            raise _Refused("AccessDenied", f"Not authorized to perform sts:{_WEB_IDENTITY}", 403) from None
        except Away as error:
            raise _Refused("IDPCommunicationError", f"Try again: {error}.") from None
        credential = unsigned(found.user)
        request = S3Request(self.environ, self._app, self.options, self._logger, credential)
        try:
            request.authenticate()
        except S3Error as error:
            if error.status >= 500:
                raise
            raise _Refused("AccessDenied", f"Not authorized to perform sts:{_WEB_IDENTITY}", 403) from None
        made = self._made(*role, found.user)._replace(provider=found.provider)
        return [
            element("SubjectFromWebIdentityToken", found.subject),
            element("Audience", found.audience),
            element("Provider", found.issuer),
            *self._assumed(request, made),
        ]

    def _session_token(
        self, _request: S3Request, credential: Credential, session: Session | None
    ) -> list[str]:
        return [self._shown(self._begun(credential, session, "", "", None))]

    def _caller(self, request: S3Request, _credential: Credential, session: Session | None) -> list[str]:
        user = request.user_id or ""
        if session is not None and session.name:
            role = session.role.rpartition("/")[2] or "session"
            arn, user = _session_arn(request, role, session.name), f"{session.access_key}:{session.name}"
        else:
            arn = request.identity.arn
        return [element("Arn", arn), element("UserId", user), element("Account", request.identity.account_id)]

    def _begun(
        self, credential: Credential, session: Session | None, name: str, role: str, policy: str | None
    ) -> Session:
        """A new session. Raises _Refused for who has temporary credentials: no session begets another one, which could do or last more."""
        if session is not None:
            raise _Refused("AccessDenied", "Temporary credentials can't ask for others.", 403)
        return self._made(name, role, policy, credential.access_key)._replace(
            scope=credential.scope,
            string_to_sign=credential.string_to_sign.decode(),
            signature=credential.signature,
        )

    def _made(self, name: str, role: str, policy: str | None, parent: str) -> Session:
        access_key = "ASIA" + base64.b32encode(secrets.token_bytes(10)).decode()
        expires = int(clock.time()) + self._duration()
        return Session(access_key, expires, name, role, policy, parent, "", "", "")

    def _duration(self) -> int:
        text = self.params.get("DurationSeconds", str(USUAL_SECONDS))
        if not (text.isascii() and text.isdigit()) or not LEAST_SECONDS <= int(text[:9]) <= MOST_SECONDS:
            raise _invalid("DurationSeconds", f"must be {LEAST_SECONDS} to {MOST_SECONDS}")
        return int(text)

    def _shown(self, session: Session) -> str:
        key = self.options.sts_keys[0]
        token = tokens.issue(key, session)
        if len(token) > tokens.LONGEST:
            raise _Refused("PackedPolicyTooLarge", "The policy and the role take more than a token holds.")
        expires = clock.strftime("%Y-%m-%dT%H:%M:%SZ", clock.gmtime(session.expires))
        return node(
            "Credentials",
            element("AccessKeyId", session.access_key),
            element("SecretAccessKey", key.secret_of(session.access_key)),
            element("SessionToken", token),
            element("Expiration", expires),
        )


def _invalid(name: str, what: str) -> _Refused:
    return _Refused("ValidationError", f"1 validation error detected: {name} {what}")


def _policy(text: str | None) -> str | None:
    """The text of a session's policy. Raises _Refused."""
    if text is None:
        return None
    if len(text) > _LONGEST_POLICY:
        raise _Refused("PackedPolicyTooLarge", f"The policy has more than {_LONGEST_POLICY} characters.")
    try:
        policy_document.parse(text, True)
    except S3Error as error:
        raise _Refused("MalformedPolicyDocument", error.message) from None
    return text


def _session_arn(request: S3Request, role: str, name: str) -> str:
    return f"arn:aws:sts::{request.identity.account_id}:assumed-role/{role}/{name}"


def _body(environ: dict[str, Any]) -> bytes:
    """Raises _Refused, and what reading raises."""
    if environ["REQUEST_METHOD"] == "GET":
        return b""
    text = environ.get("CONTENT_LENGTH") or ("0" if "HTTP_TRANSFER_ENCODING" not in environ else "")
    if text and int(text) > _MOST_BYTES:
        raise _invalid("the request", "is too long")
    parts, size = [], 0
    source = environ["wsgi.input"]
    while data := source.read(_MOST_BYTES + 1 - size):
        parts.append(data)
        size += len(data)
        if size > _MOST_BYTES:
            raise _invalid("the request", "is too long")
    return b"".join(parts)


def _parameters(environ: Mapping[str, Any], body: bytes) -> dict[str, str]:
    """Raises _Refused."""
    try:
        text = body.decode() if body else (environ.get("QUERY_STRING") or "").encode("latin-1").decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise _Refused("MalformedQueryString", "The parameters can't be read.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("MalformedQueryString", "A parameter is given twice.")
    return found
