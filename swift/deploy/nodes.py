"""Many nodes at once: a command on each of them by ssh (or what stands for it), with its answer, its failure and a limit on its time.

What lives here: the way there, how many at a time, one answer per node. What never does: what is done there (receiver.py).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from swift.deploy import receiver
from swift.deploy.described import Description, Node
from swift.deploy.tree import NodeTree

SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10"
AT_ONCE = 20
SECONDS = 300.0
MOST_SAID = 1 << 20  # bytes of an answer that are looked at
_BOOTSTRAP = (
    "import sys;exec(compile(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())),'receiver','exec'))"
)

T = TypeVar("T")


class NodeFailed(Exception):
    """The text says in one line what is wrong with a node, or on the way to it."""


@dataclass(frozen=True)
class Way:
    """How commands come to nodes.

    `ssh`: a command that is followed by the node's address and by one text for a shell there; {node} and {address} in it stand for
    the node's name and address, and then the address does not follow. `sudo`: the user there is not root.
    """

    ssh: str = SSH
    sudo: bool = False
    seconds: float = SECONDS

    def words(self, node: Node, command: str) -> list[str]:
        words = shlex.split(self.ssh)
        if any("{node}" in word or "{address}" in word for word in words):
            words = [word.replace("{node}", node.name).replace("{address}", node.address) for word in words]
        else:
            words.append(node.ssh)
        return [*words, ("sudo -n " if self.sudo else "") + command]

    def run(
        self, node: Node, command: str, feed: Callable[[IO[bytes]], None] | None = None
    ) -> tuple[int, str, str]:
        """(exit status, standard output, standard error). Raises NodeFailed."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(
                    self.words(node, command),
                    stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                )
            except OSError as error:
                raise NodeFailed(f"{shlex.split(self.ssh)[0]}: {error.strerror}") from None
            late = threading.Event()

            def give_up() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(self.seconds, give_up)
            timer.start()
            try:
                if feed is not None and process.stdin is not None:
                    try:
                        with process.stdin:
                            feed(process.stdin)
                    except BrokenPipeError:
                        pass  # it has ended: its exit status and words say why
                status = process.wait()
            finally:
                timer.cancel()
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if late.is_set():
                raise NodeFailed(f"no answer within {self.seconds:g} s")
            return status, _said(out), _said(err)

    def ask(
        self, node: Node, request: Mapping[str, Any], files: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """What the receiver answers. `files`: name → path of what is sent along. Raises NodeFailed."""

        def feed(pipe: IO[bytes]) -> None:
            source = _receiver_source()
            pipe.write(b"%d\n" % len(source) + source + json.dumps(request).encode() + b"\n")
            if files is not None:
                with tarfile.open(fileobj=pipe, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
                    for name, path in sorted(files.items()):
                        archive.add(path, name, recursive=False, filter=_anonymous)

        status, out, err = self.run(node, f'python3 -c "{_BOOTSTRAP}"', feed)
        try:
            answer = json.loads(out.strip().splitlines()[-1])
        except (ValueError, IndexError):
            last = (err.strip() or out.strip() or f"exit status {status}").splitlines()[-1]
            raise NodeFailed(last[:300]) from None
        if not isinstance(answer, dict):
            raise NodeFailed("its answer makes no sense")
        if "refused" in answer:
            raise NodeFailed(str(answer["refused"]))
        return answer


def _said(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(MOST_SAID).decode(errors="replace")


def _receiver_source() -> bytes:
    with open(receiver.__file__, "rb") as file:
        return file.read()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def on_all(
    nodes: Sequence[Node], work: Callable[[Node], T], at_once: int, careful: bool = False
) -> Iterator[tuple[Node, T | NodeFailed]]:
    """Each node's outcome as soon as it is there. `careful`: none is begun after one has failed."""
    pool = ThreadPoolExecutor(max(1, at_once))
    waiting = iter(nodes)
    running: dict[Future[T], Node] = {}
    stopped = False
    try:
        while True:
            while not stopped and len(running) < at_once and (node := next(waiting, None)) is not None:
                running[pool.submit(work, node)] = node
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                node = running.pop(future)
                try:
                    outcome: T | NodeFailed = future.result()
                except NodeFailed as err:
                    outcome = err
                stopped = stopped or (careful and isinstance(outcome, NodeFailed))
                yield node, outcome
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# -- what is asked of one node ---------------------------------------------------------------------------------------------


class Pushing:
    """Brings what was applied to nodes. `out`: the folder that `apply` wrote."""

    def __init__(
        self, description: Description, out: str, way: Way, overwrite: bool = False, activate: bool = False
    ) -> None:
        self.description, self.out, self.way = description, out, way
        self.overwrite, self.activate = overwrite, activate

    def _request(self, node: Node, do: str, **more: Any) -> dict[str, Any]:
        return {
            "do": do,
            "swift_dir": node.swift_dir,
            "run_dir": node.run_dir,
            "user": self.description.user,
            "manager": self.description.manager,
            "commands": self.description.commands,
            "timeout": max(10.0, self.way.seconds - 10),
            **more,
        }

    def _manifest(self, node: Node) -> tuple[NodeTree, dict[str, Any]]:
        tree = NodeTree.of(self.out, node)
        manifest = tree.manifest()
        if not manifest:
            raise NodeFailed("nothing was applied for it yet: swift-cluster apply")
        return tree, manifest

    def look(self, node: Node, services: bool = True) -> dict[str, Any]:
        """What is there. `services`: also what runs."""
        _, manifest = self._manifest(node)
        wanted = manifest["services"] if services else {}
        return self.way.ask(
            node,
            self._request(
                node,
                "look",
                files=list(manifest["files"]),
                services=list(wanted),
                commands_are_there=not services,
            ),
        )

    def push(self, node: Node) -> list[str]:
        """What was done there, in words; empty: nothing had to be. Raises NodeFailed."""
        tree, manifest = self._manifest(node)
        there = self.look(node, services=False)
        wanted = manifest["files"]
        send = {
            name: os.path.join(tree.folder, name)
            for name in wanted
            if there["files"].get(name) != wanted[name]
        }
        known = (
            there["pushed"] == wanted
            and there["pushed_services"] == manifest["services"]
            and there["node"] == node.name
        )
        done = []
        if send or not known:
            answer = self.way.ask(
                node, self._request(node, "put", manifest=manifest, overwrite=self.overwrite), send
            )
            done += [f"wrote {name}" for name in answer["changed"]]
            done += [f"removed {name}" for name in answer["removed"]]
            done += [f"left {name}, which was changed there" for name in answer["kept"]]
        if self.activate:
            stop = [name for name in there["pushed_services"] if name not in manifest["services"]]
            answer = self.way.ask(
                node, self._request(node, "activate", services=manifest["services"], stop=stop)
            )
            done += answer["done"]
            if answer["failed"]:
                raise NodeFailed("; ".join(answer["failed"]))
        return done

    def check(self, node: Node) -> list[str]:
        """What is not as it should be there. Raises NodeFailed if it can't be told."""
        _, manifest = self._manifest(node)
        managed = self.description.manager != "none"
        there = self.look(node, services=managed)
        found = []
        for name, wanted in manifest["files"].items():
            is_there = there["files"].get(name, "")
            if is_there != wanted:
                found.append(f"{name} {'differs' if is_there else 'is missing'}")
        if not managed:  # nobody there could be asked
            return found
        found += [f"swift-{name} is not installed" for name in there["missing_commands"]]
        found += [
            f"swift-{name} does not run"
            for name in manifest["services"]
            if not there["running"].get(name) and name not in there["missing_commands"]
        ]
        found += [
            f"swift-{name} should not run"
            for name, runs in there["running"].items()
            if runs and name not in manifest["services"]
        ]
        return found


def chosen(
    description: Description, names: Iterable[str], roles: Iterable[str], zones: Iterable[int]
) -> list[Node]:
    """The nodes meant; all of them if nothing is said. Raises ValueError."""
    names, roles, zones = list(names), list(roles), list(zones)
    known = {node.name for node in description.nodes}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no node {', '.join(unknown)}")
    return [
        node
        for node in description.nodes
        if (not names or node.name in names)
        and (not roles or set(roles) & set(node.roles))
        and (not zones or node.zone in zones)
    ]
