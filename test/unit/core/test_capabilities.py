import pytest

from swift.core import capabilities


@pytest.fixture(autouse=True)
def _fresh_registry(monkeypatch):
    monkeypatch.setattr(capabilities, "_public", {})
    monkeypatch.setattr(capabilities, "_admin", {})


def test_sections_collect_what_features_register():
    capabilities.register(version="1.0", max_file_size=5)
    capabilities.register("slo", max_manifest_segments=1000)
    capabilities.register("slo", min_segment_size=1)
    capabilities.register("staticweb")
    assert capabilities.disclosed() == {
        "swift": {"version": "1.0", "max_file_size": 5},
        "slo": {"max_manifest_segments": 1000, "min_segment_size": 1},
        "staticweb": {},
    }


def test_copies_are_independent():
    capabilities.register("slo", sizes=[1])
    capabilities.disclosed()["slo"]["sizes"].append(2)
    assert capabilities.disclosed()["slo"]["sizes"] == [1]


def test_disallowed_sections_are_left_out_at_any_depth():
    capabilities.register(valid_api_versions=["v1"], version="1", nested={"a": {"b": 1, "c": 2}})
    capabilities.register("tempauth", account_acls=True)
    info = capabilities.disclosed(
        disallowed_sections=[
            "swift.valid_api_versions",
            "tempauth",
            "swift.nested.a.b",
            "no.such",
            "swift.version.x",
            "",
        ]
    )
    assert info == {"swift": {"version": "1", "nested": {"a": {"c": 2}}}}


def test_admin_view_shows_admin_sections_and_what_is_hidden():
    capabilities.register(version="1")
    capabilities.register("encryption", admin=True, enabled=True)
    assert capabilities.disclosed() == {"swift": {"version": "1"}}
    assert capabilities.disclosed(admin=True, disallowed_sections=["swift.version"]) == {
        "swift": {},
        "admin": {"encryption": {"enabled": True}, "disallowed_sections": ["swift.version"]},
    }


@pytest.mark.parametrize("section", ["admin", "disallowed_sections", "a.b"])
def test_reserved_and_dotted_section_names_are_refused(section):
    with pytest.raises(ValueError):
        capabilities.register(section, x=1)


def test_dotted_keys_are_refused():
    with pytest.raises(ValueError):
        capabilities.register("swift", **{"a.b": 1})
