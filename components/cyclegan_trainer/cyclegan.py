"""CycleGAN (Zhu et al. 2017, arXiv:1703.10593): two translators that undo each other, learned without pairs."""

from functools import partial

import keras
import tensorflow as tf

from model_patching.components.cyclegan_trainer.adam import Adam
from model_patching.components.cyclegan_trainer.discriminator import discriminator
from model_patching.components.cyclegan_trainer.generator import generator
from model_patching.components.cyclegan_trainer.gradient_penalty import gradient_penalty
from model_patching.components.cyclegan_trainer.image_augmentation import augment
from model_patching.components.cyclegan_trainer.learning_rate import learning_rate
from model_patching.components.cyclegan_trainer.losses import (
    cycle_loss,
    discriminator_loss,
    generator_loss,
    identity_loss,
)
from model_patching.components.cyclegan_trainer.replay_buffer import ReplayBuffer
from model_patching.components.cyclegan_trainer.settings import CycleGANTrainerSettings
from model_patching.components.precision import building_with, dtype_policy


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
        with building_with(dtype_policy(settings.mixed_precision)):
            self.forward = generator(image_shape, settings, 4 * seed, "forward")
            self.backward = generator(image_shape, settings, 4 * seed + 1, "backward")
            self.source_discriminator = discriminator(
                image_shape, settings, 4 * seed + 2, "source_discriminator"
            )
            self.target_discriminator = discriminator(
                image_shape, settings, 4 * seed + 3, "target_discriminator"
            )
        self.source_replay = ReplayBuffer(settings.replay_buffer_size, image_shape)
        self.target_replay = ReplayBuffer(settings.replay_buffer_size, image_shape)
        self.generator_optimizer = Adam(
            learning_rate(settings.generator_learning_rate, settings), beta_1=settings.generator_beta_1
        )
        self.discriminator_optimizer = Adam(
            learning_rate(settings.discriminator_learning_rate, settings),
            beta_1=settings.discriminator_beta_1,
        )
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

    @property
    def variables(self) -> list[tf.Variable]:
        """All that a training goes on from, always in the same order.

        Weights, moving averages, the dropout's random states, the optimizers' states and steps, the replay buffers.
        """
        parts = (
            self.forward,
            self.backward,
            self.source_discriminator,
            self.target_discriminator,
            self.generator_optimizer,
            self.discriminator_optimizer,
        )
        variables = [variable.value for part in parts for variable in part.variables]
        return variables + self.source_replay.variables + self.target_replay.variables

    def train_step(self, source: tf.Tensor, target: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of both generators and both discriminators. To be called inside a `tf.function`.

        Args:
            source: float32 [n, H, W, C] in [-1, 1], images of the source subgroup; n is the settings' `batch_size`.
            target: float32 [n, H, W, C] in [-1, 1], images of the target subgroup.
            seed: int32 [2], for the replay buffers, the discriminators' augmentation and the gradient penalty.

        Returns:
            The losses before the step, each float32 [] and the sum over both directions: generator (the total),
            adversarial, cycle, identity (unless its scale is 0: then it isn't computed), discriminator (the total)
            and, if there is one, gradient_penalty.
        """
        seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 8))
        fake_source, fake_target, losses = self._step_generators(source, target, seeds[:2])
        losses |= self._step_discriminators(
            source,
            target,
            self.source_replay.query(fake_source, seeds[2]),
            self.target_replay.query(fake_target, seeds[3]),
            seeds[4:],
        )
        return losses

    def _step_generators(
        self, source: tf.Tensor, target: tf.Tensor, seeds: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, dict]:
        """Moves the generators; returns what they made of `target` and of `source` before, and their losses."""
        settings = self.settings
        augmentation = settings.discriminator_augmentation
        losses = {}
        with tf.GradientTape() as tape:
            if settings.identity_loss_scale > 0:
                fake_target, same_target = _call_on_both(self.forward, source, target)
                fake_source, same_source = _call_on_both(self.backward, target, source)
                losses["identity"] = identity_loss(source, same_source) + identity_loss(target, same_target)
            else:
                fake_target = self.forward(source, training=True)
                fake_source = self.backward(target, training=True)

            losses["adversarial"] = 0.0
            for network, fake, augment_seed in (
                (self.source_discriminator, fake_source, seeds[0]),
                (self.target_discriminator, fake_target, seeds[1]),
            ):
                logits = network(augment(fake, augmentation, augment_seed), training=True)
                losses["adversarial"] += generator_loss(settings.gan_loss, logits)
            losses["cycle"] = cycle_loss(source, self.backward(fake_target, training=True))
            losses["generator"] = losses["adversarial"] + settings.cycle_loss_scale * losses["cycle"]
            if not settings.source_cycle_loss_only:
                target_cycle = cycle_loss(target, self.forward(fake_source, training=True))
                losses["cycle"] += target_cycle
                losses["generator"] += settings.target_scale * target_cycle
            if settings.identity_loss_scale > 0:
                losses["generator"] += settings.identity_loss_scale * losses["identity"]
        gradients = tape.gradient(losses["generator"], self.generator_variables)
        self.generator_optimizer.apply_gradients(zip(gradients, self.generator_variables, strict=True))
        return fake_source, fake_target, losses

    def _step_discriminators(
        self,
        source: tf.Tensor,
        target: tf.Tensor,
        fake_source: tf.Tensor,
        fake_target: tf.Tensor,
        seeds: list[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """Moves the discriminators on real and translated images; returns their losses."""
        settings = self.settings
        augmentation = settings.discriminator_augmentation
        losses = {"discriminator": 0.0}
        if settings.gradient_penalty != "none":
            losses["gradient_penalty"] = 0.0
        with tf.GradientTape() as tape:
            for network, real, fake, augment_seed, penalty_seed in (
                (self.source_discriminator, source, fake_source, seeds[0], seeds[1]),
                (self.target_discriminator, target, fake_target, seeds[2], seeds[3]),
            ):
                real, fake = tf.split(augment(tf.concat([real, fake], 0), augmentation, augment_seed), 2)
                real_logits, fake_logits = _call_on_both(network, real, fake)
                losses["discriminator"] += discriminator_loss(settings.gan_loss, real_logits, fake_logits)
                if settings.gradient_penalty != "none":
                    losses["gradient_penalty"] += gradient_penalty(
                        settings.gradient_penalty, partial(network, training=True), real, fake, penalty_seed
                    )
            if settings.gradient_penalty != "none":
                losses["discriminator"] += settings.gradient_penalty_scale * losses["gradient_penalty"]
        gradients = tape.gradient(losses["discriminator"], self.discriminator_variables)
        self.discriminator_optimizer.apply_gradients(
            zip(gradients, self.discriminator_variables, strict=True)
        )
        return losses


def _call_on_both(network: keras.Model, first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The network's outputs for two batches, from one call, which is faster than two.

    The normalization keeps the batches apart. It must: the statistics of real and translated images together would
    tell a discriminator which is which.
    """
    outputs = network(tf.concat([first, second], 0), training=True)
    first_output, second_output = tf.split(outputs, 2)
    return first_output, second_output
