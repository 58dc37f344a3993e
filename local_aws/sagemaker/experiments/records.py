"""Experiments, their trials, the components of trials and the metrics of components: documents that people write and search."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from local_aws.shared.errors import ServiceError, validation_error
from local_aws.shared.listing import list_page
from local_aws.shared.requests.validation import check_request
from local_aws.shared.settings import Settings
from local_aws.shared.store import Store

Document = dict[str, Any]

#: Noun -> kind of the documents, which is also the resource part of the ARN.
KINDS = {"Experiment": "experiment", "Trial": "experiment-trial", "TrialComponent": "experiment-trial-component"}
#: Members that a component loses by name: member of the request -> member of the document.
_REMOVED = {
    "ParametersToRemove": "Parameters",
    "InputArtifactsToRemove": "InputArtifacts",
    "OutputArtifactsToRemove": "OutputArtifacts",
}
_HIDDEN = ("Trials", "Values")


class Experiments:
    """CreateExperiment, CreateTrial, CreateTrialComponent and their kin."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store

    def operations(self) -> dict[str, Callable[[Document], Document]]:
        """Return the answered operations by name."""
        table: dict[str, Callable[[Document], Document]] = {}
        for noun in KINDS:
            for verb in ("create", "describe", "update", "delete"):
                table[f"{verb.title()}{noun}"] = self._bound(verb, noun)
        return table | {
            "ListExperiments": self.list_experiments,
            "ListTrials": self.list_trials,
            "ListTrialComponents": self.list_components,
            "AssociateTrialComponent": self.associate,
            "DisassociateTrialComponent": self.disassociate,
        }

    def _bound(self, verb: str, noun: str) -> Callable[[Document], Document]:
        method = getattr(self, f"_{verb}")
        return lambda params: method(noun, params)

    def _find(self, noun: str, name: str) -> Document:
        kind = KINDS[noun]
        name = name.rpartition("/")[2]
        found = self._store.get(kind, name)
        if found is None:  # an ARN, and a component in a request for metrics, is in lower case
            found = next((one for one in self._store.all(kind) if one[f"{noun}Name"].lower() == name.lower()), None)
        if found is None:
            raise ServiceError("ResourceNotFound", f"{noun} '{name}' does not exist.")
        return found

    def _create(self, noun: str, params: Document) -> Document:
        name, now = params[f"{noun}Name"], time.time()
        arn = self._settings.arn("sagemaker", f"{KINDS[noun]}/{name}")
        if noun == "Trial":
            params = params | {"ExperimentName": self._find("Experiment", params["ExperimentName"])["ExperimentName"]}
        document = {key: value for key, value in params.items() if key != "Tags"}
        document |= {f"{noun}Arn": arn, "CreationTime": now, "LastModifiedTime": now, "CreatedBy": {}}
        document.setdefault("DisplayName", name)
        if not self._store.insert(KINDS[noun], name, document):
            raise validation_error(
                f"{noun} names must be unique within an AWS account and region. {noun} with name ({name}) already exists."
            )
        self._store.put("tags", arn, {"Arn": arn, "Tags": params.get("Tags", [])})
        return {f"{noun}Arn": arn}

    def _describe(self, noun: str, params: Document) -> Document:
        found = self._find(noun, params[f"{noun}Name"])
        shown = {key: value for key, value in found.items() if key not in _HIDDEN}
        if noun == "TrialComponent":
            shown["Metrics"] = _summaries(found)
        return shown

    def _update(self, noun: str, params: Document) -> Document:
        with self._store.locked():
            found = self._find(noun, params[f"{noun}Name"])
            given = {key: value for key, value in params.items() if key != f"{noun}Name" and key not in _REMOVED}
            for member in _REMOVED.values():
                if member in given:
                    given[member] = found.get(member, {}) | given[member]
            changed = found | given | {"LastModifiedTime": time.time()}
            for removing, member in _REMOVED.items():
                for key in params.get(removing, []):
                    changed.get(member, {}).pop(key, None)
            self._store.put(KINDS[noun], found[f"{noun}Name"], changed)
        return {f"{noun}Arn": found[f"{noun}Arn"]}

    def _delete(self, noun: str, params: Document) -> Document:
        with self._store.locked():
            found = self._find(noun, params[f"{noun}Name"])
            name = found[f"{noun}Name"]
            if noun == "Experiment" and any(one["ExperimentName"] == name for one in self._store.all(KINDS["Trial"])):
                raise validation_error(f"Experiment {name} has trials; delete them first.")
            components = self._store.all(KINDS["TrialComponent"])
            if noun == "Trial" and any(name in one.get("Trials", []) for one in components):
                raise validation_error(f"Trial {name} has trial components; disassociate them first.")
            if noun == "TrialComponent" and found.get("Trials"):
                raise validation_error(f"Trial component {name} belongs to trials; disassociate it first.")
            self._store.delete(KINDS[noun], name)
            self._store.delete("tags", found[f"{noun}Arn"])
        return {f"{noun}Arn": found[f"{noun}Arn"]}

    def associate(self, params: Document) -> Document:
        """Let a component belong to a trial."""
        return self._link(params, lambda trials, name: [*trials, *([] if name in trials else [name])])

    def disassociate(self, params: Document) -> Document:
        """Let a component belong to a trial no longer."""
        return self._link(params, lambda trials, name: [one for one in trials if one != name])

    def _link(self, params: Document, change: Callable[[list[str], str], list[str]]) -> Document:
        with self._store.locked():
            trial = self._find("Trial", params["TrialName"])
            component = self._find("TrialComponent", params["TrialComponentName"])
            trials = change(component.get("Trials", []), trial["TrialName"])
            self._store.put(KINDS["TrialComponent"], component["TrialComponentName"], component | {"Trials": trials})
        return {"TrialArn": trial["TrialArn"], "TrialComponentArn": component["TrialComponentArn"]}

    # -- lists -----------------------------------------------------------------------------------------------------

    def list_experiments(self, params: Document) -> Document:
        """Return a page of experiments."""
        return self._page("Experiment", self._store.all(KINDS["Experiment"]), params)

    def list_trials(self, params: Document) -> Document:
        """Return a page of trials: all, those of an experiment, or those that a component belongs to."""
        chosen = self._trials_of(params.get("ExperimentName"))
        if component := params.get("TrialComponentName"):
            names = self._find("TrialComponent", component).get("Trials", [])
            chosen = [trial for trial in chosen if trial["TrialName"] in names]
        return self._page("Trial", chosen, params)

    def list_components(self, params: Document) -> Document:
        """Return a page of components: all, or those of a trial or an experiment."""
        chosen = self._store.all(KINDS["TrialComponent"])
        if trial := params.get("TrialName"):
            name = self._find("Trial", trial)["TrialName"]
            chosen = [one for one in chosen if name in one.get("Trials", [])]
        if experiment := params.get("ExperimentName"):
            names = {one["TrialName"] for one in self._trials_of(experiment)}
            chosen = [one for one in chosen if names & set(one.get("Trials", []))]
        return self._page("TrialComponent", chosen, params)

    def _trials_of(self, experiment: str | None) -> list[Document]:
        trials = self._store.all(KINDS["Trial"])
        if experiment is None:
            return trials
        name = self._find("Experiment", experiment)["ExperimentName"]
        return [trial for trial in trials if trial["ExperimentName"] == name]

    def _page(self, noun: str, documents: list[Document], params: Document) -> Document:
        own = ("Status", "StartTime", "EndTime", "CreatedBy") if noun == "TrialComponent" else ()
        renamed = {"CreatedAfter": "CreationTimeAfter", "CreatedBefore": "CreationTimeBefore"}
        return list_page(
            documents,
            {renamed.get(name, name): value for name, value in params.items()},
            result=f"{noun}Summaries",
            fields=(f"{noun}Name", f"{noun}Arn", "DisplayName", "CreationTime", "LastModifiedTime", *own),
            name_field=f"{noun}Name",
        )

    # -- metrics ---------------------------------------------------------------------------------------------------

    def put_metrics(self, _: str, params: Document) -> Document:
        """Add values of metrics to a component: BatchPutMetrics of the service ``sagemaker-metrics``."""
        check_request("sagemaker-metrics", "BatchPutMetrics", params)
        with self._store.locked():
            found = self._find("TrialComponent", params["TrialComponentName"])
            values = [*found.get("Values", []), *params["MetricData"]]
            self._store.put(KINDS["TrialComponent"], found["TrialComponentName"], found | {"Values": values})
        return {}

    def searched(self, noun: str) -> list[Document]:
        """Return what Search looks at: descriptions, of components with the trials and experiments that they belong to."""
        found = [self._describe(noun, one) for one in self._store.all(KINDS[noun])]
        for document in found if noun == "TrialComponent" else ():
            names = self._find(noun, document["TrialComponentName"]).get("Trials", [])
            document["Parents"] = [
                {"TrialName": name, "ExperimentName": self._find("Trial", name)["ExperimentName"]} for name in names
            ]
        return found


def _summaries(component: Document) -> list[Document]:
    """Return what became of each metric of a component, in the order of their first values."""
    by_name: dict[str, list[Document]] = {}
    for item in component.get("Values", []):
        by_name.setdefault(item["MetricName"], []).append(item)
    found = []
    for name, items in by_name.items():
        values = [float(item["Value"]) for item in items]
        found.append(
            {
                "MetricName": name,
                "SourceArn": component["TrialComponentArn"],
                "TimeStamp": items[-1]["Timestamp"],
                "Max": max(values),
                "Min": min(values),
                "Last": values[-1],
                "Count": len(values),
                "Avg": statistics.fmean(values),
                "StdDev": statistics.pstdev(values),
            }
        )
    return found
