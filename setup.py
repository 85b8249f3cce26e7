"""Maps the three source folders into the `model_patching` namespace."""

from setuptools import setup

setup(
    package_dir={
        "model_patching.pipelines": "pipelines",
        "model_patching.components": "components",
        "model_patching.data": "data",
    },
    packages=["model_patching.pipelines", "model_patching.components", "model_patching.data"],
)
