"""Golden data made by the reference implementation; see test/golden/ring/README.md."""

import json
import pathlib
from array import array

DATA = pathlib.Path(__file__).parents[2] / "golden" / "ring"


def load_json(*names):
    return json.loads(DATA.joinpath(*names).read_text())


def golden_rings():
    return sorted(path.name.removesuffix(".json") for path in DATA.glob("expected/*.ring.gz.json"))


def golden_builders():
    return sorted(path.name.removesuffix(".json") for path in DATA.glob("expected/*.builder.json"))


def table(rows):
    return [array("I", row) for row in rows]
