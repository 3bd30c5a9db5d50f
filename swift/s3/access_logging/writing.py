"""Log objects: what they are called, and how they get into their bucket, without a client's rights but by the bucket's leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from swift.core import clock
from swift.middleware.info import get_container_info
from swift.s3 import bucket_documents, bucket_rules
from swift.s3.access_logging.batches import Gone, Place
from swift.s3.acl import forms
from swift.s3.acl.forms import Acl, Grant
from swift.s3.identity import account_id_of
from swift.s3.options import Options
from swift.wire.message import str_to_wsgi, wsgi_quote
from swift.wire.subanswer import ask
from swift.wire.subrequest import make_request

_SOURCE = "S3LOG"
ACL_KEY = "X-Object-Sysmeta-S3api-Acl"


def lets_logs_in(sysmeta: Mapping[str, str], options: Options) -> bool:
    """Returns True if a bucket may be the target of logs: where S3's own ACLs count, its one must say so. Where it has none, as its owner
    enforces, who configures it is asked instead."""
    if not options.s3_acl or takes_no_acls(sysmeta):
        return True
    acl = forms.of_stored(sysmeta.get("s3api-acl") or sysmeta.get("swift3-acl"))
    granted = (
        {grant.permission for grant in acl.grants if grant.grantee == forms.LOG_DELIVERY} if acl else set()
    )
    return "FULL_CONTROL" in granted or {"WRITE", "READ_ACP"} <= granted


def object_name(place: Place, options: Options) -> str:
    """A new one."""
    now = clock.gmtime(int(clock.time()))
    name = f"{clock.strftime('%Y-%m-%d-%H-%M-%S', now)}-{clock.uuid4().hex[:16].upper()}"
    if not place.dated_by:
        return place.prefix + name
    day = place.day or clock.strftime("%Y-%m-%d", now)
    if place.day:
        name = f"{day}-00-00-00-{name.rpartition('-')[2]}"
    owner = account_id_of(place.account, options)
    return f"{place.prefix}{owner}/{options.location}/{place.source}/{day.replace('-', '/')}/{name}"


def takes_no_acls(sysmeta: Mapping[str, str]) -> bool:
    """Returns True for a bucket whose owner owns all that is in it."""
    found = _told(sysmeta, bucket_rules.OWNERSHIP)
    return found is not None and found.get("ObjectOwnership") == bucket_rules.ENFORCED


def _told(sysmeta: Mapping[str, str], name: str) -> bucket_documents.Document | None:
    """A short document of a bucket; None for one that can't be read here."""
    try:
        return bucket_documents.parse(sysmeta.get(bucket_documents.SYSMETA + name.lower()), _nowhere) or {}
    except bucket_documents.Unreadable:
        return None


def _nowhere(timestamp: str) -> None:
    """What was spilled is not asked for."""


def _acl_of(owner: str, grants: tuple[Grant, ...], sysmeta: Mapping[str, str]) -> Acl:
    """The ACL of a log object: its bucket's owner's, and what is granted on it, as far as the bucket takes that by now."""
    own = forms.of_canned("private", owner, owner)
    found = Acl(owner, (*grants, *own.grants))
    ownership, block = _told(sysmeta, bucket_rules.OWNERSHIP), _told(sysmeta, bucket_rules.BLOCK)
    if not grants or ownership is None or block is None or takes_no_acls(sysmeta):
        return own
    return found.without_public() if block.get(bucket_rules.BLOCK_ACLS) == "true" else found


def writer(
    app: Any, kept: Mapping[str, Any], options: Options, place: Place, content: bytes
) -> Callable[[], None]:
    """What writes one object; called again, it writes the same one. `kept`: of an environ, what requests of our own need."""
    name = object_name(place, options)

    def write() -> None:
        account, target = str_to_wsgi(place.account), str_to_wsgi(place.target)
        environ: dict[str, Any] = {
            **kept,
            "REQUEST_METHOD": "PUT",
            "SCRIPT_NAME": "",
            "PATH_INFO": f"/v1/{account}/{target}",
            "swift.infocache": {},
        }
        info = get_container_info(environ, app, account, target)
        if info["status"] == 404:
            raise Gone("there is no such bucket")
        if not 200 <= info["status"] < 300:
            raise OSError(f"status {info['status']}")
        sysmeta = info.get("sysmeta") or {}
        if not lets_logs_in(sysmeta, options):
            raise Gone("its ACL does not let log delivery in")
        headers = {"Content-Type": "text/plain"}
        acl = forms.of_stored(sysmeta.get("s3api-acl") or sysmeta.get("swift3-acl"))
        if options.s3_acl and acl is not None and acl.owner:
            headers[ACL_KEY] = _acl_of(acl.owner, place.grants, sysmeta).stored()
        path = wsgi_quote(f"/v1/{account}/{target}/{str_to_wsgi(name)}")
        made = make_request(environ, "PUT", path, headers, content, pre_authed=True, source=_SOURCE, query="")
        made.environ["swift.proxy_access_log_made"] = True
        answer = ask(app, made.environ)
        answer.drain()
        if answer.status in (403, 404, 413):
            raise Gone(f"status {answer.status}")
        if not answer.is_success:
            raise OSError(f"status {answer.status}")

    return write
