"""swift-form-signature: its vector, its form, its refusals."""

import pytest

from swift.cli import form_signature
from swift.core import clock

WORDS = ["/v1/AUTH_test/c1/pre_", "https://x/y", "1000", "2", "3600", "mykey"]


def test_the_vector(monkeypatch, capsys):
    monkeypatch.setattr(clock, "time", lambda: 1_700_000_000.9)
    assert form_signature.main(WORDS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "  Expires: 1700003600",
        "Signature: 6a0bb6f415e658901a080ade1d2373e4d13694b9",
        "",
        "Sample form:",
        "",
    ]
    assert lines[7] == '<form action="/v1/AUTH_test/c1/pre_" method="POST" enctype="multipart/form-data">'
    text = "\n".join(lines)
    for name, value in (
        ("redirect", "https://x/y"),
        ("max_file_size", "1000"),
        ("max_file_count", "2"),
        ("expires", "1700003600"),
        ("signature", "6a0bb6f415e658901a080ade1d2373e4d13694b9"),
    ):
        assert f'<input type="hidden" name="{name}" value="{value}" />' in text
    assert 'name="file1"' in text and 'name="file2"' not in text


def test_what_stands_in_a_form_is_escaped(capsys):
    assert form_signature.main(['/v1/a/c/"><script>', "", *WORDS[2:]]) == 0
    text = capsys.readouterr().out
    assert "<script>" not in text and 'name="redirect"' not in text


@pytest.mark.parametrize(
    ("at", "word", "said"),
    [
        (0, "/v1/AUTH_test", "<path> must point to a container at least."),
        (2, "-1", "Please use a <max_file_size> value greater than or equal to 0."),
        (3, "0", "Please use a positive <max_file_count> value."),
        (4, "x", "Please use a positive <seconds> value."),
    ],
)
def test_refusals(at, word, said, capsys):
    words = [*WORDS]
    words[at] = word
    assert form_signature.main(words) == 1
    assert capsys.readouterr().out.startswith(said + "\n")


def test_usage(capsys):
    assert form_signature.main(WORDS[:3]) == 1
    assert form_signature.main(["--help"]) == 0
    assert capsys.readouterr().out.count("Syntax: ") == 2
