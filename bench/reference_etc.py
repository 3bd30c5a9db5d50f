"""Starters of the reference's commands that see an /etc/swift of their own: its daemons look for swift.conf nowhere else. Root only.

What lives here: the shell scripts. What never does: starting anything.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable


def write_starters(
    root: pathlib.Path, etc: pathlib.Path, reference: pathlib.Path, commands: Iterable[str]
) -> pathlib.Path:
    """A folder below `root` with a script for each command of the folder `reference`; `etc` is /etc/swift for them alone."""
    folder, upper, work = root / "reference", root / "etc-upper", root / "etc-work"
    for path in (folder, upper / "swift", work):
        path.mkdir(parents=True)
    for name in commands:
        (folder / name).write_text(
            "#!/bin/sh\nexec unshare -m sh -c '"
            f"mount -t overlay overlay -o lowerdir=/etc,upperdir={upper},workdir={work} /etc"
            f" && mount --bind {etc} /etc/swift"
            f' && exec {reference / name} "$@"\' sh "$@"\n'
        )
        (folder / name).chmod(0o755)
    return folder
