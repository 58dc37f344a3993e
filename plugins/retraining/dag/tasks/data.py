"""Task bodies from the landing zone to the merge of new files: sense, claim, crawl, merge."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from retraining.aws.documents import get_json, put_json_once
from retraining.dag.tasks.base import TaskBodies
from retraining.dataset.contract_change import contract_changes, contract_record, incompatible, other_formats
from retraining.dataset.landing_zone import landed_files, seconds_to_gather, split_settled, unseen, with_versions
from retraining.dataset.state import LogState, batch_digest, new_files
from retraining.jobs import requests as job_requests
from retraining.jobs.code_bundle import code_digest, code_files, put_code
from retraining.jobs.plan import Champion, RunPlan, batch_manifest, make_plan, work_digest
from retraining.jobs.remerge.again import current_files
from retraining.jobs.remerge.corrections import begins_anew, entries_beside
from retraining.jobs.remerge.merge_again import MergeAgainError
from retraining.serving import champion
from retraining.telling.page_settings import leave_settings

log = logging.getLogger(__name__)


class DataTasks(TaskBodies):
    """Task bodies of the data phase."""

    def look_for_work(self, context: Any) -> tuple[str | None, float | None]:
        """Return the reason to run, if any, and how many seconds unsettled files still need."""
        self._check_parameters(context["params"])
        leave_settings(self._s3, self.platform.bucket, self.config)
        state = self._dataset.read()
        settle = self.platform.settle_seconds
        fresh, _ = unseen(self._landed(), state)
        settled, unsettled = split_settled(fresh, settle)
        youngest = min((file.age_seconds for file in fresh), default=0.0)
        wait = settle - youngest if unsettled else None
        params = context["params"]
        gathering = seconds_to_gather(state.versions, self.config.schedule.min_interval_minutes, datetime.now(UTC))
        if settled and gathering and not params.get("force_retrain"):
            log.info("%d new file(s) wait %.0f s for others: schedule.min_interval_minutes", len(settled), gathering)
            wait, settled = max(gathering, wait or 0.0), []
        if settled:
            return f"{len(settled)} new file(s)", wait
        if params.get("dataset_version") is not None:
            return f"pinned to dataset version {params['dataset_version']}", None
        if params.get("force_retrain") and not state.untrained:
            return "a retraining was asked for", None
        too_few = "" if params.get("force_retrain") else state.gathering(self.config.schedule.min_rows)
        if state.untrained and not too_few:
            return f"dataset version {state.latest} has no judged model yet", wait
        if too_few:
            log.info("%s", too_few)
            state = state.at(max(state.trained))  # else the rows that wait would look like a change of the code
        return self._change(state, params), wait

    def _change(self, state: LogState, params: Mapping[str, Any]) -> str | None:
        """Return the reason to run when code or configuration changed since the champion was made, and no run judged the change yet."""
        if not self.config.schedule.retrain_on_change or not state.batches:
            return None
        work = work_digest(state.batches, code_digest(code_files(self.folder)), self._settings(params))
        serving = champion.standing(self._sagemaker, self.config.name, self.config.endpoint).champion
        if serving is None or not serving.work_digest or serving.work_digest == work:
            return None
        try:
            get_json(self._s3, self._work_uri(work))
        except LookupError:
            return "code or configuration changed since the champion was made"
        return None

    def claim_new_data(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Fix what this run does: files, code, dataset version, champion. Uploads the code and the merge's manifest.

        Raises:
            AirflowFailException: there is no data, no such dataset version, or a file that has to be merged again is gone: another try
                would say the same.

        """
        try:
            return self._claim(params)
        except (LookupError, MergeAgainError) as error:
            raise AirflowFailException(str(error)) from error

    def _claim(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._check_parameters(params)
        config, bucket = self.config, self.platform.bucket
        state = self._dataset.read()
        fresh, ignored = unseen(self._landed(), state)
        settled, _ = split_settled(fresh, self.platform.settle_seconds)
        self._require_same_contract(state, params.get("dataset_version"))
        files = with_versions(self._s3, bucket, new_files(settled, state))
        contract, split = config.contract.model_dump(mode="json"), config.split.model_dump()
        anew = begins_anew(config.contract, config.split, files, state)
        history = () if anew else state.batches
        divided, form = {**split, **state.boundaries}, config.training.format
        batch = (
            batch_digest([*(current_files(state) if anew else ()), *files], contract, divided, history, form)
            if files
            else None
        )
        code = code_files(self.folder, config)
        if wrong := champion.conversion(self._sagemaker, config):
            raise AirflowFailException(wrong)
        now = champion.standing(self._sagemaker, config.name, config.endpoint)
        if now.disagreement:
            log.warning("%s", now.disagreement)
        self._require_unlearnt_tests(state, params.get("dataset_version"), now.champion)
        plan = make_plan(
            model=config.name,
            state=state,
            batch=batch,
            files=len(files),
            anew=anew,
            code_digest=code_digest(code),
            settings=self._settings(params),
            candidates=self._selected(params),
            searched=self._searched(params),
            champion=now.champion,
            standing=now.disagreement,
            version=params.get("dataset_version"),
            config=config.model_dump(mode="json", exclude={"aws"}),
        )
        standing = put_json_once(self._s3, f"s3://{bucket}/{plan.run_prefix}plan.json", plan.model_dump(mode="json"))
        plan = plan.model_copy(update={"champion": RunPlan.model_validate(standing).champion})
        put_code(self._s3, plan.code_uri(bucket), code, archive=True)
        if plan.batch:
            there = entries_beside(self._s3, bucket, plan.prefix, config.contract, files, state) if anew else []
            manifest = batch_manifest(
                model=config.name,
                batch=plan.batch,
                bucket=bucket,
                files=[*there, *(record.model_dump(mode="json") for record in files)],
                ignored=ignored,
                contract=contract,
                split=split,
                history=history,
                training_format=form,
                boundaries=state.boundaries,
                starts_anew=anew,
            )
            put_json_once(self._s3, plan.manifest_uri(bucket), manifest)
        log.info(
            "run %s: dataset version %d, %d new file(s), champion %s",
            plan.run_key,
            plan.version,
            plan.files,
            plan.champion,
        )
        return plan.model_dump(mode="json")

    def crawl_request(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """Crawl the files of the plan's batch, if it has one and model.yaml wants it."""
        if not plan["batch"] or not self.planned(plan).etl.crawl:
            return None
        manifest = get_json(self._s3, RunPlan.model_validate(plan).manifest_uri(self.platform.bucket))
        return job_requests.crawl_request(
            self.platform, [entry["key"] for entry in manifest["files"] if not entry.get("known")]
        )

    def merge_request(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """Merge the plan's batch, if it has one."""
        if not plan["batch"]:
            return None
        return job_requests.glue_job_request(self.config, self.platform, RunPlan.model_validate(plan))

    def _require_same_contract(self, state: LogState, pinned: int | None) -> None:
        """Stop before anything is paid when the stored rows are not what model.yaml says now.

        Raises:
            AirflowFailException: the difference in words, and the command that migrates.

        """
        current = (state.readable_at(pinned) if pinned else state).current
        recorded = current[-1].contract if current else None
        if recorded is None:
            return
        now = contract_record(self.config.contract.model_dump(mode="json"), self.config.split.model_dump())
        changes = contract_changes(recorded.keys, now.keys, by_name=False)
        if broken := [*incompatible(changes), *other_formats(current, self.config.training.format)]:
            listed = "\n".join(f"  {words}" for words in broken)
            model = self.config.name
            raise AirflowFailException(
                f"the rows of dataset version {current[-1].version} were stored under another contract than model.yaml has now; "
                f"nothing was started:\n{listed}\nTake the change back, or rebuild the data set from the landed files under the new "
                f'contract: make dataset-log COMMAND="migrate {model}" (with --plan it only says what would change)'
            )
        for change in changes:
            log.info("the contract has changed since dataset version %d: %s", current[-1].version, change.words)

    def _require_unlearnt_tests(self, state: LogState, pinned: int | None, serving: Champion | None) -> None:
        """Stop when the test rows of an older version have grown old and are among those that the champion has learnt.

        Raises:
            AirflowFailException: the champion's boundaries are later ones.

        """
        if pinned is None or serving is None or self.config.split.by != "time":
            return
        learnt = serving.dataset_version or state.latest
        of_tests, of_champion = (state.at(min(number, state.latest)).boundaries for number in (pinned, learnt))
        if learnt > pinned and of_tests != of_champion:
            raise AirflowFailException(
                f"dataset version {pinned} tests with rows from {of_tests.get('test_from')} on, and the champion was trained on version "
                f"{learnt}, where rows before {of_champion.get('validation_from')} train: it knows the answers. Pin a later version, or "
                "roll back to a model that was trained no later than the version that you pin"
            )

    def _landed(self) -> list[Any]:
        return landed_files(self._s3, self.platform.bucket, f"{self.config.name}/", self.config.landing)

    def _selected(self, params: Mapping[str, Any]) -> list[str]:
        names = [candidate.name for candidate in self.config.training.candidates]
        wanted = params.get("candidate")
        return names if wanted in (None, "all") else [wanted]

    def _searched(self, params: Mapping[str, Any]) -> list[str]:
        """Return the hyperparameters to search: those with ranges that the run is not given, if it trains their candidate."""
        training = self.config.training
        if training.tuning is None or (training.tuning.candidate or training.candidates[0].name) not in self._selected(
            params
        ):
            return []
        given = params.get("hyperparameters") or {}
        return [name for name in training.tuning.ranges if name.partition(".")[0] not in given and name not in given]

    def _settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        dumped = self.config.model_dump(mode="json", include={"training", "evaluation", "contract", "split"})
        forms = {"steps": self.config.steps.model_dump()} if self.config.steps.sdk else {}
        costs = {"costs": self.config.costs.model_dump()} if self.config.costs else {}
        return {
            **dumped,
            **forms,
            **costs,
            "gate": self._policy(params).model_dump(mode="json"),
            "candidates": self._selected(params),
            "hyperparameters": params.get("hyperparameters") or {},
        }
