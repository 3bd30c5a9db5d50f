"""Storage classes that stand for storage policies: which are taken where, and what is told of them (doc/s3.md)."""

from types import SimpleNamespace

import pytest

from swift.core.errors import ConfigError
from swift.core.policy import PolicyCollection, ReplicatedPolicy, policies, set_policies
from swift.s3 import metadata, storage_classes
from swift.s3.errors import S3Error
from swift.s3.options import parse_options


@pytest.fixture(autouse=True)
def _two_policies():
    before = policies()
    set_policies(
        PolicyCollection(
            [ReplicatedPolicy(0, "gold", is_default=True), ReplicatedPolicy(1, "silver", aliases=["cheap"])]
        )
    )
    yield
    set_policies(before)


OPTIONS = parse_options({"storage_class_glacier_ir": "cheap", "storage_classes": "STANDARD_IA"})


def request(index, wanted=None, options=OPTIONS):
    environ = {} if wanted is None else {metadata.STORAGE_CLASS: wanted}
    info = {"storage_policy": str(index)}
    return SimpleNamespace(options=options, environ=environ, container_info=lambda: info)


def test_classes_are_named_by_options():
    assert OPTIONS.class_policies == (("GLACIER_IR", "cheap"),)
    assert OPTIONS.storage_classes == {"STANDARD", "STANDARD_IA", "GLACIER_IR"}
    assert not parse_options({"storage_classes": "STANDARD_IA"}).class_policies
    storage_classes.check_options(OPTIONS)


@pytest.mark.parametrize(
    "conf",
    [
        {"storage_class_STANDARD": "silver"}, {"storage_class_a-b": "silver"}, {"storage_class_": "silver"}, {"storage_class_A": ""},
        {"storage_class_A": "bronze"}, {"storage_class_A": "silver", "storage_class_B": "cheap"},
    ],
)  # fmt: skip
def test_what_is_wrong_with_them_is_told_at_the_start(conf):
    with pytest.raises(ConfigError):
        storage_classes.check_options(parse_options(conf))


@pytest.mark.parametrize(
    "index, wanted, is_taken",
    [
        (1, "GLACIER_IR", True), (0, "GLACIER_IR", False), (1, None, True), (0, None, True), (1, "STANDARD", True), (0, "STANDARD_IA", True),
        (1, "STANDARD_IA", True),
    ],
)  # fmt: skip
def test_objects_are_put_where_their_class_is_stored(index, wanted, is_taken):
    if is_taken:
        storage_classes.check(request(index, wanted))
        return
    with pytest.raises(S3Error) as caught:
        storage_classes.check(request(index, wanted))
    assert caught.value.code == "InvalidStorageClass" and "us-east-1:GLACIER_IR" in caught.value.message


def test_what_is_told():
    assert storage_classes.of_bucket(request(1)) == "GLACIER_IR"
    assert storage_classes.of_bucket(request(0)) == "STANDARD"
    assert storage_classes.of_bucket(SimpleNamespace(options=parse_options({}))) == "STANDARD"  # asks nobody
    kept, length = ("x-amz-storage-class", "STANDARD_IA"), ("Content-Length", "1")
    told = storage_classes.with_told(request(1), [kept, length])
    assert told == [length, ("x-amz-storage-class", "GLACIER_IR")]
    assert storage_classes.with_told(request(0), [kept]) == [kept]
    answer = {"x-object-sysmeta-s3api-storage-class": "STANDARD_IA"}
    assert storage_classes.of_object(request(1), answer) == "GLACIER_IR"
    assert storage_classes.of_object(request(1, options=parse_options({})), answer) == "STANDARD_IA"
    assert storage_classes.of_object(request(0), {}) == "STANDARD"


def test_a_bucket_is_made_by_its_class():
    assert storage_classes.policy_named(OPTIONS, "GLACIER_IR") == "cheap"
    assert storage_classes.policy_named(OPTIONS, "gold") == "gold"
    assert storage_classes.policy_named(OPTIONS, "") == ""
