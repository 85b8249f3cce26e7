"""Times the CycleGAN's training step beside the textbook one: same networks, batch and data, in turn, in one process.

    .venv/bin/python benchmarks/cyclegan_step.py

The textbook step calls each network for each loss term, has a gradient tape and a Keras Adam for each of the four
networks, and is one `tf.function`. What is printed is explained in docs/benchmarks.md.
"""

import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple

import keras
import numpy as np
import tensorflow as tf
import typer
from rich.console import Console
from rich.table import Table
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from model_patching.components.cyclegan_trainer.cyclegan import CycleGAN
from model_patching.components.cyclegan_trainer.losses import (
    cycle_loss,
    discriminator_loss,
    generator_loss,
    identity_loss,
)
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings

MNIST, CELEBA, WATERBIRDS = (28, 28, 1), (128, 128, 3), (224, 224, 3)
MID_SIZE = {"generator_filters": (32, 64, 128, 256, 256), "discriminator_filters": (48, 96, 192)}
CASES = {
    "mnist-batchnorm": (MNIST, {"batch_size": 25, "norm": "batchnorm"}),
    "mnist-instancenorm": (MNIST, {"batch_size": 25, "norm": "instancenorm"}),
    "mid-batchnorm": (MNIST, {"batch_size": 24, "norm": "batchnorm", **MID_SIZE}),
    "mid-instancenorm": (MNIST, {"batch_size": 24, "norm": "instancenorm", **MID_SIZE}),
    "celeba-batchnorm": (CELEBA, {"batch_size": 16, "norm": "batchnorm"}),
    "celeba-instancenorm": (CELEBA, {"batch_size": 16, "norm": "instancenorm"}),
    "waterbirds-batchnorm": (WATERBIRDS, {"batch_size": 4, "norm": "batchnorm"}),
    "waterbirds-instancenorm": (WATERBIRDS, {"batch_size": 4, "norm": "instancenorm"}),
}
# The time of an operation goes to the first of these that its place in the graph begins with.
PARTS = {
    "forward": "generators",
    "backward": "generators",
    "gradient_tape/forward": "their gradients",
    "gradient_tape/backward": "their gradients",
    "source_discriminator": "discriminators",
    "target_discriminator": "discriminators",
    "gradient_tape/source_discriminator": "their gradients ",
    "gradient_tape/target_discriminator": "their gradients ",
    "adam": "optimizers",
    "": "rest",
}
KINDS = {
    "Conv2DBackpropFilter": "convolutions, by the kernel",
    "Conv2DBackpropInput": "convolutions, by the input",
    "Conv2D": "convolutions",
    "FusedConv2D": "convolutions",
    "ResourceApplyAdam": "optimizers",
    "": "normalization and rest",
}


def textbook_step(gan: CycleGAN) -> Callable:
    """The textbook's step on the networks and replay buffers of `gan`, for its default kind of settings."""
    settings = gan.settings
    networks = gan.forward, gan.backward, gan.source_discriminator, gan.target_discriminator
    rates = [settings.generator_learning_rate] * 2 + [settings.discriminator_learning_rate] * 2
    optimizers = [keras.optimizers.Adam(rate, beta_1=settings.generator_beta_1) for rate in rates]
    for network, optimizer in zip(networks, optimizers, strict=True):
        optimizer.build(network.trainable_variables)

    def generator_total(there, back, judge, source, target):
        adversarial = generator_loss(settings.gan_loss, judge(there(source, training=True), training=True))
        cycle = cycle_loss(source, back(there(source, training=True), training=True))
        cycle += cycle_loss(target, there(back(target, training=True), training=True))
        identity = identity_loss(target, there(target, training=True))
        return adversarial + settings.cycle_loss_scale * cycle + settings.identity_loss_scale * identity

    def discriminator_total(judge, real, fake):
        return discriminator_loss(settings.gan_loss, judge(real, training=True), judge(fake, training=True))

    @tf.function
    def step(source, target, seed):
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 8))
        forward, backward, source_judge, target_judge = networks
        with tf.GradientTape() as forward_tape:
            forward_loss = generator_total(forward, backward, target_judge, source, target)
        with tf.GradientTape() as backward_tape:
            backward_loss = generator_total(backward, forward, source_judge, target, source)
        past_source = gan.source_replay.query(backward(target, training=True), seeds[2])
        past_target = gan.target_replay.query(forward(source, training=True), seeds[3])
        with tf.GradientTape() as source_tape:
            source_loss = discriminator_total(source_judge, source, past_source)
        with tf.GradientTape() as target_tape:
            target_loss = discriminator_total(target_judge, target, past_target)

        tapes = forward_tape, backward_tape, source_tape, target_tape
        losses = forward_loss, backward_loss, source_loss, target_loss
        gradients = [
            tape.gradient(loss, network.trainable_variables)
            for tape, loss, network in zip(tapes, losses, networks, strict=True)
        ]
        for optimizer, gradient, network in zip(optimizers, gradients, networks, strict=True):
            optimizer.apply_gradients(zip(gradient, network.trainable_variables, strict=True))
        return {"discriminator": source_loss + target_loss}

    return step


class Work(NamedTuple):
    """Multiply-adds of a network's convolutions on one image, forward; the padding's are counted, too."""

    first_layer: int
    all_layers: int


def convolution_work(network: keras.Model) -> Work:
    """Counts them. A gradient by the kernel or by the input takes as many again."""
    counts = []
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            small = layer.output if isinstance(layer, keras.layers.Conv2D) else layer.input
            counts.append(small.shape[1] * small.shape[2] * int(np.prod(layer.kernel.shape)))
    return Work(counts[0], sum(counts))


def step_flop(gan: CycleGAN) -> float:
    """Floating-point operations of the convolutions in this trainer's step, for its default kind of settings.

    A multiply-add counts as two. The generators: six calls forward, each with a gradient by its kernels and by its
    input; only the cycles need the one by the input of the first layer. The discriminators: two calls for the
    generators, forward and by the input, and four of their own, forward, by the kernels and by the inputs but the
    first layer's.
    """
    generator, discriminator = convolution_work(gan.forward), convolution_work(gan.source_discriminator)
    multiply_adds = 6 * 3 * generator.all_layers - 4 * generator.first_layer
    multiply_adds += 2 * 2 * discriminator.all_layers
    multiply_adds += 4 * (3 * discriminator.all_layers - discriminator.first_layer)
    return 2.0 * gan.settings.batch_size * multiply_adds


def peak_convolution() -> tuple[Callable, float]:
    """A large 3×3 convolution with both of its gradients, and its floating-point operations."""
    images, kernel = tf.zeros((16, 32, 32, 256)), tf.zeros((3, 3, 256, 256))

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            output = tf.nn.conv2d(images, kernel, 1, "SAME")
        return [tf.reduce_sum(gradient) for gradient in tape.gradient(output, [images, kernel])] + [
            tf.reduce_sum(output)
        ]

    return run, 3 * 2.0 * 16 * 32 * 32 * 9 * 256 * 256


class Times(NamedTuple):
    """Seconds of one run: on the clock, and of the CPU's cores, which other processes disturb less."""

    wall: float
    cpu: float


def time_of(run: Callable, times: int = 1) -> Times:
    """What one of `times` runs takes; each returns tensors."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(times):
        result = run()
    tf.nest.map_structure(lambda tensor: tensor.numpy(), result)
    return Times((time.perf_counter() - wall) / times, (time.process_time() - cpu) / times)


def time_in_turn(runs: list[Callable], seconds: float) -> list[list[Times]]:
    """Times of each, in turn, for `seconds` and at least three rounds; a short one is repeated for half a second."""
    repeats = [max(1, int(0.5 / time_of(run).wall)) for run in runs]
    results = [[] for _ in runs]
    started = time.perf_counter()
    while len(results[0]) < 3 or time.perf_counter() - started < seconds:
        for run, repeat, result in zip(runs, repeats, results, strict=True):
            result.append(time_of(run, repeat))
    return results


def where_the_time_goes(run: Callable) -> tuple[dict[str, float], dict[str, float]]:
    """Share of each part and of each kind of operation in the time of all in one run, by TensorFlow's profiler."""
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        time_of(run)
        tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    parts, kinds = Counter(), Counter()
    for plane in space.planes:
        for line in plane.lines:
            if not line.name.startswith("tf_Compute"):  # the threads that run operations
                continue
            for event in line.events:
                node, _, operation = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if not node or node == "ExecutorState:":
                    continue
                operation = operation.removeprefix("_MklNative")
                parts[next(PARTS[key] for key in PARTS if node.startswith(key))] += event.duration_ps
                kinds[next(KINDS[key] for key in KINDS if operation.startswith(key))] += event.duration_ps
    total = sum(parts.values())
    return tuple({name: time / total for name, time in counter.items()} for counter in (parts, kinds))


def measure(name: str, seconds: float) -> tuple[list[str], dict[str, float], dict[str, float]]:
    """The table's row of a case, and where its time goes."""
    image_shape, changes = CASES[name]
    settings = CycleGANTrainerSettings(**changes)
    gan = CycleGAN(image_shape, settings, seed=1)
    random = np.random.default_rng(1)
    images = [
        tf.constant(random.uniform(-1, 1, (settings.batch_size, *image_shape)).astype(np.float32))
        for _ in range(2)
    ]
    seed = tf.constant([1, 1])
    this, textbook = tf.function(gan.train_step), textbook_step(gan)
    peak, peak_flop = peak_convolution()
    runs = [lambda: this(*images, seed), lambda: textbook(*images, seed), peak]
    for run in runs:
        time_of(run)  # traces
    of_this, of_textbook, of_peak = time_in_turn(runs, seconds)

    flop = step_flop(gan)
    row = [name]
    for clock in Times._fields:
        mine, textbooks, peaks = (
            np.array([getattr(times, clock) for times in results])
            for results in (of_this, of_textbook, of_peak)
        )
        row += [f"{1000 * np.median(mine):,.0f}", f"{1000 * np.median(textbooks):,.0f}"]
        row.append(f"{np.median(textbooks / mine):.2f}")
    speed, peak_speed = flop / np.median(mine) / 1e9, peak_flop / np.median(peaks) / 1e9  # by the CPU's time
    row += [f"{flop / 1e9:,.0f}", f"{speed:.0f}", f"{peak_speed:.0f}", f"{100 * speed / peak_speed:.0f} %"]
    return row, *where_the_time_goes(runs[0])


def memory(steps: int) -> list[int]:
    """MiB of this process after the first tenth of `steps` toy steps, and after each further tenth."""
    settings = CycleGANTrainerSettings(
        generator_filters=(8, 16), discriminator_filters=(8, 16), norm="batchnorm", batch_size=4
    )
    gan = CycleGAN((16, 16, 1), settings, seed=1)
    step = tf.function(gan.train_step)
    random = np.random.default_rng(1)
    held = []
    for number in range(1, steps + 1):
        source, target = random.uniform(-1, 1, (2, 4, 16, 16, 1)).astype(np.float32)
        step(tf.constant(source), tf.constant(target), tf.constant([1, number]))
        if number % (steps // 10) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            held.append(pages * 4096 // 2**20)
    return held


def main(
    cases: Annotated[str, typer.Option(help="Names with commas between.")] = ",".join(CASES),
    seconds: Annotated[float, typer.Option(help="To measure each case, at least.")] = 60.0,
    memory_steps: Annotated[
        int, typer.Option(help="Toy steps over which memory is watched; 0 for none.")
    ] = 1000,
) -> None:
    """Prints the tables of docs/benchmarks.md."""
    console = Console(width=160)
    speeds, parts, kinds = [], {}, {}
    for name in cases.split(","):
        # A process for each case: TensorFlow doesn't give all of the memory of the one before back.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            row, parts[name], kinds[name] = process.submit(measure, name, seconds).result()
        speeds.append(row)
        console.print(" ".join(row))

    columns = ["case", "ms", "textbook", "ratio", "CPU ms", "textbook", "ratio"]
    columns += ["GFLOP", "GFLOP/CPU s", "peak", "of peak"]
    table = Table(*columns)
    for row in speeds:
        table.add_row(*row)
    console.print(table)
    for names, profiles in ((PARTS, parts), (KINDS, kinds)):
        columns = list(dict.fromkeys(names.values()))
        table = Table("case", *columns)
        for name, shares in profiles.items():
            table.add_row(name, *(f"{100 * shares.get(column, 0.0):.0f} %" for column in columns))
        console.print(table)
    if memory_steps:
        console.print("MiB held over", memory_steps, "toy steps:", *memory(memory_steps))


if __name__ == "__main__":
    typer.run(main)
