"""A copy of the link to a version, with all filters that make it what it is: what it leads to is for who may read that."""

import pytest
from test_object_versioning import World, forgetful  # noqa: F401

from swift.middleware.copy import CopyFilter
from swift.wire.message import HTTPForbidden


@pytest.mark.parametrize("fresh", ["no", "yes"])
def test_a_copied_link_led_elsewhere_shows_nothing_that_is_private(fresh):
    world = World()
    assert world.call("PUT", "/c", X_Versions_Enabled="true").status_int == 201
    world.app = CopyFilter(world.app, {})
    world.put("/c/o", b"one")
    for container in ("/d", "/private"):
        world.call("PUT", container)
    world.put("/private/o", b"secret")
    elsewhere = {"X_Symlink_Target": "private/o", "X_Symlink_Target_Etag": "", "X_Fresh_Metadata": fresh}
    answer = world.call("COPY", "/c/o?symlink=get", Destination="d/l", **elsewhere)
    assert answer.status_int == 201
    assert world.get("/d/l").body == b"secret"
    world.authorize = lambda request: (
        HTTPForbidden(request=request) if "/private" in request.path_info else None
    )
    assert world.get("/d/l").status_int == 403
