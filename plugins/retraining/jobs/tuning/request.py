"""CreateHyperParameterTuningJob: the request of a candidate's training with ranges in place of some of its hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from retraining.jobs.code_bundle import training_document
from retraining.jobs.plan import RunPlan
from retraining.jobs.requests import training_request
from retraining.settings.model_config import ModelConfig
from retraining.settings.platform import Platform
from retraining.settings.trainers import DEFAULTS
from retraining.settings.training.candidate import Candidate
from retraining.settings.training.tuning import Kind, Range, Tuning

STRATEGIES = {"random": "Random", "bayesian": "Bayesian"}
SCALES = {"linear": "Linear", "log": "Logarithmic", "reverse_log": "ReverseLogarithmic"}
KEYS: Mapping[Kind, str] = {
    "categorical": "CategoricalParameterRanges",
    "integer": "IntegerParameterRanges",
    "continuous": "ContinuousParameterRanges",
}


def searched(tuning: Tuning, candidate: Candidate, names: Collection[str]) -> dict[str, Kind]:
    """Return the hyperparameters that are searched with their kinds of range: those of ``names``, in the order of their names."""
    defaults = DEFAULTS.get(candidate.trainer or "", {})
    return {name: tuning.ranges[name].kind(defaults.get(name)) for name in sorted(names)}


def trial_document(config: ModelConfig, plan: RunPlan, candidate: Candidate) -> dict[str, Any]:
    """Return ``job.json`` of every trial: the candidate's, and which hyperparameters the service names for each trial."""
    assert config.training.tuning  # a plan that searches is of a model that says how
    tuned = searched(config.training.tuning, candidate, plan.searched)
    return {**training_document(config, plan, candidate), "tuned": tuned}


def tuning_request(
    config: ModelConfig, platform: Platform, plan: RunPlan, candidate: Candidate, manifests: Mapping[str, str]
) -> dict[str, Any]:
    """CreateHyperParameterTuningJob whose trials train a candidate.

    Args:
        config: the model's configuration.
        platform: bucket and role.
        plan: code, dataset version, and the names of the hyperparameters to search.
        candidate: algorithm and the hyperparameters that stay.
        manifests: S3 URI of the manifest of the splits ``train`` and ``validation``.

    """
    training, tuning = config.training, config.training.tuning
    assert tuning  # as above
    document = trial_document(config, plan, candidate)
    definition = training_request(config, platform, plan, candidate, manifests, document)
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    tags = {"Tags": definition.pop("Tags")} if "Tags" in definition else {}
    ranges: dict[str, list[dict[str, Any]]] = {}
    for name, kind in document["tuned"].items():
        ranges.setdefault(KEYS[kind], []).append({"Name": name, **_limits(tuning.ranges[name], kind)})
    config_of_job = {
        "Strategy": STRATEGIES[tuning.strategy],
        "HyperParameterTuningJobObjective": {
            "Type": "Maximize" if training.selection_direction == "max" else "Minimize",
            "MetricName": training.selection_metric,
        },
        "ResourceLimits": {"MaxNumberOfTrainingJobs": tuning.trials, "MaxParallelTrainingJobs": tuning.parallel},
        "ParameterRanges": ranges,
        "TrainingJobEarlyStoppingType": "Off",
        "RandomSeed": int(candidate.hyperparameters.get("seed", 0)),
    }
    return {"HyperParameterTuningJobConfig": config_of_job, "TrainingJobDefinition": definition, **tags}


def _limits(one: Range, kind: Kind) -> dict[str, Any]:
    if one.values is not None:
        return {"Values": [json.dumps(value) for value in one.values]}
    cast = int if kind == "integer" else float
    low, high = (str(cast(end)) for end in one.ends())
    return {"MinValue": low, "MaxValue": high, "ScalingType": SCALES[one.scale]}
