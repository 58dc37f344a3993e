"""The serving stack of SageMaker's scikit-learn container on a port of the loopback; run by the interpreter of the environment `toolkits`.

``python sklearn_container.py --model-dir DIR --program inference.py --code DIR --port-file FILE``, as local_aws's model server is called.
Flask, Werkzeug, gunicorn and ``sagemaker_containers`` are the real ones. The thin layer above them, ``sagemaker_sklearn_container``, is in
no package index: what it does, which functions stand in for those that a program leaves out, is said again here. nginx, which stands in
front, and the installation of the program by pip are left out.
"""

import argparse
import collections
import collections.abc
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import gunicorn.app.base
import numpy

os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"  # reads what an old compiler of protobuf wrote
collections.Mapping = collections.abc.Mapping  # type: ignore[attr-defined]  # the image changes the package's source for Python 3.12


class Container(gunicorn.app.base.BaseApplication):  # type: ignore[misc]
    """gunicorn with one worker, which writes its port to a file when it listens."""

    def __init__(self, port_file: Path) -> None:
        self._port_file = port_file
        super().__init__()

    def load_config(self) -> None:
        """Listen on a free port."""
        self.cfg.set("bind", "127.0.0.1:0")
        self.cfg.set("when_ready", self._ready)

    def _ready(self, server: Any) -> None:
        partial = self._port_file.with_suffix(".partial")
        partial.write_text(str(server.LISTENERS[0].sock.getsockname()[1]))
        partial.rename(self._port_file)

    def load(self) -> Any:
        """Return the application, which is made by the first request, and again by each one after a failure."""
        made: list[Any] = []

        def application(environ: Any, start_response: Any) -> Any:
            if not made:
                made.append(worker_of_program())
            return made[0](environ, start_response)

        return application


def worker_of_program() -> Any:
    """Return the Flask application of the program that SAGEMAKER_PROGRAM names."""
    from sagemaker_containers.beta.framework import content_types, encoders, env, transformer, worker

    def numbers(body: Any, content_type: str) -> Any:
        array = encoders.decode(body, content_type)
        return array.astype(numpy.float32) if content_type in content_types.UTF8_TYPES else array

    def predictions(data: Any, model: Any) -> Any:
        return model.predict(data)

    def answer(prediction: Any, accept: str) -> Any:
        return worker.Response(encoders.encode(prediction, accept), mimetype=accept)

    name = env.ServingEnv().module_name
    program = importlib.import_module(name)
    stand_ins = {"input_fn": numbers, "predict_fn": predictions, "output_fn": answer}
    functions = {key: getattr(program, key, None) for key in stand_ins}
    whole = getattr(program, "transform_fn", None)
    if whole and any(functions.values()):
        raise ValueError("a program has transform_fn, or the functions that it takes the place of")
    functions = {} if whole else {key: functions[key] or stand_in for key, stand_in in stand_ins.items()}
    model_fn = getattr(program, "model_fn", transformer.default_model_fn)
    ready = transformer.Transformer(model_fn=model_fn, transform_fn=whole, **functions)
    ready.initialize()
    asked = getattr(program, "execution_parameters_fn", None)
    return worker.Worker(transform_fn=ready.transform, module_name=name, execution_parameters_fn=asked)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--code", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    arguments = parser.parse_args()
    os.environ["SAGEMAKER_PROGRAM"] = arguments.program
    os.environ["SAGEMAKER_SUBMIT_DIRECTORY"] = str(arguments.code)
    os.environ["SAGEMAKER_BASE_DIR"] = str(arguments.model_dir.parent)  # whose folder `model` it serves
    sys.path.insert(0, str(arguments.code))
    sys.argv = sys.argv[:1]
    Container(arguments.port_file).run()


if __name__ == "__main__":
    main()
