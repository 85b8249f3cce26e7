import tfx  # noqa: F401, I001 - before everything that imports tensorflow_data_validation

import json
import shutil

import pytest
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import channel_utils, standard_artifacts

from model_patching.components.published_patches.component import PublishedPatches
from model_patching.components.published_patches.executor import Executor
from model_patching.components.published_patches.folders import PatchesError
from model_patching.components.published_patches.settings import PatchingSettings
from model_patching.data import schema
from model_patching.data.source_order import SourceOrderError

COUNTS = {"train": [[5, 2], [3, 4]], "validation": [[2, 1], [1, 2]], "test": [[1, 1], [1, 1]]}


def test_the_named_splits_are_patched_and_the_others_copied(publish, tmp_path):
    published = publish(COUNTS, (9, 15), 2, shard=3)
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path / "in")
    examples.split_names = json.dumps(list(COUNTS))
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    for split, files in published.records.items():
        (tmp_path / "in" / f"Split-{split}").mkdir(parents=True)
        for file in files:
            shutil.copy(file, tmp_path / "in" / f"Split-{split}")
    settings = PatchingSettings(source="published", folder=str(published.patches), min_resemblance=0.0)
    component = PublishedPatches(
        examples=channel_utils.as_channel([examples]),
        settings=settings,
        splits=("train", "validation"),
        records_per_shard=4,
        source_order=str(tmp_path / "records" / "source_order.npz"),
        dataset=published.dataset,
    )
    assert component.id == "PublishedPatches"
    assert component.outputs["examples"].type is standard_artifacts.Examples
    assert len(component.exec_properties["code_hash"]) == 64

    def run(name, **changes):
        output = standard_artifacts.Examples()
        output.uri = str(tmp_path / name)
        (tmp_path / name).mkdir()
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=["--direct_running_mode=in_memory"],
            tmp_dir=str(tmp_path / "tmp"),
            unique_id="1",
        )
        properties = {**component.exec_properties, **changes}
        Executor(context).Do({"source_examples": [examples]}, {"examples": [output]}, properties)
        return output

    def patched(name):
        found = {}
        for split in COUNTS:
            folder = tmp_path / name / f"Split-{split}"
            items = schema.read_records(sorted(folder.iterdir())).as_numpy_iterator()
            found |= {record.example_id: record.patched_images for record in map(schema.deserialize, items)}
        return found

    output = run("out")
    assert output.splits == list(COUNTS)
    found = patched("out")
    of_test = {name for name, images in found.items() if images == ()}
    assert len(of_test) == 4
    of_train = {
        schema.deserialize(item).example_id
        for item in schema.read_records(published.records["train"]).as_numpy_iterator()
    }
    assert found == {name: () if name in of_test else images for name, images in published.expected.items()}

    run("all", splits=json.dumps(list(COUNTS)))
    assert patched("all") == published.expected
    # Of a group of the test split nothing was published, or of none: its records are there all the same. The training
    # can't do without.
    for name, groups in (("less test", [(1, 0)]), ("no test", [(0, 0), (0, 1), (1, 1)])):
        for label, subgroup in groups:
            shutil.rmtree(published.group_folder("test", label, subgroup))
        run(name, splits=json.dumps(list(COUNTS)))
        assert patched(name) == found
    # Nor is a split patched of which only the first records were: none of its records may be left out.
    of_validation = [published.group_folder("validation", 0, 0, take) for take in (None, 1)]
    of_validation[0].rename(of_validation[1])
    run("first of validation", splits=json.dumps(list(COUNTS)))
    for name, images in patched("first of validation").items():
        assert images == (published.expected[name] if name in of_train else ())
    of_validation[1].rename(of_validation[0])
    hidden = published.patches.with_name("hidden")
    hidden.mkdir()
    for folder in published.patches.glob("*train*"):
        folder.rename(hidden / folder.name)
    with pytest.raises(PatchesError, match="0 pairs of folders with patched images of .* of the train split"):
        run("no train", splits=json.dumps(list(COUNTS)))
    for folder in hidden.iterdir():
        folder.rename(published.patches / folder.name)

    # What fails leaves no split behind.
    with pytest.raises(SourceOrderError, match="no.npz is missing"):
        run("no order", source_order=str(tmp_path / "no.npz"))
    folder = published.pair("validation", 1, 0)[0]
    shutil.rmtree(folder)
    with pytest.raises(PatchesError, match="1 of 2 folders of wandb.*gen_g] is missing$"):
        run("no folder")
    assert [list((tmp_path / name).iterdir()) for name in ("no order", "no folder", "no train")] == [
        [],
        [],
        [],
    ]
