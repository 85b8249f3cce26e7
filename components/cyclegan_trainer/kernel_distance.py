"""The Kernel Inception Distance of two sets of images, over whatever features they are described by.

Source: Bińkowski et al. 2018, "Demystifying MMD GANs" (arXiv:1801.01401), section 4: the unbiased estimate of the
squared maximum mean discrepancy under the kernel (x·y/d + 1)³.
"""

import numpy as np


def kernel_distance(features: np.ndarray, others: np.ndarray) -> float | None:
    """How far two samples are apart: about 0 where both come from the same images, and then as often below it as above.

    Unlike a Fréchet distance it isn't larger for small samples.

    Args:
        features: float [n, d].
        others: float [m, d].

    Returns:
        The squared distance; None where a sample has fewer than two rows.
    """
    if min(len(features), len(others)) < 2:
        return None
    within = _mean_of_pairs(features) + _mean_of_pairs(others)
    return float(within - 2 * np.mean(_kernel(features, others)))


def _mean_of_pairs(features: np.ndarray) -> float:
    """Mean kernel of two different rows."""
    kernel = _kernel(features, features)
    count = len(features)
    return (np.sum(kernel) - np.trace(kernel)) / (count * (count - 1))


def _kernel(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    features, others = features.astype(np.float64), others.astype(np.float64)
    return (features @ others.T / features.shape[1] + 1.0) ** 3
