"""Features whose filter is not in the pipeline: where saying yes would lose or expose data, the request is refused instead.

Without its filter a manifest is stored as an empty object, a link as one, `?bulk-delete` deletes the container that it is sent to,
and a version that is asked for is the current one. Clients believe a 2xx. What a request without the filter merely leaves undone,
and harms nobody (quotas, temp-url keys, static web settings), stays stored as the metadata that it is. Objects that were stored while
the filter was there are not read without it either: what they hold (a manifest, a link, ciphertext) is not what they mean.

The gatekeeper asks, so only requests of clients are looked at: internal clients and storage servers may store all of it. A filter
that is in the pipeline, under the name of its entry point, ends the refusal of what it does. Never here: what a feature does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from swift.core.config import truthy
from swift.wire.message import HTTPBadRequest, HTTPException, Request, parsed_path, status_map

ACCOUNT, CONTAINER, OBJECT = 1, 2, 3  # segments of a path below the version
_PUT, _WRITES = frozenset(("PUT",)), frozenset(("PUT", "POST"))
_ANY = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE"))
S3_FILTERS = ("s3api", "swift3")


class Feature(NamedTuple):
    """A header or query parameter that means something to `filters` only."""

    name: str
    filters: tuple[str, ...]
    methods: frozenset[str]
    levels: tuple[int, ...]
    means_it: Callable[[str], Any] = bool  # of its value

    @property
    def key(self) -> str:
        """Of a header in the environ."""
        return "HTTP_" + self.name.upper().replace("-", "_")


def _always(_value: str) -> bool:
    return True


HEADERS = (
    Feature("X-Object-Manifest", ("dlo",), _WRITES, (OBJECT,)),
    Feature("X-Static-Large-Object", ("slo",), _WRITES, (OBJECT,)),
    Feature("X-Symlink-Target", ("symlink",), _WRITES, (OBJECT,)),
    Feature("X-Copy-From", ("copy",), _PUT, (OBJECT,)),
    Feature("X-Versions-Enabled", ("versioned_writes",), _WRITES, (CONTAINER,), truthy),
    Feature("X-Versions-Location", ("versioned_writes",), _WRITES, (CONTAINER,)),
    Feature("X-History-Location", ("versioned_writes",), _WRITES, (CONTAINER,)),
)
PARAMETERS = (
    Feature("multipart-manifest", ("slo",), frozenset(("PUT", "POST")), (OBJECT,), lambda value: value == "put"),
    Feature("multipart-manifest", ("slo",), frozenset(("DELETE",)), (OBJECT,), lambda value: value == "delete"),
    Feature("extract-archive", ("bulk",), _WRITES, (ACCOUNT, CONTAINER, OBJECT), _always),
    Feature("bulk-delete", ("bulk",), frozenset(("POST", "DELETE")), (ACCOUNT, CONTAINER, OBJECT), _always),
    Feature("version-id", ("versioned_writes",), _ANY, (OBJECT,), _always),
)  # fmt: skip


class Stored(NamedTuple):
    """A header of an object which says that its bytes mean something to `filters` only, unless `raw`, a query, asks for them."""

    name: str
    filters: tuple[str, ...]
    what: str
    raw: tuple[str, str] | None = None


STORED = (
    Stored("X-Static-Large-Object", ("slo",), "a manifest", ("multipart-manifest", "get")),
    Stored("X-Object-Manifest", ("dlo",), "a manifest", ("multipart-manifest", "get")),
    Stored("X-Object-Sysmeta-Symlink-Target", ("symlink",), "a link", ("symlink", "get")),
    Stored("X-Object-Sysmeta-Crypto-Body-Meta", ("encryption",), "encrypted"),
    Stored("X-Object-Sysmeta-S3Api-Ssec", ("customer_keys",), "encrypted with its owner's key"),
)
_READS = frozenset(("GET", "HEAD"))
_NOTHING = re.compile("(?!)")
_S3_PARAMETERS = ("AWSAccessKeyId", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Algorithm")
_S3_HEADERS = ("HTTP_X_AMZ_DATE", "HTTP_X_AMZ_CONTENT_SHA256", "HTTP_X_AMZ_SECURITY_TOKEN")


class AbsentFeatures:
    """What a pipeline of `filters` (names of entry points) has no filter for."""

    def __init__(self, filters: frozenset[str]) -> None:
        def absent(features: tuple[Feature, ...]) -> list[Feature]:
            return [feature for feature in features if filters.isdisjoint(feature.filters)]

        self._headers = absent(HEADERS)
        self._parameters = absent(PARAMETERS)
        # With names taken from the host the path does not tell yet what it is about.
        self._by_level = filters.isdisjoint(("domain_remap", "cname_lookup"))
        self.stored = {mark.name: mark for mark in STORED if filters.isdisjoint(mark.filters)}
        self._has_s3 = not filters.isdisjoint(S3_FILTERS)
        keys = [feature.key.removeprefix("HTTP_X_") for feature in self._headers]
        names = [feature.name for feature in self._parameters]
        if not self._has_s3:
            keys.append("AMZ_")
            names.extend(_S3_PARAMETERS)
        # Searched in all keys at once, and in the query: nearly all requests have none of them.
        self._suspicious = re.compile(f"HTTP_X_(?:{'|'.join(keys)})") if keys else _NOTHING
        self._suspicious_query = re.compile("|".join([*names, "%"])) if names else _NOTHING

    def is_harmless(self, key: str) -> bool:
        """Returns True if it is nothing to `refusal` whether this key, whatever its value, is in an environ."""
        return (self._has_s3 or key != "HTTP_AUTHORIZATION") and self._suspicious.search(key) is None

    def refusal(self, environ: dict[str, Any], keys: str) -> HTTPException | None:
        """The answer to a request that would be misunderstood; `keys`: those of the environ in one text, without those that are harmless if
        one likes."""
        query = environ.get("QUERY_STRING", "")
        in_query = query and self._suspicious_query.search(query) is not None
        in_headers = self._suspicious.search(keys) is not None
        if not self._has_s3 and _is_s3(environ, query if in_query else "", in_headers):
            return _s3_not_implemented(environ)
        if not in_query and not in_headers:
            return None
        segments = [part for part in parsed_path(environ)[1:] if part is not None]
        parameters = dict(parse_qsl(query, keep_blank_values=True, encoding="latin-1")) if in_query else {}
        wanted = [(feature, environ.get(feature.key)) for feature in self._headers]
        wanted += [(feature, parameters.get(feature.name)) for feature in self._parameters]
        for feature, value in wanted:
            if (
                value is not None
                and environ["REQUEST_METHOD"] in feature.methods
                and (len(segments) in feature.levels or not self._by_level)
                and feature.means_it(value)
            ):
                return _not_supported(environ, feature)
        return None

    def unreadable(
        self, environ: dict[str, Any], status: str, headers: list[tuple[str, str]]
    ) -> HTTPException | None:
        """The answer in place of one whose body would be taken for the object and is not. `headers`: of the answer, title-cased."""
        if environ["REQUEST_METHOD"] not in _READS or status[0] > "3":
            return None
        parameters = parse_qsl(environ.get("QUERY_STRING", ""), encoding="latin-1")
        for name, value in headers:
            mark = self.stored.get(name)
            if mark is not None and value.lower() not in ("", "false") and mark.raw not in parameters:
                text = f"This object is {mark.what}: the filter {mark.filters[0]}, which reads it, is not in the proxy's pipeline.\n"
                return HTTPBadRequest(request=Request(environ), body=text, content_type="text/plain")
        return None


def _not_supported(environ: dict[str, Any], feature: Feature) -> HTTPException:
    name = feature.name if feature in HEADERS else f"?{feature.name}"
    text = f"{name} is not supported here: the filter {feature.filters[0]} is not in the proxy's pipeline.\n"
    return HTTPBadRequest(request=Request(environ), body=text, content_type="text/plain")


def _is_s3(environ: dict[str, Any], query: str, has_amz_headers: bool) -> bool:
    given = environ.get("HTTP_AUTHORIZATION")
    if given is not None and given.startswith(("AWS ", "AWS4-HMAC-SHA256")):
        return True
    if "HTTP_X_AUTH_TOKEN" in environ or "HTTP_X_STORAGE_TOKEN" in environ:
        return False  # a proxy on the way may add headers of its own
    if has_amz_headers and any(key in environ for key in _S3_HEADERS):
        return True
    return bool(query) and any(name in _S3_PARAMETERS for name, _ in parse_qsl(query, keep_blank_values=True))


def _s3_not_implemented(environ: dict[str, Any]) -> HTTPException:
    """In the form that S3 clients read."""
    request_id = environ.get("swift.trans_id", "")
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NotImplemented</Code><Message>The S3 API is not available here: the filter '
        f"s3api is not in the proxy's pipeline.</Message><RequestId>{escape(request_id)}</RequestId></Error>"
    )
    return status_map[501](
        request=Request(environ),
        body=text.encode("latin-1", "replace"),
        content_type="application/xml",
        headers={"x-amz-request-id": request_id, "x-amz-id-2": request_id},
    )
