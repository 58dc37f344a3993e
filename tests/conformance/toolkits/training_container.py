"""What SageMaker's scikit-learn container does when it trains, by its own packages; run by the interpreter of the environment `toolkits`.

``python training_container.py``, with the files that SageMaker writes below ``$SAGEMAKER_BASE_DIR``; ends as the container would.
``CAPTURE=1`` captures the script's errors, as the images of TensorFlow and PyTorch do.
"""

import os
import sys
import types
from pathlib import Path

from sagemaker_training import entry_point, environment, runner, trainer


def train() -> None:
    """Do what the scikit-learn image's own module does: hand the script to the toolkit."""
    env = environment.Environment()
    entry_point.run(
        uri=str(Path(os.environ["SAGEMAKER_BASE_DIR"]) / "source"),
        user_entry_point=env.user_entry_point,
        args=env.to_cmd_args(),
        env_vars=env.to_env_vars(),
        runner_type=runner.ProcessRunnerType,
        capture_error=bool(os.environ.get("CAPTURE")),
    )


if __name__ == "__main__":
    entry_point._dns_lookup = lambda host: None  # this machine has no algo-1
    module = types.ModuleType("training_module")
    module.train = train  # type: ignore[attr-defined]
    sys.modules["training_module"] = module
    os.environ["SAGEMAKER_TRAINING_MODULE"] = "training_module:train"
    trainer.train()
