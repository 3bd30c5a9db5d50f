"""swift-object-info: what a file of an object on disk says about itself (operations 12.3).

What lives here: the command line and the order of the report. How metadata is stored lives in ``swift.obj.files.metadata``,
ring locations in ``swift.cli.ring_locations``. Nothing on disk is changed.
"""

from __future__ import annotations

import json
import optparse
import os
import sys
from typing import Any
from urllib.parse import unquote_plus

from swift.cli.inspection import (
    EXIT_ERROR,
    EXIT_SUCCESS,
    InfoError,
    check_place,
    info_parser,
    open_ring,
    run_report,
    use_swift_dir,
)
from swift.cli.ring_locations import Target, print_locations
from swift.core.hashing import hash_path, md5
from swift.core.policy import PolicyCollection, StoragePolicy
from swift.core.timestamp import Timestamp
from swift.obj.errors import ObjectError
from swift.obj.files import metadata as object_metadata

NOT_FOUND = "Not found in metadata"
_CHUNK = 1 << 16
_SHOWN_APART = ("name", "content-type", "x-timestamp", "etag", "content-length")
# (title, prefix of the keys) in the order of the report; what has none of the prefixes comes last
_SECTIONS = (
    ("System Metadata", "x-object-sysmeta-"),
    ("Transient System Metadata", "x-object-transient-sysmeta-"),
    ("User Metadata", "x-object-meta-"),
)
_CRYPTO = (
    ("Data crypto details", "x-object-sysmeta-crypto-body-meta"),
    ("Metadata crypto details", "x-object-transient-sysmeta-crypto-meta"),
)


def _native(text: str) -> str:
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def read_metadata(path: str) -> tuple[dict[str, str], int]:
    """(The file's metadata as native text, how many bytes of it lie behind the body); InfoError when there is none that can be read."""
    if not os.path.exists(path):
        raise InfoError("Data file doesn't exist")
    try:
        with open(path, "rb") as file:
            stored, tail = object_metadata.read_with_tail(file.fileno())
    except ObjectError:
        stored, tail = {}, 0
    except OSError as error:
        raise InfoError(str(error))
    if not stored:
        raise InfoError("Invalid metadata")
    return {_native(key): value if key == "name" else _native(value) for key, value in stored.items()}, tail


def _policy_of_path(path: str, policies: PolicyCollection) -> StoragePolicy:
    for component in os.path.abspath(path).split(os.sep):
        if component == "objects":
            return policies.legacy
        base, _, index = component.partition("-")
        if base == "objects" and (policy := policies.get_by_index(index)) is not None:
            return policy
    return policies.legacy


def _target_of(name: str | None) -> Target | None:
    if not name:
        return None
    names = name.split("/", 3)
    if len(names) != 4 or names[0] or not all(names[1:]):
        raise InfoError(f"Path is invalid for object {name!r}")
    return Target(*names[1:])


def print_metadata(found: dict[str, str], drop_prefixes: bool) -> None:
    """The report from ``Path`` to the crypto details. InfoError for a name or crypto details that make no sense."""
    lower = {key.lower(): value for key, value in found.items()}
    target = _target_of(found.get("name"))
    if target is None:
        print(f"Path: {NOT_FOUND}")
    else:
        print(f"Path: {found['name']}")
        print(f"  Account: {target.account}\n  Container: {target.container}\n  Object: {target.obj}")
        print(f"  Object hash: {hash_path(str(target.account), target.container, target.obj)}")
    print(f"Content-Type: {lower.get('content-type', NOT_FOUND)}")
    print(f"Timestamp: {_time_text(lower.get('x-timestamp'))}")
    _print_sections(found, drop_prefixes)
    for title, key in _CRYPTO:
        if key in lower:
            print(f"{title}: {_crypto_text(lower[key])}")


def _time_text(stored: str | None) -> str:
    if stored is None:
        return NOT_FOUND
    try:
        timestamp = Timestamp(stored)
    except ValueError:
        return f"{stored} (not a timestamp)"
    return f"{timestamp.isoformat} ({timestamp.internal})"


def _print_sections(found: dict[str, str], drop_prefixes: bool) -> None:
    rest = {key: value for key, value in found.items() if key.lower() not in _SHOWN_APART}
    for title, prefix in _SECTIONS:
        section = {key: rest.pop(key) for key in list(rest) if key.lower().startswith(prefix)}
        _print_section(title, section, len(prefix) if drop_prefixes else 0)
    _print_section("Other Metadata", rest, 0)


def _print_section(title: str, section: dict[str, str], dropped: int) -> None:
    print(f"{title}:")
    for key in sorted(section):
        print(f"  {key[dropped:]}: {section[key]}")
    if not section:
        print("  No metadata found")


def _crypto_text(stored: str) -> str:
    try:
        return json.dumps(json.loads(unquote_plus(stored)), indent=2, sort_keys=True)
    except ValueError as error:
        raise InfoError(f"Bad crypto meta {stored!r}: {error}")


def _content_digest(path: str, size: int) -> str:
    digest = md5()
    with open(path, "rb") as file:
        while data := file.read(min(_CHUNK, size)):
            digest.update(data)
            size -= len(data)
    return digest.hexdigest()


def print_content_checks(path: str, found: dict[str, str], tail: int, check_etag: bool) -> None:
    """Returns True if ETag and length are those of the file's content; without check_etag the content is not read.

    `tail`: bytes at the file's end that are metadata.
    """
    size = os.path.getsize(path) - tail
    lower = {key.lower(): value for key, value in found.items()}
    etag, length = lower.get("etag"), lower.get("content-length")
    if etag is None:
        print(f"ETag: {NOT_FOUND}")
    elif not check_etag:
        print(f"ETag: {etag} (not checked)")
    else:
        digest = _content_digest(path, size)
        verdict = "(valid)" if digest == etag else f"doesn't match file hash of {digest}!"
        print(f"ETag: {etag} {verdict}")
    if length is None:
        print(f"Content-Length: {NOT_FOUND}")
        return
    verdict = "(valid)" if length == str(size) else f"doesn't match file length of {size}"
    print(f"Content-Length: {length} {verdict}")


def report(path: str, options: Any) -> int:
    policies = use_swift_dir(options.swift_dir)
    found, tail = read_metadata(path)
    policy = _policy_of_path(path, policies)
    if options.policy_name is not None:
        named = policies.get_by_name(options.policy_name)
        if named is not None and named is not policy:
            print("WARNING: Ring does not match policy!\nDouble check your policy name!")
    print_metadata(found, options.drop_prefixes)
    print_content_checks(path, found, tail, options.check_etag)
    target = _target_of(found.get("name"))
    if target is None:
        raise InfoError("Without a name there are no ring locations")
    ring = open_ring(os.path.join(options.swift_dir, f"{policy.ring_name}.ring.gz"))
    if ring is not None:
        print_locations(ring, target, policy.directory("objects"), policy_index=policy.idx)
    in_place = check_place(path, hash_path(str(target.account), target.container, target.obj))
    return EXIT_SUCCESS if in_place else EXIT_ERROR


def _parser(prog: str) -> optparse.OptionParser:
    parser = info_parser(prog, "OBJECT_FILE")
    parser.add_option(
        "-n",
        "--no-check-etag",
        action="store_false",
        dest="check_etag",
        default=True,
        help="don't read the content to check it against the ETag",
    )
    parser.add_option("-P", "--policy-name", help="name of the storage policy that the file should belong to")
    return parser


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    return run_report(_parser(os.path.basename(argv[0])), argv[1:], report)
