"""The command line of ./saio, as far as it needs no cluster."""

import configparser
import contextlib
import dataclasses
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

from swift.cli import daemons, saio
from swift.cli.saio_layout import Layout, write
from swift.core.config import read_conf_sections
from test.ports import free_ports


def test_the_proxy_is_asked_only_when_all_nodes_listen(tmp_path, monkeypatch):
    """Else it counts errors of nodes that are just starting, and avoids them for a minute: the start would fail."""
    port, base_port = free_ports()
    layout = Layout(tmp_path, port=port, base_port=base_port)
    listening = []
    asked = []

    def answers(_layout):
        asked.append(len(listening))
        return True

    monkeypatch.setattr(saio, "_running", lambda _layout: dict.fromkeys(saio._names(), 1))
    monkeypatch.setattr(saio, "_answers", answers)
    with contextlib.ExitStack() as stack:
        waiter = threading.Thread(target=saio._wait_until_it_answers, args=(layout,))
        waiter.start()
        for ip, port in layout.addresses():
            assert not asked
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((ip, port))
            sock.listen(5)
            listening.append(sock)
        waiter.join(60)
        assert asked == [len(layout.addresses())]


def conf(layout):
    return layout.proxy_conf.read_text()


def test_what_a_person_has_changed_stays(tmp_path):
    layout = Layout(tmp_path)
    assert write(layout) == []
    changed = conf(layout) + "user_test_mine = secret .admin\n"
    layout.proxy_conf.write_text(changed)
    assert write(layout) == []  # nothing else to say
    assert conf(layout) == changed
    moved = dataclasses.replace(layout, port=8090)
    assert write(moved) == [layout.proxy_conf]
    assert conf(layout) == changed
    assert "bind_port = 8090" in layout.proxy_conf.with_name("proxy-server.conf.new").read_text()
    layout.proxy_conf.with_name("proxy-server.conf.new").replace(layout.proxy_conf)  # taken over
    assert write(moved) == []
    assert write(dataclasses.replace(layout, port=8091)) == []
    assert "bind_port = 8091" in conf(layout)


def saio_main(capsys, *words):
    status = saio.main(list(words))
    said = capsys.readouterr()
    return status, said.out + said.err


def test_users_are_added_and_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SAIO_DIR", str(tmp_path))
    write(Layout(tmp_path))
    saio._remember(Layout(tmp_path))
    assert saio_main(capsys, "user", "add", "films:ann", "hush", ".admin") == (0, "")
    assert "\nuser_films_ann = hush .admin\n" in conf(Layout(tmp_path))
    assert saio_main(capsys, "user", "add", "test:tester", "other", ".admin") == (0, "")
    assert conf(Layout(tmp_path)).count("user_test_tester = ") == 1
    assert "\nuser_test_tester = other .admin\n" in conf(Layout(tmp_path))
    assert "films:ann .admin\n" in saio_main(capsys, "user", "list")[1]
    assert saio_main(capsys, "user", "remove", "films:ann") == (0, "")
    assert "films" not in conf(Layout(tmp_path))
    assert saio_main(capsys, "user", "remove", "films:ann") == (1, "saio: films:ann was not added here\n")
    for words in (
        ["add", "films"],
        ["add", "films:ann"],
        ["add", "films:ann", "a b"],
        ["remove", ":x"],
        ["add", "a:b\n", "c"],
    ):
        status, said = saio_main(capsys, "user", *words)
        assert status == 1 and said.startswith("saio: usage: ./saio user add")


def test_disks_on_one_file_system_are_counted_once(tmp_path):
    layout = Layout(tmp_path)
    write(layout)
    (line,) = saio._space(layout)
    assert line.startswith(f"disks 1, 2, 3, 4 in {layout.disks}: ")


def test_the_starter_knows_all_commands():
    """`./saio` is written for Pythons that can't load this package, and so has a list of its own."""
    text = (pathlib.Path(__file__).resolve().parents[3] / "saio").read_text()
    known = set(re.findall(r'"(\w+)"', re.search(r"^COMMANDS = (.*)$", text, re.MULTILINE)[1]))
    (ours,) = (action for action in saio._parser()._actions if action.dest == "command")
    assert known == set(ours.choices)
    assert all(re.search(rf"^  {command}\b|\| {command}\b", text, re.MULTILINE) for command in known)


def test_who_was_killed_lives_until_its_last_thread_is_gone():
    """Its listening sockets are open until then: whoever asked there would be reset."""
    script = "import ctypes, os, threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
    script += (
        "print(flush=True)\nctypes.CDLL(None).syscall(60, 0)\n"  # the first thread's end, as exit(2) has it
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        process.stdout.readline()
        end = time.monotonic() + 60
        while pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < end
            time.sleep(0.01)
        assert saio._members({process.pid}) == [process.pid] and saio._start_time(process.pid)
        process.kill()
        while saio._members({process.pid}):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert saio._start_time(process.pid) == ""


def test_what_daemons_keep_for_recon_stays_in_the_clusters_folder(tmp_path):
    """And not where another cluster of this machine has its own, if anything is there at all."""
    layout = Layout(tmp_path / "saio")
    write(layout)
    for conf in layout.daemon_confs():
        parser = configparser.RawConfigParser(strict=False)
        parser.read(conf)
        place = pathlib.Path(parser.defaults().get("recon_cache_path", "/nowhere"))
        assert place.is_relative_to(layout.home) and place.is_dir(), conf


def test_each_node_runs_every_daemon_that_a_node_can_have(tmp_path):
    """And a pass of each can be asked for with the node's own files."""
    layout = Layout(tmp_path)
    write(layout)
    found = set()
    for server in ("account", "container", "object"):
        found |= set(read_conf_sections(str(layout.etc / f"{server}-server" / "1.conf")))
    # the reconciler is one of a cluster, with a file of its own
    assert set(daemons.DAEMONS) - {"container-reconciler"} <= found
