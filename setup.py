"""Maps the three source folders, with all that is below them, into the namespace `model_patching`."""

from setuptools import find_packages, setup

FOLDERS = ("pipelines", "components", "data")
DATA = ("*.yaml", "*.gz", "*.html", "*.j2", "*.css", "*.md", "SHA256SUMS")

packages = []
for folder in FOLDERS:
    packages.append(f"model_patching.{folder}")
    packages.extend(f"model_patching.{folder}.{package}" for package in find_packages(folder))

setup(
    package_dir={f"model_patching.{folder}": folder for folder in FOLDERS},
    packages=packages,
    package_data={"": [f"**/{name}" for name in DATA]},
)
