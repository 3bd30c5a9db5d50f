"""A file that is slow to write to stops nobody."""

import os
import subprocess
import sys
import threading
import time

import pytest

from swift.telemetry import line_writer
from swift.telemetry.line_writer import LineWriter
from swift.telemetry.log_sinks import FileSink, StreamSink


@pytest.fixture
def beside(monkeypatch):
    monkeypatch.setattr(line_writer, "_beside", True)


def flush(writer):
    writer.flush(time.monotonic() + 30)


def test_before_a_process_serves_lines_are_written_at_once():
    written = []
    LineWriter(written.append).put(b"a\n")
    assert written == [b"a\n"]


def test_a_hung_file_holds_nobody_and_its_queue_is_bounded(beside, monkeypatch):
    hung, written = threading.Event(), []

    def write(lines):
        assert hung.wait(60)
        written.append(lines)

    writer = LineWriter(write)
    for _ in range(3 * line_writer.MAX_QUEUED_BYTES // 1000):
        writer.put(b"x" * 999 + b"\n")
    assert writer.dropped >= 1000
    hung.set()
    flush(writer)
    lines = b"".join(written).count(b"\n")
    assert lines + writer.dropped == 3 * line_writer.MAX_QUEUED_BYTES // 1000
    writer.put(b"there is room again\n")
    flush(writer)
    assert written[-1].endswith(b"there is room again\n")


def test_lines_of_files_keep_their_order_and_follow_a_rotation(beside, tmp_path):
    path = tmp_path / "log"
    sink = FileSink(str(path))
    for number in range(200):
        sink.emit(20, "x", str(number), None, None)
    flush(sink._writer)
    assert [line.rpartition(": ")[2] for line in path.read_text().splitlines()] == [
        str(n) for n in range(200)
    ]
    path.rename(tmp_path / "log.1")
    sink._check_at = 0
    sink.emit(20, "x", "after", None, None)
    flush(sink._writer)
    assert path.read_text().endswith("after\n")


def test_standard_output_into_a_file(beside, tmp_path):
    fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    try:
        sink = StreamSink(fd)
        sink.emit(20, "x", "one", None, None)
        flush(sink._file)
    finally:
        os.close(fd)
    assert '"message": "one"' in (tmp_path / "out").read_text()


def test_a_write_that_fails_is_counted(beside):
    def full(lines):
        raise OSError("disk full")

    writer = LineWriter(full)
    writer.put(b"a\n")
    flush(writer)
    assert writer.dropped == 1


ENDS = """
import os, sys
from swift.telemetry import line_writer
from swift.telemetry.log_sinks import FileSink
line_writer.write_beside_the_loop()
sink = FileSink(sys.argv[1])
sink.emit(20, "x", "parent", None, None)
if os.fork() == 0:
    sink.emit(20, "x", "child", None, None)
    line_writer.flush_all()
    os._exit(0)
os.wait()
sink.emit(20, "x", "last words", None, None)
"""


def test_last_words_arrive_and_children_write_too(tmp_path):
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ENDS, str(tmp_path / "log")], check=True, timeout=60
    )
    said = [line.rpartition(": ")[2] for line in (tmp_path / "log").read_text().splitlines()]
    assert said == ["parent", "child", "last words"]


def test_a_long_file_is_put_aside_once(tmp_path):
    path = tmp_path / "log"
    ours, theirs = (FileSink(str(path), max_bytes=1000) for _ in range(2))  # as two processes would
    for sink in (ours, theirs):
        for number in range(20):
            sink.emit(20, "x", "y" * 50 + str(number), None, None)
    for sink in (ours, theirs):
        sink._check_at = 0
        sink.emit(20, "x", "last", None, None)
    assert (tmp_path / "log.1").stat().st_size > 1000
    assert path.read_text().count("last") == 2
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]
