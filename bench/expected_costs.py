"""What a run is expected to cost, from declarations alone: the same on every machine, whatever it has stored.

A unit is one forward pass of one training image through one network; a backward pass is two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.spec import RunSpec

UNITS_PER_NETWORK = 3.0
"""A forward and a backward pass."""


@dataclass(frozen=True)
class Costs:
    """Costs by what methods and models declare (`bench.registry.methods()` and `models()`)."""

    methods: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]]

    def units(self, spec: RunSpec) -> float:
        """Units for each training image of the whole run."""
        declared = self.methods.get(spec.method, {})
        networks = declared.get("networks", 1)
        base = declared.get("units")
        if base is None:  # a number of networks that depends on a parameter is known to the method alone
            base = UNITS_PER_NETWORK * (networks if isinstance(networks, int) else 1)
        for name, each in (declared.get("units_per") or {}).items():
            base += each * float(spec.parameters.get(name, 0))
        return max(base, 1.0) * spec.members * spec.epochs

    def work(self, spec: RunSpec) -> float:
        """Megaflops for each training image of 32 x 32: what runs of one data set can be compared by."""
        name = "timm:NAME" if spec.model.startswith("timm:") else spec.model
        return self.units(spec) * float(self.models.get(name, {}).get("megaflops", 1.0))
