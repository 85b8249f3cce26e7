"""How far a model's confidence is from its accuracy."""

import numpy as np

CALIBRATION_BINS = 15  # as many as Guo et al. 2017 take

_EDGES = np.linspace(0, 1, CALIBRATION_BINS + 1)


def calibration_bin(confidence: np.ndarray) -> np.ndarray:
    """Which bin a probability is in: [0, 1/15), [1/15, 2/15) and so on, the last with its upper end; any shape."""
    return np.clip(np.searchsorted(_EDGES, confidence, side="right") - 1, 0, CALIBRATION_BINS - 1)


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015): how far confidence is from accuracy.

    The examples are sorted into 15 bins of one width by the probability of the predicted class, see
    `calibration_bin`. In each bin the mean of that probability is compared with the share of correct predictions; the
    absolute differences are averaged, weighted by the examples of each bin.

    Args:
        confidence: float64 [n], probability of the predicted class.
        correct: bool [n], whether the prediction is right.
    """
    differences = np.bincount(
        calibration_bin(confidence), weights=confidence - correct, minlength=CALIBRATION_BINS
    )
    return float(np.abs(differences).sum() / len(confidence))
