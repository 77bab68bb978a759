"""The facts of a setting whose runs are recorded, without its data and without torch. Read `recorded_facts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.planning import data_facts, recipe_files
from bench.planning.facts import Facts, PlannedNoise
from bench.planning.recipe_choice import SourcedRecipes
from bench.spec import RunSpec
from bench.spec.features import FeatureSettings
from bench.system import encoder_package

if TYPE_CHECKING:
    from datasets.interface import Description


class UnknowableRequest(Exception):  # noqa: N818 - an answer, not an error
    """A request that can't be found from records: it needs the data, the user's files or a method's own code."""


def recorded_facts(runs: Sequence[RunSpec], study: SourcedRecipes | None) -> Facts:
    """The facts of one setting, read off its runs' specs; `study` is the recipe file of its tuned rows.

    Raises UnknowableRequest where files would be needed, and from `Facts.unsuitable` for a method that has no runs.
    """
    run, methods_with_runs = runs[0], {run.method for run in runs}
    if run.weights_sha256 is not None and (run.features is None or run.weights_sha256 != encoder_package.SHA256):
        raise UnknowableRequest("records don't hold the path of a file of weights")
    settings = FeatureSettings.of(run)
    description = _describe_data_set(run.data_set, settings)

    def unsuitable(method: str, parameters: Mapping[str, Any], setting: Mapping[str, Any]) -> str | None:
        if method in methods_with_runs:
            return None
        raise UnknowableRequest("asking a method needs torch")

    shared_file = recipe_files.shared_recipe_file(run.data_set, run.model, run.features)
    return Facts(
        methods=registry.methods(),
        requested=(),
        data_set=run.data_set,
        data_sha256=run.data_sha256,
        protocol=description.protocol,
        classes=len(description.classes),
        samples=description.train_size or 1,
        image_shape=description.image_shape or (1, 1, 1),
        vectors=description.vectors,
        for_vectors=frozenset({run.model}),
        noises=(_recorded_noise(run, description),),
        precision=run.precision,
        device="cuda" if run.sync_batch_norm else "cpu",
        cores=1,
        smallest={},  # the images are large enough, since the runs ended
        unsuitable=unsuitable,
        processes=run.world_size,
        grid=None if shared_file is None else SourcedRecipes(shared_file[0].name, shared_file[1], named=False),
        study=study,
        start={} if settings is None else settings.fields(),
    )


def _describe_data_set(name: str, settings: FeatureSettings | None) -> Description:
    """A data set's declarations, as they are for features of its images where the settings say so."""
    from datasets.interface import Options
    from datasets.protocols import vector_protocol
    from datasets.samples import VectorShape

    if registry.parse_data_set(name)[1] is not None or data_facts.recorded_data_set_name(name) != name:
        raise UnknowableRequest("records don't hold the paths of files")
    description = registry.open_data_set(name, Options()).describe()
    if settings is None:
        return description
    shape = VectorShape(settings.components or 1, settings.views)  # how many numbers a record doesn't need to know
    protocol = vector_protocol(len(description.classes), shape.views)
    return replace(description, image_shape=shape.image_shape, vectors=shape, protocol=protocol)


def _recorded_noise(run: RunSpec, description: Description) -> PlannedNoise:
    """The noise of a run, with the privileges that it can give."""
    from datasets.noise import NoiseFacts

    name, argument, _ = registry.parse_noise(run.noise)
    if argument is not None and registry.noises()[name]["argument"] == "FILE":
        raise UnknowableRequest("records don't hold the paths of files")
    if registry.open_noise(run.noise).reads_confusions:
        raise UnknowableRequest("records don't hold the pairs that a quick model found")
    matrix = registry.open_noise(run.noise).matrix(NoiseFacts.of(description), run.rate)
    is_known = registry.open_noise(run.noise).is_known
    in_total = frozenset({run.rate} if run.rounding == "total" else ())
    about = (run.rate is not None, matrix is not None, run.noise_sha256, is_known)
    return PlannedNoise(run.noise, run.noise, *about, rounded_in_total=in_total)
