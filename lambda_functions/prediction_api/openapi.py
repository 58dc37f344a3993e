"""The OpenAPI 3.1 document of a model's API, made from its data contract."""

from __future__ import annotations

from typing import Any

from lambda_functions.prediction_api.example import example_row
from lambda_functions.prediction_api.model import Model
from lambda_functions.prediction_api.rows import MOST_BYTES, MOST_EXPLAINED, expected, most_rows
from retraining.contract.rules import Column
from retraining.contract.values import LARGEST_INT

JSON_TYPES = {"double": "number", "int": "integer", "boolean": "boolean"}
FORMATS = {"date": "date", "timestamp": "date-time"}
KEY_HEADER = "x-api-key"
SECURITY = {
    "key": {"type": "apiKey", "in": "header", "name": KEY_HEADER, "description": "A key of this API"},
    "iam": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "Signature version 4 of AWS, for the service execute-api",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
}
ERRORS = {
    "400": "The body is no JSON object with a list of rows",
    "413": f"More than {MOST_BYTES:,} bytes, or more rows than the request may have",
    "415": "Another content type than application/json",
    "422": (
        "Rows break the data contract: each problem names row, column, value and what is expected. "
        "Or the model that serves does not explain its answers to them"
    ),
    "502": "The model refuses rows that the contract allows, or fails",
    "503": "No model serves now, or it is busy: try again later",
}
GATES = {"401": "No key, or no signature", "403": "The key or the signer has no access"}
THROTTLED = {"429": "Too many requests: try again later"}


def document(model: Model, server: str = "/", access: str = "") -> dict[str, Any]:
    """Return the document.

    Args:
        model: what is predicted from what.
        server: URL that the paths begin with.
        access: ``key`` or ``iam``, empty for an API that anybody on this machine may call.

    """
    gates = {**GATES, **THROTTLED} if access else {}
    answers = {
        "200": _answer("The predictions, in the order of the rows", "Answer"),
        **{status: _answer(text, "Error") for status, text in ERRORS.items()},
        **{status: {"description": text} for status, text in gates.items()},
    }
    example = example_row(model)
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Request"}}
    if example is not None:
        content["example"] = {"rows": [example]}
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": model.name,
            "version": "1",
            "description": model.description or f"Predicts {model.contract.target}.",
        },
        "servers": [{"url": server}],
        "paths": {
            "/predictions": {
                "post": {
                    "operationId": "predict",
                    "summary": f"Predict {model.contract.target}",
                    "description": (
                        "Each row is an object by column name. A number may also be a text that writes one; a nullable "
                        "column may be left out. "
                        f"{' '.join(_rules(model))}"
                    ).strip(),
                    "requestBody": {"required": True, "content": {"application/json": content}},
                    "responses": dict(sorted(answers.items())),
                }
            },
            "/openapi.json": {
                "get": {
                    "operationId": "describe",
                    "summary": "This document",
                    "responses": {
                        "200": {
                            "description": "OpenAPI 3.1",
                            "content": {"application/json": {"schema": {"type": "object"}}},
                        },
                        **{status: {"description": text} for status, text in gates.items()},
                    },
                }
            },
        },
        "components": {"schemas": _schemas(model)},
    }
    if access:
        made["components"]["securitySchemes"] = {access: SECURITY[access]}
        made["security"] = [{access: []}]
    return made


def column_schema(column: Column, description: str = "") -> dict[str, Any]:
    """Return the schema of a column's values; ``x-unit`` and ``x-expected`` are for people."""
    kind = JSON_TYPES.get(column.type, "string")
    made: dict[str, Any] = {"type": [kind, "null"] if column.nullable else kind}
    if description:
        made["description"] = description
    if column.type in FORMATS:
        made["format"] = FORMATS[column.type]
    if column.allowed:
        made["enum"] = [*column.allowed, *([None] if column.nullable else [])]
    if column.type == "int":
        made |= {"minimum": -LARGEST_INT - 1, "maximum": LARGEST_INT}
    if column.min is not None:
        made.pop("minimum", None)
        made["exclusiveMinimum" if column.exclusive_min else "minimum"] = column.min
    if column.max is not None:
        made.pop("maximum", None)
        made["exclusiveMaximum" if column.exclusive_max else "maximum"] = column.max
    if column.unit:
        made["x-unit"] = column.unit
    return {**made, "x-expected": expected(column)}


def _rules(model: Model) -> list[str]:
    return [
        f"{rule.name}: {' + '.join(rule.sum)} is at most {'' if rule.tolerance == 1 else f'{rule.tolerance:g} x '}{rule.at_most}."
        for rule in model.contract.rules
    ]


def _schemas(model: Model) -> dict[str, Any]:
    columns = model.features
    row = {
        "type": "object",
        "properties": {column.name: column_schema(column, model.descriptions[column.name]) for column in columns},
        "required": [column.name for column in columns if not column.nullable],
        "additionalProperties": False,
    }
    text = {"type": "string"}
    problem = {
        "type": "object",
        "properties": {
            "row": {"type": "integer", "description": "from 1"},
            "column": text,
            "rule": {**text, "description": "a rule across columns, in place of a column"},
            "value": {"description": "what came, cut when it is long"},
            "problem": text,
            "expected": text,
            "allowed": {"type": "array", "items": text},
        },
        "required": ["row", "problem"],
    }
    error = {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {**text, "description": "a word for programs"},
                    "message": text,
                    "problems": {"type": "array", "items": {"$ref": "#/components/schemas/Problem"}},
                    "request_id": text,
                },
                "required": ["code", "message", "request_id"],
            }
        },
        "required": ["error"],
    }
    return {
        "Row": row,
        "Request": _request(model),
        "Prediction": _prediction(model),
        "Explanation": _explanation(model),
        "Answer": _object(predictions=_array("Prediction")),
        "Problem": problem,
        "Error": error,
    }


def _request(model: Model) -> dict[str, Any]:
    made = _object(rows={**_array("Row"), "minItems": 1, "maxItems": most_rows(model)})
    made["properties"]["explain"] = {
        "type": "boolean",
        "default": False,
        "description": f"Say of each answer by how much each column moved it; then at most {MOST_EXPLAINED} rows",
    }
    return made


def _explanation(model: Model) -> dict[str, Any]:
    target, names = model.contract.target, model.contract.feature_columns
    number = {"type": "number"}
    what = {"type": "string", "enum": list(model.classes or (target,))}
    made = _object(
        of={**what, "description": "what is explained: the target, or the probability of a class"},
        base={**number, "description": "the mean answer to rows of the training"},
        values={
            **_object(**dict.fromkeys(names, number)),
            "description": "how far each column moved the answer from there",
        },
    )
    errors = {**_object(**dict.fromkeys(names, number)), "description": "of values that are estimates"}
    made["properties"]["standard_errors"] = errors
    return made


def _prediction(model: Model) -> dict[str, Any]:
    made = _predicted(model)
    made["properties"]["explanation"] = {"$ref": "#/components/schemas/Explanation"}
    return made


def _predicted(model: Model) -> dict[str, Any]:
    target = model.contract.column(model.contract.target)
    if model.classes:
        share = {"type": "number", "minimum": 0, "maximum": 1}
        return _object(
            prediction={"type": "string", "enum": list(model.classes)},
            probabilities={**_object(**dict.fromkeys(model.classes, share)), "description": "of each class"},
        )
    value: dict[str, Any] = {"type": "number", **({"x-unit": target.unit} if target.unit else {})}
    if not model.present:
        return _object(prediction=value)
    words = _object(value={"type": "number"}, unit={"type": "string"}, text={"type": "string"})
    return _object(
        prediction=value,
        words={**words, "type": ["object", "null"], "description": "the prediction as people are told it"},
    )


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _array(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }
