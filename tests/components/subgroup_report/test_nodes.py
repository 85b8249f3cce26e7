"""Reading how nodes went, and the manifest of the records."""

import json

import pytest

from model_patching.components.subgroup_report.manifest import read_manifest
from model_patching.components.subgroup_report.nodes import read_nodes


def test_nodes(tmp_path):
    examples = {"id": 1, "type": "Examples", "path": "ExampleGen/examples/1"}
    nodes = {
        "Trainer": {"seconds": 3, "cached": False, "ended": 10.5, "inputs": [examples], "outputs": []},
        "ExampleGen": {"seconds": 0.2, "cached": True, "ended": 9.0, "inputs": [], "outputs": [examples]},
    }
    (tmp_path / "run-1").mkdir()
    for node, entry in nodes.items():
        (tmp_path / "run-1" / f"{node}.json").write_text(json.dumps(entry))
    found = read_nodes(str(tmp_path), "run-1")
    # What a look-up in the cache took says nothing of the node.
    assert list(found.timings.items()) == [("ExampleGen", None), ("Trainer", 3.0)]
    assert found.lineage == [
        {"node": "ExampleGen", "cached": True, "inputs": [], "outputs": [examples]},
        {"node": "Trainer", "cached": False, "inputs": [examples], "outputs": []},
    ]
    assert read_nodes(str(tmp_path), "run-2") == read_nodes("", "run-1") == ({}, [])


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"seconds": 3}',
        '{"seconds": 3, "cached": false, "ended": 1}',
        '{"seconds": "x", "cached": false, "ended": 1, "inputs": [], "outputs": []}',
    ],
)
def test_a_broken_file(tmp_path, content):
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1" / "Trainer.json").write_text(content)
    with pytest.raises(ValueError, match="run-1/Trainer.json doesn't say how the node went"):
        read_nodes(str(tmp_path), "run-1")


def test_manifest(tmp_path):
    assert read_manifest(str(tmp_path)) is None
    ours = {"name": "birds", "inputs": {}}
    theirs = (
        "{",
        "[]",
        '{"of": "others"}',
        '{"inputs": ["a"]}',
        '{"inputs": {"source": "https://birds.org"}}',
    )
    for content, found in ((json.dumps(ours), ours), *((content, None) for content in theirs)):
        (tmp_path / "manifest.json").write_text(content)
        assert read_manifest(str(tmp_path)) == found
