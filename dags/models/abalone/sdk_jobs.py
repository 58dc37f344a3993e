"""The jobs of this model as SageMaker Python SDK code: what a notebook runs, and what a DAG runs for the steps named in `steps: ... sdk`.

Each function submits one job with `wait=False` and returns it. Waiting, retrying and finding a job again are the library's work.
"""

import json

from sagemaker.core.processing import ScriptProcessor
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
        source_code=SourceCode(source_dir=ctx.source_dir, entry_script="train.py"),
        compute=Compute(
            instance_type=ctx.instance_type, instance_count=ctx.instance_count, volume_size_in_gb=ctx.volume_gb
        ),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=ctx.max_runtime_seconds),
        output_data_config=OutputDataConfig(s3_output_path=ctx.output_path),
        hyperparameters={
            "columns": list(ctx.columns),
            "target": ctx.target,
            "group": ctx.group,
            "dataset-version": ctx.dataset_version,
            **ctx.hyperparameters,
        },
    ).with_metric_definitions([MetricDefinition(name=name, regex=regex) for name, regex in ctx.metrics.items()])
    data = [
        InputData(
            channel_name=split,
            content_type="text/csv",
            data_source=S3DataSource(
                s3_data_type="ManifestFile", s3_uri=uri, s3_data_distribution_type="FullyReplicated"
            ),
        )
        for split, uri in ctx.manifests.items()
    ]
    trainer.train(input_data_config=data, wait=False)
    return trainer._latest_training_job


def evaluation(ctx):
    """Score challenger and champion on the same test rows."""
    models = {"challenger": ctx.challenger} | ({"champion": ctx.champion} if ctx.champion else {})
    inputs = [_input("test", ctx.manifests["test"], "ManifestFile")]
    inputs += [_input(name, uri, "S3Prefix") for name, uri in models.items()]
    arguments = ["--test", f"{PROCESSING}/input/test", "--output", f"{PROCESSING}/output"]
    for name in models:
        arguments += [f"--{name}", f"{PROCESSING}/input/{name}"]
    arguments += ["--columns", json.dumps(ctx.columns), "--target", ctx.target, "--group", ctx.group]
    processor = ScriptProcessor(
        sagemaker_session=ctx.session(),
        role=ctx.role_arn,
        base_job_name=f"{ctx.model}-evaluate",
        image_uri=ctx.image,
        command=["python3"],
        instance_type=ctx.instance_type,
        instance_count=ctx.instance_count,
        volume_size_in_gb=ctx.volume_gb,
        max_runtime_in_seconds=ctx.max_runtime_seconds,
    )
    results = ProcessingS3Output(s3_uri=ctx.output_path, local_path=f"{PROCESSING}/output", s3_upload_mode="EndOfJob")
    processor.run(
        code=f"{ctx.source_dir}/evaluate.py",
        inputs=inputs,
        outputs=[ProcessingOutput(output_name="evaluation", s3_output=results)],
        arguments=arguments,
        wait=False,
        logs=False,
    )
    return processor.latest_job


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
