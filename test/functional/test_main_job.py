"""The main job in its short form (test/main_job.py without arguments is the long one)."""

import pathlib
import sysconfig

from test import main_job


def test_a_tree_and_an_image_come_back_whole_also_with_a_node_killed(tmp_path):
    main_job.run(
        tmp_path, pathlib.Path(sysconfig.get_paths()["stdlib"]), files=250, image_mb=40, memcached=False
    )
