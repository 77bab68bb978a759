"""A request's names are looked up once, and the facts are made from what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.planning.gather_facts import gather_facts
from bench.planning.request import Request
from bench.planning.validate import validate_request
from bench.system.errors import UsageError


def test_methods_are_resolved_and_the_data_set_named_as_recorded() -> None:
    request = Request.typed(methods="gce[q=0.5],c*", dataset="synthetic[classes=4,train=200,test=100]", dry_run=True)
    validated = validate_request(request)
    gce, *globbed = validated.methods
    assert (gce.selected.name, gce.selected.outright, gce.values) == ("gce", True, {"q": 0.5})
    assert all(method.selected.name.startswith("c") and not method.selected.outright for method in globbed)
    assert validated.data_set == "synthetic[classes=4,test=100,train=200]" and validated.recipes is None
    facts = gather_facts(validated)
    assert facts.requested is validated.methods and facts.data_set == validated.data_set
    assert (facts.samples, facts.stored, facts.classes) == (200, (200, 100), 4)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"methods": "gcee"}, "unknown method 'gcee'. Did you mean gce"),
        ({"dataset": "digit"}, "unknown data set 'digit'. Did you mean digits"),
        ({"noise": "simm"}, "unknown noise 'simm'"),
        ({"model": "cnn5"}, "unknown model 'cnn5'"),
        ({"optimizer": "sdg"}, "unknown optimizer 'sdg'. Did you mean sgd"),
        ({"schedule": "step:0"}, "schedule 'step:0'"),
        ({"augment": "crop4+flop"}, "flop"),
        ({"labels": "nowhere.json"}, "--labels nowhere.json: there is no such file"),
        ({"recipes": "nowhere.toml"}, "--recipes nowhere.toml: it is neither plain nor published"),
    ],
)
def test_mistakes_show_without_data(
    typed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        validate_request(Request.typed(**typed))
    assert message in str(error.value)
