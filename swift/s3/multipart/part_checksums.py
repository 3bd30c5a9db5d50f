"""Checksums of uploads in parts: what is announced when one is begun, what each part has, what the object that they make gets (spec s3.md 14).

A part keeps its checksum as any object does, its row tells it too, and so does its item in a manifest. Parts that came through a server
that knows nothing of this have none; then the object has none either. Never here: how checksums are taken and put together (`checksums`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from swift.middleware.parallel import in_turns
from swift.s3 import checksums
from swift.s3.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT, KINDS, PREFIX, Algorithm
from swift.s3.errors import S3Error
from swift.s3.request import S3Request
from swift.s3.xml import element

_AT_ONCE = 50  # parts whose checksums are put together without a pause
_ALGORITHM, _TYPE = PREFIX + "algorithm", PREFIX + "type"


class Announced(NamedTuple):
    """The checksums of an upload. `algorithm`: its name in lower case, `kind`: the type of the whole's; "" where none was announced.

    `seal`: by what a customer's key is known that its parts must bring, "" for none.
    """

    algorithm: str = ""
    kind: str = ""
    seal: str = ""

    def headers(self) -> list[tuple[str, str]]:
        """What the answer to the beginning of an upload says."""
        if not self.algorithm:
            return []
        return [(_ALGORITHM, self.algorithm.upper()), (_TYPE, self.kind)]

    def elements(self) -> list[str]:
        """What listings say."""
        if not self.algorithm:
            return []
        return [element("ChecksumAlgorithm", self.algorithm.upper()), element("ChecksumType", self.kind)]


def of_row(media_type: str) -> Announced:
    """What the row of an upload tells."""
    _, algorithm, kind = checksums.of_row(media_type)
    return Announced(algorithm, kind) if kind in KINDS.get(algorithm, ()) else Announced()


def of_object(kept: str | None) -> Announced:
    """What was announced of what is a whole object now."""
    found = checksums.split(kept)
    return Announced(found[0], found[2]) if found is not None else Announced()


def element_of(text: str) -> str:
    """What documents tell of a part's checksum, `algorithm:value`."""
    name, _, value = text.partition(":")
    return element(checksums.element_name(name), value) if name in ALGORITHMS else ""


class Named(NamedTuple):
    """A part as a completion names it. `etag`: hex, without quotes; `given`: its checksums by algorithm, as they stand there."""

    number: int
    etag: str
    given: Mapping[str, str]


class Kept(NamedTuple):
    """What is known of a stored part. `checksum`: `algorithm:value`, "" for none."""

    size: int
    checksum: str


# -- what a request announces ----------------------------------------------------------------------------------------------


def announced(request: S3Request) -> Announced:
    """The checksums of the upload that a request begins. Raises S3Error."""
    given, kind = request.header(_ALGORITHM), request.header(_TYPE)
    if given is None:
        if kind is not None:
            raise S3Error(
                "InvalidRequest",
                f"The {_TYPE} header can only be used with the {_ALGORITHM} header.",
            )
        name = request.options.default_checksum
        return Announced(name, FULL_OBJECT) if FULL_OBJECT in KINDS.get(name, ()) else Announced()
    name = given.lower()
    if name not in ALGORITHMS:
        raise checksums.unsupported()
    kind = kind.upper() if kind is not None else KINDS[name][0]
    if kind not in (COMPOSITE, FULL_OBJECT):
        raise S3Error("InvalidRequest", f"Value for {_TYPE} header is invalid.")
    if kind not in KINDS[name]:
        raise S3Error(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {name} checksum algorithm.",
        )
    return Announced(name, kind)


def check_part(upload: Announced, sent: Algorithm | None) -> None:
    """A part comes with the checksum that its upload announced, or with any if it announced none. Raises S3Error."""
    name = sent.name if sent is not None else None
    if not upload.algorithm or name == upload.algorithm or (name is None and upload.kind == FULL_OBJECT):
        return
    raise _mismatch(upload.algorithm, name or "null")


def _mismatch(expected: str, actual: str) -> S3Error:
    return S3Error(
        "InvalidRequest",
        f"Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}",
    )


# -- the whole ---------------------------------------------------------------------------------------------------------------


def of_whole(upload: Announced, parts: Sequence[Named], kept: Mapping[int, Kept]) -> str | None:
    """What is kept with the object that is made of the parts; None if it has no checksum. Raises S3Error: a part is not what is said of it."""
    for part in parts:
        found = kept.get(part.number)
        if found is not None and found.checksum:
            _compare(upload, part, found)
    algorithm = _algorithm_of(upload, parts, kept)
    if algorithm is None:
        return None
    values = _values(algorithm, parts, kept)
    if upload.kind == COMPOSITE:
        value = checksums.composite(algorithm, (found for found, _ in values))
        return f"{algorithm.name}:{value}:{COMPOSITE}"
    return checksums.stored(algorithm, checksums.combined(algorithm, in_turns(values, _AT_ONCE)))


def _compare(upload: Announced, part: Named, found: Kept) -> None:
    name, _, value = found.checksum.partition(":")
    for given, text in part.given.items():
        if given != name or text != value:
            raise S3Error("InvalidPart", PartNumber=part.number, ETag=part.etag)
    if upload.kind == COMPOSITE and not part.given:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using a {upload.algorithm} checksum. The complete request must include the checksum for each part. "
            f"It was missing for part {part.number} in the request.",
        )


def _algorithm_of(upload: Announced, parts: Sequence[Named], kept: Mapping[int, Kept]) -> Algorithm | None:
    """The one that all parts have, and the whole can have."""
    names = {kept[part.number].checksum.partition(":")[0] if part.number in kept else "" for part in parts}
    name = names.pop() if len(names) == 1 else ""
    if upload.algorithm:
        return ALGORITHMS[name] if name == upload.algorithm else None
    return ALGORITHMS[name] if FULL_OBJECT in KINDS.get(name, ()) else None


def _values(
    algorithm: Algorithm, parts: Sequence[Named], kept: Mapping[int, Kept]
) -> Iterator[tuple[bytes, int]]:
    for part in parts:
        size, text = kept[part.number]
        yield algorithm.parsed(text.partition(":")[2]) or b"", size


def promised(request: S3Request) -> tuple[str, str] | None:
    """(algorithm, value) that a completion promises of the whole. Raises S3Error."""
    found = None
    for name in ALGORITHMS:
        value = request.header(PREFIX + name)
        if value is None:
            continue
        if found is not None:
            raise S3Error(
                "InvalidRequest",
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            )
        if ALGORITHMS[name].parsed(value.partition("-")[0]) is None:
            raise S3Error("InvalidRequest", f"Value for {PREFIX}{name} header is invalid.")
        found = name, value
    return found


def check_whole(request: S3Request, upload: Announced, kept: str | None) -> None:
    """The whole's checksum is what the completion promises. Raises S3Error."""
    kind = request.header(_TYPE)
    if kind is not None and upload.kind and kind.upper() != upload.kind:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using the {upload.kind} checksum mode. The complete request must use the same checksum mode.",
        )
    given = promised(request)
    if given is None:
        return
    name, value = given
    found = checksums.split(kept)
    if found is None or found[0] != name:
        raise _mismatch(found[0] if found is not None else upload.algorithm or "null", name)
    if value not in (found[1], found[1].partition("-")[0]):
        raise S3Error("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.")
