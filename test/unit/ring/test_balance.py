import pytest
from ring_golden import golden_builders, load_json, table

from swift.ring import balance
from swift.ring.dispersion import measure_dispersion
from swift.ring.errors import EmptyRingError, RingBuilderError


def state(name):
    golden = load_json("expected", name + ".json")
    return golden["loaded"], golden["computed"]


def devs_of(loaded):
    return [dev and dict(dev) for dev in loaded["devs"]]


def by_tier(entries):
    return {tuple(entry["tier"]): entry["value"] for entry in entries}


def check(found, entries):
    expected = by_tier(entries)
    for tier, value in expected.items():
        assert found.get(tier, 0) == pytest.approx(value, abs=1e-9), tier
    assert not {t for t in found if found[t]} - set(expected)


@pytest.mark.parametrize("name", [n for n in golden_builders() if n != "fresh.builder"])
def test_plan_is_the_references(name):
    loaded, computed = state(name)
    devs, replicas = devs_of(loaded), loaded["replicas"]
    tree = balance.TierTree.of(devs)
    check(balance.weighted_replicanths(tree, replicas), computed["weighted_replicas"])
    check(
        balance.wanted_replicanths(
            tree,
            replicas,
            balance.weighted_replicanths(tree, replicas),
            balance.fair_replicanths(tree, replicas),
        ),
        computed["wanted_replicas"],
    )
    check(balance.max_replicas(tree, replicas), computed["max_replicas"])
    plan = balance.make_plan(devs, loaded["parts"], replicas, loaded["overload"])
    assert plan.required_overload == pytest.approx(computed["required_overload"], abs=1e-9)
    check(plan.target, computed["target_replicas"])
    expected = by_tier(computed["replica_plan"])
    for tier, value in expected.items():
        assert (plan.minimum.get(tier, 0), plan.maximum.get(tier, 0)) == (value["min"], value["max"]), tier
    assert {str(k): v for k, v in plan.quota.items()} == {
        k: v for k, v in computed["part_quota"].items() if int(k) in plan.quota
    }


@pytest.mark.parametrize("name", [n for n in golden_builders() if n != "fresh.builder"])
def test_balance_is_the_references(name):
    loaded, computed = state(name)
    devs = devs_of(loaded)
    weight = balance.weight_of_one_part(devs, loaded["parts"], loaded["replicas"])
    assert weight == pytest.approx(computed["weight_of_one_part"], rel=1e-12)
    for dev in devs:
        if dev is not None:
            expected = computed["balance_per_dev"][str(dev["id"])]
            assert balance.device_balance(dev, weight) == pytest.approx(expected, abs=1e-9)


def name_of(tier, devs):
    text = f"r{tier[0]}" + (f"z{tier[1]}" if len(tier) > 1 else "") + (f"-{tier[2]}" if len(tier) > 2 else "")
    return text + (f"/{devs[tier[3]]['device']}" if len(tier) > 3 else "")


@pytest.mark.parametrize("name", [n for n in golden_builders() if n != "fresh.builder"])
def test_dispersion_is_the_references(name):
    loaded, computed = state(name)
    devs = devs_of(loaded)
    report = computed["dispersion_report_recalculated"]
    rows = table(row["values"] for row in loaded["_replica2part2dev"])
    if len(rows[-1]) != len(rows[0]):
        # the reference looks only at the parts of the last row: give it to ours in the same way
        rows = [row[: len(rows[-1])] for row in rows]
    limits = balance.max_replicas(balance.TierTree.of(devs), loaded["replicas"])
    found = measure_dispersion(devs, rows, loaded["parts"], loaded["replicas"], limits)
    assert found.percent == pytest.approx(report["dispersion"], abs=1e-9)
    graph = {name_of(tier, devs): line for tier, line in found.graph.items()}
    assert graph == {tier: entry["replicas"] for tier, entry in report["graph"]}


def test_dispersion_counts_all_parts_of_a_fractional_ring():
    loaded, _ = state("frac.builder")
    devs = devs_of(loaded)
    rows = table(row["values"] for row in loaded["_replica2part2dev"])
    limits = balance.max_replicas(balance.TierTree.of(devs), loaded["replicas"])
    graph = measure_dispersion(devs, rows, loaded["parts"], loaded["replicas"], limits).graph
    assert graph[(1,)] == [0, 0, 0, 48, 16]
    for tier, line in graph.items():
        assert sum(line) == loaded["parts"], tier


def test_empty_and_too_few():
    with pytest.raises(EmptyRingError, match="There are no devices in this ring"):
        balance.make_plan([None], 4, 3, 0)
    dev = {"id": 0, "region": 1, "zone": 1, "ip": "a", "weight": 1.0, "parts": 0}
    with pytest.raises(RingBuilderError, match="Replica count of 3.0 requires more than 1 devices"):
        balance.make_plan([dev], 4, 3.0, 0)


def test_quotas_leave_a_part_where_it_is():
    devs = [{"id": i, "region": 1, "zone": 1, "ip": str(i), "weight": 100.0, "parts": 0} for i in range(5)]
    plan = balance.make_plan(devs, 64, 2.0, 0)
    assert list(plan.quota.values()).count(26) == 3
    held = {0: 25, 1: 25, 2: 26, 3: 26, 4: 26}
    assert balance.make_plan(devs, 64, 2.0, 0, held).quota == held
