"""Extended attributes of paths and descriptors."""

from __future__ import annotations

import errno
import os
import tempfile

import xattr

# os.getxattr answers in one system call where the xattr package asks for the size first: these two are for hot paths
get_xattr = os.getxattr
set_xattr = os.setxattr


def list_xattrs(target: int | str) -> list[str]:
    """Names of the extended attributes of a path or descriptor. Raises OSError."""
    return [str(name) for name in xattr.listxattr(target)]


def remove_xattr(target: int | str, name: str) -> None:
    """Remove one extended attribute; a missing one is no error. Raises OSError."""
    try:
        xattr.removexattr(target, name)
    except OSError as err:
        if err.errno != errno.ENODATA:
            raise


def user_xattr_limit(directory: str, wanted: int = 65536) -> int:
    """How many bytes one user xattr of a file in `directory` may have, up to `wanted`; 0 where they aren't supported.

    Raises OSError when no file can be made there.
    """
    fd, path = tempfile.mkstemp(dir=directory, suffix=".tmp")
    try:
        attributes = xattr.xattr(fd)
        size = wanted
        while size:
            try:
                attributes.set("user.swift.probe", b"x" * size)
                return size
            except OSError as err:
                if err.errno in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EACCES):
                    return 0
                size //= 2
        return 0
    finally:
        os.close(fd)
        os.unlink(path)
