"""Compare this store with the reference: python -m test.side_by_side [--only feature…]. Exit status 1: something differs that should not."""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import sys
import tempfile

from test.ports import free_ports
from test.side_by_side.running import Verdict, is_fault, run
from test.side_by_side.sides import alike, both
from test.side_by_side.table import Feature, all_features


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m test.side_by_side", description=__doc__.split(":")[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="FEATURE", help="of test/side_by_side/features"
    )
    parser.add_argument("--expected", action="store_true", help="show the expected differences, too")
    parser.add_argument(
        "--hold",
        action="store_true",
        help="leave both sides up until Enter, with the pipeline of the last feature",
    )
    parser.add_argument("--list", action="store_true", help="the features and how many requests each has")
    parser.add_argument("--port", type=int, default=0, help="the first of 200 ports (default: free ones)")
    parser.add_argument("--root", type=pathlib.Path, help="a folder for the clusters, emptied first (default: in memory)")  # fmt: skip
    args = parser.parse_args()
    try:
        features = all_features(args.only)
    except ValueError as error:
        parser.error(str(error))
    if args.list:
        for feature in features:
            print(f"{feature.name}: {len(feature.steps)}")
        print(f"{sum(len(feature.steps) for feature in features)} requests")
        return 0
    lacking = [name for name in ("memcached", "unshare") if not shutil.which(name)]
    if "REFERENCE_BIN" not in os.environ or lacking or os.geteuid():
        parser.error("needs REFERENCE_BIN (the reference's folder of commands), memcached, unshare and root")
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    root = args.root or pathlib.Path(tempfile.mkdtemp(prefix="side-by-side-", dir=memory))
    faults = requests = 0
    with both(root, args.port or free_ports()[1]) as sides:
        for group in alike(features):
            with sides.fronts(group) as ports:
                for feature in group:
                    verdicts = run(feature, ports)
                    faults += sum(is_fault(verdict) for verdict in verdicts)
                    requests += len(verdicts)
                    print(report(feature, verdicts, args.expected), flush=True)
                if args.hold and feature is features[-1]:
                    print(
                        f"the reference on port {ports[0]}, ours on {ports[1]}; logs and disks in {root}",
                        flush=True,
                    )
                    sys.stdin.readline()
    print(f"{requests} requests, {faults} differ")
    return 1 if faults else 0


def report(feature: Feature, verdicts: list[Verdict], expected: bool = False) -> str:
    """A few lines for each request that differs, then the counts."""
    lines = []
    for verdict in verdicts:
        shown = [(difference, "") for difference in verdict.unexpected]
        shown += [(difference, reason) for difference, reason in verdict.expected if expected]
        if not shown and not verdict.stale:
            continue
        step = verdict.step
        path = verdict.path if len(verdict.path) < 120 else f"{verdict.path[:100]}… ({len(verdict.path)})"
        lines.append(f"{feature.name} {verdict.number}: {step.method} {path} [{step.user or 'nobody'}]")
        for difference, reason in shown:
            lines.append(f"    {difference.what}{f' (expected: {reason})' if reason else ''}")
            lines += [f"        reference {difference.reference!r}", f"        ours      {difference.ours!r}"]
        lines += [f"    {what} no longer differs: {step.differs[what]}" for what in verdict.stale]
    faults = sum(is_fault(verdict) for verdict in verdicts)
    known = sum(1 for verdict in verdicts if verdict.expected)
    lines.append(f"{feature.name}: {len(verdicts)} requests, {faults} differ, {known} as expected")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
