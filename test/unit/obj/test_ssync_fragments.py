"""SSYNC of fragments of erasure-coded objects, as recorded with the reference."""

import base64

import pytest
from ssync_pair import Served
from test_ssync import GOLDEN, Script, as_recorded, body_of, files_of, raw, without_block_checksums

from swift.obj.ssync.sender import Options, Session

RECORDED = GOLDEN["ec_revert"]
MORE_CONF = """[storage-policy:2]
name = ec42
policy_type = erasure_coding
ec_type = liberasurecode_rs_vand
ec_num_data_fragments = 4
ec_num_parity_fragments = 2
ec_object_segment_size = 1024
"""


@pytest.fixture
def served(root):
    served = Served(f"{root}/a", more=MORE_CONF)
    yield served
    served.stop()


def put(served, name, time, commit):
    """The fragment archive of a golden object."""
    entry = next(e for e in RECORDED["destination_after"] if e["decoded"]["name"].endswith("/" + name))
    headers = {
        key.replace("-", "_"): value
        for key, value in entry["decoded"].items()
        if key.startswith("X-Object-Sysmeta-Ec-")
    }
    if not commit:
        headers["X_Backend_No_Commit"] = "True"
    got = served.app.request(
        "PUT",
        f"/sda/308/AUTH_test/c/{name}",
        base64.b64decode(entry["content_b64"]),
        X_Timestamp=time,
        X_Backend_Storage_Policy_Index="2",
        X_Backend_Ssync_Frag_Index="2",
        X_Backend_Replication="True",
        **headers,
    )
    assert got.status == 201, got.body


def names(entries):
    return sorted(entry["path"].partition("/308/")[2] for entry in entries)


def test_fragments_of_the_reference_are_taken_byte_for_byte(served):
    put(served, "made-durable", "1700000003.00000", False)
    got = raw(served.node, as_recorded(RECORDED["sender_to_receiver"]))
    assert got.partition(b"\r\n\r\n")[2] == body_of(RECORDED["receiver_to_sender"])
    assert files_of(served, "308", "objects-2") == names(RECORDED["destination_after"])


def test_a_revert_as_the_reference_does_it(served):
    put(served, "made-durable", "1700000003.00000", True)
    put(served, "durable", "1700000001.00000", True)
    put(served, "nondurable", "1700000002.00000", False)
    script = Script(RECORDED["receiver_to_sender"].encode("latin-1"))
    store = served.store(2)
    session = Session(
        store, script.node, "308", Options(5, 5, 5), fragment=2, frag_index=2, with_nondurable=True
    )
    result = session.run(store.hashes("308"))
    script.thread.wait()
    assert {h: (t.data, t.durable) for h, t in result.in_sync.items()} == {
        h: (t["ts_data"], t["durable"]) for h, t in RECORDED["can_delete"].items()
    }
    head, _, body = script.got.partition(b"\r\n\r\n")
    assert b"X-Backend-Ssync-Frag-Index: 2\r\n" in head
    assert without_block_checksums(body) == without_block_checksums(body_of(RECORDED["sender_to_receiver"]))
