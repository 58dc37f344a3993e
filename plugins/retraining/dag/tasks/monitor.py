"""Task bodies of the watch over a model in service: find new requests, judge them, open and close incidents."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException, DagRunTriggerException

from retraining.aws.documents import (
    copy_as_listed,
    get_json,
    put_bytes_once,
    put_json,
    put_json_once,
    split_uri,
    utc_now,
)
from retraining.aws.naming import digest
from retraining.contract.plain_text import plain
from retraining.dag.asking import environment_name, run_is_over
from retraining.dag.tasks.base import TaskBodies
from retraining.dataset.landing_zone import landed_files, unseen
from retraining.jobs import leftovers
from retraining.jobs.code_bundle import code_digest, code_files, document_bytes, put_code
from retraining.jobs.job import Asker
from retraining.judging import drift_incident
from retraining.judging.drift import Detectors, Finding, counted
from retraining.serving import batch, monitoring, watch_records
from retraining.serving.batch import Scorer, numbered
from retraining.serving.monitoring import LabelFile
from retraining.telling.drift_page import drift_page
from retraining.telling.outcomes import Outcome

log = logging.getLogger(__name__)

CALM = 0.02
"""Share of the alarm below which the requests look like the training rows again."""


class MonitorTasks(TaskBodies):
    """Task bodies of one model's monitor."""

    @property
    def _root(self) -> str:
        return f"s3://{self.platform.bucket}/{self.config.name}/"

    def find_requests(self, dag_run: Any) -> dict[str, Any]:
        """Fix what this look reads: captures and labels since the last one. An incident of a model that serves no more is closed.

        Raises:
            AirflowSkipException: no model serves, or nobody asked it anything and no label came.
            AirflowFailException: the artifact of the model that serves was exchanged.

        """
        config = self.config
        if not config.deployment.captured_percent:
            raise AirflowSkipException(
                f"no request of {config.name} is captured: there is nothing to watch (deployment.data_capture_percent)"
            )
        changed = self._endpoint_changed_at()
        scorer = batch.scorer(self._sagemaker, config.name, config.endpoint) if changed else None
        if changed is None or scorer is None:
            raise AirflowSkipException(f"endpoint {config.endpoint} serves nothing that could be watched")
        self._close_superseded(scorer.version, dag_run)
        if scorer.own:
            raise AirflowSkipException(
                f"model {scorer.version} of {config.name} serves from a container of its own, which left no profile of its training rows "
                "to compare requests with"
            )
        state = self._begun(scorer.version, changed)
        at = datetime.now(UTC)
        items = list(self._captures(state))
        captures, left = monitoring.new_captures(items, state)
        labels = self._claimed_labels(state, at)
        if not captures and not labels:
            raise AirflowSkipException(f"no request was captured at endpoint {config.endpoint} since the last look")
        self.pinned(f"model {scorer.version}", scorer.model_data, scorer.sha256)  # the next instance would load it
        log.info("model %s: %d new capture file(s); %d wait for the next look", scorer.version, len(captures), left)
        now = monitoring.as_of(items, captures, labels)
        return self._plan(scorer, captures, labels, now, at) | {
            "next_from": monitoring.next_first_key(self._captured_prefix, at, captures, left)
        }

    def _plan(
        self, scorer: Scorer, captures: Sequence[str], labels: Sequence[LabelFile], now: int, at: datetime
    ) -> dict[str, Any]:
        code = code_files(self.folder, self.config)
        state = get_json(self._s3, self._state_uri(scorer.version))
        looks, ledger = monitoring.kept_for_labels(state, now, self.config.monitor.label_days)
        with_labels = {"labels": [file.identity for file in labels], "ledger": ledger} if labels or ledger else {}
        look = digest({"captures": list(captures), "model": scorer.version, **with_labels})
        work = f"{self._root}{monitoring.WORK}{look}/"
        labels = self._copied(labels, f"{work}labels/")
        document = monitoring.job_document(self.config, captures, scorer.sha256, labels, now)
        places = {
            "code": f"{self._root}code/{code_digest(code)}/",
            "job": f"{self._root}code/jobs/{digest(document)}/",
            "output": f"{self._root}{monitoring.look_output(look)}",
        }
        if captures:
            places["captured"] = self._manifest(f"{work}manifest.json", self._captured_prefix, captures)
        if any(not monitoring.is_too_large(file) for file in labels):
            places["labels"] = f"{work}labels/"
        if labels and looks:
            folder = f"{self.config.name}/{monitoring.WORK}"
            kept = [f"{folder}{name}/out/{monitoring.ANSWERS_FILE}" for name in looks]
            places["answers"] = self._manifest(f"{work}answers.json", folder, kept)
        if ledger:
            places["ledger"] = f"{self._root}{monitoring.look_output(ledger)}{monitoring.LEDGER_FILE}"
        put_code(self._s3, places["code"], code)
        put_bytes_once(self._s3, f"{places['job']}job.json", document_bytes(document), "application/json")
        return {
            "look": look,
            "scorer": scorer.model_dump(),
            "places": places,
            "at": at.isoformat(timespec="seconds"),
        }

    def _claimed_labels(self, state: Mapping[str, Any], at: datetime) -> list[LabelFile]:
        """Return the label files of this look."""
        days = self.config.monitor.label_days
        if not days:
            return []
        labels, left = monitoring.new_labels(self._listed(monitoring.LABELS), state, at, days)
        if labels or left:
            log.info("%d new file(s) with labels; %d wait for the next look", len(labels), left)
        return labels

    def _copied(self, labels: Sequence[LabelFile], folder: str) -> list[LabelFile]:
        """Copy label files beside the look, each under its number, and return them without those that have changed or gone."""
        kept: list[LabelFile] = []
        for file in labels:
            copy = f"{split_uri(folder)[1]}{numbered(len(kept))}"
            if monitoring.is_too_large(file) or copy_as_listed(
                self._s3, self.platform.bucket, file.key, file.etag, copy
            ):
                kept.append(file)
            else:
                log.info("%s changed since it was listed; the next look takes it", plain(file.key))
        return kept

    def _manifest(self, uri: str, prefix: str, keys: Sequence[str]) -> str:
        """Write the list of objects that an input of the job is made of, and return where."""
        entries = [{"prefix": f"s3://{self.platform.bucket}/{prefix}"}, *(key.removeprefix(prefix) for key in keys)]
        return put_json(self._s3, uri, entries)

    def read_request(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Build the request of the job that reads the captures."""
        scorer = Scorer.model_validate(plan["scorer"])
        return monitoring.look_request(self.config, self.platform, scorer, plan["places"])

    def judge_requests(self, plan: Mapping[str, Any], dag_run: Any) -> dict[str, Any]:
        """Take what the job counted into the drift detectors, open or close the incident, publish messages and write the page."""
        version, at = plan["scorer"]["version"], plan["at"]
        look = get_json(self._s3, f"{plan['places']['output']}{monitoring.LOOK_FILE}")
        state = self._judged(plan, look)
        detectors = Detectors(self.config.monitor.alarm, self.config.monitor.tolerance, state["detectors"])
        level, findings = detectors.level, detectors.findings()
        incidents = self._incidents()
        newest = incidents[-1] if incidents else None
        if newest and not newest["closed_at"] and level < CALM:
            self._close(newest, "the requests look like the training rows again", dag_run)
        elif level >= 1 and (newest is None or newest["closed_at"]):
            newest = self._open(incidents, version, at, findings, look["reference"], state["history"])
        if newest:
            self._tell(newest, dag_run)
        self._write_page(version, state, look, findings)
        wakes = bool(newest and not newest["closed_at"] and newest.get("woke_at"))
        return {
            "model": version,
            "rows": look["tally"]["rows"],
            "labelled": look["labels"]["totals"]["rows"] if "labels" in look else 0,
            "level": round(level, 6),
            "open": bool(newest and not newest["closed_at"]),
            "incident": newest["number"] if newest else None,
            "changes": [finding.words() for finding in findings] if level >= 1 else [],
            "wakes": f"incident__{newest['number']:06d}" if newest and wakes else None,
            "page": f"{self._root}{monitoring.PAGE}",
        }

    def wake_retraining(self, judged: Mapping[str, Any]) -> None:
        """Start the retraining for the open incident if it has data that no model was judged on; once, however often this runs.

        The provider's operator for this imports Airflow's database models, which would more than double what parsing this DAG costs; it
        raises the same.

        Raises:
            AirflowSkipException: there is nothing to wake it for.
            DagRunTriggerException: tells Airflow to start the run; one that exists already is left alone.

        """
        if not judged["wakes"]:
            raise AirflowSkipException("no open incident has data that no model was judged on")
        raise DagRunTriggerException(
            trigger_dag_id=f"{self.config.name.replace('-', '_')}_retraining",
            dag_run_id=judged["wakes"],
            conf=None,
            reset_dag_run=False,
            skip_when_already_exists=True,
            wait_for_completion=False,
            allowed_states=[],
            failed_states=[],
            poke_interval=0,
            deferrable=False,
        )

    def stop_leftovers(self, dag_run: Any) -> list[str]:
        """Stop the jobs of this run that are still in progress when it ends, and those of earlier runs that are over."""
        asker = Asker(environment_name(), dag_run.dag_id, dag_run.run_id)
        return leftovers.stop_leftovers(
            self.access, self.config.name, self.platform.glue_job, asker, lambda run: run_is_over(dag_run.dag_id, run)
        )

    def _judged(self, plan: Mapping[str, Any], look: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state with this look in it; a repeated task finds it there already.

        Raises:
            AirflowSkipException: a later look has read the same files.

        """
        version, at = plan["scorer"]["version"], plan["at"]
        state = get_json(self._s3, self._state_uri(version))
        if state["look"] == plan["look"]:
            return state
        keys, document = list(self._keys(plan["places"])), get_json(self._s3, f"{plan['places']['job']}job.json")
        if monitoring.was_read(state, keys, document):
            raise AirflowSkipException("a later look has judged these requests, and each counts once")
        now = datetime.fromisoformat(at)
        detectors = Detectors(self.config.monitor.alarm, self.config.monitor.tolerance, state["detectors"])
        seen = list(counted(look["reference"], look["rows"]))
        detectors.see(seen, monitoring.days_since(state, now), at)
        ranks = {item.column: round(item.total / item.rows, 4) for item in seen if item.kind == "level"}
        labelled = look.get("labels")
        state |= monitoring.label_state(state, plan["look"], document, labelled, bool(keys))
        state |= {
            "looked_at": at,
            "look": plan["look"],
            "detectors": detectors.state,
            "rows": state["rows"] + look["tally"]["rows"],
            "seen": [key for key in (*state["seen"], *keys) if key > plan["next_from"]],
            "from": plan["next_from"],
            "history": [
                *state["history"],
                {
                    "at": at,
                    "rows": look["tally"]["rows"],
                    "level": detectors.level,
                    "ranks": ranks,
                    **({"labelled": labelled["totals"]} if labelled and labelled["totals"]["rows"] else {}),
                },
            ][-monitoring.HISTORY :],
        }
        put_json(self._s3, self._state_uri(version), state)
        return state

    def _open(
        self,
        incidents: Sequence[Mapping[str, Any]],
        version: str,
        at: str,
        findings: Sequence[Finding],
        reference: Mapping[str, Any],
        history: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        number = incidents[-1]["number"] + 1 if incidents else 1
        units = {column.name: column.unit or "" for column in self.config.contract.columns}
        document = drift_incident.incident(number, version, at, findings, reference, units, history)
        now = datetime.fromisoformat(at)
        if drift_incident.wakes_retraining(self._has_unjudged(), incidents, now, self.config.monitor.cooldown_days):
            document["woke_at"] = at
        stands = put_json_once(self._s3, self._incident_uri(number), document)
        log.warning("incident %d is open: %s", number, "; ".join(change["sentence"] for change in stands["changes"]))
        return dict(stands)

    def _close(self, incident: dict[str, Any], why: str, dag_run: Any) -> None:
        incident |= {"closed_at": utc_now(), "why_closed": why}
        put_json(self._s3, self._incident_uri(incident["number"]), incident)
        self._tell(incident, dag_run)

    def _close_superseded(self, version: str, dag_run: Any) -> None:
        incidents = self._incidents()
        if incidents and not incidents[-1]["closed_at"] and incidents[-1]["model_version"] != version:
            self._close(incidents[-1], f"model {version} serves", dag_run)

    def _tell(self, incident: dict[str, Any], dag_run: Any) -> None:
        """Publish a message when an incident opened or closed, unless it was told."""
        word = "incident closed" if incident["closed_at"] else "incident opened"
        if word in incident["told"]:
            return
        retraining = f"{self.config.name.replace('-', '_')}_retraining"
        changes = [(change["words"], change["sentence"]) for change in incident["changes"]]
        if incident["closed_at"]:
            sentence = f"Incident {incident['number']} is closed: {incident['why_closed']}."
        else:
            todo = drift_incident.what_to_do(
                bool(incident.get("woke_at")), retraining, drift_incident.is_labelled(incident)
            )
            sentence = f"{drift_incident.what_happened(incident)}. {todo}."
        links = [("Page", f"{self._root}{monitoring.PAGE}")]
        self.outcomes.tell(Outcome(word, sentence, changes, links), dag_run)
        incident["told"] = [*incident["told"], word]
        put_json(self._s3, self._incident_uri(incident["number"]), incident)

    def _has_unjudged(self) -> bool:
        state = self._dataset.read()
        landed = landed_files(self._s3, self.platform.bucket, f"{self.config.name}/", self.config.landing)
        return bool(state.untrained or unseen(landed, state)[0])

    def _write_page(
        self, version: str, state: Mapping[str, Any], look: Mapping[str, Any], findings: Sequence[Finding]
    ) -> None:
        units = {column.name: column.unit or "" for column in self.config.contract.columns}
        page = drift_page(self.config.name, version, state, look, findings, self._incidents(), units)
        self._s3.put_object(
            Bucket=self.platform.bucket,
            Key=f"{self.config.name}/{monitoring.PAGE}",
            Body=page.encode(),
            ContentType="text/html; charset=utf-8",
        )

    def _begun(self, version: str, changed: datetime) -> dict[str, Any]:
        """Return what is kept of the model that serves, from its first look on."""
        kept = self._s3, self.platform.bucket, self.config.name
        state = watch_records.state(*kept, version)
        beside = (watch_records.state(*kept, other) for other in watch_records.watched(*kept) if other != version)
        if state is None or not monitoring.serves_on(state, (other for other in beside if other)):
            state = monitoring.begun(state, self._captured_prefix, changed)
            put_json(self._s3, self._state_uri(version), state)
        return state

    def _endpoint_changed_at(self) -> datetime | None:
        """Return when the endpoint was last changed; None when it serves nothing."""
        from botocore.exceptions import ClientError

        from retraining.aws.errors import is_not_found

        try:
            described = self._sagemaker.describe_endpoint(EndpointName=self.config.endpoint)
        except ClientError as error:
            if not is_not_found(error):
                raise
            return None
        return described["LastModifiedTime"] if described["EndpointStatus"] == "InService" else None

    @property
    def _captured_prefix(self) -> str:
        return f"{self.config.name}/{monitoring.captured_prefix(self.config)}"

    def _captures(self, state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.platform.bucket, Prefix=self._captured_prefix, StartAfter=state["from"]
        )
        return (item for page in pages for item in page.get("Contents", []))

    def _listed(self, folder: str) -> Iterator[Mapping[str, Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.platform.bucket, Prefix=f"{self.config.name}/{folder}"
        )
        return (item for page in pages for item in page.get("Contents", []))

    def _keys(self, places: Mapping[str, str]) -> Iterator[str]:
        """Yield the keys of the captures that a look read."""
        if "captured" in places:
            first, *names = get_json(self._s3, places["captured"])
            yield from (first["prefix"].split("/", 3)[3] + name for name in names)

    def _incidents(self) -> list[dict[str, Any]]:
        return watch_records.incidents(self._s3, self.platform.bucket, self.config.name, 20)

    def _incident_uri(self, number: int) -> str:
        return f"{self._root}{monitoring.INCIDENTS}{number:06d}.json"

    def _state_uri(self, version: str) -> str:
        return f"{self._root}{monitoring.STATE}{version}.json"
