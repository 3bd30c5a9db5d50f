"""The standard library's locks in a process whose locks are green: whoever waits at one goes on, also a native thread."""

import pathlib
import subprocess
import sys
import textwrap

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FRAME = """
    from swift.core import concurrency as c
    c.patch()
    import threading
    lock = threading.{kind}()
    held, go = c.raw_threading.Event(), c.raw_threading.Event()

    def hold():
        with lock:
            held.set()
            go.wait()

    def natively(function):
        thread = c.raw_threading.Thread(target=function, daemon=True)
        thread.start()
        return thread

    def finish(*threads):
        while any(thread.is_alive() for thread in threads):
            c.sleep(0.001)
        print("done")
"""
# Threads change at calls: here another one runs at the call of {when}, in which a green thread leaves the line of those that wait.
STEAL = """
    import collections
    one = natively(hold)
    held.wait()
    looked, give = c.raw_threading.Event(), c.raw_threading.Event()
    inside, order, thieves = [], [], []

    def steal():
        if lock.acquire(False):
            inside.append("native")
            looked.set()
            give.wait()
            inside.remove("native")
            lock.release()
        looked.set()

    class Line(collections.deque):
        def {when}(self, *args):
            try:
                return super().{when}(*args)
            finally:
                if not thieves:
                    thieves.append(natively(steal))
                    looked.wait()

    getattr(lock, "_block", lock)._waiters = Line()

    def take(name):
        with lock:
            assert not inside
            order.append(name)

    waiting = [c.spawn(take, name) for name in "abc"]
    c.sleep(0.01)
    go.set()
    c.spawn_after(0.05, give.set)
    with c.Timeout(60):
        for one_of_them in waiting:
            one_of_them.wait()
    assert order == ["a", "b", "c"], order
    finish(one, *thieves)
"""
CASES = {
    "a native thread waits for another": """
        one = natively(hold)
        held.wait()
        def take():
            with lock:
                pass
        two = natively(take)
        two.join(0.05)
        assert two.is_alive()
        go.set()
        finish(one, two)
    """,
    "a green thread waits for a native one, and others go on": """
        one = natively(hold)
        held.wait()
        done = []
        def take():
            with lock:
                done.append(True)
        waiting = [c.spawn(take) for _ in range(3)]
        for _ in range(10):
            c.sleep(0.001)
        assert not done
        go.set()
        for one_of_them in waiting:
            one_of_them.wait()  # nothing else wakes the hub
        finish(one)
    """,
    "a native thread waits for a green one": """
        lock.acquire()
        def take():
            held.set()
            with lock:
                pass
        one = natively(take)
        held.wait()
        c.sleep(0.01)
        assert one.is_alive()
        lock.release()
        finish(one)
    """,
    "a native thread waits only so long": """
        lock.acquire()
        def take():
            assert not lock.acquire(False) and not lock.acquire(timeout=0.01)
            held.set()
        finish(natively(take))
        assert held.is_set()
    """,
    "a native thread takes it from one that is woken": STEAL.replace("{when}", "popleft"),
    "a native thread takes it from one that goes on": STEAL.replace("{when}", "remove"),
    "a native thread lets it go before somebody waits": """
        getcurrent = c.getcurrent
        one = natively(hold)
        held.wait()
        def let_go_meanwhile():
            go.set()
            one.join()
            return getcurrent()
        c.getcurrent = let_go_meanwhile
        with c.Timeout(60):
            assert lock.acquire()
        finish(one)
    """,
    "after a fork": """
        one = natively(hold)
        held.wait()
        c.spawn(lambda: lock.acquire())
        c.sleep(0.01)  # this process hears the bell
        import os
        if c.fork() == 0:
            held.clear()
            go.clear()
            lock = threading.{kind}()
            one = natively(hold)
            held.wait()
            green = c.spawn(lambda: lock.acquire())
            c.sleep(0.01)
            go.set()
            green.wait()
            os.write(1, b"child\\n")
            os._exit(0)
        os.wait()
        go.set()
        finish(one)
    """,
}


def run(kind, text):
    text = textwrap.dedent(FRAME).replace("{kind}", kind) + textwrap.dedent(text).replace("{kind}", kind)
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("case", list(CASES))
def test_whoever_waits_goes_on(case, kind):
    out = run(kind, CASES[case])
    assert ("child\n" in out) == (case == "after a fork")


def test_the_first_databases_of_a_process_are_made_by_several_threads_at_once():
    """`tempfile` looks once for its directory, which takes as long as the disk does: the others wait for it."""
    run(
        "Lock",
        """
        import tempfile
        from swift.engine.threads import ThreadPool
        from swift.db import schema
        find = tempfile._get_default_tempdir
        def slowly():
            c.raw_threading.Event().wait(0.1)
            return find()
        tempfile._get_default_tempdir = slowly
        pool = ThreadPool("disk", 4, 100)
        calls = [pool.submit(schema._template, schema.CONTAINER) for _ in range(8)]
        assert len({call.wait() for call in calls}) == 1
        finish()
        """,
    )
