"""What the bytes of a body must come to: its digests taken piece by piece, and compared at its end (spec s3.md 4.1, 4.2)."""

from __future__ import annotations

import hashlib

from swift.s3.checksums import Algorithm, Digest
from swift.s3.errors import S3Error


class Check:
    """What a body's bytes must come to: digests that are fed, and the values that they must have. `end` raises S3Error."""

    def __init__(self, sha256: str | None, algorithm: Algorithm | None, value: bytes | None) -> None:
        self.sha256 = sha256
        self.algorithm = algorithm
        self.value = value  # of the checksum: as promised; as it is, after `end`
        self._hash = hashlib.sha256() if sha256 is not None else None
        self._digest: Digest | None = algorithm.make() if algorithm is not None else None

    @property
    def is_needed(self) -> bool:
        return self._hash is not None or self._digest is not None

    def update(self, data: bytes) -> None:
        if self._hash is not None:
            self._hash.update(data)
        if self._digest is not None:
            self._digest.update(data)

    def end(self) -> None:
        """All of it has come. Raises S3Error."""
        if self._hash is not None and self.sha256 is not None:
            found = self._hash.hexdigest()
            if found != self.sha256.lower():
                raise S3Error(
                    "XAmzContentSHA256Mismatch",
                    ClientComputedContentSHA256=self.sha256,
                    S3ComputedContentSHA256=found,
                )
        if self._digest is not None and self.algorithm is not None:
            value = self._digest.digest()
            if self.value is not None and value != self.value:
                raise S3Error(
                    "BadDigest",
                    f"The {self.algorithm.name.upper()} you specified did not match the calculated checksum.",
                )
            self.value = value
