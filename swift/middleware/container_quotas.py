"""Filter `container_quotas`: how many bytes and objects a container may hold, as its owner says (spec middleware 4.19).

Quotas are soft: what is known of a container is up to a minute old, and what is overwritten counts until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from swift.core import capabilities
from swift.core.object_headers import UNMETERED
from swift.middleware.info import get_container_info, is_success
from swift.middleware.upload_limit import Exceeded, Room, announced, is_number, stored_number, watch
from swift.wire.message import HTTPBadRequest, HTTPRequestEntityTooLarge, Request, parsed_path

EXCEEDED = "Upload exceeds quota."
_SETTINGS = (
    ("HTTP_X_CONTAINER_META_QUOTA_BYTES", "Invalid bytes quota."),
    ("HTTP_X_CONTAINER_META_QUOTA_COUNT", "Invalid count quota."),
)


class ContainerQuotas:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method == "PUT" or method == "POST":
            _, account, container, obj = parsed_path(environ)
            if container is not None and account is not None:
                refusal = None
                if obj is None:
                    refusal = _refused_setting(environ)
                elif method == "PUT" and UNMETERED not in environ:
                    refusal = self._refused_upload(environ, account, container)
                if refusal is not None:
                    return refusal(environ, start_response)
        try:
            return self.app(environ, start_response)
        except Exceeded as answer:
            return answer(environ, start_response)

    def _refused_upload(self, environ: dict[str, Any], account: str, container: str) -> Any:
        info = get_container_info(environ, self.app, account, container)
        meta = info["meta"]
        if not is_success(info["status"]) or not ("quota-bytes" in meta or "quota-count" in meta):
            return None
        length = announced(environ)
        most_bytes, most_objects = (
            stored_number(meta.get("quota-bytes")),
            stored_number(meta.get("quota-count")),
        )
        room = None if most_bytes is None else most_bytes - info["bytes"]
        if (room is not None and (length or 0) > room) or (
            most_objects is not None and info["object_count"] + 1 > most_objects
        ):
            return _denied(environ, info["write_acl"]) or HTTPRequestEntityTooLarge(
                request=Request(environ), body=EXCEEDED
            )
        if room is not None and length is None:
            watch(environ, Room(room, EXCEEDED))
        return None


def _denied(environ: dict[str, Any], acl: str | None) -> Any:
    """Who may not upload is told that and nothing of quotas."""
    authorize = environ.get("swift.authorize")
    if authorize is None:
        return None
    environ["swob.ACL"] = acl
    return authorize(Request(environ))


def _refused_setting(environ: dict[str, Any]) -> Any:
    for key, text in _SETTINGS:
        value = environ.get(key)
        if value is not None and not is_number(value):
            return HTTPBadRequest(request=Request(environ), body=text)
    return None


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], ContainerQuotas]:
    capabilities.register("container_quotas")
    return ContainerQuotas
