"""Composite rings: rows of several builders, one after the other (spec ring 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swift.ring.builder import RingBuilder
from swift.ring.format import RingData


def compose_rings(builders: Sequence[RingBuilder]) -> RingData:
    """Check the rules of 11.1 (RingBuilderError with their texts) and compose."""
    raise NotImplementedError


class CompositeRingBuilder:
    """The metadata file of a composite ring (11.3)."""

    version: int
    components: list[dict[str, Any]]
    builder_files: dict[str, str]  # builder id → absolute path

    def __init__(self, builder_files: Sequence[str] = ()) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, path: str) -> CompositeRingBuilder:
        """OSError, or RingBuilderError ``File does not contain valid composite ring data``."""
        raise NotImplementedError

    def save(self, path: str) -> None:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """version, components, component_builder_files: what ``show`` prints."""
        raise NotImplementedError

    def compose(self, builder_files: Sequence[str] | None = None, force: bool = False) -> RingData:
        """Load the builders (default: those of the last time), check against the existing composite, compose."""
        raise NotImplementedError
