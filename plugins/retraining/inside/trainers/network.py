"""Fits the trainer ``keras_mlp``, a network of two hidden layers, and keeps its weights as numbers: scoring needs no TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retraining.inside.trainers.inputs import Matrix, Standard
from retraining.inside.trainers.library import library
from retraining.inside.trainers.link import Link, Summed, check_same

SCORED_AT_ONCE = 1024


def fit(
    matrix: Matrix,
    training: tuple[np.ndarray, np.ndarray],
    watched: tuple[np.ndarray, np.ndarray],
    task: str,
    settings: Mapping[str, Any],
    seed: int,
) -> Summed:
    """Return the fitted network; the arguments are those of ``boosted_trees.fit``.

    Raises:
        RuntimeError: there is no TensorFlow here, or the weights cannot be read.

    """
    os.environ.setdefault(
        "TF_CPP_MIN_LOG_LEVEL", "3"
    )  # what goes wrong comes as an exception; the rest is about processors
    tensorflow, keras = library("tensorflow", "keras_mlp"), library("keras", "keras_mlp")
    keras.utils.set_random_seed(seed)
    tensorflow.config.experimental.enable_op_determinism()
    link, standard = Link(task, training[1]), Standard(matrix, settings["clip"]).fit(training[0])
    inputs, held = (standard.transform(values).astype(np.float32) for values in (training[0], watched[0]))
    hidden = [keras.layers.Dense(settings["units"], activation="relu") for _ in range(2)]
    last = keras.layers.Dense(link.outputs)
    network = keras.Sequential([keras.Input((inputs.shape[1],)), *hidden, last])
    last.set_weights([last.get_weights()[0], link.start])
    losses = {
        "regression": keras.losses.MeanSquaredError(),
        "count": lambda truth, sums: tensorflow.nn.log_poisson_loss(truth, sums),
        "binary": keras.losses.BinaryCrossentropy(from_logits=True),
        "multiclass": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    network.compile(optimizer=keras.optimizers.Adam(settings["learning_rate"]), loss=losses[task])
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=settings["patience"], restore_best_weights=True)
    goal, held_goal = (link.encoded(target).astype(np.float32)[:, np.newaxis] for target in (training[1], watched[1]))
    followed = network.fit(
        inputs,
        goal,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        validation_data=(held, held_goal),
        validation_batch_size=SCORED_AT_ONCE,
        callbacks=[stopping],
        verbose=0,
    )
    dense = Network(standard, [layer.get_weights() for layer in (*hidden, last)])
    theirs = network.predict(held, batch_size=SCORED_AT_ONCE, verbose=0)
    check_same(dense.sums(watched[0]), np.asarray(theirs, dtype=float), "Keras")
    return Summed(link, dense, int(np.argmin(followed.history["val_loss"])) + 1)


class Network:
    """Weights of dense layers behind standardised inputs; between them negative numbers become 0."""

    def __init__(self, standard: Standard, layers: Sequence[Sequence[np.ndarray]]) -> None:
        self.standard = standard
        self.layers = [tuple(np.asarray(part, dtype=float) for part in layer) for layer in layers]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return what the last layer says, shape (rows, outputs), for a matrix of shape (rows, columns)."""
        made = self.standard.transform(values)
        for number, (weights, bias) in enumerate(self.layers):
            made = made @ weights + bias
            if number + 1 < len(self.layers):
                made = np.maximum(made, 0.0)
        return made
