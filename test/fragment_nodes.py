"""Object servers with fragments on their disks, and their reconstructors: nodes of `object_nodes` with two disks each and a policy of fragments.

What lives here: their files and passes. What never does: assertions.
"""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import subprocess
from typing import Any

from swift.core.policy import parse_policies
from swift.obj.blocks import BLOCK_CRC32
from swift.obj.files import metadata
from swift.proxy.fragment_sums import Encoder, merged_footers
from swift.ring.builder import RingBuilder
from swift.ring.lookup import Ring
from test.object_nodes import DATA, SWIFT_CONF, ObjectNodes

DISKS = ("sda", "sdb")
EC_TYPE = os.environ.get("EC_TYPE", "isa_l_rs_vand")
POLICY = {
    "name": "ec",
    "policy_type": "erasure_coding",
    "ec_type": EC_TYPE,
    "ec_num_data_fragments": "4",
    "ec_num_parity_fragments": "2",
    "ec_object_segment_size": "65536",
    "ec_duplication_factor": "1",
}
Spot = tuple[int, str]  # node and disk


class FragmentNodes(ObjectNodes):
    """Nodes 1 to 4 (`kinds`), each with the disks `sda` and `sdb`; use as a context manager. `policy`: options of policy 2."""

    def __init__(
        self, home: pathlib.Path, kinds: list[pathlib.Path], part_power: int = 4, **policy: str
    ) -> None:
        options = {**POLICY, **policy}
        self.policy = parse_policies(
            {"storage-policy:0": {"name": "gold", "default": "yes"}, "storage-policy:2": options}
        )[2]
        super().__init__(home, kinds, replicas=3, part_power=part_power)
        text = "".join(f"{key} = {value}\n" for key, value in options.items())
        (home / "swift.conf").write_text(f"{SWIFT_CONF}\n[storage-policy:2]\n{text}")
        for node in self.nodes:
            (self.disk(node).parent / "sdb").mkdir()
            with open(self.conf(node), "a") as conf:
                conf.write("\n[object-reconstructor]\nconcurrency = 4\n")
        builder = RingBuilder(part_power, self.policy.replicas, 0)
        for node in self.nodes:
            for disk in DISKS:
                builder.add_dev({**self.device(node, 1.0), "device": disk})
        builder.rebalance(seed="1")
        builder.save(str(home / "object-2.builder"))
        builder.get_ring().save(str(home / "object-2.ring.gz"))
        self.fragment_ring = Ring(str(home / "object-2.ring.gz"))

    @property
    def spots(self) -> list[Spot]:
        return [(node, disk) for node in self.nodes for disk in DISKS]

    def path(self, spot: Spot) -> pathlib.Path:
        node, disk = spot
        return self.home / f"node{node}" / disk

    # -- processes

    def reconstructors(
        self, *nodes: int, args: tuple[str, ...] = (), **environ: str
    ) -> list[subprocess.Popen]:
        """Passes of these nodes that have begun."""
        return [
            subprocess.Popen(
                [
                    *self._command(node, "swift-object-reconstructor"),
                    str(self.conf(node)),
                    "once",
                    "-v",
                    *args,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**self._environ(node), **environ},
                start_new_session=True,
            )
            for node in nodes or self.nodes
        ]

    def reconstruct(self, *nodes: int, args: tuple[str, ...] = (), **environ: str) -> str:
        """One pass of each node's reconstructor, one after the other; what they said."""
        said = ""
        for node in nodes or self.nodes:
            (process,) = self.reconstructors(node, args=args, **environ)
            text, _ = process.communicate(timeout=180)
            said += text
            if process.returncode:
                raise AssertionError(f"exit status {process.returncode}: {said}")
        return said

    def reconstruct_at_once(self, *nodes: int) -> str:
        """One pass of all these nodes' reconstructors at the same time; what they said."""
        said = ""
        for process in self.reconstructors(*nodes):
            text, _ = process.communicate(timeout=180)
            said += text
            if process.returncode:
                raise AssertionError(f"exit status {process.returncode}: {said}")
        return said

    # -- objects

    def homes(self, name: str) -> list[Spot]:
        """Where the fragments of `a/c/<name>` belong, in their order."""
        return [(node["zone"], node["device"]) for node in self.fragment_ring.get_nodes("a", "c", name)[1]]

    def guests(self, name: str) -> list[Spot]:
        """The other disks, in the order of handoffs."""
        part = self.fragment_ring.get_part("a", "c", name)
        return [(node["zone"], node["device"]) for node in self.fragment_ring.get_more_nodes(part)]

    def fragment(
        self, spot: Spot, method: str, name: str, body: bytes = b"", timestamp: object = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """As `request`, to one disk of the policy."""
        node, disk = spot
        part = self.fragment_ring.get_part("a", "c", name)
        headers.setdefault("X_Backend_Storage_Policy_Index", "2")
        return self.request_to(node, disk, part, method, name, body, timestamp, **headers)

    def write(
        self,
        name: str,
        body: bytes,
        timestamp: object,
        *spots: Spot,
        index: int | None = None,
        durable: bool = True,
        sums: bool = True,
        **headers: str,
    ) -> None:
        """Each home (or of these disks) gets its fragment; `index`: that one instead. `sums`: with checksums of segments, as our proxy does."""
        encoder = Encoder(self.policy)
        archives = encoder.whole(body)
        describing = encoder.describing(encoder.etag())
        homes = self.homes(name)
        for spot in spots or homes:
            own = self.policy.fragment_of(homes.index(spot)) if index is None else index
            kept = {
                key.replace("-", "_"): value
                for key, value in merged_footers(describing, None, encoder.own(own)).items()
                if key.startswith("X-Object-Sysmeta-Ec-") and (sums or not key.endswith("Segment-Crc32"))
            }
            if not durable:
                kept["X_Backend_No_Commit"] = "True"
            kept["X_Backend_Ssync_Frag_Index"] = str(own)
            kept["X_Backend_Replication"] = "True"
            status, _, text = self.fragment(spot, "PUT", name, archives[own], timestamp, **kept, **headers)
            if status != 201:
                raise AssertionError(f"{status} {text!r}")

    # -- disks

    def clear(self, spot: Spot) -> None:
        """The disk is replaced by a new one."""
        shutil.rmtree(self.path(spot))
        self.path(spot).mkdir()

    def contents(self, spot: Spot) -> dict[str, tuple[bytes, dict[str, str]]]:
        """{partition/suffix/hash/file: (bytes, metadata)} of a disk, without what each server makes for itself."""
        while True:
            try:
                return self._contents(spot)
            except FileNotFoundError:
                continue  # a server is still at work on what a sender that was killed has sent

    def _contents(self, spot: Spot) -> dict[str, tuple[bytes, dict[str, str]]]:
        top = self.path(spot) / "objects-2"
        found: dict[str, tuple[bytes, dict[str, Any]]] = {}
        for path in sorted(top.glob("*/*/*/*")):
            if path.name.endswith(DATA):
                with open(path, "rb") as file:
                    kept = metadata.read(file.fileno())
                    kept.pop(BLOCK_CRC32, None)
                    found[str(path.relative_to(top))] = (file.read(), kept)
        return found

    def all_contents(self) -> dict[Spot, dict[str, tuple[bytes, dict[str, str]]]]:
        return {spot: self.contents(spot) for spot in self.spots}

    def file(self, spot: Spot, name: str) -> pathlib.Path:
        """The fragment of an object on a disk."""
        (path,) = (
            path for path, (_, kept) in self.contents(spot).items() if kept.get("name") == f"/a/c/{name}"
        )
        return self.path(spot) / "objects-2" / path

    def names(self, name: str) -> dict[Spot, list[str]]:
        """The names of an object's files, of disks that have any."""
        found: dict[Spot, list[str]] = {}
        for spot in self.spots:
            for path, (_, kept) in self.contents(spot).items():
                if kept.get("name") == f"/a/c/{name}":
                    found.setdefault(spot, []).append(path.rpartition("/")[2])
        return found


def body_of(name: str, size: int) -> bytes:
    return random.Random(f"{name} {size}").randbytes(size)
