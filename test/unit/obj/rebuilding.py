"""Object servers in this process with fragments on them, and their reconstructors."""

import os

from replicating import Farm
from ssync_pair import Served

from swift.core.policy import policies
from swift.obj.files import metadata
from swift.obj.reconstruction.reconstructor import ObjectReconstructor
from swift.proxy.fragment_sums import Encoder, merged_footers
from swift.ring.builder import RingBuilder
from swift.ring.lookup import Ring

SEGMENT = 1024
POLICY = """[storage-policy:2]
name = ec42
policy_type = erasure_coding
ec_type = {ec_type}
ec_num_data_fragments = {data}
ec_num_parity_fragments = {parity}
ec_object_segment_size = {segment}
ec_duplication_factor = {copies}
"""


class FragmentFarm(Farm):
    """`count` servers with 4+2 fragments of the policy 2; nodes are numbered from 1."""

    def __init__(
        self,
        root,
        count=8,
        part_power=4,
        segment=SEGMENT,
        data=4,
        parity=2,
        copies=1,
        ec_type="liberasurecode_rs_vand",
        **conf,
    ):
        self.root = root
        more = POLICY.format(ec_type=ec_type, data=data, parity=parity, copies=copies, segment=segment)
        self.served = {n: Served(f"{root}/n{n}", more=more, **conf) for n in range(1, count + 1)}
        self.etc = f"{root}/etc"
        builder = RingBuilder(part_power, (data + parity) * copies, 0)
        for number, served in self.served.items():
            builder.add_dev({**served.node, "zone": number, "weight": 1.0, "meta": "", "id": number - 1})
            served.node["id"] = number - 1
        builder.rebalance(seed="1")
        builder.get_ring().save(f"{self.etc}/object-2.ring.gz")
        self.ring = Ring(f"{self.etc}/object-2.ring.gz")
        self.policy = policies()[2]

    def reconstructor(self, number, **conf):
        served = self.served[number]
        base = {
            "devices": f"{self.root}/n{number}",
            "mount_check": "false",
            "swift_dir": self.etc,
            "bind_ip": "127.0.0.1",
            "bind_port": str(served.node["port"]),
            "recon_cache_path": f"{self.root}/n{number}",
            "reclaim_age": "1e12",
            "conn_timeout": "5",
        }
        return ObjectReconstructor({**base, **conf}, served.app.log)

    def reconstruct(self, *numbers, **conf):
        """One pass of each of these nodes (all of them if none is named)."""
        for number in numbers or self.served:
            self.reconstructor(number, **conf).run_once()

    def archives(self, body, sums=True):
        """What is kept of an object: (the archive, its headers) by index. `sums`: False: as other proxies write it."""
        encoder = Encoder(self.policy)
        archives = encoder.whole(body)
        describing = encoder.describing(encoder.etag())
        found = []
        for index, archive in enumerate(archives):
            footers = merged_footers(describing, None, encoder.own(index))
            kept = {
                name: value
                for name, value in footers.items()
                if name.startswith("X-Object-Sysmeta-Ec-") and (sums or not name.endswith("Segment-Crc32"))
            }
            found.append((archive, kept))
        return found

    def put(self, name, body, time, *numbers, sums=True, durable=True, index=None, **headers):
        """Each primary (or of these nodes) gets its fragment; `index`: that one instead."""
        archives = self.archives(body, sums)
        positions = {node["zone"]: node["index"] for node in self.ring.get_nodes("a", "c", name)[1]}
        for number in numbers or positions:
            own = self.policy.fragment_of(positions[number]) if index is None else index
            archive, kept = archives[own]
            sent = {key.replace("-", "_"): value for key, value in kept.items()}
            if not durable:
                sent["X_Backend_No_Commit"] = "True"
            sent |= {"X_Backend_Replication": "True", "X_Backend_Ssync_Frag_Index": str(own)}
            answer = self.request(number, "PUT", name, archive, X_Timestamp=time, **sent, **headers)
            assert answer.status == 201, answer.body

    def request(self, number, method, name, body=b"", **headers):
        return super().request(number, method, name, body, X_Backend_Storage_Policy_Index="2", **headers)

    def files(self, number):
        """{partition/suffix/hash/file: (bytes, metadata)} of all that a node has."""
        top = f"{self.served[number].app.device}/objects-2"
        found = {}
        for folder, _, names in os.walk(top):
            for name in names:
                if name.endswith((".data", ".meta", ".ts")):
                    path = os.path.join(folder, name)
                    with open(path, "rb") as file:
                        kept = metadata.read(file.fileno())
                        found[os.path.relpath(path, top)] = (file.read(), kept)
        return found

    def everything(self):
        return {number: self.files(number) for number in self.served}

    def names(self, number):
        return sorted(path.rpartition("/")[2] for path in self.files(number))

    def empty(self, number):
        """The disk is replaced by a new one."""
        import shutil

        device = self.served[number].app.device
        shutil.rmtree(device)
        os.mkdir(device)

    def path(self, number, name, of=None):
        """The one file of an object on a node, or the one with this word in its name."""
        found = [
            path
            for path, (_, kept) in self.files(number).items()
            if kept.get("name") == f"/a/c/{name}" and (of is None or of in path)
        ]
        assert len(found) == 1, found
        return f"{self.served[number].app.device}/objects-2/{found[0]}"
