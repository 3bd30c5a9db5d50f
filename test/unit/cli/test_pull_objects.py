"""What is asked of a device whose partitions hold more than one answer, and what is made of what it answers."""

from types import SimpleNamespace

import pytest

from swift.cli.pull_findings import Part
from swift.cli.pull_objects import ObjectCheck
from swift.core.policy import policies
from swift.obj.device_view import Unanswered
from swift.obj.inventory import Contents
from swift.obj.store import Item, Times

T1 = "1700000001.00000"


class View:
    """A device that tells of at most `most` objects at a time."""

    def __init__(self, suffixes, most):
        self.objects = {
            suffix: [Item("0" * 29 + suffix, Times(T1))] * count for suffix, count in suffixes.items()
        }
        self.most = most
        self.asked = []

    def items(self, policy, partition, suffixes):
        self.asked.append(list(suffixes))
        found = [item for suffix in suffixes for item in self.objects[suffix]]
        return found[: self.most], len(found) > self.most


def check(view, ring=None):
    ring = ring or SimpleNamespace(next_part_power=None, get_part_nodes=lambda partition: [])
    peers = SimpleNamespace(conn_timeout=1, node_timeout=1, http_timeout=1)
    part = Part("objects", "gold", "partition", "object")
    return ObjectCheck(part, view, policies().legacy, ring, None, frozenset(), peers), part


def test_large_partitions_are_asked_about_in_smaller_pieces():
    view = View({f"{number:03x}": 3 for number in range(100)}, 20)
    found, _ = check(view)
    items = [item for some in found._listed(7, sorted(view.objects)) for item in some]
    assert [item.name_hash[-3:] for item in items] == sorted(item.name_hash[-3:] for item in items)
    assert len(items) == 300
    assert max(len(suffixes) for suffixes in view.asked) <= 64


def test_a_suffix_that_holds_too_much_is_a_reason():
    view = View({"abc": 30, "abd": 1}, 20)
    found, _ = check(view)
    with pytest.raises(Unanswered, match="suffix abc of partition 7"):
        list(found._listed(7, ["abc", "abd"]))


def contents(**changes):
    document = {
        "partitions": [],
        "waiting": 0,
        "set_aside": [],
        "more_set_aside": False,
        "unknown": [],
        **changes,
    }
    return Contents(document)


@pytest.mark.parametrize(
    "changes,power,what",
    [
        ({}, None, []),
        ({"waiting": 3}, None, ["waiting"]),
        ({"unknown": ["objects-7"]}, None, ["unknown"]),
        ({"more_set_aside": True}, None, ["not-told"]),
        ({}, 11, ["growing"]),
    ],
)
def test_what_speaks_against_it_beside_objects(changes, power, what):
    view = SimpleNamespace(contents=lambda policy: contents(**changes))
    found, part = check(view, SimpleNamespace(next_part_power=power))
    found.run()
    assert [problem["what"] for problem in part.document()["problems"]] == what
    assert part.is_whole == (not what)


def test_a_device_that_cannot_tell():
    def refuse(policy):
        raise Unanswered("it hangs")

    found, part = check(SimpleNamespace(contents=refuse))
    found.run()
    assert list(part.lines()) == ["objects of policy gold:", "  what lies there can't be told: it hangs"]


def test_partitions_of_no_ring_and_such_as_have_nobody_else():
    view = SimpleNamespace(
        contents=lambda policy: contents(partitions=[1, 2, 3]),
        suffixes=lambda policy, partition: [] if partition == 3 else ["abc"],
        items=lambda policy, partition, suffixes: ([], False),
    )
    own = {"id": 5}
    ring = SimpleNamespace(
        next_part_power=None, part_shift=16, get_part_nodes=lambda part: [own] if part == 2 else []
    )
    peers = SimpleNamespace(conn_timeout=1, node_timeout=1, http_timeout=1)
    part = Part("objects", "gold", "partition", "object")
    ObjectCheck(part, view, policies().legacy, ring, own, frozenset([5]), peers).run()
    assert part.checked == 2  # the third is empty
    assert sorted(problem["what"] for problem in part.document()["problems"]) == ["alone", "no-partition"]


def test_what_fails_unexpectedly_is_never_silent():
    def broken(policy, partition):
        raise KeyError("surprise")

    view = SimpleNamespace(contents=lambda policy: contents(partitions=[1]), suffixes=broken)
    found, part = check(view)
    found.run()
    assert [problem["what"] for problem in part.document()["problems"]] == ["failed"]
    assert "KeyError" in list(part.lines())[1]
