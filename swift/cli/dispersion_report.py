"""swift-dispersion-report: how many of the copies are there that swift-dispersion-populate has made (operations 13)."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from optparse import Values
from typing import Any

from swift.core import concurrency

_TEXT = """Asks the primaries of each container and object that
swift-dispersion-populate has made, and tells what share of all copies is
where it should be. The exit status is 0 also when copies are missing."""


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.cli.dispersion import common_parser, conf_path, status_of

    parser = common_parser("swift-dispersion-report", _TEXT)
    parser.add_option("-j", "--dump-json", action="store_true", default=False, help="the result as JSON")
    parser.add_option(
        "-d", "--debug", action="store_true", default=False, help="name each copy that is missing, on stderr"
    )
    parser.add_option(
        "-p",
        "--partitions",
        action="store_true",
        default=False,
        help="name each partition that misses copies, on stderr",
    )
    options, words = parser.parse_args()
    return status_of(lambda: _report(conf_path(words, parser), options))


def _report(conf: str, options: Values) -> None:
    """Raises Stop, and what the account and the rings raise."""
    from swiftclient.exceptions import ClientException

    from swift.cli.dispersion import Settings, Stop

    settings = Settings(conf, options)
    containers = settings.container_report and not options.object_only
    objects = settings.object_report and not options.container_only
    if not containers and not objects:
        raise Stop("Neither container or object report is set to run")
    as_json = options.dump_json or settings.dump_json
    if not as_json:
        print(f"Using storage policy: {settings.policy.name} ")
    found = {}
    try:
        report = Report(settings, as_json, options.debug, options.partitions or settings.partitions)
        if containers:
            found["container"] = report.containers()
        if objects:
            found["object"] = report.objects()
    except (ClientException, OSError) as error:
        raise Stop(f"The account can't be listed: {error}") from None
    if as_json:
        print(json.dumps(found))


class Report:
    """`settings`: a dispersion.Settings."""

    def __init__(self, settings: Any, as_json: bool, debug: bool, partitions: bool) -> None:
        self.settings = settings
        self.as_json = as_json
        self.debug = debug
        self.partitions = partitions
        self.account = settings.account()
        self._unmounted: set[str] = set()

    def containers(self) -> dict[str, Any] | None:
        """The result for JSON. Raises Stop, ClientException, OSError."""
        from swift.wire.direct import head_container

        policy, name = self.settings.policy, self.account.name
        prefix = f"dispersion_{policy.idx}"
        listed = self.account.call("get_account", prefix=prefix, full_listing=True)[1]
        # with the prefix of policy 1 come those of policy 10, too
        probes = [item["name"] for item in listed if item["name"].startswith(f"{prefix}_")]
        ring = self.settings.ring("container")

        def ask(node: Mapping[str, Any], partition: int, probe: str) -> int:
            from swift.wire.direct import retry

            attempts, _ = retry(head_container, node, partition, name, probe, retries=self.settings.retries)
            return attempts

        return self._count("container", ring, probes, lambda probe: ring.get_part(name, probe), ask)

    def objects(self) -> dict[str, Any] | None:
        """As containers."""
        from swiftclient.exceptions import ClientException

        from swift.cli.dispersion import PREFIX, object_container
        from swift.wire.direct import head_object, retry

        policy, name = self.settings.policy, self.account.name
        container = object_container(policy)
        ring = self.settings.ring(policy.ring_name)
        try:
            listed = self.account.call("get_container", container, prefix=PREFIX, full_listing=True)[1]
        except ClientException as error:
            if error.http_status != 404:
                raise
            listed = []
        headers = {"X-Backend-Storage-Policy-Index": str(policy.idx)}

        def ask(node: Mapping[str, Any], partition: int, probe: str) -> int:
            attempts, _ = retry(
                head_object, node, partition, name, container, probe,
                headers=headers, retries=self.settings.retries,
            )  # fmt: skip
            return attempts

        probes = [item["name"] for item in listed]
        return self._count("object", ring, probes, lambda probe: ring.get_part(name, container, probe), ask)

    # ------------------------------------------------------------ counting

    def _count(
        self,
        kind: str,
        ring: Any,
        probes: Sequence[str],
        part_of: Callable[[str], int],
        ask: Callable[[Mapping[str, Any], int, str], int],
    ) -> dict[str, Any] | None:
        from swift.cli.dispersion import Progress
        from swift.core.concurrency import GreenPool

        if not probes:
            print(
                f"No {kind}s to query. Has swift-dispersion-populate been run?", file=sys.stderr, flush=True
            )
            return None
        progress = Progress("Querying", f"{kind}s", len(probes), self.as_json)
        counted = _Counted()
        seen: set[int] = set()

        failed: list[Exception] = []

        def work(probe: str, partition: int) -> None:
            try:
                count(probe, partition)
            except Exception as error:  # what was not counted must not look as if it were there
                failed.append(error)

        def count(probe: str, partition: int) -> None:
            nodes = ring.get_part_nodes(partition)
            asking = GreenPool(max(len(nodes), 1))
            there: list[bool] = list(
                asking.imap(lambda node: self._is_there(kind, counted, node, partition, probe, ask), nodes)
            )
            counted.add(partition, sum(there), len(nodes))
            progress.step(counted.retries)

        pool = GreenPool(self.settings.concurrency)
        for probe in probes:
            partition = part_of(probe)
            if partition in seen:
                counted.overlapping += 1
            seen.add(partition)
            pool.spawn_n(work, probe, partition)
        pool.waitall()
        if failed:
            raise failed[0]
        progress.end(counted.retries)
        if self.partitions:
            for partition, missing in sorted(counted.missing_of.items()):
                print(f"# {kind.title()} partition {partition} missing {_copies(missing)}", file=sys.stderr)
        if not self.as_json:
            for line in counted.lines(kind, len(seen), ring.partition_count):
                print(line)
        return counted.document()

    def _is_there(
        self,
        kind: str,
        counted: _Counted,
        node: Mapping[str, Any],
        partition: int,
        probe: str,
        ask: Callable[[Mapping[str, Any], int, str], int],
    ) -> bool:
        from swift.wire.direct import DirectError

        where = f"{node['ip']}:{node['port']}/{node['device']}"
        try:
            counted.retries += ask(node, partition, probe) - 1
            return True
        except DirectError as error:
            if error.http_status == 404:
                if self.debug:
                    self._complain(f"ERROR: {where} returned a 404")
            elif error.http_status == 507:
                if where not in self._unmounted:
                    self._unmounted.add(where)
                    self._complain(
                        f"ERROR: {where} is unmounted -- This will cause replicas designated for that device to be "
                        "considered missing until resolved or the ring is updated."
                    )
            else:
                counted.retries += self.settings.retries
                what = error.http_status if error.http_status is not None else error.http_reason
                self._complain(f"ERROR: {where} could not tell of a {kind}: {what}")
        return False

    @staticmethod
    def _complain(text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class _Counted:
    """What was found. `missing_of`: copies that are missing, by partition."""

    def __init__(self) -> None:
        self.retries = self.overlapping = self.found = self.expected = 0
        self.missing_of: dict[int, int] = {}
        self._missing: Counter[int] = Counter()
        self._all: dict[int, bool] = {}
        self._one_left: dict[int, bool] = {}

    def add(self, partition: int, there: int, wanted: int) -> None:
        self.found += there
        self.expected += wanted
        missing = wanted - there
        if missing:
            self._missing[missing] += 1
            self.missing_of[partition] = max(missing, self.missing_of.get(partition, 0))
            self._all[missing] = there == 0
            self._one_left[missing] = there == 1

    @property
    def share(self) -> float:
        """Percent of the copies that are there."""
        return 100.0 * self.found / self.expected if self.expected else 0.0

    def lines(self, kind: str, partitions: int, partition_count: int) -> list[str]:
        lines = []
        if self.overlapping:
            verb, noun = ("was", "partition") if self.overlapping == 1 else ("were", "partitions")
            lines.append(f"There {verb} {self.overlapping} overlapping {noun}")
        for missing, count in sorted(self._missing.items()):
            mark = "!!! " if self._all[missing] else "! " if self._one_left[missing] else ""
            what = "all copies" if self._all[missing] else _copies(missing)
            verb, noun = ("was", "partition") if count == 1 else ("were", "partitions")
            lines.append(f"{mark}There {verb} {count} {noun} missing {what}.")
        lines.append(f"{self.share:.2f}% of {kind} copies found ({self.found} of {self.expected})")
        sample = 100.0 * partitions / partition_count
        lines.append(f"Sample represents {sample:.2f}% of the {kind} partition space")
        return lines

    def document(self) -> dict[str, Any]:
        return {
            "retries": self.retries,
            "overlapping": self.overlapping,
            "pct_found": self.share,
            "copies_found": self.found,
            "copies_expected": self.expected,
            **{f"missing_{missing}": count for missing, count in sorted(self._missing.items())},
        }


def _copies(number: int) -> str:
    return f"{number} copy" if number == 1 else f"{number} copies"
