"""What a data scientist does with the SageMaker SDK: train, process, register, deploy, predict, transform, clean up.

Run by test_client_sagemaker_sdk.py in the SDK's environment: ``python sagemaker_sdk_client.py FOLDER ROLE IMAGE``. Prints one JSON
object with what it found. Nothing here knows that AWS is local: endpoint and keys come from the environment.
"""
# ruff: noqa: TID251 - this runs in the environment that has the SDK

import json
import sys
import time
from pathlib import Path

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.model_registry import create_model_package_from_containers
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, ModelPackage, ModelPackageGroup, TrainingJob
from sagemaker.core.s3 import S3Downloader, S3Uploader
from sagemaker.core.shapes import (
    ContainerDefinition,
    MetricDefinition,
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    ProductionVariant,
    StoppingCondition,
)
from sagemaker.core.transformer import Transformer
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode

FOLDER, ROLE, IMAGE = Path(sys.argv[1]), *sys.argv[2:]
MACHINE = "ml.m5.large"
SERVING = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
# Without a name of one's own the SDK asks AWS's own STS for the account's number, whatever AWS_ENDPOINT_URL says.
session = Session(boto_session=boto3.Session(), default_bucket="sdk-bucket")
BUCKET = session.default_bucket()
found: dict[str, object] = {}


def ended(job, status):
    """Wait for a job; the SDK's own wait looks only every 5 seconds."""
    while getattr(job.refresh(), status) in ("InProgress", "Stopping"):
        time.sleep(0.2)
    return getattr(job, status)


# -- data and training -------------------------------------------------------------------------------------------------
data = S3Uploader.upload(str(FOLDER / "data"), f"s3://{BUCKET}/data", sagemaker_session=session)
trainer = ModelTrainer(
    sagemaker_session=session,
    role=ROLE,
    base_job_name="sdk",
    training_image=IMAGE,
    source_code=SourceCode(source_dir=str(FOLDER / "source"), entry_script="train.py"),
    compute=Compute(instance_type=MACHINE, instance_count=1, volume_size_in_gb=5),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=120),
    output_data_config=OutputDataConfig(s3_output_path=f"s3://{BUCKET}/models"),
    hyperparameters={"factor": 3},
).with_metric_definitions([MetricDefinition(name="rows", regex="rows=([0-9]+);")])
trainer.train(input_data_config=[InputData(channel_name="train", data_source=data)], wait=False)
job = trainer._latest_training_job
found["training"] = ended(job, "training_job_status")
found["metrics"] = {metric.metric_name: metric.value for metric in job.final_metric_data_list}
job.wait(poll=1, logs=True)
found["listed"] = [
    item.training_job_name == job.training_job_name for item in TrainingJob.get_all(status_equals="Completed")
]
artifact = job.model_artifacts.s3_model_artifacts

# -- processing --------------------------------------------------------------------------------------------------------
processor = ScriptProcessor(
    sagemaker_session=session,
    role=ROLE,
    base_job_name="sdk-upper",
    image_uri=IMAGE,
    command=["python3"],
    instance_type=MACHINE,
    instance_count=1,
    volume_size_in_gb=5,
    max_runtime_in_seconds=120,
)
work = "/opt/ml/processing"
source = ProcessingS3Input(s3_uri=data, local_path=f"{work}/input", s3_data_type="S3Prefix", s3_input_mode="File")
target = ProcessingS3Output(s3_uri=f"s3://{BUCKET}/upper", local_path=f"{work}/output", s3_upload_mode="EndOfJob")
processor.run(
    code=str(FOLDER / "source" / "upper.py"),
    inputs=[ProcessingInput(input_name="data", s3_input=source)],
    outputs=[ProcessingOutput(output_name="upper", s3_output=target)],
    arguments=[f"{work}/input", f"{work}/output"],
    wait=False,
    logs=False,
)
found["processing"] = ended(processor.latest_job, "processing_job_status")
found["upper"] = S3Downloader.read_file(f"s3://{BUCKET}/upper/a.csv", sagemaker_session=session)

# -- registry ----------------------------------------------------------------------------------------------------------
group = ModelPackageGroup.create(model_package_group_name="sdk", model_package_group_description="by the SDK")
arn = create_model_package_from_containers(
    sagemaker_session=session,
    containers=[{"Image": IMAGE, "ModelDataUrl": artifact, "Environment": SERVING}],
    content_types=["text/csv"],
    response_types=["text/csv"],
    inference_instances=[MACHINE],
    transform_instances=[MACHINE],
    model_package_group_name="sdk",
)["ModelPackageArn"]
package = ModelPackage.get(arn)
package.update(model_approval_status="Approved")
found["package"] = [package.refresh().model_approval_status, package.model_package_version]
found["packages"] = len(list(ModelPackage.get_all(model_package_group_name="sdk")))

# -- deployment --------------------------------------------------------------------------------------------------------
model = Model.create(
    model_name="sdk",
    primary_container=ContainerDefinition(model_package_name=package.model_package_arn),
    execution_role_arn=ROLE,
)
variant = ProductionVariant(variant_name="all", model_name="sdk", initial_instance_count=1, instance_type=MACHINE)
config = EndpointConfig.create(endpoint_config_name="sdk", production_variants=[variant])
endpoint = Endpoint.create(endpoint_name="sdk", endpoint_config_name="sdk")
endpoint.wait_for_status("InService", poll=1)
found["prediction"] = endpoint.invoke(body="1,2", content_type="text/csv").body.read().decode()

# -- transform ---------------------------------------------------------------------------------------------------------
transformer = Transformer(
    model_name="sdk",
    instance_count=1,
    instance_type=MACHINE,
    output_path=f"s3://{BUCKET}/scored",
    sagemaker_session=session,
)
transformer.transform(
    data=S3Uploader.upload_string_as_file_body("1,2", f"s3://{BUCKET}/unscored/b.csv", sagemaker_session=session),
    content_type="text/csv",
    wait=False,
    logs=False,
)
found["transform"] = ended(transformer.latest_transform_job, "transform_job_status")
found["scored"] = S3Downloader.read_file(f"s3://{BUCKET}/scored/b.csv.out", sagemaker_session=session)

# -- clean-up ----------------------------------------------------------------------------------------------------------
endpoint.delete()
endpoint.wait_for_delete(poll=1)
config.delete()
model.delete()
package.model_package_name = (
    package.model_package_arn
)  # the service names no version; the SDK's delete() asks for a name
package.delete()
group.delete()
found["endpoints"] = [item.endpoint_name for item in Endpoint.get_all()]
found["models"] = [item.model_name for item in Model.get_all()]
sys.stdout.write("\n" + json.dumps(found) + "\n")
