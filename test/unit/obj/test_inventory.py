"""What a device holds as it is told to operators' commands, and bringing back from quarantine what proves whole, and nothing else."""

import json
import os

import pytest
from obj_app import App

from swift.core.hashing import hash_path
from swift.core.policy import policies
from swift.obj import inventory
from swift.obj.device import Devices
from swift.obj.device_view import LocalDevice, Unanswered
from swift.obj.errors import Refused
from swift.obj.files.store import FileStore
from swift.obj.inventory import BadDocument, Contents
from swift.obj.store import BODY, StoreOptions
from test.unit.obj.test_store import NAME, FragmentPolicy, delete, files, place_of, write

T1, T2, T3 = (f"170000000{n}.00000" for n in (1, 2, 3))


@pytest.fixture
def device(root):
    os.makedirs(f"{root}/sda")
    return Devices(root, mount_check=False).get("sda")


@pytest.fixture
def store(device):
    return FileStore(device, policies().legacy, StoreOptions(reclaim_age=1e12))


@pytest.fixture
def fragments(device):
    return FileStore(device, FragmentPolicy(1, "ec"), StoreOptions(reclaim_age=1e12))


def aside(store, place, reason="bad"):
    """Set the object aside as it is; its entry."""
    store.quarantine(place, reason)
    (found,) = store.set_aside(place.name_hash)
    return found.entry


def body_of(store, place):
    with_body = store.open(place, BODY)
    with_body.close()
    return with_body.body


# ------------------------------------------------------------ what is there


def test_all_that_counts_is_told(store):
    first, second = place_of(store), place_of(store, "/a/c/gone")
    write(store, first, T1)
    delete(store, second, T2)
    document = json.loads(json.dumps(inventory.objects_document(store, "7", None)))
    items, more = inventory.items_of(document)
    assert not more
    found = {item.name_hash: item.times for item in items}
    assert (found[first.name_hash].data, found[first.name_hash].deleted) == (T1, False)
    assert (found[second.name_hash].data, found[second.name_hash].deleted) == (T2, True)
    some, _ = inventory.items_of(inventory.objects_document(store, "7", [first.suffix]))
    assert first.name_hash in [item.name_hash for item in some]
    assert inventory.items_of(inventory.objects_document(store, "7", ["not"])) == ([], False)


def test_unfinished_fragments_hide_nothing_that_counts(fragments):
    place = place_of(fragments)
    write(fragments, place, T1, fragment=2)
    write(fragments, place, T2, fragment=3, commit=False)
    ((item,), _) = inventory.items_of(
        json.loads(json.dumps(inventory.objects_document(fragments, "7", None)))
    )
    assert (item.times.data, item.fragments, item.unfinished, item.name) == (T1, (2,), ((T2, 3),), NAME)


def test_too_many_objects_are_said_to_be_more(store, monkeypatch):
    monkeypatch.setattr(inventory, "MAX_ITEMS", 1)
    write(store, place_of(store), T1)
    write(store, place_of(store, "/a/c/p"), T1)
    items, more = inventory.items_of(inventory.objects_document(store, "7", None))
    assert (len(items), more) == (1, True)


def test_a_device_is_told_of(store):
    write(store, place_of(store), T1)
    other = place_of(store, "/a/c/p", "9")
    write(store, other, T1)
    aside(store, other)
    os.makedirs(f"{store.device.path}/objects-7/1")
    os.makedirs(f"{store.device.path}/objects-8")
    os.makedirs(f"{store.device.path}/objects/{'9' * 26}7")  # no ring has so many
    for name in ("async_pending/abc/1", "async_pending/abc/2"):
        os.makedirs(f"{store.device.path}/async_pending/abc", exist_ok=True)
        open(f"{store.device.path}/{name}", "w").close()
    contents = Contents(json.loads(json.dumps(inventory.device_document(store))))
    assert sorted(contents.partitions) == [7, 9]
    assert contents.waiting == 2
    assert contents.unknown == ["objects-7"]
    assert [found.item.name_hash for found in contents.set_aside] == [other.name_hash]


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"partitions": [-1]}, {"partitions": ["x"], "waiting": 0}, {"objects": [[1]], "more": 0}],
)
def test_nonsense_from_a_node_is_noticed(document):
    with pytest.raises(BadDocument):
        Contents(document)
    with pytest.raises(BadDocument):
        inventory.items_of(document)
    for read in (inventory.set_aside_of, inventory.hashes_of, inventory.suffixes_of):
        with pytest.raises(BadDocument):
            read(document)


def test_hashes_of_fragments_are_told(fragments):
    write(fragments, place_of(fragments), T1, fragment=2)
    found = fragments.suffix_hashes("7")
    document = json.loads(json.dumps(inventory.hashes_document(found)))
    assert inventory.hashes_of(document) == found.hashes
    assert {None, 2} == set(found.hashes[place_of(fragments).suffix])


def test_suffixes_that_nobody_told_of_are_found(store):
    write(store, place_of(store), T1)
    store.suffix_hashes("7")
    other = place_of(store, "/a/c/by-hand")
    os.makedirs(other.hash_dir)
    open(f"{other.hash_dir}/{T1}.data", "w").close()
    assert other.suffix in store.suffixes("7")
    assert other.suffix not in store.suffix_hashes("7").hashes


def test_a_disk_is_looked_at_through_its_directory(root, store):
    write(store, place_of(store), T1)
    view = LocalDevice(root, "sda", mount_check=False)
    policy = policies().legacy
    assert view.contents(policy).partitions == [7]
    assert list(view.hashes(policy, 7)) == view.suffixes(policy, 7) == [place_of(store).suffix]
    with pytest.raises(Unanswered):
        LocalDevice(root, "sda", mount_check=True)
    with pytest.raises(Unanswered):
        LocalDevice(root, "sdb", mount_check=False)


# ------------------------------------------------------------ over HTTP


@pytest.fixture
def app(root):
    return App(root)


def ask(app, path, word, **headers):
    return app.request("REPLICATE", path, X_Backend_Inventory=word, **headers)


def test_a_server_answers(app):
    app.put(T1)
    where = app.where()
    got = ask(app, "/sda/0", "device")
    assert got.status == 200 and got.headers["x-backend-inventory"] == "device"
    assert Contents(json.loads(got.body)).partitions == [int(where.partition)]
    got = ask(app, f"/sda/{where.partition}/{where.suffix}", "objects")
    ((item,), _) = inventory.items_of(json.loads(got.body))
    assert item.name_hash == where.name_hash
    got = ask(app, f"/sda/{where.partition}", "suffixes")
    assert inventory.suffixes_of(json.loads(got.body)) == [where.suffix]
    got = ask(app, f"/sda/{where.partition}", "hashes")
    store = app.server.stores.get(app.server.devices.get("sda"), policies().legacy)
    assert inventory.hashes_of(json.loads(got.body)) == store.suffix_hashes(where.partition).hashes
    got = ask(app, f"/sda/{where.partition}/{where.name_hash}", "set-aside")
    assert inventory.set_aside_of(json.loads(got.body))[1] == []


@pytest.mark.parametrize(
    "path,word,status",
    [
        ("/sda/0", "nonsense", 400),
        ("/sda/0", "", 400),
        ("/sda/7", "set-aside", 400),
        ("/sda/7/..", "set-aside", 400),
        ("/sda/7/" + "g" * 32, "take-back", 400),
        ("/sdz/7", "device", 507),
        ("/sda/x", "device", 400),
    ],
)
def test_bad_questions(app, path, word, status):
    assert ask(app, path, word).status == status


def test_nothing_outside_of_a_quarantine_is_brought_back(app):
    name_hash = "a" * 32
    for entry in ("", "..", "../../x", f"../{name_hash}", name_hash + "-../x", "b" * 32):
        got = ask(app, f"/sda/7/{name_hash}", "take-back", X_Backend_Inventory_Entry=entry)
        assert got.status == 200, entry
        assert json.loads(got.body)["back"] == [] and json.loads(got.body)["refused"]


# ------------------------------------------------------------ quarantine


def test_what_is_whole_comes_back(store):
    place = place_of(store)
    write(store, place, T1, b"kept" * 1000)
    entry = aside(store, place)
    assert files(place) == []
    (found,) = store.set_aside(place.name_hash)
    assert (found.fault, found.size, found.item.times.data) == ("", 4000, T1)
    hashes = store.suffix_hashes("7").hashes
    assert store.take_back(place, entry) == [f"{T1}.data"]
    assert body_of(store, place) == b"kept" * 1000
    assert store.set_aside(place.name_hash) == []
    assert store.suffix_hashes("7").hashes != hashes  # peers see it


def test_what_is_damaged_stays_and_it_is_said_why(store):
    place = place_of(store)
    write(store, place, T1, b"kept" * 1000)
    with open(f"{place.hash_dir}/{T1}.data", "r+b") as file:
        file.write(b"K")
    entry = aside(store, place)
    (found,) = store.set_aside(place.name_hash)
    assert "checksum" in found.fault
    with pytest.raises(Refused, match="does not prove whole"):
        store.take_back(place, entry)
    assert files(place) == []
    assert [found.entry for found in store.set_aside(place.name_hash)] == [entry]


@pytest.mark.parametrize("newer", ["data", "tombstone", "same"])
def test_nothing_old_comes_back(store, newer):
    place = place_of(store)
    write(store, place, T2)
    entry = aside(store, place)
    if newer == "tombstone":
        delete(store, place, T3)
    else:
        write(store, place, T3 if newer == "data" else T2)
    before = files(place)
    with pytest.raises(Refused, match="there"):
        store.take_back(place, entry)
    assert files(place) == before
    assert [found.entry for found in store.set_aside(place.name_hash)] == [entry]


def test_something_older_gives_way(store):
    place = place_of(store)
    write(store, place, T2, b"newer")
    entry = aside(store, place)
    write(store, place, T1, b"older")
    store.take_back(place, entry)
    assert files(place) == [f"{T2}.data"]
    assert body_of(store, place) == b"newer"


def test_a_file_of_another_object_stays(store):
    place, other = place_of(store), place_of(store, "/a/c/other")
    write(store, other, T1)
    os.renames(other.hash_dir, f"{store.device.path}/quarantined/objects/{place.name_hash}")
    with pytest.raises(Refused, match="of another object"):
        store.take_back(place, place.name_hash)


def test_a_fragment_comes_back_beside_another(fragments):
    place = place_of(fragments)
    write(fragments, place, T1, fragment=2)
    entry = aside(fragments, place)
    write(fragments, place, T1, fragment=3)
    assert fragments.take_back(place, entry) == [f"{T1}#2#d.data"]
    assert files(place) == [f"{T1}#2#d.data", f"{T1}#3#d.data"]


def test_strange_things_in_quarantine(store):
    directory = f"{store.device.path}/quarantined/objects"
    os.makedirs(f"{directory}/{'c' * 32}")
    open(f"{directory}/{'d' * 32}", "w").close()
    open(f"{directory}/x", "w").close()
    assert [found.item for found in store.set_aside()] == [None, None, None]
    for name in ("c" * 32, "d" * 32):
        place = store.locate("7", name, None)
        (found,) = store.set_aside(name)
        assert found.fault == "holds nothing of an object"
        with pytest.raises(Refused):
            store.take_back(place, name)
        assert files(place) == []


def test_the_hash_is_that_of_the_name():
    assert hash_path("a", "c", "o") == hash_path(NAME[1:])
