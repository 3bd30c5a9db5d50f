"""Which account the bucket is in that a request names, and what becomes of a name when a bucket is made or removed.

A bucket of the caller's own account is always meant first: so nobody gets a request that its sender has a bucket for, and it costs no
question more than without a registry. What the registry says is remembered for a while, that a name is nobody's for a moment; a
change on this node counts at once. Never here: how names change hands (`registry`), and what a caller may do with the bucket (`access`).
"""

from __future__ import annotations

import contextlib
from typing import Any

from swift.middleware.info import Info, container_key, get_container_info
from swift.middleware.info.process_cache import ProcessCache
from swift.s3.bucket_names.registry import Busy, Entry, Registry, Taken, Unknown
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.wire.message import str_to_wsgi
from swift.wire.subanswer import Subanswer
from swift.wire.subrequest import make_environ

SECONDS = (
    30.0  # for which whose a name is is remembered; a bucket that is not there any more is asked about again
)
_NOBODYS_SECONDS = (
    1.0  # for which it is remembered that a name is nobody's, or that a caller has no bucket of that name
)
_TRIES = 5  # of saying that a bucket is made, while others say something of it
_KNOWN = ProcessCache(max_age=SECONDS)


def registry_of(request: S3Request) -> Registry:
    def ask(
        method: str, account: str, container: str | None = None, obj: str | None = None, **more: Any
    ) -> Subanswer:
        return request.ask(method, container, obj, rights="own", account=account, **more)

    return Registry(ask)


def _key(name: str) -> str:
    return f"s3-bucket/{name}"


# -- finding --------------------------------------------------------------------------------------------------------------


def resolve(request: S3Request) -> None:
    """Have a request that names a bucket without its account lead to the account that has it. Raises S3Error.

    Nothing changes for a bucket of the caller's own, and for one that nobody has: that is not found where it would be.
    """
    bucket = request.bucket
    if bucket is None or request.account is not None:
        return
    own = request.likely()[1] if request.credential is not None else ""
    found = account_of(request, bucket, own)
    if found is not None and found != own:
        request.lead_to(found)
    elif request.credential is None:
        raise S3Error("NoSuchBucket", BucketName=bucket)


def account_of(request: S3Request, bucket: str, own: str) -> str | None:
    """The account of the bucket that a name means to who is at home in `own` ("" for nowhere); None if there is none. Raises S3Error."""
    mine = container_key(own, bucket)
    if own:
        known = _KNOWN.get(mine)
        if known is not None and _is_there(request, known["account"], bucket):
            return str(known["account"])
        asked = _KNOWN.asked(mine)
        if _status(request, own, bucket) != 404:
            return own  # also where servers do not say so: what is asked of them next will tell
    found = _registered(request, bucket)
    if found is None or found == own:
        return own if found else None
    if own:
        _KNOWN.put(mine, Info({"status": 200, "account": found}), asked, _NOBODYS_SECONDS)
    return found


def _status(request: S3Request, account: str, bucket: str) -> int:
    """404 if the container is known not to be there."""
    info = get_container_info(request.environ, request.app, str_to_wsgi(account), str_to_wsgi(bucket))
    return int(info["status"]) or 404  # 0: nor is its account


def _is_there(request: S3Request, account: str, bucket: str) -> bool:
    return _status(request, account, bucket) != 404


def _registered(request: S3Request, bucket: str) -> str | None:
    """Raises S3Error."""
    key = _key(bucket)
    known = _KNOWN.get(key)
    if known is not None and (not known["account"] or _is_there(request, known["account"], bucket)):
        return known["account"] or None

    def fetch() -> Info:
        asked = _KNOWN.asked(key)
        names = registry_of(request)
        # What one server does not have, another one may.
        found = names.look(bucket, newest=False).account or names.look(bucket).account or ""
        info = Info({"status": 200, "account": found})
        _KNOWN.put(key, info, asked, SECONDS if found else _NOBODYS_SECONDS)
        return info

    try:
        return _KNOWN.once(key, fetch)["account"] or None
    except Unknown as error:
        raise _unknown(error) from None


def _unknown(error: Unknown) -> S3Error:
    return S3Error("ServiceUnavailable", reason=f"bucket names: {error}")


# -- making and removing --------------------------------------------------------------------------------------------------


class Claim:
    """A name that a bucket is about to be made with, by who may make one. Making one raises S3Error."""

    def __init__(self, request: S3Request) -> None:
        assert request.bucket is not None
        request.authenticate()
        self._request = request
        self._name = request.bucket
        self._account = request.account or ""
        self._registry = registry_of(request)
        made = make_environ(request.environ, "PUT", path=request.native_path(self._name), query="")
        if request.native_rights().refusal(made) is not None:
            raise S3Error("AccessDenied", reason="no_bucket")  # before a name is taken for nothing
        self._entry = self._claimed()

    def _claimed(self) -> Entry:
        """Raises S3Error."""
        try:
            return self._registry.claim(self._name, self._account)
        except Taken:
            raise S3Error("BucketAlreadyExists", BucketName=self._name) from None
        except Busy:
            raise S3Error("OperationAborted") from None
        except Unknown as error:
            raise _unknown(error) from None
        finally:
            _KNOWN.changed(_key(self._name))

    def give_up(self) -> None:
        """There is no new bucket: the name is as it was. Raises nothing: who finds it left may have it."""
        if self._entry.is_new:
            _release(self._request, self._registry, self._name, self._entry)
        else:
            self.keep()

    def keep(self) -> None:
        """The bucket was there already. Raises nothing."""
        # Otherwise it is known to be claimed, which is as good for others.
        with contextlib.suppress(Unknown, S3Error):
            self._registry.say_made(self._name, self._entry)

    def hold(self) -> None:
        """The container is made. If somebody else has the name by now, which takes long, it goes again. Raises S3Error."""
        try:
            for _ in range(_TRIES):
                if self._registry.say_made(self._name, self._entry):
                    return
                self._entry = self._claimed()
        except Unknown as error:
            raise _unknown(error) from None
        except S3Error as error:
            if error.code == "BucketAlreadyExists":
                self._request.ask("DELETE", self._name, rights="own").close()
            raise


class Removal:
    """A name whose bucket is about to be removed. Making one raises S3Error."""

    def __init__(self, request: S3Request) -> None:
        assert request.bucket is not None
        request.authenticate()
        self._request = request
        self._name = request.bucket
        self._registry = registry_of(request)
        try:
            self._entry = self._registry.before_removal(self._name, request.account or "")
        except Busy:
            raise S3Error("OperationAborted") from None
        except Unknown as error:
            raise _unknown(error) from None

    def done(self) -> None:
        """The container is gone, and so is the name; if it was claimed anew meanwhile, it stays. Raises nothing."""
        if self._entry is not None:
            _release(self._request, self._registry, self._name, self._entry)


def _release(request: S3Request, names: Registry, name: str, entry: Entry) -> None:
    try:
        names.release(name, entry)
    except (Unknown, S3Error) as error:
        request.logger.warning(
            "The name of the bucket %s is left, its container is not there: %s", name, error
        )
    finally:
        _KNOWN.changed(_key(name))
