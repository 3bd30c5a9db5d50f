"""What a sharder's recon file tells while a cycle is under way."""

from swift.container.sharding.figures import ShardingFigures


class Metrics:
    def __init__(self):
        self.levels = {}

    def gauge(self, name, value):
        self.levels[name] = value

    def update_stats(self, name, number):
        pass


def cycle(before=None, limit=-1):
    return ShardingFigures(Metrics(), limit, before)


def told(figures):
    recon = figures.recon()
    return (
        [entry["container"] for entry in recon["sharding_in_progress"]["all"]],
        [entry["container"] for entry in recon["sharding_candidates"]["top"]],
        [entry["container"] for entry in recon["shrinking_candidates"]["top"]],
        [entry["path"] for entry in recon["orphaned_shards"]["all"]],
    )


def moving(name):
    return {"container": name, "db_state": "sharding", "error": "x", "ranges_done": 1, "ranges_todo": 2}


def filled():
    figures = cycle()
    for name in ("a", "b"):
        with figures.visiting(f"/{name}.db"):
            figures.in_progress[f"/{name}.db"] = moving(name)
            figures.sharding_candidates[f"/{name}.db"] = {"container": name, "object_count": 1}
            figures.shrinking_candidates[f"/{name}.db"] = {"container": name, "compactible_ranges": 1}
            figures.orphans[f"/{name}.db"] = {"path": name}
            figures.count("audit_root", "failure")
    figures.end()
    return figures


def test_until_a_container_is_visited_again_it_is_told_of_as_before():
    figures = cycle(filled())
    assert told(figures) == (["a", "b"],) * 4
    assert figures.recon()["audit_root"]["failure"] == 2
    figures.show()
    assert figures.metrics.levels["sharding_in_progress"] == figures.metrics.levels["sharding_errors"] == 2
    with figures.visiting("/a.db"):
        assert told(figures) == (["a", "b"],) * 4  # a visit may take long
        figures.in_progress["/a.db"] = moving("a")
    assert told(figures) == (["a", "b"], ["b"], ["b"], ["b"])


def test_at_the_end_of_a_cycle_only_what_it_has_found_is_told():
    figures = cycle(filled())
    with figures.visiting("/a.db"):
        figures.in_progress["/a.db"] = moving("a")
        figures.count("audit_root", "failure")
    figures.end()
    assert told(figures) == (["a"], [], [], [])
    assert figures.recon()["audit_root"]["failure"] == 1
    assert told(cycle(figures)) == told(figures)


def test_a_visit_that_fails_leaves_nothing_of_old_behind():
    figures = cycle(filled())
    try:
        with figures.visiting("/b.db"):
            raise OSError(5)
    except OSError:
        pass
    assert told(figures) == (["a"],) * 4
