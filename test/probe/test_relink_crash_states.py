"""A power cut while the partition power changes: whatever it leaves, each object is there for who looks by a ring that is in use then."""

import json
import os
import sys

import pytest
import relinked
from servers import environment
from test_crash_states import (
    START,
    WHOLE_STRINGS,
    assert_same_as_disk,
    at,
    each_state,
    memory,
    needs_strace,
    recorded,
    stored,
)
from traced_servers import SWIFT_CONF, TracedServer, answers

from swift.core import swift_dir
from swift.obj.files import suffixes
from test.crash_states import Recording
from test.system_calls import Traced

POWER = relinked.POWER
__all__ = ["memory", "needs_strace"]  # fixtures


def test_the_relinker(tmp_path, memory):
    (tmp_path / "d" / "sda").mkdir(parents=True)
    (tmp_path / "swift.conf").write_text(SWIFT_CONF)
    env = {**environment(), "START": str(START)}
    traced = Traced(
        [sys.executable, relinked.__file__, str(tmp_path)], tmp_path / "trace", env, WHOLE_STRINGS
    )
    traced.process.wait(240)
    assert traced.process.returncode == 0
    calls = traced.calls()
    device = str(tmp_path / "d" / "sda")
    recording = Recording(device, calls)
    assert_same_as_disk(recording, device, memory)
    swift_dir.use(str(tmp_path))
    marks = [
        next(call.began for call in calls if call.name == "write" and f"MARK {number}" in call.text)
        for number in (1, 2, 3)
    ]
    posted, plain, deleted = relinked.names(3)
    wanted = {posted: (b"body", "post"), plain: (b"body", ""), deleted: None}
    for left, root in each_state(recording, marks, memory):
        done = state_of(root)
        for name, what in wanted.items():
            before, after = relinked.partition(name, POWER), relinked.partition(name, POWER + 1)
            if left == 1:
                assert stored(root, 0, name, before) == what, (left, name)
                if done.get(before):
                    assert stored(root, 0, name, after) == what, (left, name)
            if left >= 2:
                assert stored(root, 0, name, after) == what, (left, name)
        assert not (root / "sda" / "quarantined").exists(), left
        for partition in (root / "sda").glob("objects*/*"):
            suffixes.get_hashes(str(partition), reclaim_age=1e12)


def state_of(root):
    try:
        with open(root / "sda" / "relink.objects.json") as file:
            return json.load(file)["state"]
    except FileNotFoundError:
        return {}


@pytest.mark.parametrize("from_above", [False, True])
def test_writes_meanwhile(tmp_path, memory, from_above):
    """By a ring that is about to grow, and (`from_above`) by one that has grown, while others have it not yet."""
    server = TracedServer(tmp_path / "node", tmp_path, strings=WHOLE_STRINGS, container_update_timeout=0.2)
    swift_dir.use(str(tmp_path))
    try:
        name = relinked.names(1)[0]
        parts = [relinked.partition(name, power) for power in (POWER, POWER + 1)]
        if from_above:
            with open(f"{server.device}/relink.objects.json", "w") as file:
                json.dump({"part_power": POWER, "next_part_power": POWER + 1, "state": {}}, file)
        path = f"/sda/{parts[from_above]}/a/c/{name}"
        headers = {"X_Backend_Next_Part_Power": str(POWER + 1)}
        worlds = [None]
        body, large = b"one", os.urandom(100_000)
        for number, (method, content, meta) in enumerate(
            [
                ("PUT", body, "1"),
                ("POST", b"", "2"),
                ("PUT", large, "3"),
                ("DELETE", b"", ""),
                ("PUT", body, "4"),
            ],
            1,
        ):
            status = server.request(method, path, at(number), content, X_Object_Meta_A=meta, **headers)
            assert status in (201, 202, 204)
            before = worlds[-1]
            worlds.append(
                {"PUT": (content, meta), "POST": (before and before[0], meta), "DELETE": None}[method]
            )
        calls_of = server
        if from_above:
            os.unlink(f"{server.device}/relink.objects.json")  # the recorder has not seen it come
        recording, calls = recorded(calls_of)
        assert_same_as_disk(recording, server.device, memory)
    finally:
        server.stop()
    left = answers(calls)
    for count, root in each_state(recording, [left[at(number)][1] for number in range(1, 6)], memory):
        for part in parts:
            got = stored(root, 0, name, part)
            assert got in worlds[count : count + 2], (count, part, got and got[1])
        assert not (root / "sda" / "quarantined").exists()
