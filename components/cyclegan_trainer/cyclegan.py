"""CycleGAN (Zhu et al. 2017, arXiv:1703.10593): two translators that undo each other, learned without pairs."""

import keras
import tensorflow as tf

from model_patching.components.cyclegan_trainer.discriminator import discriminator
from model_patching.components.cyclegan_trainer.generator import generator
from model_patching.components.cyclegan_trainer.losses import (
    cycle_loss,
    discriminator_loss,
    identity_loss,
    least_squares,
)
from model_patching.components.cyclegan_trainer.replay_buffer import ReplayBuffer
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings


class CycleGAN:
    """The four networks of one pair of subgroups, and their training step.

    Attributes:
        forward: generator F, source → target.
        backward: generator G, target → source.
        source_discriminator: tells real source images from G's.
        target_discriminator: tells real target images from F's.
    """

    def __init__(self, image_shape: tuple[int, int, int], settings: CycleGANTrainerSettings, seed: int):
        self.settings = settings
        self.forward = generator(image_shape, settings.generator_filters, 4 * seed, "forward")
        self.backward = generator(image_shape, settings.generator_filters, 4 * seed + 1, "backward")
        self.source_discriminator = discriminator(
            image_shape, settings.discriminator_filters, 4 * seed + 2, "source_discriminator"
        )
        self.target_discriminator = discriminator(
            image_shape, settings.discriminator_filters, 4 * seed + 3, "target_discriminator"
        )
        self.source_replay = ReplayBuffer(settings.replay_buffer_size, image_shape)
        self.target_replay = ReplayBuffer(settings.replay_buffer_size, image_shape)
        self.generator_optimizer = _adam(settings.generator_learning_rate, settings)
        self.discriminator_optimizer = _adam(settings.discriminator_learning_rate, settings)
        self.generator_optimizer.build(self.generator_variables)
        self.discriminator_optimizer.build(self.discriminator_variables)

    @property
    def generator_variables(self) -> list[keras.Variable]:
        """Trainable variables of both generators."""
        return self.forward.trainable_variables + self.backward.trainable_variables

    @property
    def discriminator_variables(self) -> list[keras.Variable]:
        """Trainable variables of both discriminators."""
        return self.source_discriminator.trainable_variables + self.target_discriminator.trainable_variables

    def train_step(self, source: tf.Tensor, target: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of both generators and both discriminators. To be called inside a `tf.function`.

        Args:
            source: float32 [n, H, W, C] in [-1, 1], images of the source subgroup.
            target: float32 [n, H, W, C] in [-1, 1], images of the target subgroup.
            seed: int32 [2], for the replay buffers.

        Returns:
            The losses, each float32 []: generator (the total), adversarial, cycle, identity, discriminator.
        """
        with tf.GradientTape() as tape:
            # Instance normalization sees each image alone, so translation and identity can share a call.
            fake_target, same_target = tf.split(
                self.forward(tf.concat([source, target], 0), training=True), 2
            )
            fake_source, same_source = tf.split(
                self.backward(tf.concat([target, source], 0), training=True), 2
            )
            adversarial = least_squares(self.target_discriminator(fake_target, training=True), 1.0)
            adversarial += least_squares(self.source_discriminator(fake_source, training=True), 1.0)
            cycle = cycle_loss(source, self.backward(fake_target, training=True))
            cycle += cycle_loss(target, self.forward(fake_source, training=True))
            identity = identity_loss(source, same_source) + identity_loss(target, same_target)
            generator_total = (
                adversarial
                + self.settings.cycle_loss_scale * cycle
                + self.settings.identity_loss_scale * identity
            )
        gradients = tape.gradient(generator_total, self.generator_variables)
        self.generator_optimizer.apply_gradients(zip(gradients, self.generator_variables, strict=True))

        past_source = self.source_replay.query(fake_source, seed)
        past_target = self.target_replay.query(fake_target, seed + 2)
        with tf.GradientTape() as tape:
            discriminator_total = discriminator_loss(
                *tf.split(self.source_discriminator(tf.concat([source, past_source], 0), training=True), 2)
            )
            discriminator_total += discriminator_loss(
                *tf.split(self.target_discriminator(tf.concat([target, past_target], 0), training=True), 2)
            )
        gradients = tape.gradient(discriminator_total, self.discriminator_variables)
        self.discriminator_optimizer.apply_gradients(
            zip(gradients, self.discriminator_variables, strict=True)
        )
        return {
            "generator": generator_total,
            "adversarial": adversarial,
            "cycle": cycle,
            "identity": identity,
            "discriminator": discriminator_total,
        }


def _adam(learning_rate: float, settings: CycleGANTrainerSettings) -> keras.optimizers.Adam:
    return keras.optimizers.Adam(ConstantThenLinear(learning_rate, settings.steps), beta_1=settings.beta_1)


class ConstantThenLinear(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that stays for the first half of the steps and falls linearly to zero over the second."""

    def __init__(self, learning_rate: float, steps: int):
        self.learning_rate = learning_rate
        self.steps = steps

    def __call__(self, step):
        """Rate of `step` (an integer tensor); float32 []."""
        remaining = 1.0 - tf.cast(step, tf.float32) / self.steps
        return self.learning_rate * tf.clip_by_value(2.0 * remaining, 0.0, 1.0)

    def get_config(self):
        """For Keras's serialization."""
        return {"learning_rate": self.learning_rate, "steps": self.steps}
