"""A cluster with two proxies, of which one always gets a new ring later than the other.

What lives here: its files and processes, and how rings come to them. What never does: assertions about what clients see.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from swift.cli import saio
from swift.cli.saio_layout import NODES
from swift.ring.builder import RingBuilder
from test.altered import ROOT
from test.cluster import Cluster, wait_for_port
from test.load import Load
from test.ports import free_port

RING_SECONDS = 0.5  # how often rings are looked at, by processes that are started altered (`environ`)
TAKEN_UP = 2.5  # seconds in which a busy process has surely seen a new one


def environ(name: str) -> dict[str, str]:
    """For `test.altered.spawner`."""
    return {"ALTERED_RING_SECONDS": str(RING_SECONDS)}


def run_on(command: str, *words: str, wanted: int = 0, **altered: str) -> str:
    """One command; what it said. Raises AssertionError for another exit status. `altered`: see `test.altered`."""
    module = "swift.cli." + command.removeprefix("swift-").replace("-", "_")
    starter = f"import sys; from {module} import main; sys.argv = sys.argv[1:]; sys.exit(main())"
    if altered:
        starter = f"from test.altered import alter; alter(); {starter}"
    done = subprocess.run(
        [sys.executable, "-c", starter, command, *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), **altered},
        cwd="/",
    )
    assert done.returncode == wanted, (command, words, done.stdout + done.stderr)
    return done.stdout + done.stderr


class TwoProxies(Cluster):
    """`address2`: of the proxy with a folder of rings of its own."""

    def write(self) -> None:
        super().write()
        layout = self.layout
        self.etc2 = layout.home / "etc2"
        self.etc2.mkdir()
        for path in [layout.etc / "swift.conf", layout.etc / "backend-keys", *layout.etc.glob("*.ring.gz")]:
            shutil.copy(path, self.etc2)
        self.address2 = (layout.ip, free_port())
        text = layout.proxy_conf.read_text()
        text = text.replace(f"bind_port = {layout.port}", f"bind_port = {self.address2[1]}")
        text = text.replace(f"swift_dir = {layout.etc}\n", f"swift_dir = {self.etc2}\n")
        (self.etc2 / "proxy-server.conf").write_text(text)

    def conf(self, node: int) -> pathlib.Path:
        """Of its object server and daemons."""
        return self.layout.etc / "object-server" / f"{node}.conf"

    def __enter__(self) -> TwoProxies:
        super().__enter__()
        saio._spawn(self.layout, "proxy2", [self.etc2 / "proxy-server.conf"])
        wait_for_port(*self.address2)
        return self

    def addresses(self) -> list[tuple[str, int]]:
        return [self.address, self.address2]

    def change(self, rings: Sequence[str], change: Callable[[RingBuilder], object], load: Load) -> None:
        """The same change of these rings, which one proxy takes up after the other while clients go on."""
        for ring in rings:
            path = str(self.layout.etc / f"{ring}.builder")
            builder = RingBuilder.load(path)
            change(builder)
            builder.save(path)
            builder.get_ring().save(str(self.layout.etc / f"{ring}.ring.gz"))
        load.rest(seconds=TAKEN_UP)
        for ring in rings:
            shutil.copy(self.layout.etc / f"{ring}.ring.gz", self.etc2 / "new")
            os.rename(self.etc2 / "new", self.etc2 / f"{ring}.ring.gz")
        load.rest(seconds=TAKEN_UP)

    def run(self, command: str, *words: str, wanted: int = 0, nodes: Sequence[int] = NODES) -> None:
        """A command on each node, one after the other; `{conf}` in its words is the node's. Raises AssertionError for another exit status."""
        for node in nodes:
            run_on(command, *(word.format(conf=self.conf(node)) for word in words), wanted=wanted)

    def misplaced(self, rings: Sequence[str], power: int) -> list[str]:
        """Hash directories of objects that are not where a ring of this power has them."""
        found = []
        for ring in rings:
            datadir = "objects" + ring.removeprefix("object")
            for path in self.layout.disks.glob(f"*/*/{datadir}/*/*/*"):
                with contextlib.suppress(ValueError):
                    if len(path.name) == 32 and int(path.parts[-3]) != int(path.name[:8], 16) >> (32 - power):
                        found.append(str(path))
        return found
