import pytest

from swift.telemetry import redaction


@pytest.fixture(autouse=True)
def _fresh_registry(monkeypatch):
    monkeypatch.setattr(redaction, "_headers", set())
    monkeypatch.setattr(redaction, "_parameters", set())


def test_headers_ignore_case_and_parameters_do_not():
    redaction.register_sensitive_header("X-Auth-Token")
    redaction.register_sensitive_header("x-auth-token")
    redaction.register_sensitive_parameter("Signature")
    redaction.register_sensitive_parameter("signature")
    assert redaction.sensitive_headers() == {"x-auth-token"}
    assert redaction.sensitive_parameters() == {"Signature", "signature"}


@pytest.mark.parametrize("name", ["\u2603", b"bytes", None])
def test_only_ascii_text_is_a_name(name):
    with pytest.raises(ValueError):
        redaction.register_sensitive_header(name)
    with pytest.raises(ValueError):
        redaction.register_sensitive_parameter(name)
