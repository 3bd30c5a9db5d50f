import pytest

from swift.run import command_line


def parsed(tmp_path, *words, **kinds):
    conf = tmp_path / "x.conf"
    conf.write_text("")
    return command_line.parse(command_line.make_parser("swift-x"), [str(conf), *words], **kinds)


def test_words_switch_options_on(tmp_path):
    path, options = parsed(tmp_path, "once", "verbose", "more", once=True)
    assert path == str(tmp_path / "x.conf")
    assert options == {"verbose": True, "once": True, "extra_args": ["more"]}
    assert parsed(tmp_path, "once")[1] == {"verbose": False, "extra_args": ["once"]}


def test_options_may_stand_anywhere(tmp_path):
    assert parsed(tmp_path, "-v", "once", "-t", test_config=True)[1] == {
        "verbose": True, "test_config": True, "extra_args": ["once"],
    }  # fmt: skip


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.conf").write_text("")
    assert command_line.parse(command_line.make_parser("swift-x"), ["x.conf"])[0] == str(tmp_path / "x.conf")


def test_exit_codes(tmp_path, capsys):
    for argv, code, text in (
        ([], 1, "Error: missing config path argument"),
        (["/nonexistent/x"], 1, "Error: unable to locate /nonexistent/x"),
        (["--nonesuch", "x"], 2, ""),
        (["-h"], 0, ""),
    ):
        with pytest.raises(SystemExit) as caught:
            command_line.parse(command_line.make_parser("swift-x"), argv)
        assert caught.value.code == code
        out = capsys.readouterr().out
        if text:
            assert out.startswith("Usage: swift-x CONFIG [options]\n\n") and out.endswith(text + "\n")
