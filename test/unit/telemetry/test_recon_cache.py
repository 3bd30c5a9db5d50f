import fcntl
import json
import os

from hypothesis import given
from hypothesis import strategies as st

from swift.telemetry import recon_cache


class Log:
    def __init__(self):
        self.lines = []

    def exception(self, message, *args):
        self.lines.append(message % args)

    error = exception


def test_one_line_of_sorted_json_that_others_may_read(tmp_path):
    path = str(tmp_path / "object.recon")
    log = Log()
    recon_cache.dump({"b": 1, "a": {"x": 1, "y": 2}}, path, log)
    recon_cache.dump({"a": {"x": {}, "z": 3}, "c": None}, path, log)
    with open(path) as file:
        assert file.read() == '{"a": {"y": 2, "z": 3}, "b": 1, "c": null}\n'
    assert os.stat(path).st_mode & 0o777 == 0o644
    recon_cache.dump({"a": {}, "b": {"q": 1}}, path, log)
    assert recon_cache.read(path) == {"b": {"q": 1}, "c": None}
    assert not log.lines and os.listdir(tmp_path) == ["object.recon"]


def test_rubbish_is_replaced(tmp_path):
    path = tmp_path / "object.recon"
    for text in ("rubbish\n", "[1]\n", ""):
        path.write_text(text)
        assert recon_cache.read(str(path)) == {}
        recon_cache.dump({"a": 1}, str(path), Log())
        assert json.loads(path.read_text()) == {"a": 1}


def test_errors_are_only_logged(tmp_path):
    log = Log()
    recon_cache.dump({"a": 1}, str(tmp_path / "missing" / "object.recon"), log)
    recon_cache.dump({"a": object()}, str(tmp_path / "object.recon"), log)
    path = tmp_path / "locked.recon"
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        recon_cache.dump({"a": 1}, str(path), log, lock_seconds=0.02)
    assert len(log.lines) == 3 and all(
        line.startswith("Exception dumping recon cache: ") for line in log.lines
    )
    assert path.read_text() == ""


def test_updates_are_held_back_between_writes(tmp_path):
    path = str(tmp_path / "object.recon")
    cache = recon_cache.ReconCache(path, Log(), seconds=3600)
    cache.update({"a": 1})
    assert recon_cache.read(path) == {"a": 1}
    cache.update({"d": {"x": 1}})
    cache.update({"d": {}})
    cache.update({"d": {"y": 1}})
    assert recon_cache.read(path) == {"a": 1}
    cache.flush()
    assert recon_cache.read(path) == {"a": 1, "d": {"y": 1}}


@given(
    st.dictionaries(
        st.text(), st.one_of(st.integers(), st.dictionaries(st.text(), st.integers(), min_size=1))
    )
)
def test_a_merge_into_nothing_is_the_update(update):
    cache = {}
    recon_cache.merge(cache, update)
    assert cache == update
