"""AES-CTR and crypto-meta: the spec's vectors, agreement with the library's own CTR, and text that makes no sense."""

import json
from urllib.parse import quote_plus, unquote_plus

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from swift.middleware.encryption import ciphers
from swift.middleware.encryption.ciphers import CryptoError, ValueCipher, keystream, parse_meta, parse_sealed

OBJECT_KEY = bytes.fromhex("001afb93db19a2fc60c2424f2aad73da2b506bf59031a715809aad6c6cf7b9da")
CONTAINER_KEY = bytes.fromhex("9bd6fab2a68f528bd0b443f5b73ed4b9af80438a3259265726c727cddf50c32e")
BODY_META = (
    "%7B%22body_key%22%3A+%7B%22iv%22%3A+%22YWhp5H%2B0DF%2BBYitwWgJ%2BUw%3D%3D%22%2C+%22key%22%3A+%222E1tCMG%2BO%2FK0nDnns3U2pX"
    "rwe7WCwayc%2F%2Fot3I%2BOa%2F8%3D%22%7D%2C+%22cipher%22%3A+%22AES_CTR_256%22%2C+%22iv%22%3A+%22vhCeuzEuNnuiG7gOKDe3dQ%3D%3D"
    "%22%2C+%22key_id%22%3A+%7B%22path%22%3A+%22%2FAUTH_test%2Fc%2Fo%22%2C+%22v%22%3A+%222%22%7D%7D"
)
ETAG = "LDnA+BzK1kGfMGzaqvPzLRJnP9Xi/aBB4kMuwUN5u/s=; swift_meta=%7B%22cipher%22%3A+%22AES_CTR_256%22%2C+%22iv%22%3A+%222FPpOU6y1NACvXFTwqZxZQ%3D%3D%22%7D"


def test_the_vectors():
    cipher = ValueCipher(OBJECT_KEY)
    meta = parse_meta(BODY_META)
    assert meta["key_id"] == {"path": "/AUTH_test/c/o", "v": "2"}
    body_key = cipher.apply(meta["body_key"]["iv"], meta["body_key"]["key"])
    assert body_key.hex() == "796940e8a3b25e58f068cb64931dd734c516f1eb7dc2a77133250c6b4e945c8c"
    stored = bytes.fromhex("8caba5ba7e172c6959b1fc1f467f72b3835769851c28ede4b4")
    assert keystream(body_key, meta["iv"]).update(stored) == b"hello world, this is text"
    assert keystream(body_key, meta["iv"], 20).update(stored[20:]) == b" text"
    etag = cipher.opened(parse_sealed(ETAG)).decode()
    assert etag == "529e26badf59e81abca65d4c71287fc1"
    assert cipher.mac(etag) == "Kxtm+8pyPUMM2Lnq6WHPfpt5uUynGPYr6J88ZgXRChk="
    listed = f"SrLuzNEoPlN6k6AFEKK+pXT6XUBPljbbXTh9MpKBf+U=; swift_meta={quote_plus(json.dumps({'cipher': 'AES_CTR_256', 'iv': 'J3ncBEx8OoQ/XpSWs7fiew=='}))}"
    assert ValueCipher(CONTAINER_KEY).opened(parse_sealed(listed)).decode() == etag


def test_crypto_meta_is_written_as_the_reference_writes_it():
    meta = parse_meta(BODY_META)
    wrapped, key_id = meta["body_key"], ciphers.key_id_text(meta["key_id"])
    assert ciphers.body_meta(meta["iv"], wrapped["iv"], wrapped["key"], key_id) == BODY_META


@given(st.binary(min_size=16, max_size=16), st.text(max_size=40))
def test_crypto_meta_is_quoted_json(iv, path):
    key_id = {"v": "3", "path": path, "secret_id": "b"}
    plain = {"cipher": "AES_CTR_256", "iv": ciphers.b64(iv)}
    text = ciphers.key_id_text(key_id)
    assert ciphers._value_meta(iv, "") == quote_plus(json.dumps(plain, sort_keys=True))
    assert ciphers._value_meta(iv, text) == quote_plus(
        json.dumps({**plain, "key_id": key_id}, sort_keys=True)
    )
    assert ciphers.set_meta(text) == quote_plus(
        json.dumps({"cipher": "AES_CTR_256", "key_id": key_id}, sort_keys=True)
    )
    assert parse_meta(ciphers._value_meta(iv, text)) == {"cipher": "AES_CTR_256", "iv": iv, "key_id": key_id}


def ctr(key, iv, data):
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)


ENDS = st.sampled_from([b"\xff" * 16, b"\xff" * 15 + b"\xfe", bytes(16)]) | st.binary(
    min_size=16, max_size=16
)


@given(st.binary(min_size=32, max_size=32), ENDS, st.binary(max_size=100))
def test_short_values_are_in_counter_mode(key, iv, value):
    cipher = ValueCipher(key)
    assert cipher.apply(iv, value) == ctr(key, iv, value)
    assert cipher.apply(iv, cipher.apply(iv, value)) == value


@given(ENDS, st.binary(min_size=1, max_size=100), st.data())
def test_a_keystream_begins_anywhere(iv, value, data):
    key = bytes(range(32))
    offset = data.draw(st.integers(0, len(value)))
    assert keystream(key, iv, offset).update(value[offset:]) == ctr(key, iv, value)[offset:]


@given(st.binary(max_size=200))
def test_sealed_values_are_opened(value):
    cipher = ValueCipher(OBJECT_KEY)
    fresh = ciphers.Fresh(20)
    text = cipher.sealed(value, fresh.take())
    assert ciphers.is_sealed(text) and cipher.opened(parse_sealed(text)) == value
    assert (
        cipher.sealed(value, fresh.take()) != text
    )  # never the same IV, also when more is taken than was said


@given(st.text(max_size=60) | st.text("%+/ 0123456789ABCDEF%7B%22", max_size=60))
def test_quoted_text_is_read(text):
    assert ciphers._unquoted(quote_plus(text)) == text
    assert ciphers._unquoted(text) == unquote_plus(text)


@given(st.text(max_size=60) | st.text("ab/._~-%+", max_size=60), st.sampled_from([None, "b"]))
def test_key_ids_are_quoted_json(path, secret_id):
    key_id = {"path": path, "v": "2", **({"secret_id": secret_id} if secret_id else {})}
    assert ciphers.key_id_text(key_id) == quote_plus(json.dumps(key_id, sort_keys=True))


NONSENSE = [
    "", "{}", "[]", "null", "7", '"text"', "%7B", "notjson", "{" * 5000, '{"cipher": "ROT13"}', '{"cipher": ["AES_CTR_256"]}',
    '{"cipher": "AES_CTR_256", "iv": 7}', '{"cipher": "AES_CTR_256", "iv": "???"}', '{"cipher": "AES_CTR_256", "body_key": 7}',
    '{"cipher": "AES_CTR_256", "body_key": {"iv": "AAAA"}}', '{"cipher": "AES_CTR_256", "key_id": "text"}', "\u00e9",
]  # fmt: skip


@pytest.mark.parametrize("text", NONSENSE, ids=range(len(NONSENSE)))
def test_crypto_meta_that_makes_no_sense(text):
    for form in (text, quote_plus(text)):
        with pytest.raises(CryptoError):
            parse_meta(form)
        with pytest.raises(CryptoError):
            parse_sealed(f"AAAA; swift_meta={form}")


@pytest.mark.parametrize(
    "text", ["", "AAAA", "AAAA; other=1", "?; swift_meta=", "AAAA swift_meta={}", "\u00e9; swift_meta={}"]
)
def test_values_that_make_no_sense(text):
    with pytest.raises(CryptoError):
        parse_sealed(text)


@pytest.mark.parametrize(
    "key, iv", [(b"", bytes(16)), (bytes(31), bytes(16)), (bytes(32), b""), (bytes(32), bytes(12))]
)
def test_lengths_are_checked(key, iv):
    with pytest.raises(CryptoError):
        keystream(key, iv)
    with pytest.raises(CryptoError):
        ValueCipher(key).apply(iv, b"x")
