"""Optuna's own plots of a study, as SVG: how the search went, and what each dimension did."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

if TYPE_CHECKING:
    from bench.tuning.search import Search

TARGET = "accuracy on the hold-out"


def draw(search: Search) -> dict[str, bytes]:
    """The plots by name; none where no trial completed."""
    study = search.study
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return {}
    import matplotlib

    # no window, whatever the user's own settings say; and the same file for the same study
    settings: dict[Any, Any] = {"backend": "agg", "svg.hashsalt": "lnl-bench", "svg.fonttype": "none"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from optuna.visualization import matplotlib as plots

        return {
            "history": _svg(plots.plot_optimization_history(study, target_name=TARGET)),
            "slice": _svg(plots.plot_slice(study, target_name=TARGET)),
        }


def _svg(axes: Any) -> bytes:
    """One figure, closed afterwards. `axes`: one, or an array of them."""
    from matplotlib import pyplot

    first = axes if hasattr(axes, "figure") else axes.ravel()[0]
    image = io.BytesIO()
    first.figure.savefig(image, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(first.figure)
    return image.getvalue()
