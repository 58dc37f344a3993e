"""Training jobs in script mode, and how SageMaker's scikit-learn container ends: code and failure file."""

from typing import NamedTuple

#: Writes down what a script is given.
SEEN = """
import json, os, sys
with open(os.environ["SM_MODEL_DIR"] + "/seen.json", "w") as file:
    json.dump({"argv": sys.argv, "cwd": os.getcwd(), "env": {k: v for k, v in os.environ.items() if k.startswith("SM_")}}, file)
"""
WROTE = 'import os, sys\nopen(os.environ["SM_OUTPUT_DIR"] + "/failure", "w").write("the label column is constant")\n'
SHELL = '#!/bin/sh\nprintf "%s\\n" "$@" > "$SM_MODEL_DIR/arguments"\n'
FAILED = "ExecuteUserScriptError:\nExitCode {}\nErrorMessage "


class Job(NamedTuple):
    """A training job: its program, hyperparameters as SageMaker has them (texts), whether it fails, and with which words."""

    program: str
    script: str
    hyperparameters: dict[str, str]
    failure: str | None = None
    """What the failure file begins with; None of a job that succeeds."""


TABLE = {
    "nothing": Job("train.py", SEEN, {}),
    "numbers": Job("train.py", SEEN, {"alpha": "0.5", "n": "3", "big": "1e5", "long-name": "-7"}),
    "texts": Job(
        "train.py", SEEN, {"name": '"ridge"', "bare": "ridge", "two words": '"a b"', "empty": '""', "umlaut": '"ä"'}
    ),
    "truth": Job("train.py", SEEN, {"yes": "true", "no": "false", "none": "null", "python": "True"}),
    "structures": Job("train.py", SEEN, {"list": '["a", 1]', "map": '{"b": 1, "a": [2]}', "deep": '[{"x": null}]'}),
    "json in text": Job("train.py", SEEN, {"columns": '"[\\"rings\\", \\"sex\\"]"'}),
    "the service's own": Job(
        "train.py",
        SEEN,
        {
            "_tuning_objective_metric": '"rmse"',
            "sagemaker_region": '"us-east-1"',
            "sagemaker_parameter_server_enabled": "false",
            "sm_own": "1",
        },
    ),
    "quotes": Job("train.py", SEEN, {"a": "'", "last": '"\\"quoted\\""'}),
    "a script of a shell": Job("train.sh", SHELL, {"alpha": "0.5", "two": '"a b"', "dollar": '"$HOME"'}),
    "a folder": Job("deep/train.py", SEEN, {"alpha": "1"}),
    "raises": Job("train.py", "raise ValueError('no rows')\n", {"alpha": "1"}, FAILED.format(1)),
    "exits": Job("train.py", "import sys\nsys.exit(3)\n", {}, FAILED.format(3)),
    "exits with words": Job("train.py", "import sys\nsys.exit('no rows')\n", {}, FAILED.format(1)),
    "is killed": Job("train.py", "import os\nos.kill(os.getpid(), 9)\n", {}, FAILED.format(-9)),
    "a wrong line": Job("train.py", "def x(:\n", {}, FAILED.format(1)),
    "a shell that fails": Job("train.sh", "exit 4\n", {}, FAILED.format(4)),
    "wrote a failure": Job("train.py", WROTE + "sys.exit(3)\n", {}, "the label column is constant"),
    "wrote a failure and did not fail": Job("train.py", WROTE, {}),
}
