"""Filter `s3api`: which requests are S3's, and what is told of those that go wrong.

A request is read, found in the table, decided on, carried out and answered; all others go on untouched (spec s3.md 1, 2, 5.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from swift.core import capabilities, clock
from swift.core.errors import ConfigError
from swift.s3 import (
    access,
    anonymous,
    bucket_owner,
    cors,
    customer_keys,
    listing_etag,
    metadata,
    names,
    native_posts,
    operations,
    payment,
    post_form,
    signature,
    storage_classes,
)
from swift.s3.access_logging import watching
from swift.s3.answers import Answer
from swift.s3.bucket_names import resolving
from swift.s3.errors import S3Error
from swift.s3.notifications import telling
from swift.s3.notifications.events import READS
from swift.s3.options import Options, parse_options
from swift.s3.request import S3Request
from swift.s3.rights import KnownUsers
from swift.s3.signature import Credential
from swift.s3.sts import service as sts
from swift.s3.sts import sessions
from swift.s3.website import routing
from swift.s3.website.visit import Visit
from swift.telemetry.log import get_logger
from swift.telemetry.metrics import get_metrics
from swift.telemetry.redaction import register_sensitive_header, register_sensitive_parameter
from swift.wire.call import Application, StartResponse
from swift.wire.errors import ClientError
from swift.wire.message import status_line

# What filters on the left have found out (a temporary URL, say) is no word on who signed.
_RIGHTS = ("REMOTE_USER", "swift.authorize", "swift.authorize_override", "swift_owner")

_KNOWN_SECONDS = 60.0
_MOST_KNOWN = 10_000


class S3Api:
    def __init__(self, app: Application, options: Options, logger: Any, metrics: Any) -> None:
        self.app = app
        self.options = options
        self.logger = logger
        self.metrics = metrics
        self._known_users = KnownUsers(_KNOWN_SECONDS, _MOST_KNOWN, clock.monotonic)

    @property
    def _pipeline_names(self) -> frozenset[str]:
        return self._names

    @_pipeline_names.setter
    def _pipeline_names(self, found: frozenset[str]) -> None:
        """Who loads the pipeline says what is in it (spec s3.md 1.1). Raises ConfigError."""
        self._names = found
        if not found:
            return
        if self.options.allow_multipart_uploads and "slo" not in found:
            self.logger.warning("s3api: no slo in the pipeline, so there are no multipart uploads")
            self.options = replace(self.options, allow_multipart_uploads=False)
            capabilities.register("s3api", allow_multipart_uploads=False)
        self.options = replace(
            self.options, object_lock="object_lock" in found, customer_keys="customer_keys" in found
        )
        storage_classes.check_options(self.options)
        is_keystones = "keystoneauth" in found and "tempauth" not in found
        if self.options.auth_pipeline_check and is_keystones and "s3token" not in found:
            raise ConfigError("s3api with keystoneauth needs s3token in the pipeline")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        handler = self._handler_of(environ)
        if handler is None:
            if listing_etag.concerns(environ):
                return listing_etag.answer(self.app, environ, start_response)
            if native_posts.concerns(environ):
                return native_posts.answer(self.app, environ, start_response)
            return self.app(environ, start_response)
        try:
            answer = handler(environ)
        except S3Error as error:
            answer = self._told(environ, error)
        except ClientError:
            raise
        except Exception:
            self.logger.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            answer = self._told(environ, S3Error("InternalError"))
        if answer is None:
            return self.app(environ, start_response)
        if "HTTP_EXPECT" in environ and _is_early(environ):
            # botocore takes the status of an answer that comes in place of a 100 for that of the next one, too.
            answer.headers.append(("Connection", "close"))
        request_id = environ.get("swift.trans_id", "")
        start_response(
            status_line(answer.status),
            [*answer.headers, ("x-amz-id-2", request_id), ("x-amz-request-id", request_id)],
        )
        return answer.body

    def _handler_of(self, environ: dict[str, Any]) -> Callable[[dict[str, Any]], Answer | None] | None:
        """What answers a request; None for those that are not S3's."""
        method = environ["REQUEST_METHOD"]
        if self.options.website_domains and routing.site_of(environ, self.options) is not None:
            return self._answer_visit
        if method == "OPTIONS" and cors.is_preflight(environ):
            return self._answer_preflight
        if signature.is_signed(environ):
            return self._answer_sts if environ["PATH_INFO"] == "/" and sts.is_asked(environ) else self._answer
        if method == "POST":
            if post_form.is_form(environ, self.options):
                return self._answer_form
            if self.options.sts_keys and sts.is_asked(environ):
                return self._answer_sts
        return self._answer_nobody if anonymous.is_s3(environ, self.options) else None

    def _answer_nobody(self, environ: dict[str, Any]) -> Answer:
        """Nobody signs, and everybody may be let. Raises S3Error."""
        return self._answered(environ, None, names.host_bucket(environ, self.options))

    def _answer(self, environ: dict[str, Any]) -> Answer:
        """Raises S3Error."""
        options = self.options
        host_bucket = names.host_bucket(environ, options)
        if "HTTP_SERVICE_WORKER" in environ and host_bucket is None:
            # Of a page that somebody stored: from then on it would hear all that is below a bucket's name, which may be the console's too.
            raise S3Error("AccessDenied", reason="service_worker")
        credential = signature.read(environ, options, host_bucket)
        return self._answered(environ, credential, host_bucket)

    def _answered(
        self, environ: dict[str, Any], credential: Credential | None, host_bucket: str | None
    ) -> Answer:
        """Raises S3Error."""
        request = self._request(environ, credential, host_bucket)
        options = self.options
        metadata.check_headers(environ, options.storage_classes, options.customer_keys)
        return self._carried_out(request, operations.find(request))

    def _answer_sts(self, environ: dict[str, Any]) -> Answer:
        """Raises S3Error."""
        for key in _RIGHTS:
            environ.pop(key, None)
        return sts.answer(environ, self.app, self.options, self.logger)

    def _answer_form(self, environ: dict[str, Any]) -> Answer:
        """A form is a PutObject in another dress. Raises S3Error."""
        options = self.options
        host_bucket = names.host_bucket(environ, options)
        form = post_form.received(environ, options, host_bucket)
        if form.credential is None and not options.allow_anonymous:
            raise S3Error("AccessDenied", reason="not_signed")
        request = self._request(form.environ, form.credential, host_bucket)
        request.key = form.key
        metadata.check_headers(form.environ, options.storage_classes, options.customer_keys)
        return form.done_by(lambda put: self._carried_out(put, operations.PUT_OBJECT), request)

    def _answer_visit(self, environ: dict[str, Any]) -> Answer:
        """A visitor of a site signs nothing. Raises S3Error."""
        site = routing.site_of(environ, self.options)
        assert site is not None

        def asked(method: str, key: str | None, with_conditions: bool) -> S3Request:
            made = metadata.carried_environ(environ)
            if with_conditions:
                made.update(metadata.named_headers(environ, metadata.READ_HEADERS))
            made.update(REQUEST_METHOD=method, QUERY_STRING="")
            request = self._request(made, None, site.bucket)
            request.account = site.account or request.account
            if self.options.has_global_buckets and request.account is None:
                request.account = resolving.account_of(request, site.bucket, "")
            if key is not None:
                request.key = key
            return request

        def read(method: str, key: str, with_conditions: bool) -> Answer:
            request = asked(method, key, with_conditions)
            found = _done(request, operations.READS_OF_OBJECTS[method])
            environ["swift.backend_path"] = request.environ.get("swift.backend_path", environ["PATH_INFO"])
            return found

        request = asked(environ["REQUEST_METHOD"], None, False)
        answer = Visit(environ, request, read).answer()
        if "HTTP_ORIGIN" not in environ:
            return answer
        return answer._replace(headers=cors.with_headers(request, answer.headers))

    def _request(
        self, environ: dict[str, Any], credential: Credential | None, host_bucket: str | None
    ) -> S3Request:
        """Raises S3Error."""
        session = sessions.session_of(credential, self.options) if credential is not None else None
        for key in _RIGHTS:
            environ.pop(key, None)
        request = S3Request(
            environ, self.app, self.options, self.logger, credential, host_bucket, self._known_users
        )
        request.session = session
        return request

    def _carried_out(self, request: S3Request, operation: operations.Operation) -> Answer:
        """Raises S3Error."""
        if "HTTP_ORIGIN" not in request.environ:
            return payment.with_charge(request, _done(request, operation))
        try:
            answer = payment.with_charge(request, _done(request, operation))
        except S3Error as error:
            error.headers = cors.with_headers(request, error.headers)
            raise
        return answer._replace(headers=cors.with_headers(request, answer.headers))

    def _answer_preflight(self, environ: dict[str, Any]) -> Answer | None:
        """None if it is none of S3's. Raises S3Error."""
        host_bucket = names.host_bucket(environ, self.options)
        return cors.answer_preflight(environ, self.app, self.options, self.logger, host_bucket)

    def _told(self, environ: dict[str, Any], error: S3Error) -> Answer:
        environ.setdefault("swift.log_info", []).append(f"s3:err:{error.logged}")
        self.metrics.increment(f"{error.status}.{error.logged}")
        if error.code == "InternalError" and error.reason:
            self.logger.error("%s %s: %s", environ["REQUEST_METHOD"], environ["PATH_INFO"], error.reason)
        headers = [
            *error.headers,
            ("x-amz-bucket-region", self.options.location),
            ("Content-Type", "application/xml"),
        ]
        if environ["REQUEST_METHOD"] == "HEAD" or error.status == 304:
            return Answer(error.status, headers, [b""])
        path = environ["PATH_INFO"].encode("latin-1", "replace").decode("utf-8", "replace")
        body = error.document(environ.get("swift.trans_id", ""), path)
        return Answer(error.status, [*headers, ("Content-Length", str(len(body)))], [body])


def _is_early(environ: dict[str, Any]) -> bool:
    """Returns True if a client that waits for a 100 Continue gets its answer without one."""
    return environ.get("CONTENT_LENGTH") == "0" or getattr(environ["wsgi.input"], "expecting", False)


def _done(request: S3Request, operation: operations.Operation) -> Answer:
    """Raises S3Error."""
    if request.bucket is not None:
        if request.options.has_global_buckets and operation.name != "CreateBucket":
            resolving.resolve(request)
        bucket_owner.check(request)
    try:
        access.decide(request, operation)
        payment.check(request)
        answer = operation.handler(request)
    except S3Error as found:
        error = access.as_told(request, found)
        watching.watch(request, operation, error)
        if error is found:
            raise
        raise error from None
    finally:
        if request.events:
            telling.send(request)
    watching.watch(request, operation)
    if request.options.notification_targets and operation.name in READS:
        telling.read(request, operation.name, answer)
    return answer


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], S3Api]:
    conf = {**global_conf, **local_conf}
    options = parse_options(conf)
    logger = get_logger(conf, "proxy-server", log_route="s3api")
    register_sensitive_header("authorization")
    register_sensitive_header("x-amz-security-token")
    for name in customer_keys.SECRETS:
        # In addresses there is no place for them, but they are put there all the same.
        register_sensitive_header(name)
        register_sensitive_parameter(name)
        register_sensitive_parameter("-".join(map(str.capitalize, name.split("-"))))
    for name in (
        "WebIdentityToken",
        "Signature",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "x-amz-security-token",
    ):
        register_sensitive_parameter(name)
    capabilities.register(
        "s3api",
        max_bucket_listing=options.max_bucket_listing,
        max_parts_listing=options.max_parts_listing,
        max_upload_part_num=options.max_upload_part_num,
        max_multi_delete_objects=options.max_multi_delete_objects,
        allow_multipart_uploads=options.allow_multipart_uploads,
        min_segment_size=options.min_segment_size,
        s3_acl=options.s3_acl,
    )
    metrics = get_metrics(conf, "s3api")

    def factory(app: Any) -> S3Api:
        return S3Api(app, options, logger, metrics)

    return factory
