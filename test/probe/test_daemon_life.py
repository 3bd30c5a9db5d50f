"""Life cycles of real daemon processes."""

import os
import signal
import subprocess
import sys

import pytest
from servers import HERE, environment, wait_until


class ToyDaemon:
    def __init__(self, directory):
        self.directory = directory
        self.conf = directory / "toy.conf"
        self.notes_path = directory / "notes"
        self.process = None
        (directory / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = x\n")
        self.configure()

    def configure(self, **options):
        lines = "\n".join(f"{name} = {value}" for name, value in options.items())
        self.conf.write_text(
            f"[DEFAULT]\nswift_dir = {self.directory}\nlog_file = {self.directory}/log\nuser = root\n[toy]\n"
            f"notes = {self.notes_path}\n{lines}\n"
        )

    def command(self, *words):
        return [sys.executable, str(HERE / "daemon_app.py"), str(self.conf), *words]

    def once(self, *words):
        return subprocess.run(
            self.command("once", *words), env=environment(), capture_output=True, text=True, timeout=180
        )

    def start(self):
        self.process = subprocess.Popen(
            self.command(), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdout.read() == b""

    def notes(self):
        return self.notes_path.read_text().splitlines() if self.notes_path.exists() else []

    def log(self):
        return (self.directory / "log").read_text()


@pytest.fixture
def toy(tmp_path):
    made = ToyDaemon(tmp_path)
    yield made
    if made.process is not None:
        try:
            os.killpg(made.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        made.process.wait()
        made.process.stdout.close()


def test_one_pass(toy):
    done = toy.once("-d", "sda")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert toy.notes() == ["once None sda"]
    assert "NOTICE toy: Starting " in toy.log() and "NOTICE toy: Exited " in toy.log()


def test_one_pass_of_several_workers_ends_when_all_have(toy):
    toy.configure(toy_workers=3)
    assert toy.once().returncode == 0
    assert (
        sorted(toy.notes()[:-1]) == ["once 0 None", "once 1 None", "once 2 None"]
        and toy.notes()[-1] == "post"
    )
    assert "NOTICE toy: Finished " in toy.log()


def test_a_pass_that_fails(toy):
    toy.configure(fail="yes")
    assert toy.once().returncode == 1
    assert "CRITICAL toy: UNCAUGHT EXCEPTION#012Traceback" in toy.log()


def test_missing_section(toy):
    toy.conf.write_text("[other]\n")
    done = toy.once()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Unable to find toy config section in {toy.conf}\n"


def test_verbose_logs_to_the_console_too(toy):
    done = toy.once("verbose")
    assert done.stderr.startswith("toy: Starting ") and done.stdout == ""


@pytest.mark.parametrize("workers", [0, 2])
def test_term_ends_it_at_once(toy, workers):
    toy.configure(toy_workers=workers)
    toy.start()
    wait_until(lambda: len(toy.notes()) == max(workers, 1))
    pids = [int(line.split()[2]) for line in toy.notes()]
    toy.process.send_signal(signal.SIGTERM)
    assert toy.process.wait(60) == 0
    assert f"SIGTERM received ({toy.process.pid})" in toy.log()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


def test_dead_workers_are_started_again(toy):
    toy.configure(toy_workers=2)
    toy.start()
    wait_until(lambda: len(toy.notes()) == 2)
    victim = next(line for line in toy.notes() if line.startswith("forever 1"))
    os.kill(int(victim.split()[2]), signal.SIGKILL)
    wait_until(lambda: len(toy.notes()) == 3)
    assert toy.notes()[-1].startswith("forever 1")


def test_unhealthy_workers_are_planned_anew(toy):
    toy.configure(toy_workers=1)
    toy.start()
    wait_until(lambda: len(toy.notes()) == 1)
    sick = toy.directory / "notes.sick"
    sick.write_text("")
    wait_until(lambda: len(toy.notes()) == 2)
    sick.unlink()
    first, second = (int(line.split()[2]) for line in toy.notes()[:2])
    assert first != second and not os.path.exists(f"/proc/{first}")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_it_is_reloaded_in_the_same_process(toy, workers, number):
    toy.configure(toy_workers=workers, word="old")
    toy.start()
    running = max(workers, 1)
    wait_until(lambda: len(toy.notes()) == running)
    toy.configure(toy_workers=workers, word="new")
    toy.process.send_signal(number)
    wait_until(lambda: len(toy.notes()) == 2 * running)
    assert toy.process.poll() is None
    assert f"Reloading ({toy.process.pid})" in toy.log() and "UNCAUGHT" not in toy.log()
    assert {line.split()[3] for line in toy.notes()[running:]} == {"new"}
    toy.process.send_signal(number)  # and once more
    wait_until(lambda: len(toy.notes()) == 3 * running)
    toy.process.send_signal(signal.SIGTERM)
    assert toy.process.wait(30) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_reload_into_a_bad_configuration_leaves_all_as_it_is(toy, workers):
    toy.configure(toy_workers=workers)
    toy.start()
    running = max(workers, 1)
    wait_until(lambda: len(toy.notes()) == running)
    toy.configure(interval="soon")
    toy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "Not reloading, the configuration is not valid:" in toy.log())
    assert '[toy] interval: not a number: "soon"' in toy.log()
    assert toy.process.poll() is None and len(toy.notes()) == running
    toy.process.send_signal(signal.SIGTERM)
    assert toy.process.wait(30) == 0


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"interval": "soon"}, '[toy] interval: not a number: "soon"'),
        ({"concurrency": "nan"}, '[toy] concurrency: not a number: "nan"'),
        ({"interval": "x", "node_timeout": "y"}, "(and 1 more: swift-config --check"),
        (
            {"toy_word": "%(file:/nonesuch)s"},
            "the value of toy_word in [toy] is to come from file:/nonesuch: No such file or directory",
        ),
        ({"checked": "abc"}, "invalid literal for int() with base 10: 'abc' ([toy] checked)"),
    ],
)
def test_it_does_not_start_with_values_that_cannot_be_meant(toy, options, line):
    toy.configure(**options)
    done = toy.once()
    assert done.returncode == 1 and line in done.stderr and done.stderr.count("\n") == 1
    assert toy.notes() == []


def test_its_configuration_can_be_tried(toy):
    for options, status in (({}, 0), ({"interval": "soon"}, 1)):
        toy.configure(**options)
        done = subprocess.run(
            toy.command("--test-config"), env=environment(), capture_output=True, timeout=60
        )
        assert done.returncode == status
    assert toy.notes() == []
