import keras
import pytest

from model_patching.components import precision
from model_patching.components.precision import (
    building_with,
    cpu_multiplies_bfloat16,
    dtype_policy,
)


@pytest.mark.parametrize(
    "flags, expected",
    [("sse avx512_bf16 fma", True), ("sse amx_bf16", True), ("sse avx512f avx512_bf16x", False), ("", False)],
)
def test_reads_the_cpu_flags(tmp_path, flags, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"model name\t: Some CPU\nflags\t\t: {flags}\n")
    assert cpu_multiplies_bfloat16(cpuinfo) is expected


def test_without_cpuinfo_there_is_none(tmp_path):
    assert cpu_multiplies_bfloat16(tmp_path / "missing") is False


@pytest.mark.parametrize("can", [True, False])
def test_auto_follows_the_cpu_and_the_others_do_not(monkeypatch, can):
    monkeypatch.setattr(precision, "cpu_multiplies_bfloat16", lambda: can)
    assert dtype_policy("auto") == ("mixed_bfloat16" if can else "float32")
    with monkeypatch.context() as patch:
        patch.setattr(precision.tf.config, "list_physical_devices", lambda kind: ["a GPU"])
        assert dtype_policy("auto") == "float32"
    assert dtype_policy("on") == "mixed_bfloat16"
    assert dtype_policy("off") == "float32"


def test_the_policy_holds_inside_alone():
    before = keras.config.dtype_policy().name
    with building_with("mixed_bfloat16"):
        layer = keras.layers.Dense(1)
    assert (layer.compute_dtype, layer.variable_dtype) == ("bfloat16", "float32")
    assert keras.config.dtype_policy().name == before
    with pytest.raises(KeyError), building_with("mixed_bfloat16"):
        raise KeyError
    assert keras.config.dtype_policy().name == before
