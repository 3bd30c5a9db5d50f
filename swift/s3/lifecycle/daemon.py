"""The daemon of lifecycle rules: finds the buckets that have some among the container databases of its node (spec s3.md 17.3).

A bucket is worked on by the first node that has it, by another one if that has not for long; a note in the container's sysmeta says who
began when. Two at the same time do no harm. Never here: what is done to a bucket (`work`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swift.container.broker import ContainerBroker, is_deleted
from swift.core import clock
from swift.core.concurrency import Timeout, sleep, spawn
from swift.core.config import non_negative_float, positive_float, positive_int, truthy
from swift.core.errors import ConfigError
from swift.core.swift_dir import use as use_swift_dir
from swift.db.errors import DatabaseError, DatabaseMissing
from swift.db.walker import Walker
from swift.engine.threads import DeviceBusy, pool_for
from swift.ring.errors import RingError
from swift.ring.lookup import Ring
from swift.run.addresses import is_own_device, own_addresses
from swift.run.daemon import Daemon
from swift.run.pipeline import ConfigText
from swift.s3 import bucket_documents
from swift.s3.lifecycle.objects import Bucket, Unsure
from swift.s3.lifecycle.rules import Rules
from swift.s3.lifecycle.work import BucketPass, Figures
from swift.s3.multipart import layout
from swift.s3.notifications.expirations import Expirations
from swift.telemetry import recon_cache
from swift.telemetry.log import get_logger
from swift.telemetry.units import unit_of_work
from swift.wire import direct
from swift.wire.internal import InternalClient, UnexpectedResponse

RECON = "s3.recon"
LOCK_TIMEOUT = 10.0
_LOOKS_AGAIN = 30.0  # seconds, at the rules during a pass
_DOCUMENT = (bucket_documents.HEADER + "lifecycle").lower()
_RUN = "Lifecycle-Run"
_RUN_KEY = ("x-container-sysmeta-s3api-" + _RUN).lower()
_RESTS = 20 / 24  # of a day, after a pass that ended
_WAITS = 6 / 24  # of a day, for one that did not end, and for a node that is first
PIPELINE = """[DEFAULT]
swift_dir = {swift_dir}
[pipeline:main]
pipeline = catch_errors proxy-logging cache versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
[filter:cache]
use = egg:swift#memcache
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:catch_errors]
use = egg:swift#catch_errors
"""


def make_client(conf: Mapping[str, Any], swift_dir: str, agent: str) -> InternalClient:
    """Through the pipeline of `internal_client_conf_path`, or one of its own. Raises ConfigError."""
    path = conf.get("internal_client_conf_path")
    if path and not os.path.exists(path):
        raise ConfigError(f"internal_client_conf_path: there is no {path}")
    text = path or ConfigText(PIPELINE.format(swift_dir=swift_dir))
    return InternalClient(text, agent, positive_int(conf.get("request_tries", 3)))


class Lifecycle(Daemon):
    """The daemon. `conf`: section s3-lifecycle. Raises ValueError, ConfigError."""

    def __init__(
        self, conf: Mapping[str, Any], logger: Any = None, ring: Any = None, client: Any = None
    ) -> None:
        super().__init__(conf, logger or get_logger(conf, "s3-lifecycle"))
        self.swift_dir = use_swift_dir(conf.get("swift_dir"))
        self.walker = Walker(
            conf.get("devices", "/srv/node"),
            truthy(conf.get("mount_check", "true")),
            ContainerBroker.data_directory,
            self.logger,
        )
        self.interval = positive_float(conf.get("interval", 3600))
        self.concurrency = positive_int(conf.get("concurrency", 8))
        self.rate = positive_float(conf.get("rate", 200))
        self.day = positive_float(conf.get("lifecycle_day_seconds", 86400))
        self.location = str(conf.get("location", "us-east-1"))
        self.orphan_days = non_negative_float(conf.get("orphan_parts_days", 0))
        self.addresses = own_addresses(conf.get("ring_ip") or conf.get("bind_ip"))
        self.ring = ring or _container_ring(self.swift_dir, self.logger)
        self.recon_file = os.path.join(conf.get("recon_cache_path", recon_cache.DEFAULT_PATH), RECON)
        self.figures = Figures()
        self._client = client
        self._next = 0.0

    @property
    def client(self) -> InternalClient:
        """Made with the first bucket that has rules: most nodes never need one."""
        if self._client is None:
            self._client = make_client(self.conf, self.swift_dir, "Swift S3 Lifecycle")
        client: InternalClient = self._client
        return client

    # -- passes

    def run_forever(self, **options: Any) -> None:
        """Pass after pass, one in `interval` seconds, the first at a random moment of the first interval."""
        sleep(clock.random() * self.interval)
        while True:
            elapsed = self._pass()
            if elapsed < self.interval:
                sleep(self.interval - elapsed)

    def run_once(self, **options: Any) -> None:
        """One pass over all buckets with rules that are this node's to work on."""
        self._pass()

    def _pass(self) -> float:
        started = clock.time()
        self.figures = Figures()
        looks = [spawn(self._look_at_device, path) for path in self.walker.device_paths()]
        for look in looks:
            look.wait()
        figures = self.figures
        ended = clock.time()
        told = {
            "last_pass": ended,
            "seconds": ended - started,
            "buckets": figures.buckets,
            "expired": figures.expired,
            "aborted": figures.aborted,
            "orphans": figures.orphans,
            "errors": figures.errors,
        }
        recon_cache.dump({"s3_lifecycle": told}, self.recon_file, self.logger)
        self.logger.info(
            "Lifecycle pass: %d buckets, %d expired, %d uploads aborted, %d orphaned parts removed, %d errors, %.2fs",
            figures.buckets,
            figures.expired,
            figures.aborted,
            figures.orphans,
            figures.errors,
            ended - started,
        )
        return ended - started

    def _look_at_device(self, device_path: str) -> None:
        try:
            for _, path in self.walker.on_device(device_path):
                self._look_logged(device_path, path)
        except DeviceBusy as err:
            self.logger.error("ERROR on %s, the rest is left for the next time: %s", device_path, err)
        except Exception:
            self.logger.exception("ERROR on %s", device_path)

    @unit_of_work
    def _look_logged(self, device_path: str, path: str) -> None:
        try:
            self._look(device_path, path)
        except DeviceBusy:
            raise
        except (DatabaseMissing, FileNotFoundError):
            return
        except (DatabaseError, sqlite3.Error, OSError, Unsure, UnexpectedResponse, Timeout) as err:
            self.figures.errors += 1
            self.logger.error("ERROR %s: %s", path, err)
        except Exception:
            self.figures.errors += 1
            self.logger.exception("ERROR %s", path)

    # -- one container

    def _look(self, device_path: str, path: str) -> None:
        found = pool_for(device_path).run(_read, path, self.orphan_days > 0, self.logger)
        if found is None:
            return
        info, document, run = found
        account, container = info["account"], info["container"]
        part, nodes = self.ring.get_nodes(account, container)
        device = os.path.basename(device_path)
        rank = next((at for at, node in enumerate(nodes) if self._is_mine(node, device)), None)
        if rank is None or not self._is_turn(run, info, rank):
            return

        def check() -> list[str]:
            return check_document(part, nodes, account, container, document)

        bucket = Bucket(self.client, account, container)  # first, as that takes time
        # Another node may have begun since this one's replica was read.
        if all(self._is_turn(note, info, rank) for note in check()):
            if document:
                self._work_on(bucket, document, check)
            else:
                self._sweep(bucket, check)

    def _is_mine(self, node: Mapping[str, Any], device: str) -> bool:
        return node["device"] == device and is_own_device(node, self.addresses, node["port"])

    def _is_turn(self, run: str, info: Mapping[str, Any], rank: int) -> bool:
        """Returns True if a bucket is due. `run`: the note of the last pass; `rank`: among its nodes, this one's."""
        started, ended = parse_run(run)
        later = rank * _WAITS * self.day
        now = clock.time()
        if ended:
            return now >= ended + _RESTS * self.day + later
        if started:
            return now >= started + _WAITS * self.day + later
        return now >= float(info["put_timestamp"]) + later

    def _work_on(self, bucket: Bucket, document: str, check: Callable[[], object]) -> None:
        def fetch(timestamp: str, name: str = "Lifecycle") -> bytes | None:
            obj = bucket_documents.object_name(name, timestamp)
            return bucket.read(bucket_documents.CONTAINER + bucket.name, obj, bucket_documents.MOST_BYTES)

        try:
            found = bucket_documents.parse(document, fetch)
            rules = Rules(found, self.day) if found is not None else None
        except (ValueError, KeyError, TypeError) as err:
            self.figures.errors += 1
            self.logger.error("ERROR The rules of %s/%s are unreadable: %r", bucket.account, bucket.name, err)
            return
        if rules is None:
            return
        started = clock.time()
        note = f"{started:.5f};{os.uname().nodename};"
        bucket.set_sysmeta(_RUN, note)
        self.figures.buckets += 1
        told = Expirations(
            self.client,
            bucket.account,
            bucket.name,
            self.location,
            bucket.is_there().headers,
            lambda timestamp: fetch(timestamp, "Notification"),
            self.logger.error,
        )
        BucketPass(
            bucket,
            rules,
            self.figures,
            self._pace,
            self.logger.error,
            self.concurrency,
            check=_at_times(check),
            tell=told.tell,
        ).run()
        bucket.set_sysmeta(_RUN, f"{note}{clock.time():.5f}")

    def _sweep(self, segments: Bucket, check: Callable[[], object]) -> None:
        """Of a segments container: the parts that nothing is made of go."""
        bucket = Bucket(self.client, segments.account, segments.name.removesuffix(layout.SUFFIX))
        note = f"{clock.time():.5f};{os.uname().nodename};"
        segments.set_sysmeta(_RUN, note)
        BucketPass(
            bucket,
            Rules({"Rule": []}, self.day),
            self.figures,
            self._pace,
            self.logger.error,
            self.concurrency,
            self.orphan_days * self.day,
            _at_times(check),
        ).sweep()
        segments.set_sysmeta(_RUN, f"{note}{clock.time():.5f}")

    def _pace(self) -> None:
        """Not more than `rate` removals a second."""
        now = clock.monotonic()
        at = max(now, self._next)
        self._next = at + 1 / self.rate
        if at > now:
            sleep(at - now)


def check_document(
    part: int, nodes: Iterable[Mapping[str, Any]], account: str, container: str, document: str
) -> list[str]:
    """The nodes' notes of the last pass.

    Raises Unsure unless most of a container's nodes, and all that answer, have this document: one replica may be behind.
    """
    notes: list[str] = []
    count = 0
    for node in nodes:
        count += 1
        try:
            headers, _ = direct.get_container(node, part, account, container, limit=1)
        except direct.DirectError:
            continue
        if (headers.get(_DOCUMENT) or "") != document:
            raise Unsure(
                f"{account}/{container}: the rules are not the same everywhere, or changed meanwhile"
            )
        notes.append(headers.get(_RUN_KEY) or "")
    if len(notes) * 2 <= count:
        raise Unsure(f"{account}/{container}: too few nodes tell its rules")
    return notes


def _at_times(check: Callable[[], object]) -> Callable[[], None]:
    """A check that does something once in _LOOKS_AGAIN seconds only."""
    checked = clock.monotonic()

    def at_times() -> None:
        nonlocal checked
        if clock.monotonic() - checked >= _LOOKS_AGAIN:
            check()
            checked = clock.monotonic()

    return at_times


def parse_run(text: str) -> tuple[float, float]:
    """(start, end) of the last pass by its note, 0 for what is not known."""
    parts = text.split(";")
    try:
        started = float(parts[0]) if parts[0] else 0.0
        ended = float(parts[2]) if len(parts) > 2 and parts[2] else 0.0
    except ValueError:
        return 0.0, 0.0
    return started, ended


def _read(path: str, sweeps: bool, logger: Any) -> tuple[dict[str, Any], str, str] | None:
    """(info, the lifecycle document's header, the note of the last pass); None for what has no rules, but for segments containers where those
    are looked through, too (`sweeps`): they have no document. Blocks."""
    broker = ContainerBroker(path, lock_timeout=LOCK_TIMEOUT, logger=logger)
    if not broker.exists():
        return None
    metadata = {name.lower(): value for name, (value, _) in broker.metadata().items()}
    document = metadata.get(_DOCUMENT)
    if not (document or sweeps) or not broker.is_root():
        return None
    info = broker.info()
    is_swept = sweeps and info["container"].endswith(layout.SUFFIX) and info["object_count"] > 0
    if is_deleted(info) or not (document or is_swept):
        return None
    return info, document or "", metadata.get(_RUN_KEY) or ""


def _container_ring(swift_dir: str, logger: Any) -> Ring:
    try:
        return Ring(swift_dir, "container", logger=logger)
    except (OSError, RingError) as err:
        raise ConfigError(f"The container ring in {swift_dir} can't be opened: {err}") from None
