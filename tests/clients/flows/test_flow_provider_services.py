"""The amazon provider's operators for what lies around jobs: stacks, functions, tables, events."""

import io
import json
import zipfile

import pytest
from airflow.providers.amazon.aws.operators.cloud_formation import (
    CloudFormationCreateStackOperator,
    CloudFormationDeleteStackOperator,
)
from airflow.providers.amazon.aws.operators.eventbridge import EventBridgePutEventsOperator, EventBridgePutRuleOperator
from airflow.providers.amazon.aws.operators.lambda_function import (
    LambdaCreateFunctionOperator,
    LambdaInvokeFunctionOperator,
)
from airflow.providers.amazon.aws.sensors.cloud_formation import CloudFormationCreateStackSensor
from airflow.providers.amazon.aws.sensors.dynamodb import DynamoDBValueSensor
from local_account import ROLE, Account, wait_for

pytestmark = [pytest.mark.local_aws, pytest.mark.usefixtures("environment")]


def run(operator, **arguments):
    task = operator(task_id="task", aws_conn_id=None, **arguments)
    return task.execute({"ti": None, "task": task})


def test_a_stack_is_made_waited_for_and_deleted(account: Account) -> None:
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "of-a-stack"}}}}
    run(
        CloudFormationCreateStackOperator,
        stack_name="by-provider",
        cloudformation_parameters={"TemplateBody": json.dumps(template)},
    )
    sensor = CloudFormationCreateStackSensor(task_id="t", stack_name="by-provider", aws_conn_id=None)
    wait_for(lambda: sensor.poke({}))
    assert account.sqs.get_queue_url(QueueName="of-a-stack")["QueueUrl"]
    run(CloudFormationDeleteStackOperator, stack_name="by-provider")


def test_a_function_is_made_and_invoked(account: Account) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as file:
        file.writestr("handler.py", "def handler(event, context):\n    return {'twice': event['n'] * 2}\n")
    run(
        LambdaCreateFunctionOperator,
        function_name="by-provider",
        runtime="python3.11",
        role=ROLE,
        handler="handler.handler",
        code={"ZipFile": code.getvalue()},
    )
    answer = run(LambdaInvokeFunctionOperator, function_name="by-provider", payload=json.dumps({"n": 21}))
    assert json.loads(answer) == {"twice": 42}


def test_a_sensor_sees_the_value_of_an_item(account: Account) -> None:
    account.dynamodb.create_table(
        TableName="by-provider",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    account.dynamodb.put_item(TableName="by-provider", Item={"id": {"S": "a"}, "state": {"S": "done"}})
    options = {"task_id": "t", "table_name": "by-provider", "partition_key_name": "id", "aws_conn_id": None}
    found = DynamoDBValueSensor(partition_key_value="a", attribute_name="state", attribute_value="done", **options)
    other = DynamoDBValueSensor(partition_key_value="a", attribute_name="state", attribute_value="open", **options)
    assert (found.poke({}), other.poke({})) == (True, False)


def test_an_event_reaches_the_queue_of_its_rule(account: Account) -> None:
    queue = account.sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = account.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    run(EventBridgePutRuleOperator, name="by-provider", event_pattern=json.dumps({"source": ["mine"]}))
    account.events.put_targets(Rule="by-provider", Targets=[{"Id": "q", "Arn": arn}])
    entry = {"Source": "mine", "DetailType": "x", "Detail": json.dumps({"n": 1})}
    assert run(EventBridgePutEventsOperator, entries=[entry])
    message = wait_for(lambda: account.sqs.receive_message(QueueUrl=queue).get("Messages"))
    assert json.loads(message[0]["Body"])["detail"] == {"n": 1}
