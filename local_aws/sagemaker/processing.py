"""SageMaker processing jobs."""

from __future__ import annotations

import json
import time

from local_aws.sagemaker.container_jobs import ContainerJobs, argv_in_sandbox, give_pip, map_shell_scripts
from local_aws.sagemaker.images import python_for_image
from local_aws.sagemaker.jobs import ActiveJob, Document, check_instances
from local_aws.shared.errors import JobError, validation_error
from local_aws.shared.logs import tail
from local_aws.shared.running.hosts import Host, deciding
from local_aws.shared.running.processes import ManagedProcess

#: What a container finds in /opt/ml/config/processingjobconfig.json.
_CONFIGURATION = (
    "ProcessingJobArn",
    "ProcessingJobName",
    "AppSpecification",
    "Environment",
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingResources",
    "RoleArn",
    "StoppingCondition",
)


class ProcessingJobs(ContainerJobs):
    """CreateProcessingJob and its kin."""

    kind = "processing-job"
    title = "Processing job"
    prefix = "ProcessingJob"
    log_group = "/aws/sagemaker/ProcessingJobs"
    default_order = "Ascending"
    summary_fields = (
        "ProcessingJobName",
        "ProcessingJobArn",
        "CreationTime",
        "ProcessingEndTime",
        "LastModifiedTime",
        "ProcessingJobStatus",
        "FailureReason",
        "ExitMessage",
    )

    def on_create(self, document: Document) -> None:
        """Refuse two inputs or two outputs of one name."""
        inputs = [item["InputName"] for item in document.get("ProcessingInputs", [])]
        outputs = [item["OutputName"] for item in document.get("ProcessingOutputConfig", {}).get("Outputs", [])]
        check_instances(self.settings, document["ProcessingResources"]["ClusterConfig"], self.title, _network(document))
        for item in document.get("ProcessingInputs", []):
            if item.get("S3Input", {}).get("S3InputMode", "File") != "File":
                raise validation_error(f"input {item['InputName']}: local_aws reads inputs in File mode only.")
        for names in (inputs, outputs):
            if len(set(names)) != len(names):
                raise validation_error(f"The names of inputs and of outputs must be unique: {', '.join(names)}.")

    def on_finish(self, document: Document, now: float) -> None:
        """Stop the clock."""
        document["ProcessingEndTime"] = now

    def instances(self, document: Document) -> int:
        """Return on how many instances the job runs."""
        return int(document["ProcessingResources"]["ClusterConfig"].get("InstanceCount", 1))

    def image(self, document: Document) -> tuple[str, bool]:
        """Return the image of the job."""
        return document["AppSpecification"]["ImageUri"], _network(document)

    def run(self, name: str, document: Document, hosts: list[Host], job: ActiveJob) -> None:
        """Download the inputs, run the command on each instance, upload the outputs."""
        specification = document["AppSpecification"]
        if "ContainerEntrypoint" not in specification:
            raise JobError("AppSpecification.ContainerEntrypoint is missing: local_aws has no image with a default one")
        outputs = document.get("ProcessingOutputConfig", {}).get("Outputs", [])
        for output in outputs:
            if "S3Output" not in output:
                raise JobError(f"output {output['OutputName']}: local_aws writes outputs to S3 only")
        processes = [self._prepare(name, document, host, job) for host in hosts]
        self.change(name, ProcessingStartTime=time.time())
        outcomes = job.run(processes, self.limit_seconds(document))
        number = deciding(outcomes)
        outcome, host = outcomes[number], hosts[number]
        message = tail(host.sandbox.output(host.sandbox.ml / "output" / "message"), 1_024)
        fields = {"ExitMessage": message} if message else {}
        # As on SageMaker, outputs are uploaded whatever the exit code: a failed job's files explain the failure.
        for output in outputs:
            target = output["S3Output"]
            for one in hosts:
                folder = one.sandbox.output(one.sandbox.local(target["LocalPath"]))
                self.files(document).upload_folder(folder, target["S3Uri"])
        if outcome.stopped or outcome.timed_out:
            self.finish(name, "Stopped", **fields)
        elif outcome.exit_code:
            reason = f"AlgorithmError: {tail(host.log, 900)}, exit code: {outcome.exit_code}"
            self.finish(name, "Failed", reason=reason, **fields)
        else:
            self.finish(name, "Completed", **fields)

    def _prepare(self, name: str, document: Document, host: Host, job: ActiveJob) -> ManagedProcess:
        """Fill the container of an instance; return its process."""
        specification, sandbox = document["AppSpecification"], host.sandbox
        python = python_for_image(self.settings, specification["ImageUri"])
        self._download(document, host, job)
        for output in document.get("ProcessingOutputConfig", {}).get("Outputs", []):
            sandbox.local(output["S3Output"].get("LocalPath", "")).mkdir(parents=True, exist_ok=True)
        self._write_configuration(document, host)
        command = [*specification["ContainerEntrypoint"], *specification.get("ContainerArguments", [])]
        argv = argv_in_sandbox(command, python, sandbox)
        map_shell_scripts(argv, sandbox)
        env = self.environment(python, sandbox, job, document.get("Environment", {}))
        give_pip(sandbox, env)
        env["PROCESSING_JOB_NAME"] = name
        return self.process(argv, env, host, sandbox.ml, _network(document))

    def _download(self, document: Document, host: Host, job: ActiveJob) -> None:
        for item in document.get("ProcessingInputs", []):
            job.check()
            source = item.get("S3Input")
            if source is None:
                raise JobError(f"input {item['InputName']}: local_aws reads inputs from S3 only")
            folder = host.sandbox.local(source.get("LocalPath", ""))
            chosen = host.share if source.get("S3DataDistributionType") == "ShardedByS3Key" else list
            if source["S3DataType"] == "ManifestFile":
                self.files(document).download_manifest(source["S3Uri"], folder, chosen)
            else:
                self.files(document).download_prefix(source["S3Uri"], folder, chosen)

    def _write_configuration(self, document: Document, host: Host) -> None:
        ml = host.sandbox.ml
        (ml / "config").mkdir(parents=True, exist_ok=True)
        (ml / "output").mkdir(exist_ok=True)
        configuration = {key: document[key] for key in _CONFIGURATION if key in document}
        (ml / "config" / "processingjobconfig.json").write_text(json.dumps(configuration))
        (ml / "config" / "resourceconfig.json").write_text(json.dumps(host.resources()))


def _network(document: Document) -> bool:
    return not document.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
