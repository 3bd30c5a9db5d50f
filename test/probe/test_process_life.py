"""Life cycles of real server processes."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from servers import Load, Server, environment, wait_until

from test.ports import free_port


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    yield made
    made.stop()


def test_start_answer_and_term(server):
    server.start()
    pid, parent, _, _ = server.get()
    assert parent == server.pid and server.workers() == [pid]
    assert os.getsid(server.pid) == server.pid
    server.signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert not os.path.exists(f"/proc/{pid}")
    assert "SIGTERM received" in server.log() and "Exited" in server.log()
    with pytest.raises(OSError):
        server.get()


def test_without_workers_it_serves_by_itself(server):
    server.write_conf(workers="0")
    server.start()
    assert server.get()[0] == server.pid
    server.signal(signal.SIGTERM)
    assert server.process.wait(60) == -signal.SIGTERM


def test_dead_workers_are_replaced_and_nothing_that_waits_is_lost(server):
    server.write_conf(workers="2")
    server.start()
    first = server.workers()
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: len(server.workers()) == 2 and first[0] not in server.workers())
    assert f"Removing dead child {first[0]} from parent {server.pid}" in server.log()
    for pid in server.workers():
        os.kill(pid, signal.SIGSTOP)
    clients = []
    for _ in range(10):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        clients.append(sock)
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    for sock in clients:
        assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
        sock.close()


def test_a_worker_that_kills_itself_does_not_take_the_server_along(server):
    server.start()
    for _ in range(3):
        with pytest.raises((OSError, http.client.HTTPException)):
            server.get("/die")
        wait_until(lambda: server.generation() == "1")


def test_hup_lets_requests_end(server):
    server.start()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.get("/slow")))
    thread.start()
    wait_until((server.directory / "slow").exists)
    worker = server.workers()[0]
    server.signal(signal.SIGHUP)
    assert server.process.wait(60) == 0
    wait_until(lambda: server.generation() is None)
    thread.join()
    assert answers and answers[0][0] == worker
    wait_until(lambda: not os.path.exists(f"/proc/{worker}"))
    assert f"Child {worker} exiting normally" in server.log()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_in_a_container_it_outlives_its_workers(server, monkeypatch, number):
    """All other processes there end with it: HUP lets requests end first, and TERM meanwhile does not."""
    monkeypatch.setenv("SWIFT_WAIT_FOR_WORKERS", "yes")
    server.start()
    answers = []

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            answers.append(server.get("/slow"))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until((server.directory / "slow").exists)
    worker = server.workers()[0]
    server.signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP received" in server.log())
    if number == signal.SIGTERM:
        server.signal(number)
    assert server.process.wait(60) == 0
    assert not os.path.exists(f"/proc/{worker}")
    thread.join()
    if number == signal.SIGHUP:
        assert [pid for pid, *_ in answers] == [worker]
    with pytest.raises(OSError):
        server.get()


def test_seamless_reload_under_load_loses_no_request(server):
    server.write_conf(workers="2")
    server.start()
    old = server.workers()
    with Load(server) as load:
        for generation in ("2", "3"):
            server.write_conf(generation=generation)
            server.signal(signal.SIGUSR1)
            wait_until(lambda: server.generation() == generation)  # noqa: B023
        wait_until(lambda: len(server.workers()) == 2 and not set(server.workers()) & set(old))
        done = len(load.answers)
        wait_until(lambda: len(load.answers) > done + 20)
    assert load.failures == []
    assert load.answers[0] == "1" and load.answers[-1] == "3"
    assert server.process.poll() is None
    assert f"Old server PID={server.pid} re'execing as" in server.log()
    assert f"Removing stale child {old[0]} from parent {server.pid}" in server.log()


def test_reload_into_another_number_of_workers(server):
    server.start()
    server.write_conf(workers="3", generation="2")
    server.signal(signal.SIGUSR1)
    wait_until(lambda: server.generation() == "2" and len(server.workers()) == 3)
    server.write_conf(workers="1", generation="3")
    server.signal(signal.SIGUSR1)
    wait_until(lambda: server.generation() == "3" and len(server.workers()) == 1)


def test_a_reload_into_a_bad_configuration_changes_nothing(server):
    server.start()
    before = server.get()
    server.write_conf(refuse="yes", generation="2")
    server.signal(signal.SIGUSR1)
    wait_until(lambda: "Not reloading, the configuration is not valid: " in server.log())
    assert "a bad value" in server.log()
    assert server.get() == before


def test_hup_right_after_a_reload_is_not_lost(server):
    server.start()
    server.signal(signal.SIGUSR1)
    wait_until(lambda: "SIGUSR1 received" in server.log())  # now it looks at its configuration
    server.signal(signal.SIGHUP)
    assert server.process.wait(60) == 0


def test_an_old_image_of_another_kind_gets_its_pid_and_is_heard(server):
    """What the reference's parent does before it executes us: two pipes, no sockets."""
    notify_read, notify_write = os.pipe()
    state_read, state_write = os.pipe()
    child = subprocess.Popen(["sleep", "600"])
    state = b'{"old_pids": {"%d": %d}, "more": 1}' % (child.pid, time.time())
    os.write(state_write, len(state).to_bytes(4, "big") + state)
    os.close(state_write)
    env = environment()
    env["__SWIFT_SERVER_NOTIFY_FD"] = f"{notify_write},99"
    env["__SWIFT_SERVER_CHILD_STATE_FD"] = str(state_read)
    server.process = subprocess.Popen(
        server.command(),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(notify_write, state_read),
    )
    os.close(notify_write)
    os.close(state_read)
    assert os.read(notify_read, 100) == str(server.pid).encode()
    assert os.read(notify_read, 100) == b""
    assert server.get()[1] == server.pid
    child.kill()
    child.wait()


def test_notifications(server, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(60)
        env = {**environment(), "NOTIFY_SOCKET": path}
        server.process = subprocess.Popen(
            server.command(), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert manager.recv(100) == b"READY=1"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reload:
            reload.bind(f"\0swift-notifications\0{server.pid}")
            reload.settimeout(60)
            server.signal(signal.SIGUSR1)
            assert [manager.recv(100), manager.recv(100)] == [b"RELOADING=1", b"READY=1"]
            assert [reload.recv(100), reload.recv(100)] == [b"RELOADING=1", b"READY=1"]
            server.signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"


def run(command):
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)


def test_check_of_the_configuration(server):
    done = run(server.command("--test-config"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    server.write_conf(refuse="yes")
    done = run(server.command("-t"))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"Error trying to load config from {server.conf}: a bad value\n"


def test_files_of_tls_that_can_not_be_used_end_no_service_that_is_reloaded(server):
    server.start()
    before = server.get()
    server.write_conf(cert_file="/nonexistent/cert")
    line = f"Error trying to load config from {server.conf}: [Errno 2] No such file or directory"
    done = run(server.command("-t"))
    assert (done.returncode, done.stdout, done.stderr) == (1, line + "\n", "")
    server.signal(signal.SIGUSR1)
    wait_until(lambda: "Not reloading, the configuration is not valid: " in server.log())
    assert server.get() == before


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("bind_port = ", "bind_port = x"), "bind_port wasn't properly set in the config file. "
         "It must be explicitly set to a valid port number."),
        (("swift_dir = ", "swift_dir = /nonexistent"), "Error: [swift-hash]: both swift_hash_path_suffix and "
         "swift_hash_path_prefix are missing from /nonexistent"),
        (("[app:proxy-server]", "[app:other]"), "Error trying to load config from "),
        (("pipeline = ", "pipeline = nonesuch "), "Error trying to load config from "),
        (("[pipeline:main]", "keep_idle = 99999\n[pipeline:main]"), "Error trying to load config from "),
        (("[pipeline:main]", "[pipeline"), "Unable to read config from "),
        (("workers = 1", "workers = many"), "Error trying to load config from "),
        (("[pipeline:main]", "keepalive_timeout = soon\n[pipeline:main]"), "Error trying to load config from "),
        (("[pipeline:main]", "cert_file = /nonexistent\n[pipeline:main]"), "Error trying to load config from "),
        (("[pipeline:main]", "max_clients = -5\n[pipeline:main]"), "Error trying to load config from "),
        (("[pipeline:main]", "log_to = file\nlog_file = /nonexistent/x\n[pipeline:main]"),
         "Cannot write to log_file /nonexistent/x: No such file or directory"),
        (("[pipeline:main]", "log_to = mars\n[pipeline:main]"), "log_to must be one of syslog, file, stdout, stderr"),
        (("user = root", "user = no-such-user"), "Error: there is no user 'no-such-user' (option user)"),
    ],
)  # fmt: skip
def test_faults_are_one_line_and_status_1(server, change, line):
    server.conf.write_text(server.conf.read_text().replace(*change))
    done = run(server.command())
    assert done.returncode == 1
    assert done.stdout.startswith(line) and done.stdout.count("\n") == 1 and done.stderr == ""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_only_a_worker_finds_wrong_is_said_and_logged_without_a_traceback(server, workers):
    server.write_conf(workers=workers, cert_file="/nonexistent/cert", client_timeout="inf")
    done = run(server.command())
    line = f"Error trying to load config from {server.conf}: client_timeout must be a number of seconds, not 'inf'"
    assert (done.returncode, done.stdout, done.stderr) == (1, line + "\n", "")
    assert "Traceback" not in server.log() and (
        workers == "0" or f"CRITICAL proxy-server: {line}" in server.log()
    )


def test_command_lines(server, tmp_path):
    command = server.command()
    done = run(command[:1])
    assert done.returncode == 1 and done.stdout.endswith("\nError: missing config path argument\n")
    done = run([command[0], str(tmp_path / "x")])
    assert done.returncode == 1 and done.stdout.endswith(f"\nError: unable to locate {tmp_path}/x\n")
    assert run([*command, "--nonesuch"]).returncode == 2
    assert run([command[0], "-h"]).returncode == 0
    assert run([*command, "test_config", "ignored"]).returncode == 0


def test_an_address_in_use_is_waited_for_and_then_named(server):
    with socket.socket() as other:
        other.bind(("127.0.0.1", server.port))
        other.listen()
        server.write_conf(bind_timeout="0.3")
        done = run(server.command())
        assert (done.returncode, done.stdout) == (
            1, f"Could not bind to 127.0.0.1:{server.port} after trying for 0.3 seconds\n",
        )  # fmt: skip


def test_workers_end_when_their_parent_is_killed(server):
    server.write_conf(workers="2")
    server.start()
    workers = server.workers()
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid) for pid in workers))
    again = Server(server.directory, bind_port=server.port)
    try:
        again.start()
        assert again.get()[0] in again.workers()
    finally:
        again.stop()


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "theirs, ours", [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")]
)
def test_an_address_has_one_server(tmp_path, theirs, ours):
    """SO_REUSEPORT alone would let the second one in, and share the connections out between both."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = Server(tmp_path / "a", bind_ip=theirs)
    second = Server(tmp_path / "b", bind_ip=ours, bind_port=first.port, bind_timeout="0.5", workers="2")
    try:
        first.start()
        done = subprocess.run(
            second.command(), env=environment(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 1
        assert f"Could not bind to {ours}:{first.port} after trying for 0.5 seconds" in done.stdout
        assert first.get()[1] == first.pid
        second.write_conf(share_address="yes")
        second.start()
    finally:
        first.stop()
        second.stop()


def test_of_two_that_start_at_once_one_is_refused(tmp_path):
    servers = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        port = servers[0].port if servers else 0
        servers.append(Server(tmp_path / name, bind_port=port, bind_timeout="0.1"))
    running = [
        subprocess.Popen(
            server.command(), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for server in servers
    ]
    try:
        said = [process.stdout.read() for process in running]  # one ends, the other says that it is ready
        assert sorted(bool(text) for text in said) == [False, True]
        loser = running[bool(said[1])]
        assert loser.wait(60) == 1
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_several_servers_under_one_parent(tmp_path):
    import sys

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = Server(tmp_path / "a", "account-server")
    second = Server(
        tmp_path / "b", "container-server", workers="2", bind_port=free_port(), swift_dir=first.directory
    )
    first.process = subprocess.Popen(
        [sys.executable, "-m", "swift.cli.node", str(first.conf), str(second.conf)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        assert first.process.stdout.read() == b""
        assert len(first.workers()) == 2
        assert first.get()[1] == second.get()[1] == first.pid
        first.write_conf(generation="2")
        first.signal(signal.SIGUSR1)
        wait_until(lambda: first.generation() == "2" and second.generation() == "1")
        connection = http.client.HTTPConnection("127.0.0.1", first.port, timeout=10)
        connection.request("GET", "/metrics")
        assert b"swift_request_duration_seconds" in connection.getresponse().read()
        connection.close()
        assert '"GET /" 200' in first.log()
    finally:
        first.stop()
