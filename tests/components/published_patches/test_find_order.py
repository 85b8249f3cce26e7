"""How many files were read at once, from thumbnails that say which record they are of."""

import numpy as np
import pytest

from model_patching.components.published_patches.find_order import candidates, find_order, sample_places
from model_patching.components.published_patches.folders import PatchesError
from model_patching.components.published_patches.settings import PatchingSettings
from model_patching.components.published_patches.shards import PatchedFolder
from model_patching.data.source_order import SourceOrder, record_id

GROUPS = {(0, 0): 0, (0, 1): 1}


def make(files_at_once, sizes=(40, 31, 7, 52), seed=0):
    """Candidates, thumbnails of all records, and folders made with `files_at_once`."""
    generator = np.random.default_rng(seed)
    codes = {f"{i}.tfrec": generator.integers(0, 2, size).astype(np.int16) for i, size in enumerate(sizes)}
    order = SourceOrder(codes)
    counts = {group: order.count(code) for group, code in GROUPS.items()}
    sources = {
        record_id(part, number): generator.normal(size=64).astype(np.float32)
        for part, size in zip(codes, sizes, strict=True)
        for number in range(size)
    }
    folders = {}
    for group, code in GROUPS.items():
        places = sample_places(counts[group])
        ids = order.ids_at(order.ranks(files_at_once), code, places)
        thumbnails = {place: sources[one] for place, one in zip(places, ids, strict=True)}
        folders[group] = [
            PatchedFolder(f"published/{group}/{letter}", (("0", counts[group]),), thumbnails)
            for letter in "gf"
        ]
    return candidates(order, GROUPS, counts), sources, folders


def settings(**values):
    return PatchingSettings(source="published", folder="published", **values)


@pytest.mark.parametrize("files_at_once", [1, 2, 3, 4])
def test_the_number_is_found(files_at_once):
    made = make(files_at_once)
    assert [candidate.numbers for candidate in made[0]] == [(1,), (2,), (3,), (4,)]
    assert find_order(*made, settings()) == files_at_once
    assert find_order(*made, settings(files_read_at_once=files_at_once)) == files_at_once


def test_more_than_all_files_are_all_files():
    assert find_order(*make(4), settings(files_read_at_once=99)) == 4


def test_a_wrong_number_is_refused_and_the_right_one_named():
    with pytest.raises(PatchesError) as caught:
        find_order(*make(3), settings(files_read_at_once=1))
    assert "the order seems wrong: only " in str(caught.value)
    assert str(caught.value).endswith(
        "of its images resemble their own record most with 1 files read at once; with patching.files_read_at_once 3 "
        "it is 100% at least"
    )


def test_one_folder_in_another_order_is_refused():
    made, sources, folders = make(3)
    odd = folders[0, 1][1]
    mixed = dict(zip(odd.thumbnails, reversed(odd.thumbnails.values()), strict=True))
    folders[0, 1][1] = PatchedFolder(odd.folder, odd.shards, mixed)
    with pytest.raises(PatchesError) as caught:
        find_order(made, sources, folders, settings())
    assert str(caught.value).startswith(f"{odd.folder}: the order seems wrong: only 0% ")
    assert "no other number does better" in str(caught.value)
    assert find_order(made, sources, folders, settings(min_resemblance=0.0)) == 3


def test_records_that_were_not_taken_are_not_compared():
    made, sources, folders = make(2)
    some = {name: picture for i, (name, picture) in enumerate(sources.items()) if i % 3}
    assert find_order(made, some, folders, settings()) == 2


def test_an_order_that_cannot_be_told():
    made, _, folders = make(2)
    with pytest.raises(PatchesError) as caught:
        find_order(made, {}, folders, settings())
    assert str(caught.value) == (
        "published: the order of the images can't be told: 1, 2, 3, 4 files read at once do equally well (100%); set "
        "patching.files_read_at_once"
    )
    assert find_order(made, {}, folders, settings(files_read_at_once=4)) == 4
    made, sources, folders = make(1, sizes=(50,))
    assert find_order(made, {}, folders, settings()) == 1  # no other order to choose


def test_samples_are_spread_over_the_group():
    assert sample_places(3) == (0, 1, 2)
    places = sample_places(66874)
    assert len(places) == 32 and places[0] == 0 and places[-1] == 66873
    assert max(np.diff(places)) < 2200
