"""The smallest training script: ridge regression. SageMaker gives hyperparameters as arguments, folders as SM_* variables."""

import argparse
import ast
import json
import os
import shutil
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--alpha", type=float, default=1.0)
parser.add_argument(
    "--columns", type=ast.literal_eval, required=True, help="the files' columns, target first, as a Python list"
)
parser.add_argument("--target", required=True)
parser.add_argument("--seed", type=int, default=0, help="ridge regression has no use for it")
arguments, _ = parser.parse_known_args()  # --group and --dataset-version come, too
inputs = [name for name in arguments.columns if name != arguments.target]


def channel(name: str) -> pd.DataFrame:
    """Return the rows of a channel: CSV without header in any number of files."""
    files = sorted(Path(os.environ[f"SM_CHANNEL_{name.upper()}"]).rglob("*.csv"))
    return pd.concat([pd.read_csv(path, header=None, names=arguments.columns) for path in files if path.stat().st_size])


# Requests hold text. The first step, which makes numbers of it, is pandas' own, so that the artifact needs no class of this folder.
model = make_pipeline(
    FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": float}), StandardScaler(), Ridge(arguments.alpha)
)
training, validation = channel("train"), channel("validation")
model.fit(training[inputs], training[arguments.target])
error = model.predict(validation[inputs]) - validation[arguments.target]
print(f"validation:rmse={np.sqrt(np.mean(error**2)):.6f};")  # what `metrics` in model.yaml looks for

artifact = Path(os.environ["SM_MODEL_DIR"])
(artifact / "code").mkdir(parents=True, exist_ok=True)
shutil.copy(Path(__file__).with_name("inference.py"), artifact / "code")
joblib.dump(model, artifact / "model.joblib")
(artifact / "model_card.json").write_text(json.dumps({"columns": inputs, "rows": len(training)}))
