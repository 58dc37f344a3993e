"""The jobs of this model as SageMaker Python SDK code: what a notebook runs, and what a DAG runs for the steps named in `steps: ... sdk`.

Each function submits one job with `wait=False` and returns it. Waiting, retrying and finding a job again are the library's work.
"""

from sagemaker.core.network import NetworkConfig
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import (
    MetricDefinition,
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    S3DataSource,
    StoppingCondition,
)
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

PROCESSING = "/opt/ml/processing"


def training(ctx):
    """Train one candidate on the dataset version's rows."""
    trainer = ModelTrainer(
        sagemaker_session=ctx.session(),
        role=ctx.role_arn,
        base_job_name=f"{ctx.model}-train",
        training_image=ctx.image,
        source_code=SourceCode(source_dir=ctx.source_dir, entry_script="job.py"),
        compute=Compute(
            instance_type=ctx.instance_type, instance_count=ctx.instance_count, volume_size_in_gb=ctx.volume_gb
        ),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=ctx.max_runtime_seconds),
        output_data_config=OutputDataConfig(s3_output_path=ctx.output_path),
    ).with_metric_definitions([MetricDefinition(name=name, regex=regex) for name, regex in ctx.metrics.items()])
    data = [_channel(split, uri, "ManifestFile", "text/csv") for split, uri in ctx.manifests.items()]
    data.append(_channel("job", ctx.job_uri, "S3Prefix"))  # job.json: what job.py has to do
    trainer.train(input_data_config=data, wait=False)
    return trainer._latest_training_job


def evaluation(ctx):
    """Score challenger and champion on the same test rows."""
    models = {"challenger": ctx.challenger} | ({"champion": ctx.champion} if ctx.champion else {})
    inputs = [
        _input(name, uri, "S3Prefix") for name, uri in {"code": ctx.code_uri, "job": ctx.job_uri, **models}.items()
    ]
    inputs.append(_input("test", ctx.manifests["test"], "ManifestFile"))
    processor = Processor(
        sagemaker_session=ctx.session(),
        role=ctx.role_arn,
        base_job_name=f"{ctx.model}-evaluate",
        image_uri=ctx.image,
        entrypoint=["python3", f"{PROCESSING}/input/code/job.py"],
        instance_type=ctx.instance_type,
        instance_count=ctx.instance_count,
        volume_size_in_gb=ctx.volume_gb,
        max_runtime_in_seconds=ctx.max_runtime_seconds,
        network_config=NetworkConfig(enable_network_isolation=ctx.network_isolation),
    )
    results = ProcessingS3Output(s3_uri=ctx.output_path, local_path=f"{PROCESSING}/output", s3_upload_mode="EndOfJob")
    processor.run(
        inputs=inputs,
        outputs=[ProcessingOutput(output_name="evaluation", s3_output=results)],
        arguments=["--inputs", f"{PROCESSING}/input", "--output", f"{PROCESSING}/output"],
        wait=False,
        logs=False,
    )
    return processor.latest_job


def _channel(name, uri, data_type, content_type=None):
    """Return a channel of a training job."""
    source = S3DataSource(s3_data_type=data_type, s3_uri=uri, s3_data_distribution_type="FullyReplicated")
    return InputData(channel_name=name, data_source=source, **({"content_type": content_type} if content_type else {}))


def _input(name, uri, data_type):
    """Return an input that the job finds below /opt/ml/processing/input/NAME."""
    source = ProcessingS3Input(
        s3_uri=uri,
        local_path=f"{PROCESSING}/input/{name}",
        s3_data_type=data_type,
        s3_input_mode="File",
        s3_data_distribution_type="FullyReplicated",
    )
    return ProcessingInput(input_name=name, s3_input=source)
