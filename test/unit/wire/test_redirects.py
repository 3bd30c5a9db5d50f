"""Rows of containers in shards are sent where their servers point, and never in circles."""

import pytest

from swift.wire.direct import DirectError
from swift.wire.message import HeaderKeyDict
from swift.wire.redirects import redirect_of, to_all_that_list


def moved(path):
    headers = HeaderKeyDict({"Location": f"/{path}/o", "X-Backend-Location-Is-Quoted": "true"})
    return DirectError("PUT", {}, "/x", status=301, headers=headers)


def followed(answers, first="a/c"):
    asked = []

    def send(account, container):
        asked.append(f"{account}/{container}")
        return answers.get(asked[-1], ["done"])

    results = to_all_that_list(send, *first.split("/"))
    return asked, results


def test_shards_are_followed():
    asked, results = followed({"a/c": ["done", moved("s/1%201"), moved("s/1%201")], "s/1 1": [moved("s/2")]})
    assert (asked, results) == (["a/c", "s/1 1", "s/2"], ["done"])


def test_circles_and_endless_ways_end():
    asked, results = followed({"a/c": [moved("s/1")], "s/1": [moved("a/c")]})
    assert asked == ["a/c", "s/1"] and results[0].http_status == 301
    assert len(followed({f"s/{at}": [moved(f"s/{at + 1}")] for at in range(50)}, "s/0")[0]) < 6


@pytest.mark.parametrize("location", ["", "nonsense", "/a", "//c/o", "/a/\xff/o"])
def test_what_points_nowhere(location):
    with pytest.raises(ValueError):
        redirect_of({"location": location})
    error = DirectError("PUT", {}, "/x", status=301, headers=HeaderKeyDict({"Location": location}))
    assert followed({"a/c": [error]}) == (["a/c"], [error])
