"""The files that `tune` writes to `tuning/` of the boards' folder: a recipe file, a page beside it, and plots.

Read first `output_target`, which refuses a file that can't be added to before anything is trained, then
`write_outputs`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.planning import recipe_files
from bench.planning.recipe_files import ChoiceRegret, FileChoice, MethodRecipe, RecipeFile
from bench.records import origin
from bench.records.store import Store
from bench.system.errors import UsageError
from bench.system.files import safe_file_stem, write_atomically
from bench.tuning.study.definition import StudyDefinition
from bench.tuning.study.optuna_study import OptunaStudy
from bench.tuning.study.search_space import apply_values
from bench.tuning.study.stages import StudyResult
from bench.tuning.study.study_page import study_page

PLOT_TARGET = "accuracy on the hold-out"
RECIPE_FIELDS = ("method", "method_version", "noise", "rate", "learning_rate", "weight_decay", "parameters")
"""Fields of a recipe that are those of the chosen runs."""
Regret = Mapping[str, float] | None
OutputTarget = tuple[Path, RecipeFile | None]
"""The recipe file that a command writes, and its content so far. The page lies beside it."""


def output_target(boards: Path, definitions: Sequence[StudyDefinition], name: str | None) -> OutputTarget:
    """The target of these studies' results. `name` is `--study-name`; None: named by the data set.

    Raises UsageError where the file exists and holds choices made in another setting.
    """
    base = definitions[0].base
    path = boards / recipe_files.FOLDER / f"{name or safe_file_stem(base.data_set)}.toml"
    if not path.exists():
        return path, None
    before = recipe_files.read_recipe_file(path)
    advice = "type --study-name NAME for a file beside it, or move it aside"
    if before.kind != "study":
        raise UsageError(f"{path} holds the shared grid's choices; those of studies can't stand beside them: {advice}")
    if differences := recipe_files.setting_differences(before, base):
        raise UsageError(f"{path} holds choices made in another setting ({'; '.join(differences[:3])}): {advice}")
    return path, before


def write_outputs(
    target: OutputTarget,
    results: Sequence[tuple[StudyResult, OptunaStudy]],
    documents: Sequence[dict[str, Any]],
    store: Store,
    commands: tuple[str, str],
) -> list[Path]:
    """Write recipes, plots and page; returns the paths written. `documents` are those of `results`, in their order.

    `commands`: the one that made the choices, and the one that trains with them. Raises UsageError where a file can't
    be written.
    """
    path, before = target
    page = path.with_suffix(".md")
    pairs = zip(results, documents, strict=True)
    chosen = [(result, document["regret"]) for (result, _), document in pairs if result.decision is not None]
    written = []
    if chosen:
        recipe_files.write_recipe_file(_merged_recipes(before, chosen, store, commands[0]), path)
        written.append(path)
    plots: dict[str, list[str]] = {}
    try:
        for _, study in results:
            for name, image in draw_plots(study).items():
                plot = path.with_name(f"{path.stem}-{_choice_name(study.definition)}-{name}.svg")
                write_atomically(plot, image)
                plots.setdefault(study.definition.name, []).append(plot.name)
                written.append(plot)
        write_atomically(page, study_page(documents, *commands, plots, path.name).encode())
    except OSError as error:
        raise UsageError(
            f"{page.parent} can't be written: {error.strerror}. The trials are safe: the same command goes on"
        ) from None
    return [*written, page]


def _merged_recipes(
    before: RecipeFile | None, chosen: Sequence[tuple[StudyResult, Regret]], store: Store, command: str
) -> RecipeFile:
    """The recipes from before with the chosen ones added, or in place of older ones of the same method and noise."""
    entries = [*(before.recipe if before else ()), *(_recipe(result, regret) for result, regret in chosen)]
    recipes = {(recipe.method, recipe.noise, recipe.rate): recipe for recipe in entries}
    choices = dict(before.choice if before else {})
    choices |= {_choice_name(result.definition): _choice(result, store, command) for result, _ in chosen}
    used = {recipe.choice for recipe in recipes.values()}
    return RecipeFile(
        setting=recipe_files.recipe_setting(chosen[0][0].definition.base),
        choice={name: choice for name, choice in choices.items() if name in used},
        recipe=tuple(recipes.values()),
    )


def _recipe(result: StudyResult, regret: Regret) -> MethodRecipe:
    assert result.decision is not None
    chosen = result.finalists[result.decision.chosen]
    default = next((finalist.fresh_score for finalist in result.finalists if finalist.slot == 0), None)
    spec = apply_values(result.definition.base, chosen.values)
    assert chosen.fresh_score is not None
    return MethodRecipe(
        **{field: getattr(spec, field) for field in RECIPE_FIELDS},
        choice=_choice_name(result.definition),
        criterion=chosen.fresh_score.mean,
        standard_error=chosen.fresh_score.error,
        own_criterion=None if default is None else default.mean,
        kept=result.decision.kept,
        runs=result.runs,
        regret=None if regret is None else ChoiceRegret(**regret),
    )


def _choice(result: StudyResult, store: Store, command: str) -> FileChoice:
    definition = result.definition
    records = list(store.records(spec.run_id for finalist in result.finalists for spec in finalist.specs))
    return FileChoice(
        kind="study",
        objective=definition.objective,
        **definition.base.model_dump(include={"noise", "rate", "hold_out"}),
        seeds=tuple(split["seed"] for split in definition.final_seeds),
        held_out_labels=definition.labels,
        last_epochs=definition.last_epochs,
        trials=sum(result.states.values()),
        tried=definition.space.declaration(),
        command=command,
        revision=origin.training_revisions(records),
        date=origin.last_training_day(records),
    )


def _choice_name(definition: StudyDefinition) -> str:
    """The name of a study's choice within its file, such as "gce-sym-0.4"."""
    base = definition.base
    return safe_file_stem(f"{base.method}-{base.noise}" + ("" if base.rate is None else f"-{base.rate:g}"))


def draw_plots(study: OptunaStudy) -> dict[str, bytes]:
    """The plots of a study by name, as SVG; none where no trial completed. The same study gives the same bytes."""
    if not study.completed_slots():
        return {}
    import matplotlib

    # "agg" opens no window, whatever the user's settings are; the salt makes the file's ids the same every time.
    settings: dict[Any, Any] = {"backend": "agg", "svg.hashsalt": "lnl-bench", "svg.fonttype": "none"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from optuna.visualization import matplotlib as plots

        return {
            "history": _svg(plots.plot_optimization_history(study.study, target_name=PLOT_TARGET)),
            "slice": _svg(plots.plot_slice(study.study, target_name=PLOT_TARGET)),
        }


def _svg(axes: Any) -> bytes:
    """The figure of some axes, which may be an array; the figure is closed."""
    from matplotlib import pyplot

    first = axes if hasattr(axes, "figure") else axes.ravel()[0]
    image = io.BytesIO()
    first.figure.savefig(image, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(first.figure)
    return image.getvalue()
