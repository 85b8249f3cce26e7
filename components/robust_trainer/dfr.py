"""Deep feature reweighting: the last layer anew, on group-balanced held-out examples.

Source: Kirichenko, Izmailov and Wilson 2023, "Last Layer Re-Training is Sufficient for Robustness to Spurious
Correlations", section 6 and appendix C: an L1-penalized logistic regression on standardized features, its strength
chosen by worst-group accuracy on a held-out half, the result averaged over several balanced draws.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from model_patching.components.progress import progress_bar
from model_patching.components.robust_trainer.validation import for_each_batch
from model_patching.data.arrays import Arrays
from model_patching.data.dataset import Dataset

ITERATIONS = 1000
TOLERANCE = 1e-3


def require_two_of_every_group(arrays: Arrays, dataset: Dataset) -> None:
    """Raises ValueError, naming the group, if one has fewer than two examples in the validation split."""
    for name, count in zip(dataset.group_names, arrays.group_count, strict=True):
        if count < 2:
            raise ValueError(
                f"group '{name}' has {count} example in the validation split: dfr halves each group there and "
                "needs at least two"
            )


class LastLayer(NamedTuple):
    """Weights of a dense layer of logits.

    Attributes:
        kernel: float64 [F, C].
        bias: float64 [C].
    """

    kernel: np.ndarray
    bias: np.ndarray

    def predict(self, features: np.ndarray) -> np.ndarray:
        """The most probable class of each example; int64 [n]."""
        return np.argmax(features @ self.kernel + self.bias, axis=1)


def renew_last_layer(
    model: keras.Model, arrays: Arrays, sets: int, strengths: Sequence[float], seed: int
) -> list[dict]:
    """Replaces the weights of a classifier's last layer by ones fitted on held-out examples.

    Args:
        model: float32 [n, H, W, C] in [-1, 1] → logits [n, C]; its last layer is a `Dense`.
        arrays: the held-out split; at least two examples of each group.
        sets: see `fit_last_layer`.
        strengths: likewise.
        seed: likewise.

    Returns:
        What `fit_last_layer` found for each strength.

    Raises:
        ValueError: a group has fewer than two examples.
    """
    features = for_each_batch(keras.Model(model.input, model.layers[-1].input), arrays)()
    group = np.repeat(np.arange(len(arrays.group_count)), arrays.group_count)
    layer, found = fit_last_layer(features, arrays.label, group, sets, strengths, seed)
    model.layers[-1].set_weights([layer.kernel, layer.bias])
    return found


def fit_last_layer(
    features: np.ndarray,
    label: np.ndarray,
    group: np.ndarray,
    sets: int,
    strengths: Sequence[float],
    seed: int,
) -> tuple[LastLayer, list[dict]]:
    """Fits a new last layer on held-out examples.

    Half of each group's examples choose the strength of the penalty; then the layer is fitted on balanced draws of all.

    Args:
        features: float32 [n, F], the input of the last layer.
        label: int [n].
        group: int [n]; at least two examples of each.
        sets: balanced draws whose fits are averaged.
        strengths: inverse strengths of the L1 penalty to choose from.
        seed: of the draws.

    Returns:
        The layer; and for each strength `strength` and `worst_group_accuracy` on the half that it wasn't fitted on.

    Raises:
        ValueError: a group has fewer than two examples.
    """
    random = np.random.default_rng(seed)
    fitting, choosing = _halves(group, random)
    scaler = StandardScaler().fit(features[fitting])
    found = []
    with progress_bar("dfr: last layer", len(strengths) + sets) as bar:
        subset = _balanced(group, fitting, random)
        for strength in strengths:
            layer = _fit(scaler, features[subset], label[subset], strength, seed)
            correct = layer.predict(features[choosing]) == label[choosing]
            accuracy = min(np.mean(correct[group[choosing] == one]) for one in np.unique(group))
            found.append({"strength": strength, "worst_group_accuracy": float(accuracy)})
            bar.advance(1, note=f"worst group {accuracy:.3f}")
        best = max(found, key=lambda entry: entry["worst_group_accuracy"])["strength"]

        everything = np.arange(len(group))
        scaler = StandardScaler().fit(features)
        layers = []
        for _ in range(sets):
            subset = _balanced(group, everything, random)
            layers.append(_fit(scaler, features[subset], label[subset], best, seed))
            bar.advance(1)
    return LastLayer(*(np.mean(parts, axis=0) for parts in zip(*layers, strict=True))), found


def _halves(group: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two random halves of each group."""
    halves: tuple[list, list] = ([], [])
    for one in np.unique(group):
        rows = random.permutation(np.flatnonzero(group == one))
        if len(rows) < 2:
            raise ValueError("dfr needs at least two validation examples of each group")
        for half, part in zip(halves, np.array_split(rows, 2), strict=True):
            half.append(part)
    return np.concatenate(halves[0]), np.concatenate(halves[1])


def _balanced(group: np.ndarray, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Of `rows` as many of each group as the smallest has, drawn without replacement."""
    members = [rows[group[rows] == one] for one in np.unique(group)]
    smallest = min(len(part) for part in members)
    return np.concatenate([random.choice(part, smallest, replace=False) for part in members])


def _fit(
    scaler: StandardScaler, features: np.ndarray, label: np.ndarray, strength: float, seed: int
) -> LastLayer:
    """Logistic regression on standardized features, as a layer on the features themselves."""
    regression = LogisticRegression(
        penalty="l1", C=strength, solver="saga", max_iter=ITERATIONS, tol=TOLERANCE, random_state=seed
    )
    regression.fit(scaler.transform(features), label)
    coefficients, intercept = regression.coef_, regression.intercept_
    if len(coefficients) == 1:  # of two classes scikit-learn gives the logit of the second alone
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([np.zeros(1), intercept])
    kernel = (coefficients / scaler.scale_).T
    return LastLayer(kernel, intercept - scaler.mean_ @ kernel)
