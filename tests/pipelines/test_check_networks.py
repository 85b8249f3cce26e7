import keras
import pytest

from model_patching.pipelines import runner
from model_patching.pipelines.config import ConfigError, load_config
from model_patching.pipelines.exit_codes import FAILED
from model_patching.pipelines.run import run

NETWORK = "MobileNet"


@pytest.fixture
def colour(tmp_path):
    """Overrides of a preset: colour images of 32 pixels, whose files are empty."""
    for split in ("train", "validation", "test"):
        (tmp_path / "records" / split).mkdir(parents=True)
        (tmp_path / "records" / split / "data-00000-of-00001.tfrecord.gz").touch()
    return [
        f"root={tmp_path}/runs",
        "data.mnist_correlation=null",
        f"data.records={tmp_path}/records",
        "data.dataset={classes: [a, b], subgroups: [c, d], image_shape: [32, 32, 3]}",
    ]


def test_weights_that_do_not_fit_stop_a_run_before_its_first_node(tmp_path, colour, monkeypatch, capfd):
    weights = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(weights)
    monkeypatch.setattr(runner.LocalRunner, "run", lambda *_: pytest.fail("a node has run"))
    config = load_config("demo", [*colour, f"training.backbone={NETWORK}", f"training.weights={weights}"])
    assert run(config).code == FAILED
    lines = capfd.readouterr().out.splitlines()
    assert f"training: weights {weights}: don't fit {NETWORK} without its top: " in "\n".join(lines)


def test_images_too_small_for_the_baseline(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(runner.LocalRunner, "run", lambda *_: pytest.fail("a node has run"))
    config = load_config("demo", [f"root={tmp_path}/runs", f"baseline.backbone={NETWORK}"])
    assert run(config).code == FAILED
    assert f"baseline: {NETWORK}: Input size must be at least 32x32" in capfd.readouterr().out


@pytest.mark.parametrize("key", ["training", "baseline"])
def test_a_file_of_weights_that_is_not_there(key):
    overrides = [f"{key}.backbone={NETWORK}", f"{key}.weights=no.h5"]
    with pytest.raises(
        ConfigError, match=f"^demo: {key}.weights: there is no file no.h5; give one, none or imagenet$"
    ):
        load_config("demo", overrides)
