"""What object servers let nobody do to locked objects, and what nodes tell each other of that."""

import os

import pytest
from obj_app import App
from ssync_pair import Served, push

from swift.core import clock
from swift.core.object_lock import (
    LEGAL_HOLD,
    PROTECTED,
    RETENTION,
    Word,
    forbids_change,
    forbids_removal,
    lock_in,
    lock_of,
    word_of,
)
from swift.obj import verdicts

T0, T1, T2, T3, T4 = (f"170000000{n}.00000" for n in range(5))
FAR = 4_000_000_000
KEPT = {"X_Object_Transient_Sysmeta_S3api_Retention": f"COMPLIANCE;{FAR}"}
LOOSE = {"X_Object_Transient_Sysmeta_S3api_Retention": f"GOVERNANCE;{FAR}"}
HELD = {"X_Object_Transient_Sysmeta_S3api_Legal_Hold": "ON"}


def post(app, timestamp, **headers):
    return app.request("POST", X_Timestamp=timestamp, **headers)


@pytest.fixture(params=[True, False], ids=["batch", "trip"])
def app(root, request):
    return App(root, batch=request.param)


@pytest.fixture
def pair(tmp_path):
    served = [Served(f"{tmp_path}/{name}") for name in ("a", "b")]
    yield served
    for one in served:
        one.stop()


# -- words ----------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_holds_for_ever():
    for text in ("COMPLIANCE;soon", "STRICT;1", "GOVERNANCE", "GOVERNANCE;nan"):
        found = lock_of(text, None)
        assert found is not None and found.mode == "COMPLIANCE" and found.holds(1e12)
    assert not lock_of("GOVERNANCE;0", "OFF").holds(0)
    assert lock_of(None, "on").holds(0) and lock_of(None, None) is None


def test_a_word_comes_back_as_it_was_sent():
    for word in (Word(), Word(T1), Word(T1, True), Word(T1, False, True), Word(T1, True, True)):
        assert word_of(word.text()) == word
    assert word_of(None) is None
    for bad in ("x;y", f"{T1};bypass;all", "1" * 200):
        with pytest.raises(ValueError):
            word_of(bad)


def test_links_are_never_locked():
    assert lock_in({RETENTION: f"COMPLIANCE;{FAR}", "X-Object-Sysmeta-Symlink-Target": "c/o"}) is None


def test_who_may_weaken_what():
    def weakens(old, new, word=None):
        return forbids_change({RETENTION: old}, T2, {RETENTION: new}, word, float(T3))

    assert weakens("COMPLIANCE;4000000000", "COMPLIANCE;3999999999", Word(T2, True))
    assert weakens("COMPLIANCE;4000000000", "GOVERNANCE;4000000001", Word(T2, True))
    assert not weakens("COMPLIANCE;4000000000", "COMPLIANCE;4000000001")
    assert weakens("GOVERNANCE;4000000000", "GOVERNANCE;0", Word(T2))
    assert not weakens("GOVERNANCE;4000000000", "GOVERNANCE;0", Word(T2, True))
    assert not weakens("GOVERNANCE;4000000000", "COMPLIANCE;4000000000")
    assert not weakens("COMPLIANCE;1700000001", "GOVERNANCE;0")  # it is over
    assert not weakens(
        "COMPLIANCE;4000000000", "GOVERNANCE;0", Word(T3)
    )  # the sender has seen something newer


def test_a_hold_is_stronger_than_any_right():
    metadata = {RETENTION: f"GOVERNANCE;{FAR}", LEGAL_HOLD: "ON"}
    assert forbids_removal(metadata, T2, Word(T2, True), float(T3))
    assert not forbids_removal(metadata, T2, Word(T2, is_kept=True), float(T3))
    assert forbids_removal(metadata, T3, Word(T2, is_kept=True), float(T3))  # not as it is now


# -- verbs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [KEPT, LOOSE, HELD])
def test_locked_objects_stay(app, headers):
    app.put(T1, **headers)
    for more in ({}, {"X_Backend_Object_Lock": T1}, {"X_Backend_Object_Lock": Word(T0, True, True).text()}):
        got = app.request("DELETE", X_Timestamp=T2, **more)
        assert (got.status, got.body) == (403, PROTECTED.encode())
        assert app.put(T2, b"other", **more).status == 403
        assert app.put(T2, b"o" * 100_000, **more).status == 403
    assert app.request("DELETE", X_Timestamp=T0).status == 409
    assert (
        app.request("DELETE", X_Timestamp=f"{FAR + 10}.00000").status == 403
    )  # nobody's clock but our own counts
    assert app.get().body == b"body" and app.files() == [f"{T1}.data"]


def test_a_right_ends_governance_alone(app):
    word = Word(T1, True).text()
    for headers, status in ((KEPT, 403), (HELD, 403), (LOOSE, 204)):
        app.put(T1, **headers)
        assert app.request("DELETE", X_Timestamp=T2, X_Backend_Object_Lock=word).status == status
        for name in app.files():
            os.unlink(f"{app.where().hash_dir}/{name}")


def test_what_is_over_holds_no_longer(app):
    app.put(T1, X_Object_Transient_Sysmeta_S3api_Retention=f"COMPLIANCE;{int(float(T2))}")
    assert app.request("DELETE", X_Timestamp=T2).status == 204


def test_a_post_loses_no_lock(app):
    app.put(T1, **KEPT, **HELD)
    assert post(app, T2).status == 403
    assert post(app, T2, **KEPT).status == 403  # the hold would be gone
    assert post(app, T2, **LOOSE, **HELD).status == 403
    assert post(app, T2, **KEPT, **HELD, X_Delete_At="3000000000").status == 400
    assert post(app, T2, **KEPT, X_Object_Transient_Sysmeta_S3api_Legal_Hold="OFF").status == 202
    assert post(app, T3, **{**KEPT, next(iter(KEPT)): f"COMPLIANCE;{FAR + 1}"}).status == 202
    assert app.request("DELETE", X_Timestamp=T4).status == 403


def test_a_change_that_has_the_time_of_what_it_changes(app):
    """Its time says nothing of whether a lock is over."""
    app.put(T1, X_Object_Transient_Sysmeta_S3api_Retention=f"COMPLIANCE;{int(float(T2))}")
    later = f"{T1}_0000000000000001"
    assert post(app, later, X_Backend_Object_Lock=T1, **LOOSE).status == 202
    assert post(app, f"{T1}_0000000000000002", X_Backend_Object_Lock=later, **KEPT).status == 202
    assert post(app, f"{T1}_0000000000000003", **LOOSE).status == 403


def test_a_change_of_what_has_changed_since_is_refused(app):
    app.put(T1)
    assert post(app, T2, X_Object_Meta_A="1", X_Backend_Object_Lock=T1).status == 202
    got = post(app, T3, X_Object_Meta_A="2", X_Backend_Object_Lock=T1)
    assert (got.status, got.headers["x-backend-timestamp"]) == (409, T2)


def test_what_a_post_would_lose_is_told(app):
    app.put(T1, X_Object_Transient_Sysmeta_S3api_Tagging="a=b", X_Object_Transient_Sysmeta_Other="x")
    got = post(app, T2, X_Object_Meta_A="1", X_Backend_Keep_S3api="true")
    assert got.status == 412
    assert got.headers["x-object-transient-sysmeta-s3api-tagging"] == "a=b"
    assert "x-object-transient-sysmeta-other" not in got.headers
    kept = {"X_Object_Transient_Sysmeta_S3api_Tagging": "a=b"}
    assert post(app, T2, X_Backend_Keep_S3api="true", **kept).status == 202
    assert post(app, T3).status == 202  # as ever


def test_an_expired_object_that_is_locked_stays(app):
    soon = int(clock.time()) + 1
    app.put(T1, X_Delete_At=str(soon), **KEPT)
    later = f"{soon + 5}.00000"
    assert app.request("DELETE", X_Timestamp=later, X_If_Delete_At=str(soon)).status == 403
    assert app.files() == [f"{T1}.data"]


def test_a_malformed_word_is_refused(app):
    app.put(T1)
    for verb in ("DELETE", "PUT", "POST"):
        got = app.request(verb, X_Timestamp=T2, X_Backend_Object_Lock="a;b;c")
        assert got.status == 400


# -- races ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize(("verb", "size"), [("DELETE", 0), ("PUT", 4), ("PUT", 200_000)])
def test_a_lock_that_comes_between_look_and_write_counts(root, batch, verb, size, monkeypatch):
    """It is looked, then the lock is set by another process, then the new file is to get its name."""
    app, other = App(root, batch=batch), App(root, batch=False)
    app.put(T1)
    real = verdicts._is_locked
    looks = []

    def looked(state, locking):
        found = real(state, locking)
        looks.append(found)
        if len(looks) == 1:
            assert post(other, T2, X_Backend_Object_Lock=T1, **KEPT).status == 202
        return found

    monkeypatch.setattr(verdicts, "_is_locked", looked)
    if verb == "PUT":
        got = app.put(T3, b"b" * size, X_Backend_Object_Lock=T1)
    else:
        got = app.request(verb, X_Timestamp=T3, X_Backend_Object_Lock=T1)
    assert got.status == 403 and looks[:2] == [False, True]
    assert app.files() == [f"{T1}.data", f"{T2}.meta"]


@pytest.mark.parametrize("batch", [True, False])
def test_of_two_changes_at_one_moment_one_sees_the_other(root, batch, monkeypatch):
    app, other = App(root, batch=batch), App(root, batch=False)
    app.put(T1)
    real = verdicts.forbids_change
    calls = []

    def looked(*args):
        calls.append(args)
        if len(calls) == 1:
            assert post(other, T2, X_Backend_Object_Lock=T1, **HELD).status == 202
        return real(*args)

    monkeypatch.setattr(verdicts, "forbids_change", looked)
    assert post(app, T3, X_Backend_Object_Lock=T1, **KEPT).status == 409
    assert app.files() == [f"{T1}.data", f"{T2}.meta"]


# -- other nodes ----------------------------------------------------------------------------------------------------------


def pushed(source, target):
    try:
        push(source, target.node)
    except Exception as error:  # a refusal ends the session with an error
        return error
    return None


def test_a_tombstone_of_who_knew_of_no_lock_does_not_count(pair):
    a, b = pair
    b.app.put(T1, **KEPT)
    a.app.request("DELETE", X_Timestamp=T2)  # nothing is there
    assert pushed(a, b) is not None
    assert b.app.files() == [f"{T1}.data"]


def test_a_tombstone_of_who_saw_the_lock_end_counts(pair):
    """The hold was let go, and the object removed, while the other node was away."""
    a, b = pair
    for one in pair:
        one.app.put(T1, **HELD)
    post(a.app, T2, X_Object_Transient_Sysmeta_S3api_Legal_Hold="OFF")
    assert a.app.request("DELETE", X_Timestamp=T3).status == 204
    assert pushed(a, b) is None
    assert b.app.files() == [f"{T3}.ts"]


def test_a_bypass_counts_on_all_nodes(pair):
    a, b = pair
    for one in pair:
        one.app.put(T1, **LOOSE)
    assert a.app.request("DELETE", X_Timestamp=T2, X_Backend_Object_Lock=Word(T1, True).text()).status == 204
    assert pushed(a, b) is None
    assert b.app.files() == [f"{T2}.ts"]


def test_a_tombstone_does_not_end_a_lock_that_was_set_after_the_look(pair):
    a, b = pair
    for one in pair:
        one.app.put(T1, X_Object_Transient_Sysmeta_S3api_Legal_Hold="OFF")
    assert a.app.request("DELETE", X_Timestamp=T3).status == 204
    post(b.app, T2, **HELD)
    assert pushed(a, b) is not None
    assert b.app.files() == [f"{T1}.data", f"{T2}.meta"]


def test_metadata_of_who_knew_of_no_lock_does_not_count(pair):
    a, b = pair
    a.app.put(T1)
    b.app.put(T1)
    post(b.app, T2, **KEPT)
    post(a.app, T3, X_Object_Meta_A="1")
    assert pushed(a, b) is not None
    assert b.app.request("DELETE", X_Timestamp=T4).status == 403
