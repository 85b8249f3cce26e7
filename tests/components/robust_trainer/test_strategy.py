import json

import pytest

from model_patching.components.robust_trainer.strategy import is_first_worker


@pytest.mark.parametrize(
    "others, task, index, expected",
    [
        ("worker", "worker", 0, True),
        ("worker", "worker", 1, False),
        ("chief", "chief", 0, True),
        ("chief", "worker", 0, False),
        ("chief", "worker", 1, False),
    ],
)
def test_the_chief_is_first_or_else_worker_0(monkeypatch, others, task, index, expected):
    cluster = {"worker": ["a:1", "b:1"], others: ["a:1", "b:1"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": task, "index": index}}))
    assert is_first_worker() is expected


def test_alone_one_is_first(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert is_first_worker()
