import errno
import json
import logging
import os
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.core.concurrency import Timeout, spawn
from swift.telemetry import log, log_sinks
from swift.telemetry.log import get_logger, limit_length, set_transaction


class Memory:
    dropped = 0

    def __init__(self):
        self.lines = []

    def emit(self, level, name, text, txn, client_ip):
        self.lines.append((level, f"{name}: {text}"))


@pytest.fixture(autouse=True)
def no_transaction():
    set_transaction(None)
    yield
    set_transaction(None)


@pytest.fixture(autouse=True)
def fresh_sinks(monkeypatch):
    monkeypatch.setattr(log_sinks, "_sinks", {})


def memory_logger(level=log.DEBUG, **kwargs):
    sink = Memory()
    return log.Logger("srv", level, [sink], **kwargs), sink.lines


def test_vectors_of_the_message_format():
    logger, lines = memory_logger(max_line_length=20)
    logger.error("abcdefghijklmnopqrstuvwxyz")
    assert lines == [(40, "srv: ab ... tuvwxyz")]
    logger, lines = memory_logger()
    set_transaction("tx123", "1.2.3.4")
    logger.info("two\nlines")
    logger.warning("two\nlines")
    logger.warning("about tx123 of 1.2.3.4")
    assert [line for _, line in lines] == [
        "srv: two#012lines (txn: tx123)",
        "srv: two#012lines (txn: tx123) (client_ip: 1.2.3.4)",
        "srv: about tx123 of 1.2.3.4",
    ]


def test_the_transaction_belongs_to_one_green_thread():
    logger, lines = memory_logger()
    set_transaction("tx1")
    spawn(logger.info, "other").wait()
    logger.info("own")
    assert [line for _, line in lines] == ["srv: other", "srv: own (txn: tx1)"]


@given(st.text(), st.integers(0, 40))
def test_no_message_makes_two_lines_or_exceeds_the_limit(text, longest):
    logger, lines = memory_logger(max_line_length=longest)
    logger.warning("%s", text)
    line = lines[0][1]
    assert not any(ord(char) < 32 or ord(char) == 127 for char in line)
    if longest > len("srv: "):
        assert len(line) <= longest


@pytest.mark.parametrize(
    ("longest", "cut"),
    [(0, "abcdefghij"), (10, "abcdefghij"), (9, "ab ... ij"), (7, "a ... j"), (6, "abcdef"), (1, "a")],
)
def test_limit_length(longest, cut):
    assert limit_length("abcdefghij", longest) == cut


def test_levels():
    logger, lines = memory_logger(log.WARNING)
    logger.debug("no")
    logger.info("no")
    logger.notice("no")
    logger.log(25, "no")
    logger.access(20, "no")
    logger.warning("%s of %d", "one", 2)
    logger.error("%(a)s", {"a": 5})
    logger.critical("100%")
    logger.warning("%d", "not a number")
    assert lines == [
        (30, "srv: one of 2"),
        (40, "srv: 5"),
        (50, "srv: 100%"),
        (30, "srv: %d ('not a number',)"),
    ]
    assert logger.isEnabledFor(30) and not logger.isEnabledFor(20)
    assert get_logger({"log_level": "debug"}).level == 10 and get_logger({"log_level": "loud"}).level == 20


def logged_exception(err):
    logger, lines = memory_logger()
    try:
        raise err
    except BaseException:
        logger.exception("while %s", "trying")
    return lines[0][1]


@pytest.mark.parametrize(
    ("err", "phrase"),
    [
        (OSError(errno.ECONNREFUSED, "x"), "Connection refused"),
        (OSError(errno.ECONNRESET, "x"), "Connection reset"),
        (OSError(errno.EHOSTUNREACH, "x"), "Host unreachable"),
        (OSError(errno.ENETUNREACH, "x"), "Network unreachable"),
        (OSError(errno.ETIMEDOUT, "x"), "Connection timeout"),
        (OSError(errno.EPIPE, "x"), "Broken pipe"),
        (OSError(errno.ENOSPC, "No space left on device"), "[Errno 28] No space left on device"),
        (TimeoutError("timed out"), "TimeoutError: timed out"),
    ],
)
def test_failed_connections_are_one_phrase(err, phrase):
    assert logged_exception(err) == f"srv: while trying: {phrase}"


def test_time_limits_tell_their_length():
    timeout = Timeout(60.0)
    timeout.cancel()
    assert logged_exception(timeout) == "srv: while trying: Timeout (60.0s)"


def test_other_exceptions_come_with_their_traceback_on_one_line():
    line = logged_exception(ValueError("bad\nvalue"))
    assert line.startswith("srv: while trying#012Traceback (most recent call last):#012") and line.endswith(
        "#012value"
    )


def unix_receiver(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    sock.settimeout(60)
    return sock


def test_syslog_datagrams(tmp_path):
    with unix_receiver(tmp_path / "log") as receiver:
        logger = get_logger(
            {"log_address": str(tmp_path / "log"), "log_facility": "LOG_LOCAL3", "log_level": "DEBUG"},
            "container-auditor",
        )
        logger.info("Begin ☃")
        assert receiver.recv(1000) == "<158>container-auditor: Begin ☃\0".encode()
        logger.notice("n")
        logger.debug("d")
        assert receiver.recv(1000) == b"<157>container-auditor: n\0"
        assert receiver.recv(1000) == b"<159>container-auditor: d\0"


def test_syslog_over_udp_and_unknown_facility():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(60)
        port = receiver.getsockname()[1]
        conf = {
            "log_udp_host": "127.0.0.1",
            "log_udp_port": str(port),
            "log_facility": "LOG_NOWHERE",
            "log_name": "n",
        }
        get_logger(conf, "x").error("e")
        assert receiver.recv(1000) == b"<131>n: e\0"


def test_a_full_or_missing_syslog_drops_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(log_sinks, "RECONNECT_SECONDS", 0)
    path = tmp_path / "log"
    with unix_receiver(path) as receiver:
        logger = get_logger({"log_address": str(path)}, "x")
        for _ in range(100_000):
            logger.info("fill")
            if log_sinks.dropped_messages():
                break
        assert log_sinks.dropped_messages()
        receiver.close()
    path.unlink()
    logger.info("nobody listens")
    with unix_receiver(path) as receiver:
        logger.info("back?")
        logger.info("back")
        assert b"back" in receiver.recv(1000)


def test_a_message_too_long_for_a_datagram_is_cut(tmp_path):
    with unix_receiver(tmp_path / "log") as receiver:
        get_logger({"log_address": str(tmp_path / "log")}, "x").info("y" * 10_000_000)
        data = receiver.recv(100_000)
        assert (
            data.startswith(b"<134>x: yyy")
            and data.endswith(b"y\0")
            and len(data) == log_sinks.TRUNCATED_BYTES
        )


def test_log_file_and_its_rotation(tmp_path, monkeypatch):
    monkeypatch.setattr(log_sinks, "REOPEN_CHECK_SECONDS", 0)
    path = tmp_path / "a.log"
    logger = get_logger({"log_file": str(path)}, "x")
    logger.warning("one")
    os.rename(path, tmp_path / "a.log.1")
    logger.warning("two")
    assert (tmp_path / "a.log.1").read_text().endswith("Z WARNING x: one\n")
    assert path.read_text().endswith("Z WARNING x: two\n")


def test_json_lines(tmp_path):
    path = tmp_path / "a.log"
    logger = get_logger({"log_file": str(path), "log_json": "yes"}, "x")
    set_transaction("tx1", "::1")
    logger.error('a "b"')
    entry = json.loads(path.read_text())
    assert entry.pop("time").endswith("Z") and entry.pop("pid") == os.getpid()
    assert entry == {
        "level": "ERROR", "name": "x", "message": 'a "b" (txn: tx1) (client_ip: ::1)', "txn": "tx1", "client_ip": "::1",
    }  # fmt: skip


def test_stdout_lines_of_a_slow_reader_are_queued_then_dropped():
    read_end, write_end = os.pipe()
    try:
        sink = log_sinks.StreamSink(write_end)
        for _ in range(3000):
            sink.emit(20, "x", "y" * 1000, None, None)
        assert sink.dropped
        before = sink.dropped
        got = b""
        while True:
            sink.flush()
            os.set_blocking(read_end, False)
            try:
                got += os.read(read_end, 1 << 20)
            except BlockingIOError:
                break
        lines = got.splitlines()
        assert len(lines) + before == 3000
        assert all(json.loads(line)["message"] == "y" * 1000 for line in lines)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_custom_handlers(monkeypatch, capsys):
    seen = []

    class Handler(logging.Handler):
        def emit(self, record):
            seen.append((record.levelno, record.getMessage()))

    def attach(conf, name, log_to_console, log_route, fmt, logger, adapted_logger):
        logger.addHandler(Handler())

    monkeypatch.setattr(log, "attach_for_test", attach, raising=False)
    conf = {"log_custom_handlers": "swift.telemetry.log.attach_for_test, swift.telemetry.log.nonesuch, nodot"}
    logger = get_logger(conf, "x", log_route="test-route")
    logger.warning("to %s", "all")
    logger.access(20, "an access line")
    assert seen == [(30, "to all"), (20, "an access line")]
    assert capsys.readouterr().err.splitlines() == [
        "Error calling custom handler [swift.telemetry.log.nonesuch]",
        "Invalid custom handler format [nodot]",
    ]


CAPTURE = """
import sys
from swift.telemetry.log import get_logger, capture_stdio
logger = get_logger({"log_file": sys.argv[1]}, "x", log_to_console=sys.argv[2] == "console")
print("before", flush=True)
capture_stdio(logger)
print("printed")
sys.stderr.write("write failed: Connection reset by peer\\n")
import logging
logging.getLogger("some.package").warning("a token of %s was refused", "somebody")
logging.getLogger("some.package").warning("%d of %d", "odd")
logging.getLogger("some.package").warning("%(a)s", {"a": "named"})
logging.getLogger("some.package").info("no news")
raise ValueError("boom")
"""


@pytest.mark.parametrize("console", ["", "console"])
def test_captured_streams(tmp_path, console):
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", CAPTURE, str(path), console], capture_output=True, text=True)
    assert done.stdout == "before\n"
    text = path.read_text()
    assert "ERROR x: STDOUT: printed\n" in text
    assert "ERROR x: STDERR: Connection reset by peer\n" in text
    assert "WARNING x: some.package: a token of somebody was refused\n" in text
    assert "WARNING x: some.package: %d of %d" in text
    assert "WARNING x: some.package: named\n" in text
    assert "no news" not in text and "Logging error" not in text
    assert "CRITICAL x: UNCAUGHT EXCEPTION#012Traceback" in text
    assert ("x: STDOUT: printed\n" in done.stderr) == bool(console)
