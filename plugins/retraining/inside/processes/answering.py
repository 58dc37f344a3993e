"""Answers for one model artifact in a process of its own: ``python answering.py UNPACKED``, requests and answers one JSON document a line.

Standard library only, and started by its path or by ``forking``: the artifact brings all else of this library, as it was trained with.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

ANSWERS = ("predictions", "probabilities", "classes", "explanations")


def main(folder: Path) -> None:
    """Load the artifact in ``folder`` and answer requests from standard input.

    A request is ``{"rows": [{name: value}]}``, with ``"explain": true`` for their explanations, or ``{"body", "content_type"}`` as a client
    would send it.
    """
    # The artifact's modules come first, and the folders of this very library, which may be newer, are not searched at all.
    here = Path(__file__).resolve().parent
    own = (here, here.parents[2])
    sys.path[:] = [str(folder / "code"), *(path for path in sys.path if path and Path(path).resolve() not in own)]
    os.environ.pop("SAGEMAKER_SUBMIT_DIRECTORY", None)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the artifact prints goes to the log and not between the answers
    inference = importlib.import_module("inference")
    model = inference.model_fn(str(folder))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = answer_to(inference, model, request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def answer_to(inference: Any, model: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return what the serving code of an artifact answers.

    Raises:
        ValueError: it refuses the rows, or does not explain any.

    """
    if request.get("explain"):
        if not hasattr(inference, "explain_fn"):
            raise ValueError("the artifact's serving code has no explain_fn(rows, model)")
        return dict(inference.explain_fn(request["rows"], model))
    if "rows" in request and hasattr(inference, "evaluate_fn"):
        return dict(inference.evaluate_fn(request["rows"], model))
    if "rows" in request:
        body, content_type = json.dumps({"instances": request["rows"]}), "application/json"
    else:
        body, content_type = request["body"], request["content_type"]
    if hasattr(inference, "transform_fn"):
        content = inference.transform_fn(model, body, content_type, "application/json")
    else:
        prediction = inference.predict_fn(inference.input_fn(body, content_type), model)
        content = inference.output_fn(prediction, "application/json")
    if hasattr(content, "get_data"):  # a response of SageMaker's container
        if content.status_code >= 400:
            raise ValueError(content.get_data(as_text=True))
        content = content.get_data(as_text=True)
    text = content[0] if isinstance(content, tuple) else content
    document = json.loads(text)
    return {name: document[name] for name in ANSWERS if name in document}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
