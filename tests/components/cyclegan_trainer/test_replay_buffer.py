import numpy as np
import pytest
import tensorflow as tf

from model_patching.components.cyclegan_trainer.replay_buffer import ReplayBuffer

SHAPE = (2, 3, 1)


def constant_images(values):
    return tf.constant(np.broadcast_to(np.reshape(values, (-1, 1, 1, 1)), (len(values), *SHAPE)), tf.float32)


def values_of(images):
    images = np.asarray(images)
    assert (images == images[:, :1, :1]).all()  # whole images travel, never parts
    return images[:, 0, 0, 0].astype(int).tolist()


def queries(buffer, count, size, seed=0):
    """Queries `count` times with `size` new images, numbered from 1; yields (new, returned, before, after)."""
    query = tf.function(buffer.query)
    before = []
    for number in range(count):
        new = list(range(1 + number * size, 1 + (number + 1) * size))
        returned = values_of(query(constant_images(new), tf.constant([seed, number])))
        after = [value for value in values_of(buffer.images) if value > 0]
        yield new, returned, before, after
        before = after


def test_fills_first_and_gives_back_what_it_got():
    for new, returned, before, after in queries(ReplayBuffer(6, SHAPE), 3, 2):
        assert returned == new
        assert sorted(after) == sorted(before + new)


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_afterwards_images_only_change_places(size):
    """4 doesn't divide 6: the second query fills what is free, and its other images meet stored ones."""
    given_back = []
    for new, returned, before, after in queries(ReplayBuffer(6, SHAPE), 40, size):
        into_free = [value for value in new if value in after and value in returned]
        assert len(into_free) == min(size, 6 - len(before))
        # What was there and what came in is just what is there and what went out.
        assert sorted(returned + after) == sorted(before + new + into_free)
        for mine, its in zip(new, returned, strict=True):
            assert its == mine or its in before
        given_back += [value for value in returned if value not in new]
    assert len(given_back) > 20 * size / 2
    assert len(set(given_back)) == len(given_back)  # a stored image is given back once


def test_half_of_the_images_change_places():
    buffer = ReplayBuffer(10, SHAPE)
    kept = [
        its == mine
        for new, returned, before, _ in queries(buffer, 205, 2)
        if len(before) == 10
        for mine, its in zip(new, returned, strict=True)
    ]
    # 400 throws: the standard deviation of the share is 2.5 %.
    assert len(kept) == 400 and np.mean(kept) == pytest.approx(0.5, abs=0.1)


def test_every_place_changes_in_time():
    buffer = ReplayBuffer(5, SHAPE)
    *_, (_, _, _, after) = queries(buffer, 60, 1)
    assert min(after) > 5


def test_the_seed_decides():
    histories = [
        [returned for _, returned, _, _ in queries(ReplayBuffer(4, SHAPE), 20, 2, seed)] for seed in (1, 1, 2)
    ]
    assert histories[0] == histories[1] != histories[2]
