"""What all of object versioning works with: one request's container and what is known of its versions, and who may do what.

Spec: middleware.md 4.24. Never here: what any verb does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from swift.core.config import truthy
from swift.core.errors import RequestError
from swift.middleware.info import Info
from swift.wire.message import HTTPException, Request, Response, status_map, str_to_wsgi, wsgi_unquote

SOURCE = "OV"
StartResponse = Callable[..., Any]
Body = Iterable[bytes]
Headers = list[tuple[str, str]]

_OF_THE_CLIENT = ("REMOTE_USER", "swift.authorize", "swift.authorize_override")
# What was found out for another path: it gives no right to this one.
_OF_ONE_PATH = ("swob.ACL", "swift_sync_key", "swift_owner")

ENABLED, CONTAINER = "versions-enabled", "versions-container"  # keys of a container's system metadata


class Place(NamedTuple):
    """A container, or an object in it: names are WSGI strings. `hidden`: of its versions' container, None if there never was one."""

    environ: dict[str, Any]
    version: str
    account: str
    container: str
    obj: str
    info: Info
    hidden: str | None
    enabled: bool

    @property
    def path(self) -> str:
        """Of the container, unquoted."""
        return f"/{self.version}/{self.account}/{self.container}"

    @property
    def object_path(self) -> str:
        return f"{self.path}/{self.obj}"

    @property
    def hidden_path(self) -> str:
        """Of the versions' container, unquoted."""
        return f"/{self.version}/{self.account}/{self.hidden}"

    @property
    def request(self) -> Request:
        return Request(self.environ)


def place_of(
    environ: dict[str, Any], version: str, account: str, container: str, obj: str, info: Info
) -> Place:
    sysmeta = info["sysmeta"]
    stored = sysmeta.get(CONTAINER)
    hidden = wsgi_unquote(str_to_wsgi(stored)).split("/", 1)[0] if stored else None
    return Place(
        environ, version, account, container, obj, info, hidden, hidden is not None and truthy(sysmeta.get(ENABLED))
    )  # fmt: skip


def denied(environ: dict[str, Any], acl: str | None) -> Response | None:
    """The answer of whoever decides on rights if the request may not be, else None. To be asked before anything is done for it."""
    authorize = environ.get("swift.authorize")
    if authorize is None:
        return None
    environ["swob.ACL"] = acl
    try:
        return authorize(Request(environ))
    finally:
        # The proxy asks once before it knows of any ACL; this one may be of a while ago by then.
        environ.pop("swob.ACL", None)


def rights_for_one(environ: dict[str, Any], path: str) -> Callable[[Request], Response | None]:
    """An authorization for requests made on behalf of that of `environ`: allows what is for `path`, a WSGI string, and asks for the
    client's own rights to everything else, such as what a link leads to."""
    ask = environ.get("swift.authorize")
    user = {key: environ[key] for key in _OF_THE_CLIENT if key in environ}

    def authorize(request: Request) -> Response | None:
        if ask is None or request.environ["PATH_INFO"] == path:
            return None
        asked = {key: value for key, value in environ.items() if key not in _OF_ONE_PATH}
        asked.update(request.environ)
        for key in (*_OF_THE_CLIENT, "swift_owner"):
            asked.pop(key, None)
        asked.update(user)
        denial: Response | None = ask(Request(asked))
        return denial

    return authorize


def checked(request: Request, check: Callable[..., Any], *arguments: Any) -> Any:
    """`check(*arguments)`; a RequestError that it raises becomes the client's answer."""
    try:
        return check(*arguments)
    except RequestError as error:
        raise status_map[error.status](request=request, body=error.body, content_type="text/plain") from None


def refused(kind: type[HTTPException], environ: dict[str, Any], text: str) -> HTTPException:
    return kind(request=Request(environ), body=text)


def parameters(environ: dict[str, Any]) -> dict[str, str]:
    """The query's; the last of equal names counts."""
    return dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, encoding="latin-1"))


def query_text(params: dict[str, str]) -> str:
    return urlencode(params, encoding="latin-1")


def header(headers: Headers, wanted: str) -> str | None:
    """The value of a header by its lower-case name."""
    for name, value in headers:
        if name.lower() == wanted:
            return value
    return None


def replaced(headers: Headers, **values: str) -> Headers:
    """With other values for these (title-case names, `_` for `-`), at their end."""
    new = {name.replace("_", "-"): value for name, value in values.items()}
    lower = {name.lower() for name in new}
    return [*((name, value) for name, value in headers if name.lower() not in lower), *new.items()]
