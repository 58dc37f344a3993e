"""What each operation is worth here: really carried out, kept as a document, or absent. docs/local-aws-operations.md is made from this.

The tables are the statement; the tests hold them against the services: every operation that this package answers is in `OWN`, and every
operation that the suite of foreign clients has seen answered is in one of both.
"""

from __future__ import annotations

from enum import StrEnum


class Support(StrEnum):
    """How far an operation is the real thing."""

    #: Its effect happens here, or it tells the true state of something that does.
    REAL = "real"
    #: Kept and given back as AWS does; nothing acts on it by itself, or nothing enforces it.
    RECORDED = "recorded only"
    #: Refused with UnknownOperationException.
    ABSENT = "absent"


def _table(real: str = "", recorded: str = "") -> dict[str, Support]:
    return {name: Support.REAL for name in real.split()} | {name: Support.RECORDED for name in recorded.split()}


#: The services of this package: service -> operation -> support. All their other operations are absent.
OWN: dict[str, dict[str, Support]] = {
    "sagemaker": _table(
        real="""
            CreateTrainingJob DescribeTrainingJob ListTrainingJobs StopTrainingJob
            CreateHyperParameterTuningJob DescribeHyperParameterTuningJob ListHyperParameterTuningJobs StopHyperParameterTuningJob
            ListTrainingJobsForHyperParameterTuningJob
            CreateProcessingJob DescribeProcessingJob ListProcessingJobs StopProcessingJob
            CreateTransformJob DescribeTransformJob ListTransformJobs StopTransformJob
            CreateEndpoint UpdateEndpoint DescribeEndpoint ListEndpoints DeleteEndpoint UpdateEndpointWeightsAndCapacities
            StartPipelineExecution StopPipelineExecution DescribePipelineExecution ListPipelineExecutions
            ListPipelineExecutionSteps ListPipelineParametersForExecution DescribePipelineDefinitionForExecution
            Search
        """,
        recorded="""
            CreateModel DescribeModel ListModels DeleteModel
            CreateEndpointConfig DescribeEndpointConfig ListEndpointConfigs DeleteEndpointConfig
            CreateModelPackageGroup DescribeModelPackageGroup ListModelPackageGroups DeleteModelPackageGroup
            CreateModelPackage DescribeModelPackage ListModelPackages UpdateModelPackage DeleteModelPackage
            CreatePipeline UpdatePipeline DescribePipeline DeletePipeline ListPipelines
            CreateExperiment DescribeExperiment ListExperiments UpdateExperiment DeleteExperiment
            CreateTrial DescribeTrial ListTrials UpdateTrial DeleteTrial
            CreateTrialComponent DescribeTrialComponent ListTrialComponents UpdateTrialComponent DeleteTrialComponent
            AssociateTrialComponent DisassociateTrialComponent
            AddTags ListTags DeleteTags
        """,
    ),
    "sagemaker-runtime": _table(real="InvokeEndpoint InvokeEndpointAsync InvokeEndpointWithResponseStream"),
    "sagemaker-metrics": _table(recorded="BatchPutMetrics"),
    "application-autoscaling": _table(
        real="RegisterScalableTarget DeregisterScalableTarget DescribeScalableTargets",
        recorded="PutScalingPolicy DeleteScalingPolicy DescribeScalingPolicies",
    ),
    "glue": _table(
        real="""
            StartCrawler StopCrawler GetCrawler GetCrawlers GetCrawlerMetrics
            StartJobRun GetJobRun GetJobRuns BatchStopJobRun GetJobBookmark ResetJobBookmark
        """,
        recorded="ListCrawlers UpdateCrawler DeleteCrawler ListJobs DeleteJob UpdatePartition BatchDeletePartition",
    ),
}

#: What MiniStack answers, as far as the suite of foreign clients has seen it; it knows more.
MINISTACK: dict[str, dict[str, Support]] = {
    "athena": _table(real="StartQueryExecution GetQueryExecution GetQueryResults", recorded="GetWorkGroup"),
    "cloudformation": _table(
        real="""
            CreateChangeSet DescribeChangeSet ExecuteChangeSet DeleteStack DescribeStacks DescribeStackEvents
            DescribeStackResources GetTemplate GetTemplateSummary
        """,
        recorded="ValidateTemplate",
    ),
    "glue": _table(
        recorded="""
            CreateDatabase GetDatabases DeleteDatabase
            CreateTable GetTable GetTables UpdateTable DeleteTable
            BatchCreatePartition GetPartitions
            CreateJob GetJob GetJobs CreateCrawler
        """,
    ),
    "iam": _table(recorded="AttachRolePolicy CreateRole SimulatePrincipalPolicy"),
    "lambda": _table(real="GetFunction Invoke ListFunctions"),
    "logs": _table(
        real="""
            CreateLogGroup CreateLogStream DescribeLogGroups DescribeLogStreams FilterLogEvents GetLogEvents PutLogEvents
        """
    ),
    "s3": _table(
        real="""
            CreateBucket DeleteBucket HeadBucket ListBuckets ListObjectsV2 ListObjectVersions
            GetObject HeadObject PutObject CopyObject DeleteObject DeleteObjects
            CreateMultipartUpload UploadPart CompleteMultipartUpload
            GetBucketVersioning PutBucketVersioning GetBucketNotificationConfiguration
        """,
        recorded="GetBucketEncryption GetBucketPolicy GetObjectTagging PutObjectTagging",
    ),
    "sns": _table(real="CreateTopic Publish Subscribe"),
    "sqs": _table(
        real="""
            CreateQueue DeleteMessage DeleteMessageBatch GetQueueAttributes GetQueueUrl PurgeQueue ReceiveMessage SendMessage
        """
    ),
    "ssm": _table(real="DeleteParameter GetParameter GetParametersByPath PutParameter"),
    "states": _table(real="StartExecution DescribeExecution", recorded="CreateStateMachine"),
    "sts": _table(real="GetCallerIdentity"),
}


def support(service: str, operation: str) -> Support:
    """Return what an operation is worth, `service` by its name in request signatures (sagemaker-runtime by its own)."""
    for tables in (OWN, MINISTACK):
        found = tables.get(service, {}).get(operation)
        if found:
            return found
    return Support.ABSENT
