"""What tuning bought and lost, looked up afterwards: in `tune`'s outcome, and on the page that `report` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.execution.worker import load_file
from bench.leaderboard import tuning_gains
from bench.leaderboard.tables import build_report
from bench.planning import recipe_files
from bench.planning.recipe_files import ChoiceRegret, MethodRecipe, RecipeFile
from bench.records.store import Store
from bench.spec import RunSpec
from bench.stats.holdout_choice import HoldoutChoice, score_splits
from bench.tuning.study.result import judge_in_hindsight
from bench.tuning.study.stages import Finalist, StudyResult
from bench.tuning.study.study_page import hindsight_section

HERE = Path(__file__).parents[1]
records: Any = load_file(HERE / "fake_records.py")
tuning: Any = load_file(HERE / "fake_tuning.py")
Captured = pytest.CaptureFixture[str]

SCORE = score_splits([0.5, 0.5], 2000)


def result_on(store: Store, settings: dict[float, tuple[float, list[float]]], chosen: int) -> StudyResult:
    """Finalists q -> (clean held-out accuracy, test accuracies of the splits), their records in the store."""
    definition = tuning.definition_for()
    finalists = []
    for slot, (q, (clean, tests)) in enumerate(settings.items()):
        specs = definition.runs_on(definition.final_seeds, {"q": q})
        for spec, test in zip(specs, tests, strict=True):
            record = records.of(spec, test)
            record["curves"]["clean_holdout_accuracy"] = [clean] * spec.epochs
            store.write_record(record)
        finalists.append(Finalist(slot, {"q": q}, specs, SCORE, fresh_score=SCORE))
    return StudyResult(definition, tuple(finalists), HoldoutChoice(chosen, chosen, chosen == 0), {}, 30)


def test_regret_is_what_the_clean_labels_choice_has_more_on_the_test_set(tmp_path: Path) -> None:
    """The clean labels of the hold-outs prefer the third; the noisy ones chose the second."""
    store = Store(tmp_path)
    result = result_on(store, {0.7: (0.6, [0.7, 0.8]), 0.5: (0.7, [0.75, 0.9]), 0.3: (0.9, [0.8, 0.99])}, chosen=1)
    hindsight = judge_in_hindsight(result, store, {})
    assert hindsight is not None and hindsight.gain is not None
    assert hindsight.clean_choice == 2 and [score and round(score.mean, 6) for score in hindsight.clean_scores] == [
        0.6,
        0.7,
        0.9,
    ]
    assert hindsight.regret.mean == pytest.approx(0.07) and hindsight.gain.mean == pytest.approx(0.075)
    assert hindsight.regret.low is not None and hindsight.regret.low < 0.05 < 0.09 < (hindsight.regret.high or 0)


def test_the_rule_is_the_same_so_own_values_that_are_as_good_stay_and_regret_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    result = result_on(store, {0.7: (0.6, [0.7, 0.8]), 0.5: (0.601, [0.9, 0.9])}, chosen=0)
    hindsight = judge_in_hindsight(result, store, {})
    assert hindsight is not None and hindsight.clean_choice == 0 and hindsight.regret.mean == 0
    document = {
        "regret": {"mean": 0.0, "low": 0.0, "high": 0.0},
        "bought": None,
        "chosen": {"trial": 1},
        "clean_choice": 1,
        "clean_first": {"trial": 2, "of": 5},
        "finalists": [{"trial": 1}],
    }
    text = hindsight_section(document)
    assert "clean labels would have chosen the same" in text
    assert "Of the 5 trials that completed, they put trial 2 first on the search seeds, which was not run again" in text


def test_of_all_trials_that_completed_clean_labels_put_one_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    result = result_on(store, {0.7: (0.6, [0.7, 0.8])}, chosen=0)
    for q, clean in ((0.7, 0.6), (0.5, 0.8), (0.2, 0.7)):
        for spec in result.definition.search_runs({"q": q}):
            record = records.of(spec, 0.5)
            record["curves"]["clean_holdout_accuracy"] = [clean] * spec.epochs
            store.write_record(record)
    completed = {0: {"q": 0.7}, 3: {"q": 0.5}, 4: {"q": 0.2}, 5: {"q": 0.9}}  # of the last no record is left
    hindsight = judge_in_hindsight(result, store, completed)
    assert hindsight is not None and hindsight.trials == 3 and hindsight.clean_first == 3


def test_without_clean_labels_or_without_a_choice_there_is_no_hindsight(tmp_path: Path) -> None:
    store = Store(tmp_path)
    result = result_on(store, {0.7: (0.6, [0.7, 0.8])}, chosen=0)
    assert judge_in_hindsight(StudyResult(result.definition, result.finalists, None, {}, 30), store, {}) is None
    for spec in result.finalists[0].specs:
        record = records.of(spec, 0.5)
        record["curves"]["clean_holdout_accuracy"] = [None] * spec.epochs
        store.write_record(record)
    assert judge_in_hindsight(result, store, {}) is None


def rows(q: float, accuracies: list[float], *privileges: str) -> list[dict[str, Any]]:
    return [
        records.make("gce", seed, accuracy, parameters={"q": q}, privileges=privileges)
        for seed, accuracy in enumerate(accuracies)
    ]


def recipes_in(folder: Path, spec: RunSpec | None = None) -> Path:
    """A file of one study among a folder of boards: gce with q = 0.3, in the setting of `spec`."""
    if spec is None:
        spec = RunSpec(method="gce", **records.SETTING, noise_seed=0, split_seed=0, seed=0)
    choice = records.choice(kind="study", trials=30)
    recipe = MethodRecipe(
        method="gce",
        choice="gce-sym-0.4",
        noise="sym",
        rate=0.4,
        learning_rate=spec.learning_rate,
        weight_decay=spec.weight_decay,
        parameters={"q": 0.3},
        criterion=0.5,
        standard_error=0.01,
        kept=False,
        runs=512,
        regret=ChoiceRegret(mean=0.02, low=-0.01, high=0.05),
    )
    path = folder / recipe_files.FOLDER / "digits.toml"
    recipe_files.write_recipe_file(
        RecipeFile(setting=recipe_files.recipe_setting(spec), choice={"gce-sym-0.4": choice}, recipe=(recipe,)), path
    )
    return path


def test_a_tuned_row_stands_beside_the_own_values_with_cost_and_regret(tmp_path: Path) -> None:
    path = recipes_in(tmp_path)
    (path.parent / "digits-gce-sym-0.4-slice.svg").write_text("<svg/>")
    report = build_report([*rows(0.7, [0.5, 0.6, 0.7]), *rows(0.3, [0.6, 0.72, 0.8], "tuned=30")])
    (pair,) = tuning_gains.tuning_gains(report, {path: recipe_files.read_recipe_file(path)})
    assert pair.difference.mean == pytest.approx(0.32 / 3) and pair.difference.n == 3
    text = tuning_gains.gains_page([pair], tmp_path)
    assert "| digits" in text and "q=0.3" in text and "512" in text and "2.0 [−1.0, 5.0]" in text
    assert "Of 1 choice 0 kept" in text and "gained in 1 and lost in 0" in text
    assert "(tuning/digits.toml)" in text and "(tuning/digits-gce-sym-0.4-slice.svg)" in text
    (value,) = tuning_gains.gains_as_json([pair])
    assert value["runs"] == 512 and value["regret"] == {"mean": 0.02, "low": -0.01, "high": 0.05}


def test_without_its_file_a_tuned_row_has_no_cost_and_without_own_values_no_line() -> None:
    tuned = rows(0.3, [0.6, 0.72, 0.8], "tuned=30")
    (pair,) = tuning_gains.tuning_gains(build_report([*rows(0.7, [0.5, 0.6, 0.7]), *tuned]), {})
    assert pair.recipe is None and tuning_gains.gains_table([pair]).count("–") >= 2
    assert tuning_gains.tuning_gains(build_report(tuned), {}) == []
    assert tuning_gains.tuning_gains(build_report(rows(0.7, [0.5, 0.6])), {}) == []


def test_report_writes_the_page_and_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "runs")
    for record in [*rows(0.7, [0.5, 0.6, 0.7]), *rows(0.3, [0.6, 0.72, 0.8], "tuned=30")]:
        store.write_record(record)
    recipes_in(tmp_path / "leaderboards")
    assert main(["report"]) == 0
    printed = capsys.readouterr()
    assert "What tuning bought" in printed.out and "wrote leaderboards/tuning.md" in printed.err
    assert "512" in (tmp_path / "leaderboards/tuning.md").read_text()
    assert main(["report", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["tuned"][0]["runs"] == 512


def test_the_commands_under_the_table_ask_for_tuned_rows_by_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)

    def planned(line: str) -> list[RunSpec]:
        capsys.readouterr()
        assert main([*line.split()[3:], "--dry-run", "--format", "json"]) == 0
        return [RunSpec.model_validate(run["spec"]) for run in json.loads(capsys.readouterr().out)["runs"]]

    defaults = planned("python -m bench run --methods gce,ce --seeds 3")
    path = recipes_in(tmp_path / "leaderboards", defaults[0]).relative_to(tmp_path)
    tuned = planned(f"python -m bench run --methods gce --seeds 3 --recipes {path}")
    store = Store(tmp_path / "runs")
    for spec in [*defaults, *tuned]:
        store.write_record(records.of(spec, 0.5))
    assert main(["report"]) == 0
    text = (tmp_path / "leaderboards/digits.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("python -m bench run")]
    assert len(lines) == 2 and sum(f"--recipes {path}" in line for line in lines) == 1, lines
    assert {spec.run_id for line in lines for spec in planned(line)} == {spec.run_id for spec in [*defaults, *tuned]}


def test_a_broken_recipe_file_costs_a_note_and_no_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    for record in rows(0.7, [0.5, 0.6]):
        Store(tmp_path / "runs").write_record(record)
    path = recipes_in(tmp_path / "leaderboards")
    path.write_text(path.read_text().replace("runs = 512", "runs = 0"))
    assert main(["report"]) == 0
    assert "digits.toml" in capsys.readouterr().err and (tmp_path / "leaderboards/digits.md").exists()
