"""The step that comes only where the gate did not bless the model: it fails, so that Kubeflow shows the run as failed.

    python -m model_patching.pipelines.kubeflow.not_blessed

It is a step of its own so that a failure of `verdict`, whose pod may run out of memory, is not taken for one.
"""

from model_patching.pipelines.exit_codes import NOT_BLESSED
from model_patching.pipelines.step import end_step

if __name__ == "__main__":
    end_step(
        NOT_BLESSED, "the model was not blessed, and nothing was pushed; the log of the step verdict says why"
    )
