"""swift-dispersion-populate: puts a container or object into each of a share of all partitions (operations 13)."""

from __future__ import annotations

from collections.abc import Callable
from optparse import Values
from typing import Any

from swift.core import concurrency

_TEXT = """Puts containers and objects into as many partitions as dispersion_coverage
says, so that swift-dispersion-report can count their copies."""


def main() -> int:
    """Run the command with sys.argv; returns the exit status."""
    concurrency.patch()
    from swift.cli.dispersion import common_parser, conf_path, status_of

    parser = common_parser("swift-dispersion-populate", _TEXT)
    parser.add_option(
        "--container-suffix-start", type="int", default=0, help="number of the first container (0)"
    )
    parser.add_option("--object-suffix-start", type="int", default=0, help="number of the first object (0)")
    parser.add_option(
        "--no-overlap",
        action="store_true",
        default=False,
        help="leave out partitions in which there is one already",
    )
    options, words = parser.parse_args()
    return status_of(lambda: _populate(conf_path(words, parser), options))


def _populate(conf: str, options: Values) -> None:
    """Raises Stop, and what the account and the rings raise."""
    from swift.cli.dispersion import Settings, Stop

    settings = Settings(conf, options)
    containers = settings.container_populate and not options.object_only
    objects = settings.object_populate and not options.container_only
    if not containers and not objects:
        raise Stop("Neither container or object populate is set to run")
    print(f"Using storage policy: {settings.policy.name} ")
    work = Populating(settings, options)
    if containers:
        work.containers(max(options.container_suffix_start, 0))
    if objects:
        work.objects(max(options.object_suffix_start, 0))


class Populating:
    """`settings`: a dispersion.Settings."""

    def __init__(self, settings: Any, options: Any) -> None:
        self.settings = settings
        self.no_overlap = options.no_overlap
        self.account = settings.account()

    def containers(self, start: int) -> None:
        """Raises Stop, and what requests raise."""
        from swift.cli.dispersion import container_name

        policy, name = self.settings.policy, self.account.name
        ring = self.settings.ring("container")
        taken: set[int] = set()
        if self.no_overlap:
            prefix = f"dispersion_{policy.idx}_"
            for item in self.account.call("get_account", prefix=prefix, full_listing=True)[1]:
                taken.add(ring.get_part(name, item["name"]))

        def make(container: str) -> None:
            self.account.call("put_container", container, headers={"X-Storage-Policy": policy.name})

        self._fill(
            "container",
            ring,
            taken,
            start,
            lambda number: container_name(policy, number),
            lambda probe: ring.get_part(name, probe),
            make,
        )

    def objects(self, start: int) -> None:
        """Raises as containers."""
        from swift.cli.dispersion import PREFIX, object_container

        policy, name = self.settings.policy, self.account.name
        ring = self.settings.ring(policy.ring_name)
        container = object_container(policy)
        self.account.call("put_container", container, headers={"X-Storage-Policy": policy.name})
        taken: set[int] = set()
        if self.no_overlap:
            found = self.account.call("get_container", container, prefix=PREFIX, full_listing=True)[1]
            taken |= {ring.get_part(name, container, item["name"]) for item in found}

        def make(probe: str) -> None:
            headers = {"X-Object-Meta-Dispersion": probe}
            self.account.call("put_object", container, probe, contents=probe, headers=headers)

        self._fill(
            "object",
            ring,
            taken,
            start,
            lambda number: f"{PREFIX}{number}",
            lambda probe: ring.get_part(name, container, probe),
            make,
        )

    def _fill(
        self,
        kind: str,
        ring: Any,
        taken: set[int],
        start: int,
        name_of: Callable[[int], str],
        part_of: Callable[[str], int],
        make: Callable[[str], None],
    ) -> None:
        """Make probes until the share of partitions has one each. Raises what the first that failed raised."""
        from swift.cli.dispersion import Progress, numbers
        from swift.core.concurrency import GreenPool

        wanted = max(int(ring.partition_count * min(self.settings.coverage, 100.0) / 100), 1)
        probes = []
        for number in numbers(start):
            if len(taken) >= wanted:
                break
            probe = name_of(number)
            partition = part_of(probe)
            if partition not in taken:
                taken.add(partition)
                probes.append(probe)
        progress = Progress("Creating", f"{kind}s", len(probes))
        failed: list[BaseException] = []

        def work(probe: str) -> None:
            if failed:
                return
            try:
                make(probe)
            except Exception as error:
                failed.append(error)
                return
            progress.step(self.account.retries)

        pool = GreenPool(self.settings.concurrency)
        for probe in probes:
            pool.spawn_n(work, probe)
        pool.waitall()
        if failed:
            raise failed[0]
        progress.end(self.account.retries)
        if self.no_overlap:
            share = 100.0 * len(taken) / ring.partition_count
            print(f"Total {kind} coverage is now {share:.2f}%.")
