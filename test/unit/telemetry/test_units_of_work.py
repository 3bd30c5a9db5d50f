"""Units of a daemon's work: what they log and send has one id."""

from __future__ import annotations

from swift.core.concurrency import spawn
from swift.core.transaction import transaction_time
from swift.middleware.catch_errors import CatchErrorsMiddleware
from swift.telemetry.log import set_transaction, transaction
from swift.telemetry.units import handed_on, transaction_headers, unit_of_work
from swift.wire import direct
from swift.wire.internal import InternalClient


@unit_of_work
def work(then):
    return transaction()[0], then()


def test_each_call_is_one_transaction_and_leaves_what_was():
    set_transaction("tx-before")
    first, sent = work(transaction_headers)
    second, deeper = work(lambda: work(transaction_headers)[1])
    assert transaction_time(first) and sent == [("X-Trans-Id", first)]
    assert len({first, second, deeper[0][1], "tx-before"}) == 4
    assert transaction()[0] == "tx-before"
    set_transaction(None)
    assert transaction_headers() == []


def test_other_green_threads_are_told():
    mine, (told, untold) = work(
        lambda: (spawn(handed_on(transaction_headers)).wait(), spawn(transaction_headers).wait())
    )
    assert told == [("X-Trans-Id", mine)] and untold == []


def test_direct_requests_carry_it_unless_they_have_one():
    mine, headers = work(lambda: direct.request_headers({}))
    assert headers["X-Trans-Id"] == mine
    assert work(lambda: direct.request_headers({"x-trans-id": "tx-given"}))[1]["X-Trans-Id"] == "tx-given"
    assert "X-Trans-Id" not in direct.request_headers({})


def test_internal_clients_requests_carry_it():
    seen = []

    def app(environ, start_response):
        seen.append(environ["swift.trans_id"])
        start_response("204 No Content", [])
        return [b""]

    client = InternalClient("", "test", 1, app=CatchErrorsMiddleware(app, {}))

    def ask():
        client.make_request("HEAD", "/v1/a", {}, (2,))

    mine, _ = work(lambda: (ask(), ask()))
    ask()
    assert seen[:2] == [mine, mine] and seen[2] != mine
