"""An object store that speaks OpenStack Swift: same API, rings, disks and wire protocol.

The rooms below import downwards only (see doc/architecture.md):
cli > proxy > middleware > account, container, obj > db > wire > ring > run > cache, telemetry > core.
"""

__version__ = "0.1.0"
