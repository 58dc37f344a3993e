"""Models and APIs of tests; their endpoint is whatever a test hands in."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from botocore.exceptions import ClientError
from threadpoolctl import ThreadpoolController

from lambda_functions.prediction_api.handler import Api
from lambda_functions.prediction_api.model import Model, described
from retraining.inside import serving
from retraining.inside.frames import request_frame
from retraining.inside.job_file import inputs_of
from retraining.settings.model_config import ModelConfig

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = yaml.safe_load((ROOT / "dags" / "models" / "abalone" / "model.yaml").read_text())
CONFIG = ModelConfig.model_validate(SETTINGS)
ABALONE = Model.of(json.loads(json.dumps(described(CONFIG))))
ADULT = Model.of(
    described(ModelConfig.model_validate(yaml.safe_load((ROOT / "docs/examples/adult/model.yaml").read_text())))
)
ROW = {
    "sex": "M",
    "length": 0.5,
    "diameter": 0.4,
    "height": 0.1,
    "whole_weight": 0.6,
    "shucked_weight": 0.2,
    "viscera_weight": 0.1,
    "shell_weight": 0.15,
}

#: A model that says ten times the weight for rings; it answers rows by column name as the library's serving does.
SCALE = """
import json

def model_fn(model_dir):
    return None

def transform_fn(model, body, content_type, accept):
    rows = json.loads(body)["instances"]
    return json.dumps({"predictions": [10 * row["whole_weight"] for row in rows]}), "application/json"
"""


class Endpoint:
    """Stands in for the client of SageMaker's runtime: notes requests; gives an answer, or raises it."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = {"predictions": [9.5]} if answer is None else answer
        self.requests: list[dict[str, Any]] = []

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return {"Body": io.BytesIO(body)}


class ServingCode:
    """The endpoint: the project's serving code around a model that says 1, or what a subclass says."""

    def __init__(self, model: Model, background: pd.DataFrame | None = None) -> None:
        inputs = inputs_of(model.contract)
        self.model = serving.Model(
            self, inputs, model.contract, model.classes, None, ThreadpoolController(), background
        )
        self.asked: list[bool] = []

    def predict(self, frame: pd.DataFrame) -> Any:
        return [1.0] * len(frame)

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.asked.append("explain" in json.loads(request["Body"]))
        try:
            answer, _ = serving.transform_fn(self.model, request["Body"], request["ContentType"], request["Accept"])
        except serving.InvalidRequest as error:
            said = {"Error": {"Code": "ModelError", "Message": str(error)}, "OriginalStatusCode": error.status_code}
            raise ClientError(said, "InvokeEndpoint") from error
        return {"Body": io.BytesIO(answer.encode())}


class Weighing(ServingCode):
    """A model of the abalone contract that says ten times the weight and twice the length, and explains it if it is told to."""

    def __init__(self, explains: bool = True) -> None:
        columns = inputs_of(ABALONE.contract)
        rows = [{**ROW, "whole_weight": 0.4, "length": 0.4}, {**ROW, "whole_weight": 0.6, "length": 0.7, "sex": "F"}]
        super().__init__(ABALONE, request_frame(rows, columns, ABALONE.contract) if explains else None)

    def predict(self, frame: pd.DataFrame) -> Any:
        return (10 * frame["whole_weight"] + 2 * frame["length"]).to_numpy()


class Asked:
    """What came of a request."""

    def __init__(self, response: dict[str, Any], told: dict[str, Any]) -> None:
        self.status: int = response["statusCode"]
        self.headers = response["headers"]
        self.text = response["body"]
        self.body = json.loads(response["body"])
        self.log = told

    @property
    def error(self) -> dict[str, Any]:
        return self.body["error"]


def ask(
    body: Any,
    endpoint: Any = None,
    model: Model = ABALONE,
    path: str = "/predictions",
    method: str = "POST",
    content_type: str | None = "application/json",
) -> Asked:
    """Send a request through the handler as API Gateway does; a body that is no text or bytes goes as JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    event = {
        "rawPath": path,
        "requestContext": {"http": {"method": method}, "requestId": "r-1"},
        "headers": {"Content-Type": content_type} if content_type else {},
        "body": text,
    }
    return Asked(*Api(model, "dev-abalone", endpoint or Endpoint()).answer(event))
