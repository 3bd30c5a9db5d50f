"""Tests of this room run on the hub that servers run on."""

from swift.core.concurrency import use_fast_hub

use_fast_hub()
