"""The options of `tune` beyond those that it shares with `run`, in types and within bounds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bench.planning.request import Identity, Names, Runtime, explain_validation_error
from bench.spec import Seed
from bench.stats.holdout_choice import CURVES, Objective
from bench.system.errors import UsageError

TEST_NAMES = ("test", "best-test", "clean-test")


def _check_objective(value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() in TEST_NAMES:
        raise ValueError(
            "what is chosen on the test set can't be reported on it. Type noisy-val, or clean-val, which is a marked "
            "privilege"
        )
    if value not in CURVES:
        raise ValueError(f"must be {' or '.join(CURVES)}")
    return value


class TuneRequest(BaseModel):
    """The options of `tune` alone. Frozen; extra fields are refused. `also` is `--with`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: Identity[Annotated[int, Field(ge=1, le=100_000)]] = 30
    also: Identity[Names] = ()
    objective: Identity[Annotated[Objective, BeforeValidator(_check_objective)]] = "noisy-val"
    study_name: Identity[Annotated[str, Field(pattern=r"^[A-Za-z0-9._=+-]+$", max_length=100)] | None] = None
    study_seed: Identity[Seed] = 0
    finalists: Identity[Annotated[int, Field(ge=1)]] = 5
    storage: Runtime[Annotated[str, Field(min_length=1)] | None] = None

    @classmethod
    def typed(cls, **options: Any) -> TuneRequest:
        """A request from the options that were typed (None: not typed). Raises UsageError, a line for each mistake."""
        try:
            return cls(**{name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            raise UsageError("\n".join(_explain(mistake) for mistake in error.errors()[:3])) from None


def _explain(mistake: Any) -> str:
    if mistake["loc"] and mistake["loc"][0] == "study_name" and mistake["type"] == "string_pattern_mismatch":
        return f"--study-name {mistake['input']}: must be letters, digits and . _ = + - only"
    return explain_validation_error(mistake).replace("--also", "--with")
