"""Images through Glance's own driver, in one account and in those of their owners: images.py does it, with the Python of KEYSTONE_BIN."""

import json
import os
import pathlib
import subprocess

import pytest
from conftest import KEYSTONE_BIN

SCRIPT = pathlib.Path(__file__).with_name("images.py")
MEGABYTES = int(os.environ.get("IMAGE_MEGABYTES", "9"))
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
def results(store, keystone, tmp_path_factory):
    settings = tmp_path_factory.mktemp("images") / "settings.json"
    settings.write_text(
        json.dumps({"keystone": keystone.url, "store": store.layout.port, "megabytes": MEGABYTES})
    )
    done = subprocess.run(
        [pathlib.Path(KEYSTONE_BIN) / "python", SCRIPT, settings],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_images(results, scenario):
    assert results[scenario] == ""


def test_all_of_them_were_tried(results):
    assert set(results) == set(SCENARIOS)
