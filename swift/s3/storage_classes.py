"""Storage classes: names that a client gives an object, or that stand for the storage policy that a bucket is in (doc/s3.md).

A container has one policy, and all of its objects are in that. So a class that stands for one (`storage_class_<NAME>`) is that of all objects of the
buckets in it; it is kept nowhere. Other classes (`storage_classes`) are kept with objects and told, and change nothing. Never here: moving data.
"""

from __future__ import annotations

from swift.core.errors import ConfigError
from swift.core.policy import policies
from swift.s3 import metadata
from swift.s3.answers import Headers
from swift.s3.errors import S3Error
from swift.s3.options import Options
from swift.s3.request import S3Request
from swift.wire.subanswer import Subanswer

USUAL = "STANDARD"
_HEADER, _KEPT = "x-amz-storage-class", "x-object-sysmeta-s3api-storage-class"


def check_options(options: Options) -> None:
    """Raises ConfigError for a class whose policy is not there, or is another class's, too."""
    found: dict[int, str] = {}
    for name, policy_name in options.class_policies:
        policy = policies().get_by_name(policy_name)
        if policy is None:
            raise ConfigError(
                f"[filter:s3api] storage_class_{name}: there is no storage policy {policy_name!r}"
            )
        if policy.idx in found:
            raise ConfigError(
                f"[filter:s3api] storage_class_{name}: {found[policy.idx]} is in {policy_name!r} already"
            )
        found[policy.idx] = name


def policy_named(options: Options, name: str) -> str:
    """The storage policy that is meant by its own name, or by that of its class."""
    return dict(options.class_policies).get(name, name)


def of_policy(options: Options, index: object) -> str:
    """The class of the objects in a storage policy (its index, or the text of that), "" for one that has none."""
    for name, policy_name in options.class_policies:
        policy = policies().get_by_name(policy_name)
        if policy is not None and str(policy.idx) == str(index):
            return name
    return ""


def of_bucket(request: S3Request) -> str:
    """What listings tell of a bucket's objects."""
    if not request.options.class_policies:
        return USUAL
    return of_policy(request.options, request.container_info()["storage_policy"]) or USUAL


def of_object(request: S3Request, answer: Subanswer) -> str:
    """By a native answer that tells of an object of the request's bucket."""
    found = of_bucket(request)
    return found if found != USUAL else answer.get(_KEPT) or USUAL


def with_told(request: S3Request, shown: Headers) -> Headers:
    """The headers that tell of an object of the request's bucket, with the class of its policy."""
    found = of_bucket(request)
    if found == USUAL:
        return shown
    return [*(pair for pair in shown if pair[0] != _HEADER), (_HEADER, found)]


def check(request: S3Request) -> None:
    """Raises S3Error for a class whose objects are stored in other buckets."""
    wanted = request.environ.get(metadata.STORAGE_CLASS)
    named = dict(request.options.class_policies).get(wanted or "")
    if wanted is None or named is None or wanted == of_bucket(request):
        return
    location = f"{request.options.location}:{wanted}"
    raise S3Error(
        "InvalidStorageClass",
        f"Objects of the storage class {wanted} are in buckets that were made with the LocationConstraint {location}.",
        StorageClassRequested=wanted,
    )
