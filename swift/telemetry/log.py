"""Loggers: what a log message looks like, at which level it is let through, and the request it belongs to.

Destinations are in `swift.telemetry.log_sinks`, access lines in `swift.telemetry.access_line`. Tokens, keys and request headers have no
place in a message: who writes one must see to that.

Spec: operations.md 8.1, 8.2.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from swift.core.concurrency import Timeout, getcurrent
from swift.core.config import csv_list, non_negative_int, truthy
from swift.core.errors import ConfigError
from swift.telemetry.log_sinks import (
    ConsoleSink,
    FileSink,
    Sink,
    StreamSink,
    SyslogSink,
    facility_code,
    shared_sink,
)

DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL = 10, 20, 25, 30, 40, 50
logging.addLevelName(NOTICE, "NOTICE")

messages_by_level: dict[int, int] = {}
"""How many messages this process has let through, from WARNING on."""

_LEVELS = {
    "DEBUG": DEBUG, "INFO": INFO, "NOTICE": NOTICE, "WARNING": WARNING, "WARN": WARNING, "ERROR": ERROR,
    "CRITICAL": CRITICAL, "FATAL": CRITICAL,
}  # fmt: skip

_SHORT_ERRORS = {
    errno.ECONNREFUSED: "Connection refused",
    errno.ECONNRESET: "Connection reset",
    errno.EHOSTUNREACH: "Host unreachable",
    errno.ENETUNREACH: "Network unreachable",
    errno.ETIMEDOUT: "Connection timeout",
    errno.EPIPE: "Broken pipe",
}

_has_control = re.compile(r"[\x00-\x1f\x7f]").search
_ESCAPES = {code: f"#{code:03o}" for code in (*range(32), 127)}


# -- the request at hand

Transaction = tuple[str | None, str | None, str]  # (transaction id, client address, id of its trace or "")


def set_transaction(txn: str | None, client_ip: str | None = None, trace: str = "") -> None:
    """Names the request that the current green thread works on; its id is appended to what it logs."""
    getcurrent().swift_transaction = (txn, client_ip, trace)


def transaction() -> Transaction:
    """What the current green thread works on: to be handed to one that it starts."""
    return getattr(getcurrent(), "swift_transaction", _NO_TRANSACTION)


_NO_TRANSACTION: Transaction = (None, None, "")


# -- texts


def escape_controls(text: str) -> str:
    """`text` on one line: control characters as `#` and three octal digits, as syslog daemons write them."""
    return text.translate(_ESCAPES) if _has_control(text) else text


def limit_length(text: str, longest: int) -> str:
    """`text` cut to `longest` characters (0: no limit), head and tail kept where there is room for that."""
    if longest <= 0 or len(text) <= longest:
        return text
    if longest < 7:
        return text[:longest]
    half = (longest - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def short_error(err: BaseException | None) -> str | None:
    """One phrase for errors of connections and time limits, None for those that deserve a traceback."""
    if isinstance(err, OSError) and err.errno is not None:
        if err.errno in (errno.EIO, errno.ENOSPC):
            return str(err)
        if err.errno in _SHORT_ERRORS:
            return _SHORT_ERRORS[err.errno]
    if isinstance(err, (Timeout, TimeoutError)):
        text = type(err).__name__
        seconds = getattr(err, "seconds", None)
        if isinstance(seconds, (int, float)):
            text += f" ({seconds}s)"
        message = getattr(err, "msg", None) or (str(err) if isinstance(err, TimeoutError) else None)
        return f"{text}: {message}" if message else text
    return None


# -- loggers


class Logger:
    """Sends messages of one component to its sinks.

    The methods of the standard library's loggers, plus `notice`. `extra_logger`: a standard logger with custom handlers
    that gets every message too.
    """

    def __init__(
        self,
        name: str,
        level: int,
        sinks: list[Sink],
        max_line_length: int = 0,
        extra_logger: logging.Logger | None = None,
    ) -> None:
        self.name = name
        self.level = level
        self.sinks = sinks
        self.max_line_length = max_line_length
        self.extra_logger = extra_logger

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return level >= self.level

    def getEffectiveLevel(self) -> int:  # noqa: N802
        return self.level

    def setLevel(self, level: int | str) -> None:  # noqa: N802
        self.level = level if isinstance(level, int) else _LEVELS.get(level.upper(), INFO)

    def debug(self, message: Any, *args: Any, **kwargs: Any) -> None:
        if self.level <= DEBUG:
            self._log(DEBUG, message, args, **kwargs)

    def info(self, message: Any, *args: Any, **kwargs: Any) -> None:
        if self.level <= INFO:
            self._log(INFO, message, args, **kwargs)

    def notice(self, message: Any, *args: Any, **kwargs: Any) -> None:
        if self.level <= NOTICE:
            self._log(NOTICE, message, args, **kwargs)

    def warning(self, message: Any, *args: Any, **kwargs: Any) -> None:
        if self.level <= WARNING:
            self._log(WARNING, message, args, **kwargs)

    warn = warning

    def error(self, message: Any, *args: Any, **kwargs: Any) -> None:
        if self.level <= ERROR:
            self._log(ERROR, message, args, **kwargs)

    def critical(self, message: Any, *args: Any, **kwargs: Any) -> None:
        if self.level <= CRITICAL:
            self._log(CRITICAL, message, args, **kwargs)

    def exception(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """ERROR with the current exception: one phrase for failed connections and time limits, else its traceback."""
        if self.level > ERROR:
            return
        kwargs.pop("exc_info", None)
        err = sys.exc_info()[1]
        phrase = short_error(err)
        if phrase is not None:
            self._log(ERROR, f"{_formatted(message, args)}: {phrase}", (), **kwargs)
        else:
            self._log(ERROR, message, args, exc_info=err, **kwargs)

    def log(self, level: int, message: Any, *args: Any, **kwargs: Any) -> None:
        if level >= self.level:
            self._log(level, message, args, **kwargs)

    def access(self, level: int, line: str) -> None:
        """Sends a finished access line: nothing is appended to it, and it must hold no control characters."""
        if level < self.level:
            return
        if self.max_line_length:
            line = self._cut(line)
        for sink in self.sinks:
            sink.emit(level, self.name, line, None, None)
        if self.extra_logger is not None:
            self.extra_logger.log(level, "%s", line)

    def _log(
        self, level: int, message: Any, args: tuple, exc_info: Any = None, extra: Any = None, **unused: Any
    ) -> None:
        text = _formatted(message, args)
        if level >= WARNING:
            messages_by_level[level] = messages_by_level.get(level, 0) + 1
        if self.extra_logger is not None:
            self.extra_logger.log(level, "%s", text, exc_info=exc_info)
        if exc_info:
            text = f"{text}\n{_trace(exc_info)}" if text else _trace(exc_info)
        text = escape_controls(text)
        txn, client_ip, _ = transaction()
        if txn and txn not in text:
            text += f" (txn: {escape_controls(txn)})"
        if client_ip and level != INFO and client_ip not in text:
            text += f" (client_ip: {escape_controls(client_ip)})"
        if self.max_line_length:
            text = self._cut(text)
        for sink in self.sinks:
            sink.emit(level, self.name, text, txn, client_ip)

    def _cut(self, text: str) -> str:
        """Applies the limit to the line as a whole, its name included."""
        head = f"{self.name}: "
        return limit_length(head + text, self.max_line_length)[len(head) :]


def _formatted(message: Any, args: tuple) -> str:
    text = str(message)
    if not args:
        return text
    try:
        if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
            return text % args[0]
        return text % args
    except (TypeError, ValueError, KeyError):
        return f"{text} {args!r}"


def _trace(exc_info: Any) -> str:
    if isinstance(exc_info, BaseException):
        err: Any = exc_info
    elif isinstance(exc_info, tuple):
        err = exc_info[1]
    else:
        err = sys.exc_info()[1]
    if err is None:
        return ""
    return "".join(traceback.format_exception(type(err), err, err.__traceback__)).rstrip("\n")


def log_level(text: Any) -> int:
    """The number of a level's name; INFO for unknown ones."""
    return _LEVELS.get(str(text).upper(), INFO)


_TARGETS = ("syslog", "file", "stdout", "stderr")


def _sinks_of(conf: Mapping[str, Any], log_to_console: bool) -> list[Sink]:
    sinks: list[Sink] = []
    path = str(conf.get("log_file") or "")
    target = str(conf.get("log_to") or ("file" if path else "syslog")).lower()
    if target not in _TARGETS or target == "file" and not path:
        raise ConfigError(
            f"log_to must be one of {', '.join(_TARGETS)} (file: with log_file), not {target!r}"
        )
    if target == "file":
        max_bytes = non_negative_int(conf.get("log_file_max_bytes") or 0)
        sink = shared_sink(FileSink, path, truthy(conf.get("log_json")), max_bytes)
        try:
            sink.open()
        except OSError as err:
            raise ConfigError(f"Cannot write to log_file {path}: {err.strerror}") from None
        sinks.append(sink)
    elif target in ("stdout", "stderr"):
        sinks.append(shared_sink(StreamSink, 1 if target == "stdout" else 2))
    else:
        address: Any = conf.get("log_address") or "/dev/log"
        if conf.get("log_udp_host"):
            address = (str(conf["log_udp_host"]), int(conf.get("log_udp_port") or 514))
        sinks.append(shared_sink(SyslogSink, facility_code(conf.get("log_facility")), address))
    if log_to_console:
        sinks.append(shared_sink(ConsoleSink))
    return sinks


def get_logger(
    conf: Mapping[str, Any] | None,
    name: str | None = None,
    log_to_console: bool = False,
    log_route: str | None = None,
) -> Logger:
    """The logger of a component.

    `conf`: log_name, log_level, log_facility, log_address, log_udp_host, log_udp_port, log_max_line_length,
    log_custom_handlers; also log_to (syslog, file, stdout, stderr), log_file, log_json. `name`: default of log_name.
    `log_route`: name of the standard library's logger that custom handlers are attached to.
    Raises ConfigError for a place that messages can't go to.
    """
    conf = conf or {}
    shown = str(conf.get("log_name") or name or "swift")
    logger = Logger(
        shown,
        log_level(conf.get("log_level", "INFO")),
        _sinks_of(conf, log_to_console or truthy(conf.get("log_to_console"))),
        max_line_length=int(conf.get("log_max_line_length") or 0),
    )
    if conf.get("log_custom_handlers"):
        _add_custom_handlers(logger, conf, shown, log_to_console, log_route or shown)
    return logger


def _add_custom_handlers(
    logger: Logger, conf: Mapping[str, Any], name: str, log_to_console: bool, log_route: str
) -> None:
    standard = logging.getLogger(log_route)
    standard.propagate = False
    standard.setLevel(logger.level)
    logger.extra_logger = standard
    for hook in csv_list(conf["log_custom_handlers"]):
        module_name, _, function_name = hook.rpartition(".")
        if not module_name:
            print(f"Invalid custom handler format [{hook}]", file=sys.stderr)
            continue
        try:
            function = getattr(__import__(module_name, fromlist=[function_name]), function_name)
            function(
                conf, name, log_to_console, log_route, logging.Formatter("%(message)s"), standard, logger
            )
        except Exception:  # a foreign handler must not stop a server
            print(f"Error calling custom handler [{hook}]", file=sys.stderr)


# -- standard streams


class LoggerFile:
    """A text stream whose writes become ERROR messages."""

    encoding = "utf-8"
    errors = "replace"
    closed = False

    def __init__(self, logger: Logger, prefix: str) -> None:
        self._logger = logger
        self._prefix = prefix
        self._writing = False

    def write(self, text: str) -> int:
        stripped = text.strip()
        if stripped and not self._writing:
            self._writing = True  # a sink that fails by printing must not come back here
            try:
                if "Connection reset by peer" in stripped:
                    stripped = "Connection reset by peer"
                self._logger.error("%s: %s", self._prefix, stripped)
            finally:
                self._writing = False
        return len(text)

    def writelines(self, lines: Any) -> None:
        self.write("\n".join(lines))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError(errno.EBADF, "this stream goes to the log")


class LibraryRecords(logging.Handler):
    """What libraries tell the standard library's loggers, from WARNING on, at the level that they gave it."""

    def __init__(self, logger: Logger) -> None:
        super().__init__(WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if self._logger.isEnabledFor(record.levelno):
            text = _formatted(record.msg, record.args if isinstance(record.args, tuple) else (record.args,))
            self._logger._log(record.levelno, "%s: %s", (record.name, text), record.exc_info)


def capture_stdio(logger: Logger) -> None:
    """Sends standard output and error to the log, and uncaught exceptions and what libraries log too; the descriptors go to /dev/null.

    Whoever reads the other end of their pipe sees it closed: the sign that a server is ready. Standard error stays if the
    logger writes to the console.
    """

    def log_uncaught(kind: type[BaseException], value: BaseException, trace: Any) -> None:
        logger.critical("UNCAUGHT EXCEPTION", exc_info=(kind, value, trace))

    sys.excepthook = log_uncaught
    console = any(isinstance(sink, ConsoleSink) for sink in logger.sinks)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1) if console else (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
    sys.stdout = LoggerFile(logger, "STDOUT")  # type: ignore[assignment]
    sys.stderr = LoggerFile(logger, "STDERR")  # type: ignore[assignment]
    logging.getLogger().addHandler(LibraryRecords(logger))
