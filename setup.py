"""Maps the three source folders, with all that is below them, into the namespace `model_patching`."""

from setuptools import find_namespace_packages, setup

FOLDERS = ("pipelines", "components", "data")
DATA = ("*.yaml", "*.gz", "*.html", "*.j2", "*.css", "*.js", "*.md", "SHA256SUMS")

packages = []
for folder in FOLDERS:
    # Folders without an __init__.py count, too: they hold the presets and the digits.
    below = find_namespace_packages(folder, exclude=["*__pycache__"])
    packages += [f"model_patching.{folder}", *(f"model_patching.{folder}.{package}" for package in below)]

setup(
    package_dir={f"model_patching.{folder}": folder for folder in FOLDERS},
    packages=packages,
    package_data={"": list(DATA)},
)
