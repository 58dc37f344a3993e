"""Ridge regression of the ten measurements: all the code that this model needs."""

from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def fit(frame, target, hyperparameters, seed):
    """Return an object with predict(frame). The frame has the contract's columns by name, numbers as floats; ridge needs no seed."""
    model = make_pipeline(StandardScaler(), Ridge(**hyperparameters))
    return model.fit(frame, target)
