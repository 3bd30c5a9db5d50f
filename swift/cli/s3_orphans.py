"""swift-s3-orphans: lists, and removes if asked to, parts of multipart uploads that no object is made of (s3.md 17.3)."""

from __future__ import annotations

import argparse
import sys

from swift.core import clock, concurrency

_SUFFIX = "+segments"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status: 0, or 1 if something could not be looked at or removed."""
    parser = argparse.ArgumentParser(
        prog="swift-s3-orphans",
        description="Lists parts of multipart uploads whose upload is neither open nor completed to an object that is there.",
    )
    parser.add_argument("account", help="storage account, AUTH_...")
    parser.add_argument("bucket", nargs="*", help="only these; default: all of the account")
    parser.add_argument("--days", type=float, default=7.0, help="only parts at least so old; default: 7")
    parser.add_argument("--delete", action="store_true", help="remove them")
    parser.add_argument("--swift-dir", default="/etc/swift", help="where swift.conf and the rings are")
    parser.add_argument("--conf", help="the pipeline to work through (default: one of its own)")
    args = parser.parse_args(argv)
    if args.days < 0:
        parser.error("--days must not be negative")
    concurrency.patch()
    from swift.core.swift_dir import use as use_swift_dir
    from swift.s3.lifecycle.daemon import make_client
    from swift.s3.lifecycle.objects import Bucket

    conf = {"internal_client_conf_path": args.conf} if args.conf else {}
    client = make_client(conf, use_swift_dir(args.swift_dir), "Swift S3 Orphans")
    buckets = args.bucket or [
        row["name"].removesuffix(_SUFFIX)
        for row in client.iter_containers(args.account)
        if row.get("name", "").endswith(_SUFFIX)
    ]
    before = clock.time() - args.days * 86400
    # All of them are looked at, whatever becomes of one.
    results = [_look_at(Bucket(client, args.account, name), before, args.delete) for name in buckets]
    return 0 if all(results) else 1


def _look_at(bucket, before: float, delete: bool) -> bool:  # type: ignore[no-untyped-def]
    from swift.s3.lifecycle import references, uploads
    from swift.s3.lifecycle.objects import Unsure
    from swift.wire.internal import UnexpectedResponse

    try:
        is_versioned = bool(bucket.is_there().headers.get("X-Container-Sysmeta-Versions-Container"))
        due = list(uploads.orphans(bucket, before, is_versioned))
        named = references.named(bucket, {(found.key, found.upload) for found in due}) if due else set()
        for found in due:
            if (found.key, found.upload) in named:
                continue
            line = f"{bucket.name}/{found.key} {found.upload} {found.parts} parts {found.size} bytes"
            if delete:
                line += f" {uploads.remove(bucket, found, is_versioned)} removed"
            print(line)
    except (Unsure, UnexpectedResponse, ValueError) as error:
        print(f"{bucket.name}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
