"""Which numbers the classifier computes with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf


def dtype_policy(mixed_precision: str) -> str:
    """Keras's dtype policy for a setting: "on" → mixed_bfloat16, "off" → float32, "auto" → by this machine's CPU.

    Where the CPU multiplies bfloat16 itself (AVX512_BF16, AMX) the mixed policy is faster; on another CPU it is slower.
    With a GPU the CPU doesn't matter, and "auto" is "off".
    """
    if mixed_precision == "auto":
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        mixed_precision = "on" if cpu_multiplies_bfloat16() and not on_gpu else "off"
    return "mixed_bfloat16" if mixed_precision == "on" else "float32"


def cpu_multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has AVX512_BF16 or AMX; False where Linux doesn't say."""
    if not cpuinfo.exists():
        return False
    flags = set(cpuinfo.read_text().split())
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def building_with(policy: str) -> Iterator[None]:
    """Layers built inside take this dtype policy; the global one is as before afterwards."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
