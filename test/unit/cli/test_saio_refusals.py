"""What ./saio says, in one line, where it cannot work; it does so before anything is installed where that is possible."""

import ast
import errno
import os
import pathlib
import runpy
import socket
import subprocess
import sys

import pytest

from swift.cli import saio
from swift.cli.saio_layout import Layout, write
from test.ports import free_ports

SCRIPT = pathlib.Path(saio.__file__).parents[2] / "saio"


def script(home, *words, **env):
    done = subprocess.run(
        [sys.executable, SCRIPT, *words],
        env={**os.environ, "SAIO_DIR": str(home), **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_an_old_python_can_read_the_script():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 4))


def test_an_old_python_is_told_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    monkeypatch.setattr(sys, "argv", ["saio", "up"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == 1
    assert capsys.readouterr().err == "saio: Python 3.10 or later is needed, this is 3.9\n"


def test_a_python_without_venv(tmp_path):
    (tmp_path / "ensurepip.py").write_text("")
    status, said = script(tmp_path / "home", "up", PYTHONPATH=str(tmp_path))
    assert status == 1
    assert said.count("\n") == 1 and "install its venv module" in said


@pytest.mark.parametrize("command", ["down", "status", "logs", "reset"])
def test_nothing_set_up(tmp_path, command):
    home = tmp_path / "home"
    said = f"saio: there is no cluster in {home} yet (./saio up; SAIO_DIR=... if it is in another folder)\n"
    assert script(home, command) == (1, said)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("words", [["--help"], ["up", "--help"], ["user", "-h"], ["help"]])
def test_help_installs_nothing(tmp_path, words):
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], env={**os.environ, "SAIO_DIR": str(tmp_path / "home")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0 and "--base-port" in done.stdout and "user add" in done.stdout
    assert not (tmp_path / "home").exists()


def test_a_used_port_is_seen_before_anything_is_installed(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, said = script(tmp_path / "home", "up", "--port", str(port))
    assert status == 1 and said.startswith(f"saio: cannot listen on 127.0.0.1:{port}: Address already in use")
    assert not (tmp_path / "home").exists()


def test_an_unknown_command_is_one_line(tmp_path):
    status, said = script(tmp_path / "home", "upp")
    assert (status, said.count("\n")) == (1, 1) and "unknown command upp" in said


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    status, said = script(tmp_path / "file" / "home", "up")
    assert status == 1
    assert said.count("\n") == 1 and said.startswith(f"saio: cannot write in {tmp_path}/file/home: ")


def up(tmp_path, monkeypatch, *words):
    monkeypatch.setenv("SAIO_DIR", str(tmp_path))
    monkeypatch.setattr(saio, "_start", lambda layout: pytest.fail("was started"))
    port, base = free_ports()
    return saio.main(["up", "--port", str(port), "--base-port", str(base), *words])


def test_a_file_system_without_xattrs(tmp_path, monkeypatch, capsys):
    def refuse(*args):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", refuse)
    assert up(tmp_path, monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "extended user attributes" in said and "SAIO_DIR" in said
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "touch", refuse)
    assert up(tmp_path, monkeypatch) == 1
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1 and said.startswith(f"saio: {tmp_path}/.probe") and "Permission denied" in said
    )


def test_a_port_in_use(tmp_path, monkeypatch, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert up(tmp_path, monkeypatch, "--port", str(port)) == 1
    said = capsys.readouterr().err
    assert (
        said
        == f"saio: cannot listen on 127.0.0.1:{port}: Address already in use; choose another one with --port\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ip", "192.0.2.1"], "choose another one with --ip"),
        (["--port", "99999"], "saio: 99999 is not a port"),
        (["--base-port", "65530"], "saio: --base-port 65530 is too high"),
        (["--port", "0"], "saio: 0 is not a port"),
        (["--base-port", "0"], "saio: 0 is not a port"),
        (
            ["--port", "16410", "--base-port", "16400"],
            "saio: --port 16410 is among the storage servers' ports",
        ),
        (["--ip", "0.0.0.0", "--port", "16422", "--base-port", "16400"], "saio: --port 16422 is among"),
        (["--memcache", "127.0.0.1:1"], "saio: no memcached answers at 127.0.0.1:1"),
        (["--memcache", "host:port"], "saio: Invalid memcached server 'host:port'"),
    ],
)
def test_an_address_that_is_none(tmp_path, monkeypatch, capsys, words, said):
    assert up(tmp_path, monkeypatch, *words) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and said in text
    assert not (tmp_path / "saio.json").exists()  # or every later start would fail like this one


def test_root_stays_root(tmp_path, monkeypatch):
    """Else servers would become the user swift on a machine that has one, and could not write here."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    layout = Layout(tmp_path)
    write(layout)
    for conf in (layout.proxy_conf, *layout.storage_confs(1)):
        assert "\nuser = root\n" in conf.read_text()
