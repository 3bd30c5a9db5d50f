"""Images through Glance's own driver, in one account and in those of their owners: images.py does it, with the Python of KEYSTONE_BIN."""

import json
import os
import pathlib
import subprocess

import pytest
from conftest import KEYSTONE_BIN

SCRIPT = pathlib.Path(__file__).with_name("images.py")
# As Glance counts them: of an image, and of its segments. Images of 2 GB: IMAGE_MEGABYTES=2000 SEGMENT_MEGABYTES=200.
MEGABYTES = int(os.environ.get("IMAGE_MEGABYTES", "9"))
SEGMENT = int(os.environ.get("SEGMENT_MEGABYTES", "2"))
SCENARIOS = [
    *(
        f"{backend}: {what}"
        for backend in ("single", "buffered", "multi")
        for what in (
            "small",
            "whole segments",
            "size unknown",
            "size unknown, whole segments",
            "fails at once",
            "fails later",
        )
        if (backend, what) != ("buffered", "fails later")
    ),
    "resumed",
    "shared",
    "trusted",
]


@pytest.fixture(scope="module")
def results(request, store, keystone, tmp_path_factory):
    """Of the scenarios that this run of pytest is about."""
    wanted = [
        item.callspec.params["scenario"]
        for item in request.session.items
        if hasattr(item, "callspec") and "scenario" in item.callspec.params
    ]
    settings = tmp_path_factory.mktemp("images") / "settings.json"
    about = {
        "keystone": keystone.url,
        "store": store.layout.port,
        "megabytes": MEGABYTES,
        "segment": SEGMENT,
        "only": wanted,
    }
    settings.write_text(json.dumps(about))
    done = subprocess.run(
        [pathlib.Path(KEYSTONE_BIN) / "python", SCRIPT, settings],
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_images(results, scenario):
    assert results[scenario] == ""
