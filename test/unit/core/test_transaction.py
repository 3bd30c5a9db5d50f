import os
import re
import time

from swift.core.transaction import new_transaction_id, transaction_time


def test_an_id_holds_random_digits_the_time_and_a_quoted_suffix():
    before = int(time.time())
    ident = new_transaction_id("-node 1/é")
    assert re.fullmatch(r"tx[0-9a-f]{21}-[0-9a-f]{10}-node%201/%C3%A9", ident)
    assert before <= transaction_time(ident) <= int(time.time())
    assert len(new_transaction_id()) == 34


def test_ids_differ():
    assert len({new_transaction_id() for _ in range(2000)}) == 2000


def test_a_forked_worker_makes_other_ids_than_its_parent():
    new_transaction_id()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, new_transaction_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 100).decode()[:23] != new_transaction_id()[:23]
    os.close(reader)
    os.close(writer)


def test_text_that_is_no_id_has_no_time():
    for text in (
        "",
        "tx",
        "tx" + "a" * 40,
        "zz6a77cbb05c324440a0afa-006b01265f",
        "tx6a77cbb05c324440a0afa-xxxxxxxxxx",
    ):
        assert transaction_time(text) is None
    assert transaction_time("tx6a77cbb05c324440a0afa-006b01265f") == 0x6B01265F
