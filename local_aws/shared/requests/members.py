"""What each member of a request is worth: it acts here, it is only kept (with the reason), or the request is refused.

Whatever stands in neither table is refused, so a member that botocore learns tomorrow cannot be accepted and ignored. A path names a member
and all that lies below it; lists have no sign of their own in a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, Shape, StructureShape

from local_aws.shared.errors import ServiceError
from local_aws.shared.requests.validation import operation_model

_LISTING = "NextToken MaxResults SortBy SortOrder NameContains CreationTimeAfter CreationTimeBefore"
_STATES = f"{_LISTING} StatusEquals LastModifiedTimeAfter LastModifiedTimeBefore"
_CREATED = "CreatedAfter CreatedBefore SortBy SortOrder NextToken MaxResults"
_COMPONENT = "DisplayName Status StartTime EndTime Parameters InputArtifacts OutputArtifacts"
_IDENTITY = "RoleArn Tags"

ONE_NETWORK = "all jobs share this machine's network"
ONE_MACHINE = "all jobs run on this machine"
NO_KMS = "nothing is encrypted at rest"
NO_BILL = "there is no bill, and nothing to wait for"
NO_DEBUGGER = "Debugger's hook is a part of AWS's images, which do not run here"
ONE_NAME = "a name can be given once"
ONE_SERVER = "one server answers for all instances"
AT_ONCE = "traffic goes to the new servers at once when all are healthy; alarms are not looked at"

_TRAINING = """RoleArn Environment EnableNetworkIsolation
    AlgorithmSpecification.TrainingImage AlgorithmSpecification.TrainingInputMode AlgorithmSpecification.MetricDefinitions
    InputDataConfig.ChannelName InputDataConfig.InputMode InputDataConfig.ContentType
    InputDataConfig.DataSource.S3DataSource.S3DataType InputDataConfig.DataSource.S3DataSource.S3Uri
    InputDataConfig.DataSource.S3DataSource.S3DataDistributionType
    OutputDataConfig.S3OutputPath OutputDataConfig.CompressionType ResourceConfig.InstanceType ResourceConfig.InstanceCount
    StoppingCondition.MaxRuntimeInSeconds"""
_TUNING = """Strategy HyperParameterTuningJobObjective RandomSeed TrainingJobEarlyStoppingType
    ResourceLimits.MaxNumberOfTrainingJobs ResourceLimits.MaxParallelTrainingJobs ParameterRanges.IntegerParameterRanges
    ParameterRanges.ContinuousParameterRanges ParameterRanges.CategoricalParameterRanges"""


def _below(member: str, paths: str) -> str:
    return " ".join(f"{member}.{path}" for path in paths.split())


#: Operation -> paths of members that have their effect (or are the resource's own name and tags).
ACTS: dict[str, str] = {
    "CreateTrainingJob": f"""{_TRAINING} Tags TrainingJobName HyperParameters CheckpointConfig
        AlgorithmSpecification.ContainerEntrypoint AlgorithmSpecification.ContainerArguments""",
    "CreateHyperParameterTuningJob": f"""Tags HyperParameterTuningJobName TrainingJobDefinition.StaticHyperParameters
        {_below("HyperParameterTuningJobConfig", _TUNING)} {_below("TrainingJobDefinition", _TRAINING)}""",
    "ListHyperParameterTuningJobs": _STATES,
    "ListTrainingJobsForHyperParameterTuningJob": """HyperParameterTuningJobName NextToken MaxResults StatusEquals SortBy
        SortOrder""",
    "CreateProcessingJob": f"""{_IDENTITY} ProcessingJobName AppSpecification Environment NetworkConfig.EnableNetworkIsolation
        ProcessingInputs.InputName ProcessingInputs.S3Input.S3Uri ProcessingInputs.S3Input.LocalPath
        ProcessingInputs.S3Input.S3DataType ProcessingInputs.S3Input.S3DataDistributionType
        ProcessingOutputConfig.Outputs.OutputName ProcessingOutputConfig.Outputs.S3Output.S3Uri
        ProcessingOutputConfig.Outputs.S3Output.LocalPath
        ProcessingResources.ClusterConfig.InstanceCount StoppingCondition""",
    "CreateTransformJob": """Tags TransformJobName ModelName MaxPayloadInMB BatchStrategy Environment
        TransformInput.DataSource TransformInput.ContentType TransformInput.SplitType
        TransformOutput.S3OutputPath TransformOutput.Accept TransformOutput.AssembleWith DataProcessing""",
    "CreateModel": "ExecutionRoleArn Tags ModelName EnableNetworkIsolation "
    + " ".join(
        f"{container}.{member}"
        for container in ("PrimaryContainer", "Containers")
        for member in [
            "Image",
            "ModelDataUrl",
            "Environment",
            "Mode",
            "ModelPackageName",
            "ModelDataSource.S3DataSource.S3Uri",
            "ModelDataSource.S3DataSource.S3DataType",
            "ModelDataSource.S3DataSource.CompressionType",
            "ModelDataSource.S3DataSource.ETag",
        ]
    ),
    "CreateEndpointConfig": """Tags EndpointConfigName DataCaptureConfig.EnableCapture DataCaptureConfig.InitialSamplingPercentage
        DataCaptureConfig.DestinationS3Uri DataCaptureConfig.CaptureOptions DataCaptureConfig.CaptureContentTypeHeader
        ProductionVariants.VariantName ProductionVariants.ModelName ProductionVariants.InitialVariantWeight
        ProductionVariants.ContainerStartupHealthCheckTimeoutInSeconds ProductionVariants.ServerlessConfig.MaxConcurrency
        AsyncInferenceConfig.OutputConfig.S3OutputPath AsyncInferenceConfig.OutputConfig.S3FailurePath
        AsyncInferenceConfig.OutputConfig.NotificationConfig.SuccessTopic
        AsyncInferenceConfig.OutputConfig.NotificationConfig.ErrorTopic
        AsyncInferenceConfig.ClientConfig.MaxConcurrentInvocationsPerInstance""",
    "CreateEndpoint": "EndpointName EndpointConfigName Tags",
    "UpdateEndpoint": "EndpointName EndpointConfigName RetainAllVariantProperties ExcludeRetainedVariantProperties",
    "UpdateEndpointWeightsAndCapacities": """EndpointName DesiredWeightsAndCapacities.VariantName
        DesiredWeightsAndCapacities.DesiredWeight""",
    "Search": "Resource SearchExpression SortBy SortOrder NextToken MaxResults",
    "UpdateModelPackage": """ModelPackageArn ModelApprovalStatus ApprovalDescription CustomerMetadataProperties
        CustomerMetadataPropertiesToRemove AdditionalInferenceSpecificationsToAdd InferenceSpecification SourceUri""",
    "CreatePipeline": f"""{_IDENTITY} PipelineName PipelineDisplayName PipelineDefinition PipelineDescription
        ParallelismConfiguration""",
    "UpdatePipeline": "PipelineName PipelineDisplayName PipelineDefinition PipelineDescription RoleArn ParallelismConfiguration",
    "DescribePipeline": "PipelineName",
    "DeletePipeline": "PipelineName",
    "ListPipelines": "PipelineNamePrefix CreatedAfter CreatedBefore SortBy SortOrder NextToken MaxResults",
    "StartPipelineExecution": """PipelineName PipelineExecutionDisplayName PipelineParameters PipelineExecutionDescription
        ClientRequestToken ParallelismConfiguration""",
    "StopPipelineExecution": "PipelineExecutionArn",
    "DescribePipelineExecution": "PipelineExecutionArn",
    "DescribePipelineDefinitionForExecution": "PipelineExecutionArn",
    "ListPipelineExecutions": "PipelineName CreatedAfter CreatedBefore SortBy SortOrder NextToken MaxResults",
    "ListPipelineExecutionSteps": "PipelineExecutionArn NextToken MaxResults SortOrder",
    "ListPipelineParametersForExecution": "PipelineExecutionArn NextToken MaxResults",
    "CreateExperiment": "ExperimentName DisplayName Description Tags",
    "CreateTrial": "TrialName ExperimentName DisplayName MetadataProperties Tags",
    "CreateTrialComponent": f"TrialComponentName {_COMPONENT} MetadataProperties Tags",
    "UpdateExperiment": "ExperimentName DisplayName Description",
    "UpdateTrial": "TrialName DisplayName",
    "UpdateTrialComponent": f"""TrialComponentName {_COMPONENT} ParametersToRemove InputArtifactsToRemove
        OutputArtifactsToRemove""",
    "ListExperiments": _CREATED,
    "ListTrials": f"{_CREATED} ExperimentName TrialComponentName",
    "ListTrialComponents": f"{_CREATED} ExperimentName TrialName",
    "AssociateTrialComponent": "TrialName TrialComponentName",
    "DisassociateTrialComponent": "TrialName TrialComponentName",
    "InvokeEndpoint": """EndpointName Body ContentType Accept CustomAttributes TargetModel TargetVariant InferenceId""",
    "InvokeEndpointAsync": """EndpointName ContentType Accept CustomAttributes InferenceId InputLocation RequestTTLSeconds
        InvocationTimeoutSeconds""",
    "InvokeEndpointWithResponseStream": "EndpointName Body ContentType Accept CustomAttributes TargetVariant InferenceId",
    "AddTags": "ResourceArn Tags",
    "ListTags": "ResourceArn NextToken MaxResults",
    "DeleteTags": "ResourceArn TagKeys",
    "ListModelPackages": f"{_LISTING} ModelApprovalStatus ModelPackageGroupName ModelPackageType",
    "StartJobRun": "JobName JobRunId Arguments Timeout WorkerType NumberOfWorkers MaxCapacity AllocatedCapacity",
    "DeleteJob": "JobName",
    "GetJobBookmark": "JobName",
    "ResetJobBookmark": "JobName RunId",
    "StartCrawler": "Name",
    "StopCrawler": "Name",
    "GetCrawler": "Name",
    "DeleteCrawler": "Name",
    "GetCrawlers": "MaxResults NextToken",
    "ListCrawlers": "MaxResults NextToken Tags",
    "GetCrawlerMetrics": "CrawlerNameList MaxResults NextToken",
    "ListJobs": "MaxResults NextToken Tags",
    "UpdatePartition": "DatabaseName TableName PartitionValueList PartitionInput",
    "BatchDeletePartition": "DatabaseName TableName PartitionsToDelete",
    "GetJobRun": "JobName RunId",
    "GetJobRuns": "JobName MaxResults NextToken",
    "BatchStopJobRun": "JobName JobRunIds",
}
ACTS |= {f"List{noun}": _STATES for noun in ("TrainingJobs", "ProcessingJobs", "TransformJobs", "Endpoints")}
ACTS |= {f"List{noun}": _LISTING for noun in ("Models", "EndpointConfigs", "ModelPackageGroups")}
for _job in ("TrainingJob", "ProcessingJob", "TransformJob", "HyperParameterTuningJob"):
    ACTS |= {f"{verb}{_job}": f"{_job}Name" for verb in ("Describe", "Stop")}
_SCALED = "ServiceNamespace ResourceId ScalableDimension"
ACTS |= {
    "RegisterScalableTarget": f"{_SCALED} MinCapacity MaxCapacity",
    "DeregisterScalableTarget": _SCALED,
    "DescribeScalableTargets": "ServiceNamespace ResourceIds ScalableDimension MaxResults NextToken",
    "PutScalingPolicy": f"""{_SCALED} PolicyName PolicyType
        TargetTrackingScalingPolicyConfiguration.PredefinedMetricSpecification.PredefinedMetricType""",
    "DeleteScalingPolicy": f"{_SCALED} PolicyName",
    "DescribeScalingPolicies": f"{_SCALED} PolicyNames MaxResults NextToken",
}
_DOCUMENTS = ("Model", "EndpointConfig", "ModelPackageGroup", "ModelPackage", "Experiment", "Trial", "TrialComponent")
for _resource in ("Endpoint", *_DOCUMENTS):
    ACTS |= {f"{verb}{_resource}": f"{_resource}Name" for verb in ("Describe", "Delete")}

_TRAINING_KEPT = {
    "InputDataConfig.RecordWrapperType": "tells the algorithms of AWS's own images",
    "OutputDataConfig.KmsKeyId": NO_KMS,
    "ResourceConfig.VolumeSizeInGB": ONE_MACHINE,
    "ResourceConfig.VolumeKmsKeyId": NO_KMS,
    "ResourceConfig.KeepAlivePeriodInSeconds": NO_BILL,
    "StoppingCondition.MaxWaitTimeInSeconds": NO_BILL,
    "StoppingCondition.MaxPendingTimeInSeconds": NO_BILL,
    "VpcConfig": ONE_NETWORK,
    "EnableInterContainerTrafficEncryption": ONE_MACHINE,
    "EnableManagedSpotTraining": NO_BILL,
    "RetryStrategy": "no job fails for the service's sake but by a stop of local_aws",
}

#: Operation -> path -> why it is enough that Describe gives it back.
KEPT: dict[str, dict[str, str]] = {
    "CreateTrainingJob": {
        **_TRAINING_KEPT,
        "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": "the last value of each metric is told, no series",
        "DebugHookConfig": NO_DEBUGGER,
        "ProfilerConfig": NO_DEBUGGER,
        "InfraCheckConfig": ONE_MACHINE,
        "SessionChainingConfig": "nothing enforces session tags",
    },
    "CreateHyperParameterTuningJob": {f"TrainingJobDefinition.{path}": why for path, why in _TRAINING_KEPT.items()},
    "CreateProcessingJob": {
        "ProcessingInputs.S3Input.S3InputMode": "Pipe is refused",
        "ProcessingOutputConfig.Outputs.S3Output.S3UploadMode": "outputs are uploaded at the job's end",
        "ProcessingOutputConfig.KmsKeyId": NO_KMS,
        "ProcessingResources.ClusterConfig.InstanceType": ONE_MACHINE,
        "ProcessingResources.ClusterConfig.VolumeSizeInGB": ONE_MACHINE,
        "ProcessingResources.ClusterConfig.VolumeKmsKeyId": NO_KMS,
        "NetworkConfig.VpcConfig": ONE_NETWORK,
        "NetworkConfig.EnableInterContainerTrafficEncryption": ONE_MACHINE,
    },
    "CreateTransformJob": {
        "MaxConcurrentTransforms": "requests go one after the other; the result is the same",
        "ModelClientConfig": "a request has 60 seconds and one try",
        "TransformOutput.KmsKeyId": NO_KMS,
        "TransformResources": ONE_MACHINE,
    },
    "CreateModel": {
        "VpcConfig": ONE_NETWORK,
        "PrimaryContainer.ContainerHostname": "a model has one container",
        "Containers.ContainerHostname": "containers of a pipeline are asked in their order",
        "PrimaryContainer.MultiModelConfig": "the models that were asked last stay loaded",
        "Containers.MultiModelConfig": "the models that were asked last stay loaded",
    },
    "CreateEndpointConfig": {
        "KmsKeyId": NO_KMS,
        "DataCaptureConfig.KmsKeyId": NO_KMS,
        "AsyncInferenceConfig.OutputConfig.KmsKeyId": NO_KMS,
        "MetricsConfig": "there are no metrics",
        "ProductionVariants.InitialInstanceCount": ONE_SERVER,
        "ProductionVariants.InstanceType": ONE_MACHINE,
        "ProductionVariants.ServerlessConfig.MemorySizeInMB": ONE_MACHINE,
        "ProductionVariants.ServerlessConfig.ProvisionedConcurrency": "its server runs at any time",
        "ProductionVariants.VolumeSizeInGB": ONE_MACHINE,
        "ProductionVariants.ModelDataDownloadTimeoutInSeconds": ONE_MACHINE,
        "ProductionVariants.RoutingConfig": ONE_SERVER,
        "ProductionVariants.InferenceAmiVersion": ONE_MACHINE,
    },
    "CreateEndpoint": {"DeploymentConfig": AT_ONCE},
    "CreatePipeline": {"ClientRequestToken": ONE_NAME},
    "DeletePipeline": {"ClientRequestToken": "a second delete finds nothing"},
    "StopPipelineExecution": {"ClientRequestToken": "a second stop finds it stopped"},
    "UpdateEndpoint": {"DeploymentConfig": AT_ONCE},
    "UpdateEndpointWeightsAndCapacities": {"DesiredWeightsAndCapacities.DesiredInstanceCount": ONE_SERVER},
    "PutScalingPolicy": dict.fromkeys(
        (
            f"TargetTrackingScalingPolicyConfiguration.{member}"
            for member in ("TargetValue", "ScaleInCooldown", "ScaleOutCooldown", "DisableScaleIn")
        ),
        "nothing scales by itself: the policy is kept",
    ),
    "StartJobRun": {
        "SecurityConfiguration": NO_KMS,
        "NotificationProperty": "nothing is notified of a late run",
        "ExecutionClass": NO_BILL,
    },
    "GetJobBookmark": {"RunId": "a job has one bookmark, its newest"},
    "GetJobRun": {"PredecessorsIncluded": "runs have no predecessors: triggers are absent"},
}
#: Operations whose whole request is a record that is given back: a model package is what somebody wrote down about a model, and what a
#: crawler's definition asks for is looked at when it runs.
RECORDS = ("CreateModelPackage", "CreateModelPackageGroup", "UpdateCrawler")

#: Values that say of a member what is so without it.
_ABSENT: tuple[Any, ...] = (None, False, "None", "", b"", [], {})


def check_members(service: str, operation: str, params: Mapping[str, Any]) -> None:
    """Refuse a request that asks for what does not happen here.

    Raises:
        ServiceError: a member is given that neither acts here nor may be ignored; it is named.

    """
    if operation in RECORDS:
        return
    known = _known(operation)
    shape = operation_model(service, operation).input_shape
    if shape is None:
        return
    for path, value in _given(shape, params, ""):
        if value not in _ABSENT and not is_known(path, known):
            raise ServiceError(
                "ValidationException",
                f"{path} is not available in local_aws, which would ignore it; docs/local-aws-operations.md lists what is.",
            )


def check_invocation(operation: str, headers: Mapping[str, str], body: bytes) -> None:
    """Refuse an invocation whose headers, by names in lower case, ask for what does not happen here.

    Raises:
        ServiceError: of the service's runtime; the member is named.

    """
    shape = operation_model("sagemaker-runtime", operation).input_shape
    places = {name: member.serialization for name, member in shape.members.items()} if shape else {}
    params: dict[str, Any] = {
        name: headers[place["name"].lower()]
        for name, place in places.items()
        if place.get("location") == "header" and place["name"].lower() in headers
    }
    try:
        check_members("sagemaker-runtime", operation, params | {"Body": body})
    except ServiceError as error:
        raise ServiceError("ValidationError", error.message) from error


def is_known(path: str, known: frozenset[str]) -> bool:
    """Return whether a path, or one above it, is in a table."""
    parts = path.split(".")
    return any(".".join(parts[:length]) in known for length in range(1, len(parts) + 1))


def _known(operation: str) -> frozenset[str]:
    return frozenset(ACTS.get(operation, "").split()) | KEPT.get(operation, {}).keys()


def _given(shape: Shape, value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of the leaves of a request that botocore knows."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping) and value:
        for name, member in shape.members.items():
            if name in value:
                yield from _given(member, value[name], f"{path}.{name}" if path else name)
    elif isinstance(shape, ListShape) and isinstance(shape.member, StructureShape) and value:
        for item in value:
            yield from _given(shape.member, item, path)
    elif path:
        yield path, value


def paths_of(service: str, operation: str) -> frozenset[str]:
    """Return the paths of all members of an operation's request, those of lists and structures included."""
    shape = operation_model(service, operation).input_shape
    return frozenset(_paths(shape, "", frozenset())) if shape else frozenset()


def _paths(shape: Shape, path: str, above: frozenset[str]) -> Iterator[str]:
    if isinstance(shape, ListShape):
        yield from _paths(shape.member, path, above)
    elif isinstance(shape, StructureShape) and shape.name not in above:
        for name, member in shape.members.items():
            below = f"{path}.{name}" if path else name
            yield below
            yield from _paths(member, below, above | {shape.name})
