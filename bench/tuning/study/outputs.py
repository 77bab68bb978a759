"""What `tune` leaves behind: a recipe file, a page beside it, and plots, in `tuning/` of the boards' folder."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from bench.planning import recipe_files
from bench.planning.recipe_files import ChoiceRegret, FileChoice, MethodRecipe, RecipeFile
from bench.records import origin
from bench.records.store import Store
from bench.system import files
from bench.system.errors import UsageError
from bench.system.files import write_atomically
from bench.tuning.study import study_page
from bench.tuning.study.definition import StudyCase
from bench.tuning.study.optuna_study import OptunaStudy
from bench.tuning.study.search_space import apply_values
from bench.tuning.study.stages import StudyResult


@dataclass(frozen=True)
class StudyCommands:
    """The command that made an outcome, and the one that trains with it."""

    made: str
    use: str


@dataclass(frozen=True)
class OutputTarget:
    """Where the outcome of one command goes; `before` is the recipe file that is there already."""

    recipes: Path
    before: RecipeFile | None

    @property
    def page(self) -> Path:
        """The page beside the recipes."""
        return self.recipes.with_suffix(".md")


def output_target(boards: Path, cases: Sequence[StudyCase], name: str | None) -> OutputTarget:
    """Where these cases' outcome goes. `name`: `--study-name`, or None for the data set's.

    Raises UsageError where a file is there that they can't be added to: what it holds was chosen in another setting.
    """
    base = cases[0].base
    path = boards / recipe_files.FOLDER / f"{name or files.recipe_file_stem(base.data_set)}.toml"
    if not path.exists():
        return OutputTarget(path, None)
    before = recipe_files.read_recipe_file(path)
    wanted = "type --study-name NAME for a file beside it, or move it aside"
    if before.kind != "study":
        raise UsageError(f"{path} holds the shared grid's choices; those of studies can't stand beside them: {wanted}")
    if found := recipe_files.setting_differences(before, base):
        raise UsageError(f"{path} holds choices made in another setting ({'; '.join(found[:3])}): {wanted}")
    return OutputTarget(path, before)


def write_outputs(
    where: OutputTarget,
    tuned: Sequence[StudyResult],
    searches: Sequence[OptunaStudy],
    documents: Sequence[dict[str, Any]],
    store: Store,
    commands: StudyCommands,
) -> list[Path]:
    """Write recipes, plots and page; returns what was written. Raises UsageError where a file can't be."""
    regrets = {each["study"]: each["regret"] for each in documents}
    chosen = [each for each in tuned if each.decision is not None]
    written = []
    if chosen:
        recipe_files.write_recipe_file(_merged(where.before, chosen, regrets, store, commands.made), where.recipes)
        written.append(where.recipes)
    drawn: dict[str, list[str]] = {}
    try:
        for search in searches:
            for name, image in draw_plots(search).items():
                path = where.recipes.with_name(f"{where.recipes.stem}-{_stem(search.case)}-{name}.svg")
                write_atomically(path, image)
                drawn.setdefault(search.case.name, []).append(path.name)
                written.append(path)
        text = study_page.study_page(documents, commands.made, commands.use, drawn, where.recipes.name)
        write_atomically(where.page, text.encode())
    except OSError as error:
        raise UsageError(
            f"{where.page.parent} can't be written: {error.strerror}. The trials are safe: the same command goes on"
        ) from None
    return [*written, where.page]


def _merged(
    before: RecipeFile | None,
    tuned: Sequence[StudyResult],
    regrets: Mapping[str, Mapping[str, float] | None],
    store: Store,
    command: str,
) -> RecipeFile:
    """The recipes that were there, but for those chosen anew, and these."""
    recipes = {_key(each): each for each in (before.recipe if before else ())}
    choices = dict(before.choice if before else {})
    for each in tuned:
        recipe = _recipe(each, regrets[each.case.name])
        recipes[_key(recipe)] = recipe
        choices[recipe.choice] = _choice(each, store, command)
    used = {each.choice for each in recipes.values()}
    return RecipeFile(
        setting=recipe_files.recipe_setting(tuned[0].case.base),
        choice={name: choice for name, choice in choices.items() if name in used},
        recipe=tuple(recipes.values()),
    )


def _recipe(tuned: StudyResult, regret: Mapping[str, float] | None) -> MethodRecipe:
    assert tuned.decision is not None
    case = tuned.case
    chosen = tuned.finalists[tuned.decision.chosen]
    own = next((each.score for each in tuned.finalists if each.slot == 0), None)
    spec = apply_values(case.base, chosen.values)
    assert chosen.score is not None
    return MethodRecipe(
        method=spec.method,
        method_version=spec.method_version,
        choice=_stem(case),
        noise=spec.noise,
        rate=spec.rate,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        parameters=spec.parameters,
        criterion=chosen.score.mean,
        standard_error=chosen.score.error,
        own_criterion=None if own is None else own.mean,
        kept=tuned.decision.kept,
        runs=tuned.runs,
        regret=None if regret is None else ChoiceRegret(**regret),
    )


def _choice(tuned: StudyResult, store: Store, command: str) -> FileChoice:
    case = tuned.case
    records = [record for each in tuned.finalists for record in store.records(spec.run_id for spec in each.specs)]
    return FileChoice(
        kind="study",
        objective=case.objective,
        noise=case.base.noise,
        rate=case.base.rate,
        seeds=tuple(each["seed"] for each in case.final_seeds),
        hold_out=case.base.hold_out,
        held_out_labels=case.labels,
        last_epochs=case.last_epochs,
        trials=sum(tuned.states.values()),
        tried=case.space.declaration(),
        command=command,
        revision=origin.training_revisions(records),
        date=origin.last_training_day(records),
    )


def _key(recipe: MethodRecipe) -> tuple[Any, ...]:
    return recipe.method, recipe.noise, recipe.rate


def _stem(case: StudyCase) -> str:
    """A name for a case within its file, such as "gce-sym-0.4"."""
    base = case.base
    parts = [base.method, base.noise] + ([] if base.rate is None else [f"{base.rate:g}"])
    return files.recipe_file_stem("-".join(parts))


TARGET = "accuracy on the hold-out"


def draw_plots(search: OptunaStudy) -> dict[str, bytes]:
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
