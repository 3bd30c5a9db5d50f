"""Filter `slo`: objects that a manifest lists the segments of (spec middleware 4.21)."""

from swift.middleware.slo.filter import SloFilter, filter_factory

__all__ = ["SloFilter", "filter_factory"]
