"""What Co-teaching and its successors declare alike."""

from __future__ import annotations

from methods.interface import Parameter, Search

CO_TEACHING = "Co-teaching, official code (bhanML/Co-teaching)"
CO_TEACHING_PLUS = "Co-teaching+, official code (xingruiyu/coteaching_plus)"
JOCOR = "JoCoR, official code and README (hongxin001/JoCoR)"

GRADUAL = 10 / 200
"""All three codes: 10 epochs of 200."""


def gradual_parameter(source: str) -> Parameter:
    """The length of the ramp of the forget rate."""
    return Parameter(
        "gradual",
        GRADUAL,
        "share of the training over which the forget rate rises from 0 to the noise rate (at least 1 epoch)",
        source,
        low=0.0,
        high=1.0,
        search=Search("uniform", 0.02, 0.5),
    )


def exponent_parameter(source: str) -> Parameter:
    """The shape of that ramp."""
    return Parameter(
        "exponent",
        1.0,
        "power to which the rise of the forget rate is taken",
        source,
        low=0.1,
        high=10.0,
        search=Search("log-uniform", 0.5, 2.0),
    )
