"""Runs toy pipelines one after the other in one process, as importing TFX takes half a minute. Used by test_run.py.

    python toy_runs.py ROOT

Between the outputs of the runs it prints "exit CODE".
"""

import json
import os
import signal
import sys
import types
from pathlib import Path

from apache_beam.runners.portability.fn_api_runner import worker_handlers
from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.types import standard_artifacts

from model_patching.components.subgroup_report.component import SubgroupReportArtifact
from model_patching.pipelines import run as run_module
from model_patching.pipelines.config import PipelineConfig, config_from_tree

GROUPS = [
    {
        "label": 0,
        "subgroup": 0,
        "name": "even / clean",
        "count": 40,
        "accuracy": 0.9,
        "ci_low": 0.8,
        "ci_high": 0.95,
    },
    {
        "label": 0,
        "subgroup": 1,
        "name": "even / zigzag",
        "count": 40,
        "accuracy": 0.25,
        "ci_low": 0.1,
        "ci_high": 0.4,
    },
]
TRANSLATION = {
    "min_flip_rate": 0.984,
    "min_class_kept": 0.979,
    "max_distance_left": 0.02,
    "directions": [
        {
            "class": "odd",
            "source": "clean",
            "target": "zigzag",
            "flip_rate": 0.984,
            "class_kept": 0.99,
            "distance_left": 0.02,
        },
        {
            "class": "even",
            "source": "zigzag",
            "target": "clean",
            "flip_rate": 0.999,
            "class_kept": 0.979,
            "distance_left": 0.01,
        },
    ],
}


@tfx.dsl.components.component
def First(text: Parameter[str], examples: OutputArtifact[standard_artifacts.Examples]) -> None:
    """Is noisy and writes a file."""
    print("a print of Python")
    print(f"Beam's timed flush: {worker_handlers.DATA_BUFFER_TIME_LIMIT_MS} ms")
    os.write(2, b"noise of C++\n")
    Path(examples.uri, "text").write_text(text)


@tfx.dsl.components.component
def Second(
    what: Parameter[str],
    examples: InputArtifact[standard_artifacts.Examples],
    model: OutputArtifact[standard_artifacts.Model],
) -> None:
    """Fails in different ways."""
    if what == "fail":
        Path(model.uri, "link").symlink_to("folder")  # over which TFX stumbles when it removes the folder
        Path(model.uri, "folder").mkdir()
        Path(model.uri, "folder", "file").touch()
        try:
            Path("/nowhere/at/all").read_text()
        except OSError as error:
            raise ValueError("train/data-00000:\n  record 7 has no label") from error
    if what == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)


@tfx.dsl.components.component
def Report(
    blessed: Parameter[int],
    report: OutputArtifact[SubgroupReportArtifact],
    pushed: OutputArtifact[standard_artifacts.PushedModel],
) -> None:
    """Leaves what SubgroupReport and Pusher leave."""
    summary = {
        "method": "camel",
        "seed": 3,
        "worst_group": "even / zigzag",
        "worst_group_accuracy": 0.25,
        "average_accuracy": 0.8,
        "subgroup_gap": {"largest": 0.65},
        "groups": GROUPS,
        "baseline": None,
        "blessed": bool(blessed),
        "thresholds": {
            "min_worst_group_accuracy": None if blessed else 0.5,
            "max_subgroup_gap": None,
            "max_worst_group_drop": None,
        },
        "missed_thresholds": []
        if blessed
        else [
            {
                "threshold": "min_worst_group_accuracy",
                "slice": None,
                "asked": 0.5,
                "found": 0.25,
                "missed_by": 0.25,
            }
        ],
        "translation": TRANSLATION if blessed else None,
    }
    Path(report.uri, "summary.json").write_text(json.dumps(summary))
    Path(report.uri, "report.html").touch()
    pushed.set_int_custom_property("pushed", blessed)
    if blessed:
        pushed.set_string_custom_property("pushed_destination", "serving/1")


@tfx.dsl.components.component
def Never() -> None:
    """Isn't run."""
    raise AssertionError("Never has run")


def toy_pipeline(config: PipelineConfig, what: str) -> tfx.dsl.Pipeline:
    """First, Second and Report, one after the other, and Never, whose condition doesn't hold."""
    first = First(text="x")
    second = Second(
        what="fine" if what in ("unblessed", "blessed") else what, examples=first.outputs["examples"]
    )
    report = Report(blessed=int(what != "unblessed"))
    report.add_upstream_node(second)
    with tfx.dsl.Cond(first.outputs["examples"].future()[0].uri == "nowhere"):
        never = Never()
        never.add_upstream_node(report)
    return tfx.dsl.Pipeline(
        pipeline_name=config.pipeline_name,
        pipeline_root=config.pipeline_root,
        components=[first, second, report, never],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            config.metadata_path
        ),
        enable_cache=True,
    )


def main(root: str) -> None:
    """Runs them."""
    # What a terminal starts; under nohup, and in the background of a script, it would be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sizes = {"class_size": 100, "p": 0.9, "train_size": 20, "validation_size": 20, "test_size": 20}
    config = config_from_tree({"root": root, "data": {"mnist_correlation": sizes}}, "toy")
    for what in ("blessed", "blessed", "unblessed", "fail", "interrupt"):
        stand_in = types.ModuleType("model_patching.pipelines.pipeline")
        stand_in.create_pipeline = lambda config, what=what: toy_pipeline(config, what)
        sys.modules[stand_in.__name__] = stand_in
        print(f"exit {run_module.run(config).code}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
