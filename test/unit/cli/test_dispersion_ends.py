"""How the dispersion commands end: with one line, whatever ends them."""

import pytest

from swift.cli.dispersion import Stop, status_of


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Stop("no such policy"), "no such policy\n"),
        (KeyboardInterrupt(), "interrupted\n"),
        (RuntimeError("a bug"), "Gave up: a bug\n"),
        (AssertionError(), "Gave up: AssertionError\n"),
    ],
)
def test_what_ends_a_command_is_one_line(error, line, capsys):
    def work():
        raise error

    assert (status_of(work), *capsys.readouterr()) == (1, "", line)


def test_a_command_that_comes_to_its_end(capsys):
    assert (status_of(lambda: None), *capsys.readouterr()) == (0, "", "")
