import platform

import keras
import tensorflow as tf

from model_patching.components import versions as versions_module
from model_patching.components.versions import versions


def test_names_what_is_installed():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["tensorflow"] == tf.__version__
    assert found["keras"] == keras.__version__


def test_leaves_out_what_is_not(monkeypatch):
    monkeypatch.setattr(versions_module, "PACKAGES", ("no-such-package-here", "keras"))
    assert set(versions()) == {"python", "keras"}
