import json
import os
import shutil

import pytest
from ring_golden import load_json

from swift.ring.builder import RingBuilder
from swift.ring.composite import CompositeRingBuilder, compose_rings
from swift.ring.errors import RingBuilderError
from swift.ring.format import RingData


@pytest.fixture
def files(data, tmp_path):
    for name in ("region1", "region2"):
        shutil.copy(data / "composite" / f"{name}.builder", tmp_path)
        os.chmod(tmp_path / f"{name}.builder", 0o644)
    return [str(tmp_path / f"{name}.builder") for name in ("region1", "region2")]


def test_same_ring_as_the_reference(data, files, tmp_path):
    composite = CompositeRingBuilder()
    ring = composite.compose(files)
    golden = RingData.load(str(data / "rings" / "composite.ring.gz"))
    assert (ring.devs, ring.rows, ring.part_shift, ring.version) == (
        golden.devs,
        golden.rows,
        golden.part_shift,
        None,
    )
    composite.save(str(tmp_path / "c.json"))
    example = load_json("composite", "multi.composite.example.json")
    saved = json.loads((tmp_path / "c.json").read_text())
    assert saved["components"] == example["components"]
    assert saved["version"] == example["version"]
    assert saved["serialization_version"] == 1
    assert saved["saved_path"] == str(tmp_path / "c.json")
    assert list(saved["component_builder_files"].values()) == files


def test_again_with_and_without_changes(files, tmp_path):
    path = str(tmp_path / "c.json")
    composite = CompositeRingBuilder()
    composite.compose(files)
    composite.save(path)
    again = CompositeRingBuilder.load(path)
    with pytest.raises(RingBuilderError, match="None of the component builders has been modified"):
        again.compose()
    assert again.version == 1
    again.compose(force=True)
    assert again.version == 2
    builder = RingBuilder.load(files[1])
    builder.set_dev_weight(0, 50)
    builder.save(files[1])
    again = CompositeRingBuilder.load(path)
    with pytest.raises(RingBuilderError, match="Builder needs rebalance to apply changes at index 1"):
        again.compose()
    builder.pretend_min_part_hours_passed()
    builder.rebalance()
    builder.save(files[1])
    again.compose()
    assert again.version == 2
    again.save(path)
    shutil.copy(files[0], tmp_path / "old.builder")
    older = RingBuilder.load(files[1])
    older.state.version = 1
    older.save(files[1])
    with pytest.raises(
        RingBuilderError, match="Invalid builder change at index 1: Older builder version: 1 < "
    ):
        CompositeRingBuilder.load(path).compose()


def test_succession_rules(files, data):
    composite = CompositeRingBuilder()
    composite.compose(files)
    with pytest.raises(RingBuilderError) as caught:
        composite.compose(files[::-1])
    assert str(caught.value) == (
        "Invalid builder change at index 0: Attribute mismatch for replicas: 1.0 != 2.0\n"
        "Invalid builder change at index 1: Attribute mismatch for replicas: 2.0 != 1.0"
    )
    with pytest.raises(
        RingBuilderError, match="Unexpected extra builder at index 2: {'version': 5, 'replicas': 3.0"
    ):
        composite.compose([*files, str(data / "rings" / "saio.builder")])
    with pytest.raises(RingBuilderError, match="Two or more"):
        composite.compose(files[:1])
    composite.components.append(composite.components[0])
    with pytest.raises(RingBuilderError, match="Missing builder at index 2"):
        composite.compose(files)


def test_rules_for_components(files, data):
    def refuse(message, *names):
        with pytest.raises(RingBuilderError) as caught:
            CompositeRingBuilder().compose([*names])
        assert str(caught.value) == message

    rings = str(data / "rings")
    refuse("Two or more component builders are required.", files[0])
    refuse("Builder id '634132fe284b47e8ab9860feb50c3ba7' used at indexes 0, 1", files[0], files[0])
    refuse(
        "All builders must have same value for 'part_power'.\npart_power=5 found at indexes [0]\n"
        "  part_power=4 found at indexes [1]",
        files[0], rings + "/saio.builder",
    )  # fmt: skip
    refuse(
        "Problem with builders.\nNon integer replica count 1.5 found at index 1",
        files[0],
        rings + "/frac15.builder",
    )
    refuse("Ring Builder file does not exist: missing.builder", files[0], "missing.builder")
    one, two = (RingBuilder.load(name) for name in files)
    one.state.id = None
    with pytest.raises(
        RingBuilderError, match="index 0: id attribute has not been initialised by calling save"
    ):
        compose_rings([one, two])
    one.state.id = "x"
    for dev in one.iter_devs():
        dev["region"] = 2
    with pytest.raises(RingBuilderError, match="Same region found in different rings"):
        compose_rings([one, two])
    for dev in one.iter_devs():
        dev["region"] = 3
    one.devs[0].update({key: two.devs[0][key] for key in ("ip", "port", "device")})
    with pytest.raises(
        RingBuilderError, match="Duplicate ip/port/device combination .* found in builders at indexes 0 and 1"
    ):
        compose_rings([one, two])


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"components": 1, "version": 1, "component_builder_files": {}}', "[" * 9999]
)
def test_files_that_are_no_composites(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(RingBuilderError, match="File does not contain valid composite ring data"):
        CompositeRingBuilder.load(str(tmp_path / "c.json"))


def test_nothing_to_save(tmp_path):
    with pytest.raises(ValueError):
        CompositeRingBuilder().save(str(tmp_path / "c.json"))
    assert os.listdir(tmp_path) == []
