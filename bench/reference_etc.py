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
    folder, above = root / "reference", root / "etc-above"
    for path in (folder, above / "swift"):
        path.mkdir(parents=True)
    for name in commands:
        (folder / name).write_text(
            "#!/bin/sh\nexec unshare -m sh -c '"
            f"mount -t overlay overlay -o lowerdir={above}:/etc /etc"
            f" && mount --bind {etc} /etc/swift"
            f' && exec {reference / name} "$@"\' sh "$@"\n'
        )
        (folder / name).chmod(0o755)
    return folder
