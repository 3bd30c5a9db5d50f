"""python -m test.fuzz [--requests N] [--seed S] [--from N] [--folder F]: changed requests at all ports of a cluster made for it.

Ends with 0 if there was no answer of 500, no traceback, no connection that hung, and no memory or descriptor was lost. A request is found
again by its seed and number: `--show NUMBER` prints it.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time

from test.cluster import Cluster
from test.fuzz.run import Fuzz, shown

BATCH = 5000
MAX_GROWTH = 24 * 1024 * 1024  # bytes of a process, in the second half


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m test.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="start")
    parser.add_argument("--folder", default=None)
    parser.add_argument("--show", type=int, default=None)
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=args.folder, prefix="fuzz-") as folder,
        Cluster(pathlib.Path(folder) / "saio") as cluster,
    ):
        fuzz = Fuzz(cluster, args.seed)
        if args.show is not None:
            print(shown(fuzz.changes.request(args.show)[0]))
            return 0
        begin = time.monotonic()
        warm: dict[int, tuple[int, int]] = {}
        traces: list[str] = []
        for start in range(args.start, args.start + args.requests, BATCH):
            found = fuzz.run(range(start, min(start + BATCH, args.start + args.requests)))
            now = fuzz.processes()
            if warm and set(now) != set(warm):
                found.fault(f"processes are others than before: {set(now) ^ set(warm)}")
            if start < args.start + args.requests / 2 or set(now) != set(warm):
                # caches fill, up to their bounds (doc/security.md): what counts is the second half
                warm = now
            done = sum(found.statuses.values())
            sizes = " ".join(f"{size >> 20}M/{fds}" for size, fds in now.values())
            print(
                f"{done} in {time.monotonic() - begin:.0f} s, {len(found.faults)} faults; {sizes}", flush=True
            )
            for text in found.faults:
                print("  " + text, flush=True)
            found.faults.clear() if start + BATCH < args.start + args.requests else None
            for text in fuzz.tracebacks():  # at once: a run may be ended by hand
                if text not in traces:
                    traces.append(text)
                    print(text, flush=True)
        print(dict(sorted(found.statuses.items())))
        grown = {
            pid: size - warm[pid][0] for pid, (size, _) in now.items() if size - warm[pid][0] > MAX_GROWTH
        }
        print(
            f"{len(traces)} logs with tracebacks, grown by more than {MAX_GROWTH >> 20} MiB in the second half: {grown}"
        )
        return 1 if found.faults or traces or grown else 0


if __name__ == "__main__":
    sys.exit(main())
