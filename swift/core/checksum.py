"""The fast checksum of bodies: the CRC-32 of zlib, gzip and PNG, at the speed of memory (ISA-L; eight times zlib's own).

Never here: MD5 (`swift.core.hashing`), and what is done with a checksum that differs.
"""

from isal.isal_zlib import crc32

__all__ = ["crc32"]
