"""The versions of what a result depends on, recorded with every artifact."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "model-patching",
    "tensorflow",
    "keras",
    "tfx",
    "tensorflow-model-analysis",
    "tensorflow-data-validation",
    "ml-metadata",
    "apache-beam",
    "numpy",
    "pandas",
    "scikit-learn",
    "fairlearn",
    "statsmodels",
)


def versions() -> dict[str, str]:
    """Python's version and those of the installed `PACKAGES`, without importing them."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
