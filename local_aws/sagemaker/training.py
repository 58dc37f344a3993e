"""SageMaker training jobs in script mode."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from local_aws.sagemaker.container_jobs import ContainerJobs, argv_in_sandbox, give_pip, own_variables
from local_aws.sagemaker.images import TRAIN, own_command, python_for_image
from local_aws.sagemaker.jobs import ActiveJob, Document, check_instances
from local_aws.sagemaker.training_toolkit import (
    GROUP,
    decode_hyperparameters,
    own_failure,
    script_command,
    script_failure,
    training_variables,
)
from local_aws.shared.archives import extract_archive
from local_aws.shared.errors import JobError, validation_error
from local_aws.shared.logs import tail
from local_aws.shared.running.hosts import Host, deciding
from local_aws.shared.sandbox import Sandbox, pack_folder, parse_s3_uri

#: The channel in which the SageMaker SDK's ModelTrainer sends its own start scripts; they name /opt/ml literally.
DRIVERS = "sm_drivers"


class TrainingJobs(ContainerJobs):
    """CreateTrainingJob and its kin."""

    kind = "training-job"
    title = "Training job"
    prefix = "TrainingJob"
    log_group = "/aws/sagemaker/TrainingJobs"
    status_after_page = True
    summary_fields = (
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )

    def on_create(self, document: Document) -> None:
        """Begin the list of transitions; one of the ways to name an algorithm is needed."""
        if "TrainingImage" not in document["AlgorithmSpecification"]:
            raise validation_error("local_aws trains with AlgorithmSpecification.TrainingImage only.")
        network = not document.get("EnableNetworkIsolation", False)
        check_instances(self.settings, document.get("ResourceConfig", {}), self.title, network)
        self._check_channels(document)
        # Required in the answer, so it is there before there is an artifact.
        document["ModelArtifacts"] = {"S3ModelArtifacts": _artifact(document, "model")}
        document["SecondaryStatus"] = "Starting"
        document["SecondaryStatusTransitions"] = [
            {"Status": "Starting", "StartTime": document["CreationTime"], "StatusMessage": "Starting the training job"}
        ]

    def _check_channels(self, document: Document) -> None:
        """Refuse a channel below whose prefix nothing lies."""
        for channel in document.get("InputDataConfig", []):
            source = channel["DataSource"].get("S3DataSource", {})
            if source.get("S3DataType") == "S3Prefix" and not self.files(document).exists(source["S3Uri"]):
                raise validation_error(
                    f'No S3 objects found under S3 URL "{source["S3Uri"]}" given in input data source. Please ensure '
                    f"that the bucket exists in the selected region ({self.settings.region}), that objects exist under that S3 prefix, "
                    f'and that the role "{document["RoleArn"]}" has "s3:ListBucket" permissions on the bucket.'
                )

    def on_finish(self, document: Document, now: float) -> None:
        """Close the transitions and the clock."""
        status = document["TrainingJobStatus"]
        secondary = status
        if status == "Stopped" and document.pop("LimitReached", False):
            secondary = "MaxRuntimeExceeded"
        messages = {
            "Completed": "Training job completed",
            "Failed": "Training job failed",
            "Stopped": "Training job stopped",
            "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
        }
        _transition(document, secondary, messages[secondary], now)
        document["SecondaryStatusTransitions"][-1]["EndTime"] = now
        document["TrainingEndTime"] = now
        seconds = round(now - document.get("TrainingStartTime", now))
        document["TrainingTimeInSeconds"] = max(1, seconds)
        document["BillableTimeInSeconds"] = max(1, seconds)

    def stopping_fields(self) -> Document:
        """Return what a Stop request changes."""
        return {"TrainingJobStatus": "Stopping", "SecondaryStatus": "Stopping"}

    def instances(self, document: Document) -> int:
        """Return on how many instances the job trains."""
        return int(document.get("ResourceConfig", {}).get("InstanceCount", 1))

    def image(self, document: Document) -> tuple[str, bool]:
        """Return the image of the algorithm."""
        return document["AlgorithmSpecification"]["TrainingImage"], not document.get("EnableNetworkIsolation", False)

    def run(self, name: str, document: Document, hosts: list[Host], job: ActiveJob) -> None:
        """Download the channels, run the script on each instance, upload model and output."""
        algorithm = document["AlgorithmSpecification"]
        image, network = self.image(document)
        own = own_command(self.settings, image)
        python = None if own else python_for_image(self.settings, image)
        self._step(name, "Downloading", "Downloading input data", TrainingStartTime=time.time())
        decoded = decode_hyperparameters(document.get("HyperParameters", {}))
        commands = []
        for host in hosts:
            channels = self._download(document, host, job)
            commands.append(
                self._command(document, host, python, job, decoded, channels)
                if python
                else self._own_command(document, host, own or [], job)
            )
            self._restore_checkpoints(document, host.sandbox)
        job.check()
        self._step(name, "Training", "Training image download completed. Training in progress.")
        processes = [
            self.process(argv, env, host, _working_folder(host.sandbox), network)
            for host, (argv, env) in zip(hosts, commands, strict=True)
        ]
        try:
            outcomes = job.run(processes, self.limit_seconds(document))
        finally:
            for host in hosts:
                self._save_checkpoints(document, host.sandbox)
        logs = [host.log for host in hosts]
        self.change(name, FinalMetricDataList=_final_metrics(logs, algorithm.get("MetricDefinitions", [])))
        number = deciding(outcomes)
        outcome, host = outcomes[number], hosts[number]
        ended_early = outcome.stopped or outcome.timed_out
        if not ended_early and outcome.exit_code != 0:
            self._upload_output(document, hosts)
            failure = _failure(host.sandbox.output(host.sandbox.ml / "output" / "failure"))
            if own or "ContainerEntrypoint" in algorithm:
                reason = own_failure(outcome.exit_code, failure or tail(host.log, 700))
            else:
                reason = script_failure(outcome.exit_code, commands[number][0], failure, tail(host.log, 700))
            self.finish(name, "Failed", reason=reason)
            return
        self._step(name, "Uploading", "Uploading generated training model")
        artifact = self._upload_model(document, hosts)
        self._upload_output(document, hosts)
        fields: Document = {"ModelArtifacts": {"S3ModelArtifacts": artifact}}
        if outcome.timed_out:
            fields["LimitReached"] = True
        self.finish(name, "Stopped" if ended_early else "Completed", **fields)

    def _step(self, name: str, secondary: str, message: str, **fields: Any) -> None:
        def apply(document: Document) -> None:
            if document["TrainingJobStatus"] == "InProgress":
                _transition(document, secondary, message, time.time())
                document.update(fields)

        self.store.update(self.kind, name, apply)

    def _download(self, document: Document, host: Host, job: ActiveJob) -> list[str]:
        channels, sandbox = [], host.sandbox
        for channel in document.get("InputDataConfig", []):
            job.check()
            name = channel["ChannelName"]
            mode = channel.get("InputMode") or document["AlgorithmSpecification"].get("TrainingInputMode", "File")
            source = channel["DataSource"].get("S3DataSource")
            if source is None or mode == "Pipe":
                raise JobError(f"channel {name}: local_aws reads channels from S3 in File mode only")
            folder = sandbox.local(f"/opt/ml/input/data/{name}")
            chosen = host.share if source.get("S3DataDistributionType") == "ShardedByS3Key" else list
            if source["S3DataType"] == "ManifestFile":
                self.files(document).download_manifest(source["S3Uri"], folder, chosen)
            elif source["S3DataType"] == "S3Prefix":
                self.files(document).download_prefix(source["S3Uri"], folder, chosen)
            else:
                raise JobError(f"channel {name}: S3DataType {source['S3DataType']} is not available in local_aws")
            if name == DRIVERS:
                for pattern in ("*.sh", "*.py"):
                    for script in folder.rglob(pattern):
                        sandbox.map_script(script)
            channels.append(name)
        return channels

    def _command(
        self,
        document: Document,
        host: Host,
        python: Path,
        job: ActiveJob,
        decoded: Document,
        channels: list[str],
    ) -> tuple[list[str], dict[str, str]]:
        sandbox = host.sandbox
        ml = sandbox.ml
        _make_folders(document, host)
        algorithm = document["AlgorithmSpecification"]
        if "ContainerEntrypoint" in algorithm:
            command = [*algorithm["ContainerEntrypoint"], *algorithm.get("ContainerArguments", [])]
            argv = argv_in_sandbox(command, python, sandbox)
        elif "sagemaker_program" in decoded:
            self._unpack_code(document, decoded, sandbox)
            argv = script_command(str(python), decoded, ml / "code")
        else:
            raise JobError(
                "there is nothing to run: give the hyperparameters sagemaker_program and sagemaker_submit_directory "
                "(script mode) or AlgorithmSpecification.ContainerEntrypoint"
            )
        variables = training_variables(
            host=host,
            job_name=document["TrainingJobName"],
            job_arn=document["TrainingJobArn"],
            region=self.settings.region,
            decoded=decoded,
            channels=channels,
            instance_type=document.get("ResourceConfig", {}).get("InstanceType", ""),
        )
        if (ml / "code").is_dir():
            variables["PYTHONPATH"] = str(sandbox.seen(ml / "code"))
        env = self.environment(python, sandbox, job, document.get("Environment", {})) | variables
        give_pip(sandbox, env)
        return argv, env

    def _own_command(
        self, document: Document, host: Host, command: list[str], job: ActiveJob
    ) -> tuple[list[str], dict[str, str]]:
        """Return what stands for an image of one's own: called with ``train``, or as the request says, and told as a container is."""
        _make_folders(document, host)
        algorithm, sandbox = document["AlgorithmSpecification"], host.sandbox
        given = [*algorithm.get("ContainerEntrypoint", []), *algorithm.get("ContainerArguments", [])] or [TRAIN]
        env = self.environment(Path(command[0]), sandbox, job, document.get("Environment", {})) | own_variables(sandbox)
        env |= {
            "TRAINING_JOB_NAME": document["TrainingJobName"],
            "TRAINING_JOB_ARN": document["TrainingJobArn"],
        }
        return [*command, *(sandbox.map_text(part) for part in given)], env

    def _unpack_code(self, document: Document, decoded: Document, sandbox: Sandbox) -> None:
        source = decoded.get("sagemaker_submit_directory")
        if not isinstance(source, str):
            raise JobError("the hyperparameter sagemaker_submit_directory (an S3 URI of a tar.gz) is missing")
        if source.startswith("/opt/ml/"):
            extracted = sandbox.local(source)
            if extracted.is_dir():
                (sandbox.ml / "code").symlink_to(extracted.relative_to(sandbox.ml))
                return
            raise JobError(f"sagemaker_submit_directory {source} is not in any channel")
        archive = sandbox.root / "sourcedir.tar.gz"
        self.files(document).download_uri(source, archive)
        extract_archive(archive, sandbox.ml / "code")

    def _checkpoints(self, document: Document, sandbox: Sandbox) -> tuple[str, Path] | None:
        config = document.get("CheckpointConfig")
        return (config["S3Uri"], sandbox.local(config.get("LocalPath", "/opt/ml/checkpoints"))) if config else None

    def _restore_checkpoints(self, document: Document, sandbox: Sandbox) -> None:
        """Bring what an earlier job saved, if any."""
        if found := self._checkpoints(document, sandbox):
            uri, folder = found
            folder.mkdir(parents=True, exist_ok=True)
            if self.files(document).keys(*parse_s3_uri(uri)):
                self.files(document).download_prefix(uri.rstrip("/") + "/", folder)

    def _save_checkpoints(self, document: Document, sandbox: Sandbox) -> None:
        """Upload what the script saved, however it ended."""
        if found := self._checkpoints(document, sandbox):
            uri, folder = found
            self.files(document).upload_folder(sandbox.output(folder), uri)

    def _upload_model(self, document: Document, hosts: list[Host]) -> str:
        sandbox = _gathered(hosts, "model")
        self._upload(document, sandbox, "model", sandbox.output(sandbox.ml / "model"))
        return _artifact(document, "model")

    def _upload_output(self, document: Document, hosts: list[Host]) -> None:
        sandbox = _gathered(hosts, "output/data")
        self._upload(document, sandbox, "output", sandbox.output(sandbox.ml / "output" / "data"))

    def _upload(self, document: Document, sandbox: Sandbox, name: str, folder: Path) -> None:
        if not (folder.is_dir() and any(folder.iterdir())):
            return
        target = _artifact(document, name)
        if _is_compressed(document):
            archive = sandbox.root / f"{name}.tar.gz"
            pack_folder(folder, archive)
            self.files(document).upload(archive, *parse_s3_uri(target))
        else:
            self.files(document).upload_folder(folder, target)


def _make_folders(document: Document, host: Host) -> None:
    """Make what a training container finds below /opt/ml."""
    ml = host.sandbox.ml
    for folder in ("model", "output/data", "output/intermediate", "input/config", "input/data", "checkpoints"):
        (ml / folder).mkdir(parents=True, exist_ok=True)
    _write_configuration(document, ml / "input" / "config", host)


def _working_folder(sandbox: Sandbox) -> Path:
    return sandbox.ml / "code" if (sandbox.ml / "code").is_dir() else sandbox.ml


def _gathered(hosts: list[Host], name: str) -> Sandbox:
    """Bring what all instances left in a folder to the first; of files of one name the first instance's stays. Return its sandbox."""
    first = hosts[0].sandbox
    for host in hosts[1:]:
        folder = host.sandbox.output(host.sandbox.ml / name)
        for path in sorted(folder.rglob("*")):
            target = first.output(first.ml / name / path.relative_to(folder))
            if path.is_file() and not path.is_symlink() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
    return first


def _failure(file: Path) -> str:
    """Return the first of what a failure file says."""
    if not file.is_file():
        return ""
    with file.open(errors="replace") as lines:
        return lines.read(1024)


def _is_compressed(document: Document) -> bool:
    return bool(document["OutputDataConfig"].get("CompressionType", "GZIP") != "NONE")


def _artifact(document: Document, name: str) -> str:
    """Return where a job's model or output is uploaded: an archive, or with CompressionType NONE a folder of its files."""
    base = f"{document['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{document['TrainingJobName']}/output"
    return f"{base}/{name}.tar.gz" if _is_compressed(document) else f"{base}/{'data' if name == 'output' else name}/"


def _transition(document: Document, secondary: str, message: str, now: float) -> None:
    transitions = document["SecondaryStatusTransitions"]
    transitions[-1].setdefault("EndTime", now)
    transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
    document["SecondaryStatus"] = secondary
    document["LastModifiedTime"] = now


def _write_configuration(document: Document, folder: Path, host: Host) -> None:
    channels = {
        channel["ChannelName"]: {
            "TrainingInputMode": channel.get("InputMode", "File"),
            "S3DistributionType": channel["DataSource"]
            .get("S3DataSource", {})
            .get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
        }
        for channel in document.get("InputDataConfig", [])
    }
    kind = document.get("ResourceConfig", {}).get("InstanceType", "")
    files = {
        "hyperparameters.json": document.get("HyperParameters", {}),
        "inputdataconfig.json": channels,
        "resourceconfig.json": {
            **host.resources(),
            "network_interface_name": "lo",
            "current_instance_type": kind,
            "current_group_name": GROUP,
            "instance_groups": [{"instance_group_name": GROUP, "instance_type": kind, "hosts": host.names}],
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def _final_metrics(logs: list[Path], definitions: list[Document]) -> list[Document]:
    """Return the last value of each metric in the logs of all instances, by the request's regular expressions."""
    if not definitions:
        return []
    found: dict[str, float] = {}
    compiled = []
    for definition in definitions:
        try:
            compiled.append((definition["Name"], re.compile(definition["Regex"])))
        except re.error as error:
            raise JobError(f"the Regex of metric {definition['Name']} is invalid: {error}") from error
    for log in logs:
        with log.open(errors="replace") as lines:
            for line in lines:
                for name, pattern in compiled:
                    for match in pattern.finditer(line):
                        try:
                            found[name] = float(match.group(1))
                        except (ValueError, IndexError):
                            continue
    now = time.time()
    return [{"MetricName": name, "Value": value, "Timestamp": now} for name, value in found.items()]
