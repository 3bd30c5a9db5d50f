"""Filter `account_quotas`: how many bytes and objects an account may hold, in all and in each storage policy (spec middleware 4.20).

Resellers set quotas, and are bound by none. A client's 413 waits for the proxy to ask for rights, so that who may not upload is told that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from swift.core import capabilities
from swift.core.object_headers import UNMETERED
from swift.core.policy import policies
from swift.middleware.info import Info, get_account_info, get_container_info, is_success
from swift.middleware.upload_limit import Exceeded, Room, announced, is_number, stored_number, watch
from swift.wire.message import (
    HTTPBadRequest,
    HTTPForbidden,
    HTTPRequestEntityTooLarge,
    Request,
    Response,
    environ_key,
    parsed_path,
)

EXCEEDED, POLICY_EXCEEDED = "Upload exceeds quota.", "Upload exceeds policy quota."
_KINDS = ("Bytes", "Count")
_ALIAS = "X-Account-Meta-Quota-Bytes"
_STORED_START = "x-account-sysmeta-quota-"


class AccountQuotas:
    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        _, account, container, obj = parsed_path(environ)
        if account is None:
            return self.app(environ, start_response)
        if container is None:
            return self._account(environ, start_response)
        is_upload = obj is not None and environ["REQUEST_METHOD"] == "PUT"
        if is_upload and not environ.get("reseller_request") and UNMETERED not in environ:
            refusal = self._bound(environ, account, container)
            if refusal is not None:
                return refusal(environ, start_response)
        try:
            return self.app(environ, start_response)
        except Exceeded as answer:
            return answer(environ, start_response)

    # -- settings ------------------------------------------------------------------------------------------------------------

    def _account(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("PUT", "POST"):
            wanted = _wanted(environ)
            if wanted:
                if not environ.get("reseller_request"):
                    return HTTPForbidden(request=Request(environ))(environ, start_response)
                if not all(map(is_number, wanted.values())):
                    return HTTPBadRequest(request=Request(environ))(environ, start_response)
                environ.update(wanted)

        def respond(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers = _shown(headers)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.app(environ, respond)

    # -- uploads ---------------------------------------------------------------------------------------------------------------

    def _bound(self, environ: dict[str, Any], account: str, container: str) -> Response | None:
        """Have an upload refused if there is a quota in its way, or once it has brought too much; the answer where nobody asks for rights."""
        info = get_account_info(environ, self.app, account)
        if not is_success(info["status"]) or not _has_quota(info):
            return None
        length = announced(environ)
        rooms: list[Room] = []
        for text, most_bytes, used_bytes, most_objects, objects in self._quotas(
            environ, info, account, container
        ):
            if most_bytes is not None:
                rooms.append(Room(most_bytes - used_bytes, text))
            if (most_bytes is not None and used_bytes + (length or 0) > most_bytes) or (
                most_objects is not None and objects + 1 > most_objects
            ):
                return _refusal(environ, text)
        if rooms and length is None:
            watch(environ, min(rooms))
        return None

    def _quotas(
        self, environ: dict[str, Any], info: Info, account: str, container: str
    ) -> Iterator[tuple[str, int | None, int, int | None, int]]:
        """(what is said, most bytes, those used, most objects, those there) of all that may bind: the account, then the policy."""
        sysmeta = info["sysmeta"]
        most_bytes = sysmeta.get("quota-bytes") or info["meta"].get("quota-bytes")
        most_objects = sysmeta.get("quota-count")
        yield (
            EXCEEDED,
            stored_number(most_bytes),
            info["bytes"],
            stored_number(most_objects),
            info["total_object_count"],
        )
        if not any("-policy-" in name for name in sysmeta):
            return
        index = int(get_container_info(environ, self.app, account, container)["storage_policy"])
        used = info["storage_policies"].get(index, {})
        yield (
            POLICY_EXCEEDED,
            stored_number(sysmeta.get(f"quota-bytes-policy-{index}")),
            used.get("bytes", 0),
            stored_number(sysmeta.get(f"quota-count-policy-{index}")),
            used.get("object_count", 0),
        )


def _has_quota(info: Info) -> bool:
    return "quota-bytes" in info["meta"] or any(name.startswith("quota-") for name in info["sysmeta"])


def _refusal(environ: dict[str, Any], text: str) -> Response | None:
    """The answer, if it is not to be given in the end by whoever decides on rights."""
    refusal = HTTPRequestEntityTooLarge(request=Request(environ), body=text)
    authorize = environ.get("swift.authorize")
    if authorize is None:
        return refusal

    def refuse(request: Request) -> Response:
        denial = authorize(request)
        return refusal if denial is None else denial

    environ["swift.authorize"] = refuse
    return None


# -- headers ---------------------------------------------------------------------------------------------------------------------


def _settings() -> Iterator[tuple[str, str]]:
    """(what follows `X-Account-Quota-` for clients, what follows `X-Account-Sysmeta-Quota-`) of each quota that there can be."""
    for kind in _KINDS:
        yield kind, kind
    for policy in policies():
        for kind in _KINDS:
            yield f"{kind}-Policy-{policy.name}", f"{kind}-Policy-{int(policy)}"


def _wanted(environ: dict[str, Any]) -> dict[str, str]:
    """What a request sets, by environ keys of system metadata."""
    if not any("_QUOTA_" in key for key in environ):
        return {}
    wanted = {}
    for name, stored in _settings():
        key = environ_key(f"X-Account-Sysmeta-Quota-{stored}")
        if name == "Bytes" and environ_key(_ALIAS) in environ:
            wanted[key] = environ[environ_key(_ALIAS)]
        if environ_key(f"X-Account-Quota-{name}") in environ:
            wanted[key] = environ[environ_key(f"X-Account-Quota-{name}")]
        removals = [f"X-Remove-Account-Quota-{name}"]
        if name == "Bytes":
            removals.append(_ALIAS.replace("X-", "X-Remove-"))
        # Whatever it says: the proxy looks at names alone.
        if any(environ_key(removal) in environ for removal in removals):
            wanted[key] = ""
    return wanted


def _shown(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """An account's headers with its quotas as clients know them."""
    found = {
        name.lower(): value for name, value in headers if name.lower().startswith(_STORED_START) and value
    }
    if not found:
        return headers
    shown = [
        (f"X-Account-Quota-{name}", found[_STORED_START + stored.lower()])
        for name, stored in _settings()
        if _STORED_START + stored.lower() in found
    ]
    return [*headers, *shown]


def filter_factory(global_conf: dict[str, Any], **local_conf: Any) -> Callable[[Any], AccountQuotas]:
    capabilities.register("account_quotas")
    return AccountQuotas
