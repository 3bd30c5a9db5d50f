"""Headers on their way: a client's S3 headers to native ones, and native answers' headers to S3's (spec s3.md 5.1, 5.2).

Values and names are WSGI strings on both sides. Never here: ACLs, checksums, and whatever else has a module of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from email.header import Header
from typing import Any

from swift.core import capabilities, object_lock
from swift.core.remembered import Remembered, remembered
from swift.core.timestamp import http_date
from swift.s3 import times
from swift.s3.errors import S3Error
from swift.wire.message import environ_key, wsgi_to_str
from swift.wire.parser import UNDERSCORED

Headers = list[tuple[str, str]]

ETAG = "x-object-sysmeta-s3api-etag"
ETAG_KEY = "HTTP_X_OBJECT_SYSMETA_S3API_ETAG"
OLD_ETAG = "x-object-sysmeta-swift3-etag"
_META = "x-amz-meta-"
_NATIVE_META = "x-object-meta-"
_NOT_IN_NAMES = re.compile(r'[ "),/;<=>?@\[\\\]{}]')
_LAST_SECOND = 253_402_300_799  # of the year 9999
_ENCODED = re.compile(r"=\?utf-8\?[bq]\?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")

# -- requests -------------------------------------------------------------------------------------------------------------

_DROPPED = frozenset((
    "HTTP_AUTHORIZATION", "HTTP_X_AUTH_TOKEN", "HTTP_X_STORAGE_TOKEN", "HTTP_X_SERVICE_TOKEN", "HTTP_DESTINATION",
    "HTTP_DESTINATION_ACCOUNT", "HTTP_X_COPY_FROM", "HTTP_X_COPY_FROM_ACCOUNT", "HTTP_X_SYMLINK_TARGET", "HTTP_X_SYMLINK_TARGET_ACCOUNT",
    "HTTP_X_SYMLINK_TARGET_ETAG", "HTTP_X_SYMLINK_TARGET_BYTES", "HTTP_X_OBJECT_MANIFEST", "HTTP_X_STATIC_LARGE_OBJECT",
    "HTTP_X_FRESH_METADATA", "HTTP_X_VERSIONS_ENABLED", "HTTP_X_VERSIONS_LOCATION", "HTTP_X_HISTORY_LOCATION", "HTTP_ETAG",
    "HTTP_CONTENT_MD5", "HTTP_X_TIMESTAMP", "HTTP_X_DETECT_CONTENT_TYPE", "HTTP_X_IF_DELETE_AT", "HTTP_X_OPEN_EXPIRED",
    "HTTP_X_STORAGE_POLICY", "HTTP_EXPECT", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE", "HTTP_RANGE", "HTTP_ACCEPT", "HTTP_DATE", "HTTP_CONTENT_ENCODING",
    "HTTP_CONTENT_DISPOSITION", "HTTP_CONTENT_LANGUAGE", "HTTP_CACHE_CONTROL", "HTTP_EXPIRES", "HTTP_X_ROBOTS_TAG", "HTTP_X_DELETE_AT",
    "HTTP_X_DELETE_AFTER", "HTTP_X_NEWEST", "HTTP_CONNECTION", "HTTP_TRANSFER_ENCODING", "CONTENT_TYPE", "CONTENT_LENGTH",
))  # fmt: skip
_DROPPED_PREFIXES = (
    "HTTP_X_AMZ_", "HTTP_X_OBJECT_", "HTTP_X_CONTAINER_", "HTTP_X_ACCOUNT_", "HTTP_X_REMOVE_", "HTTP_X_COPY_", "HTTP_X_SYMLINK_",
)  # fmt: skip


class _Form:
    """What follows from an environ's keys alone: those that are carried on, those of x-amz-* headers, and of these the ones that are looked at
    whatever is asked for."""

    __slots__ = ("amz", "carried", "checked")

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.carried = tuple(
            [key for key in keys if key not in _DROPPED and not key.startswith(_DROPPED_PREFIXES)]
        )
        self.amz = tuple([key for key in keys if key.startswith("HTTP_X_AMZ_")])
        self.checked = tuple(
            [key for key in self.amz if key in _CHECKS or key == STORAGE_CLASS or key.startswith(_CUSTOMER)]
        )


# Clients ask in the same form again and again.
_forms: Remembered[tuple[str, ...], _Form] = Remembered(512, 4096)


def _form_of(environ: Mapping[str, Any]) -> _Form:
    keys = tuple(environ)
    return _forms.get(keys) or _forms.keep(keys, _Form(keys))


# What GET and HEAD hand on of a client's conditions; what PUT and POST store beside user metadata.
READ_HEADERS = (
    "HTTP_RANGE", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE",
    "HTTP_X_NEWEST",
)  # fmt: skip
STORED_HEADERS = (
    "CONTENT_TYPE", "HTTP_CACHE_CONTROL", "HTTP_CONTENT_DISPOSITION", "HTTP_CONTENT_ENCODING", "HTTP_CONTENT_LANGUAGE", "HTTP_EXPIRES",
    "HTTP_X_ROBOTS_TAG", "HTTP_X_DELETE_AT", "HTTP_X_DELETE_AFTER",
)  # fmt: skip


STORAGE_CLASS, STORAGE_CLASS_KEY = "HTTP_X_AMZ_STORAGE_CLASS", "HTTP_X_OBJECT_SYSMETA_S3API_STORAGE_CLASS"
REDIRECT, REDIRECT_KEY = (
    "HTTP_X_AMZ_WEBSITE_REDIRECT_LOCATION",
    "HTTP_X_OBJECT_SYSMETA_S3API_WEBSITE_REDIRECT",
)


def carried_environ(environ: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the client's environ without anything that means something to a native server: that must be put in again."""
    return {key: environ[key] for key in _form_of(environ).carried}


def amz_keys(environ: Mapping[str, Any]) -> tuple[str, ...]:
    """The environ keys of x-amz-* headers."""
    return _form_of(environ).amz


def user_metadata(environ: Mapping[str, Any]) -> dict[str, str]:
    """The native headers (environ keys) of a request's x-amz-meta-*. Raises S3Error for more than S3 takes."""
    found: dict[str, str] = {}
    size = 0
    for key in amz_keys(environ):
        if key.startswith("HTTP_X_AMZ_META_"):
            name, value = key[16:], environ[key]
            if name and not _NOT_IN_NAMES.search(name):
                found["HTTP_X_OBJECT_META_" + name] = _stored_value(value)
                size += len(name) + len(value)
    for name, value in environ.get(UNDERSCORED, ()):
        if name.startswith(_META) and not _NOT_IN_NAMES.search(name):
            short = name[len(_META) :].upper().replace("-", "\0").replace("_", "=5F").replace("\0", "_")
            key = "HTTP_X_OBJECT_META_" + short
            shown = _stored_value(value)
            found[key] = f"{found[key]},{shown}" if key in found else shown
            size += len(name) - len(_META) + len(value)
    if size > 2048:
        raise S3Error("MetadataTooLarge", Size=size, MaxSizeAllowed=2048)
    return found


def _stored_value(value: str) -> str:
    if _PRINTABLE.fullmatch(value):
        return value
    # As the reference stores it: the bytes taken for latin-1 text, then encoded.
    encoded = Header(value, "UTF-8", maxlinelen=1 << 30).encode().replace("\n ", "")
    return _ENCODED.sub(lambda found: found.group().upper(), encoded)


def check_headers(
    environ: Mapping[str, Any],
    storage_classes: Collection[str] = ("STANDARD",),
    takes_customer_keys: bool = False,
) -> None:
    """What no operation takes. Raises S3Error (5.1)."""
    for key in _form_of(environ).checked:
        check = _CHECKS.get(key)
        if check is not None:
            check(environ[key])
        elif key == STORAGE_CLASS:
            if environ[key] not in storage_classes:
                raise S3Error("InvalidStorageClass", StorageClassRequested=environ[key])
        elif not takes_customer_keys:
            raise S3Error(
                "NotImplemented",
                "Server-side encryption with keys of customers is not supported.",
                Header=key[5:].replace("_", "-").lower(),
            )


_CUSTOMER = (
    "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_",
    "HTTP_X_AMZ_COPY_SOURCE_SERVER_SIDE_ENCRYPTION_CUSTOMER_",
)


def kept_sysmeta(environ: Mapping[str, Any]) -> dict[str, str]:
    """What of a request's headers is kept with an object beside its metadata, as environ keys, "" for what is not said: copies don't
    inherit it."""
    storage_class = environ.get(STORAGE_CLASS, "")
    return {
        STORAGE_CLASS_KEY: "" if storage_class == "STANDARD" else storage_class,
        REDIRECT_KEY: environ.get(REDIRECT, ""),
    }


def _directive(value: str) -> None:
    if value not in ("COPY", "REPLACE"):
        raise S3Error(
            "InvalidArgument", "Unknown metadata directive.", ArgumentName="x-amz-metadata-directive", ArgumentValue=wsgi_to_str(value)
        )  # fmt: skip


def _mfa(_value: str) -> None:
    raise S3Error("NotImplemented", "MFA Delete is not supported.")


def _redirect(value: str) -> None:
    if len(value) > 2048 or not value.startswith(("/", "http://", "https://")) or _CONTROL.search(value):
        raise S3Error(
            "InvalidArgument",
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
            ArgumentName="x-amz-website-redirect-location",
            ArgumentValue=value[:256].encode("latin-1").decode("utf-8", "replace"),
        )


_CHECKS = {
    "HTTP_X_AMZ_METADATA_DIRECTIVE": _directive,
    "HTTP_X_AMZ_MFA": _mfa,
    REDIRECT: _redirect,
}


_COPIED = frozenset((
    "content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires", "x-robots-tag",
))  # fmt: skip


def copied_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of a native answer's headers what a copy of the object keeps: environ keys."""
    return {
        environ_key(name): value
        for name, value in headers
        if name.lower() in _COPIED or name.lower().startswith(_NATIVE_META)
    }


_SYSTEM_PREFIXES = (
    "x-object-sysmeta-s3api-",
    "x-object-sysmeta-swift3-",
    "x-object-transient-sysmeta-s3api-",
)


def system_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of a native answer's headers what S3 keeps with an object beside its metadata: environ keys."""
    return {environ_key(name): value for name, value in headers if name.lower().startswith(_SYSTEM_PREFIXES)}


# -- answers --------------------------------------------------------------------------------------------------------------

_SHOWN = {
    name.lower(): name
    for name in (
        "Accept-Ranges", "Content-Length", "Content-Type", "Content-Range", "Content-Encoding", "Content-Disposition",
        "Content-Language", "Last-Modified", "X-Robots-Tag", "Cache-Control", "Expires",
    )
}  # fmt: skip
_RENAMED = {
    "x-object-version-id": "x-amz-version-id",
    "x-parts-count": "x-amz-mp-parts-count",
    "x-copied-from-version-id": "x-amz-copy-source-version-id",
    "x-object-sysmeta-s3api-storage-class": "x-amz-storage-class",
    "x-object-sysmeta-s3api-website-redirect": "x-amz-website-redirect-location",
}
DELETE_MARKER_TYPE = "application/x-deleted;swift_versions_deleted=1"
_TAGS = "x-object-transient-sysmeta-s3api-tagging"
_RETENTION, _LEGAL_HOLD = object_lock.RETENTION.lower(), object_lock.LEGAL_HOLD.lower()
ENCRYPTION = "x-amz-server-side-encryption"
_SILENT = ("x-backend-storage-policy-index",)


(
    _IS_ETAG, _IS_OWN_ETAG, _IS_OLD_ETAG, _IS_LARGE, _IS_CORS, _IS_EXPIRY, _IS_CIPHER, _IS_TYPE, _IS_RETENTION, _IS_HOLD, _IS_TAGS,
    _IS_RENAMED,
) = range(12)  # fmt: skip
_OTHERS = {
    "etag": _IS_ETAG,
    ETAG: _IS_OWN_ETAG,
    OLD_ETAG: _IS_OLD_ETAG,
    "x-static-large-object": _IS_LARGE,
    "x-delete-at": _IS_EXPIRY,
    "x-backend-crypto-cipher": _IS_CIPHER,
    "x-backend-content-type": _IS_TYPE,
    _RETENTION: _IS_RETENTION,
    _LEGAL_HOLD: _IS_HOLD,
    _TAGS: _IS_TAGS,
    **dict.fromkeys(_RENAMED, _IS_RENAMED),
}


@remembered(4096, 128)
def _fate_of(name: str) -> str | int | None:
    """What becomes of a native header, by its name as it comes: the name that it is shown under, what has to be done with it, or None."""
    lower = name.lower()
    fate = _SHOWN.get(lower)
    if fate is not None:
        return fate
    if lower.startswith(_NATIVE_META):
        return _META + lower[len(_NATIVE_META) :].replace("=5f", "_")
    if lower in _SILENT:
        return name
    return _IS_CORS if lower.startswith("access-control-") else _OTHERS.get(lower)


def shown_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """What S3 tells of a native answer's headers; names in S3's own form, `ETag` in quotes."""
    shown: Headers = []
    etag = own_etag = old_etag = None
    is_large = False
    for name, value in headers:
        fate = _fate_of(name)
        if fate is None:
            continue
        if isinstance(fate, str):
            shown.append((fate, value))
        elif fate == _IS_ETAG:
            etag = value
        elif fate == _IS_OWN_ETAG:
            own_etag = value
        elif fate == _IS_OLD_ETAG:
            old_etag = old_etag or value
        elif fate == _IS_LARGE:
            is_large = value.lower() == "true"
        elif fate == _IS_CORS:
            shown.append(_cors(name, name.lower(), value))
        else:
            shown.extend(_made_of(fate, name, value))
    own_etag = own_etag if own_etag is not None else old_etag
    if etag is not None or own_etag:
        shown.append(("ETag", shown_etag(own_etag, etag or "", is_large)))
    return shown


def _made_of(fate: int, name: str, value: str) -> Headers:
    """What S3 tells of a header that means something else to it."""
    if fate == _IS_EXPIRY:
        return [("x-amz-expiration", expiration(value))]
    if fate == _IS_CIPHER:
        return [(ENCRYPTION, "AES256")]
    if fate == _IS_TYPE:
        return [("x-amz-delete-marker", "true")] if value == DELETE_MARKER_TYPE else []
    if not value:
        return []
    if fate == _IS_RETENTION:
        return _shown_retention(value)
    if fate == _IS_HOLD:
        return [("x-amz-object-lock-legal-hold", "OFF" if value == "OFF" else "ON")]
    if fate == _IS_TAGS:
        return [("x-amz-tagging-count", str(value.count("&") + 1))]
    return [(_RENAMED[name.lower()], value)]


def _shown_retention(value: str) -> Headers:
    found = object_lock.lock_of(value, None)
    if found is None or not found.until:
        return []
    date = times.of_epoch(min(found.until, _LAST_SECOND))
    return [("x-amz-object-lock-mode", found.mode), ("x-amz-object-lock-retain-until-date", date)]


def shown_etag(own: str | None, native: str, is_large: bool) -> str:
    """In quotes: what S3 says of an object's ETag, by its own sysmeta, its native ETag, and if it is a static large object."""
    plain = native.strip('"')
    return f'"{own}"' if own else f'"{plain}-N"' if is_large else f'"{plain}"'


def expiration(delete_at: str) -> str:
    """The x-amz-expiration of an object with a native X-Delete-At (epoch seconds)."""
    return f'expiry-date="{http_date(delete_at)}", rule-id="swift-object-expiration"'


def _cors(name: str, lower: str, value: str) -> tuple[str, str]:
    if lower == "access-control-expose-headers":
        names = [part.strip() for part in value.split(",")]
        names = [
            _META + part[len(_NATIVE_META) :] if part.lower().startswith(_NATIVE_META) else part
            for part in names
        ]
        return name, ", ".join([*names, "x-amz-request-id", "x-amz-id-2"])
    if lower == "access-control-allow-methods":
        return name, ", ".join(part.strip() for part in value.split(",") if part.strip() != "COPY")
    return name, value


def is_encrypting() -> bool:
    """Returns True if the filter that encrypts objects is there, and does."""
    sections = capabilities.disclosed(admin=True)
    return bool(sections["admin"].get("encryption", {}).get("enabled"))


def named_headers(environ: Mapping[str, Any], keys: Iterable[str]) -> dict[str, str]:
    """Those environ keys that are there."""
    return {key: environ[key] for key in keys if key in environ}
