"""Which published folders belong to a group."""

import pytest

from model_patching.components.published_patches.folders import (
    PatchedGroup,
    PatchesError,
    find_groups,
    incomplete_groups,
)
from model_patching.data.dataset import Dataset

DATASET = Dataset(classes=("not blond", "blond"), subgroups=("female", "male"), image_shape=(128, 128, 3))
FEMALE, MALE = (0, 0), (0, 1)
NAME = "celeb_a_128.Blond_Hair.Male.1.0"
FIRST = f"[{NAME}.0.0.y.4054].[2.*.*].train.0.000"
ALL = f"[{NAME}.0.0.y].[2.*.*].train.0.000"
RUN = "wandb[hazy-research:celeba:xbqhzkx3].f_epoch[3400].g_epoch[3400].mode[False].batch[16]"
OTHER_RUN = RUN.replace("3400", "3450")


@pytest.fixture
def make(tmp_path):
    def make(identifier, run=RUN, models="fg"):
        for letter in models:
            (tmp_path / identifier / f"{run}.model[gen_{letter}]").mkdir(parents=True)

    return make


@pytest.fixture
def find(tmp_path):
    def find(counts, prefer=(), split="train"):
        return find_groups(str(tmp_path), prefer, split, counts, DATASET)

    return find


def pair(tmp_path, identifier, run=RUN):
    return tuple(str(tmp_path / identifier / f"{run}.model[gen_{letter}]") for letter in "gf")


def test_names_of_the_published_data_sets(tmp_path, make, find):
    for identifier in (
        FIRST,
        f"[{NAME}.0.1.y].[2.*.*].train.0.000",
        f"[{NAME}.0.1.y].[2.*.*].val.0.000",
        f"[{NAME}.0.1.y].[2.*.*].test",
        f"[{NAME}.0.1.z].[2.*.*].train.0.000",  # labelled with the subgroup
        f"[{NAME}.-1.-1.y].[2.*.*].train.0.000",  # of all groups
    ):
        make(identifier)
    (tmp_path / "external").mkdir()
    (tmp_path / "a file").touch()
    assert find({FEMALE: 71629, MALE: 66874}) == {
        FEMALE: PatchedGroup(pair(tmp_path, FIRST), 4054),
        MALE: PatchedGroup(pair(tmp_path, f"[{NAME}.0.1.y].[2.*.*].train.0.000"), None),
    }
    for split, name in (("validation", "val.0.000"), ("test", "test")):
        folders = pair(tmp_path, f"[{NAME}.0.1.y].[2.*.*].{name}")
        assert find({MALE: 3}, split=split) == {MALE: PatchedGroup(folders, None)}


def test_a_missing_folder(tmp_path, make, find):
    make(FIRST)
    with pytest.raises(PatchesError) as caught:
        find({FEMALE: 1, MALE: 66874})
    assert str(caught.value) == (
        f"{tmp_path}: 0 pairs of folders with patched images of group 'not blond / male' of the train split, which has "
        "66,874 records: there must be [….0.1.y].[…].train… with ….model[gen_f] and ….model[gen_g]"
    )
    with pytest.raises(PatchesError, match="of the validation split, .*val…"):
        find({FEMALE: 1}, split="validation")
    with pytest.raises(PatchesError, match="/no: there is no such folder$"):
        find_groups(f"{tmp_path}/no", (), "train", {MALE: 1}, DATASET)


def test_only_the_training_takes_a_folder_of_the_first_records(tmp_path, make, find):
    for identifier in (
        f"[{NAME}.0.0.y.4054].[2.*.*].{split}" for split in ("train.0.000", "val.0.000", "test")
    ):
        make(identifier)
    assert find({FEMALE: 4055})[FEMALE].take == 4054
    for split in ("validation", "test"):
        assert incomplete_groups(str(tmp_path), split, {FEMALE: 4054}) == []
        assert find({FEMALE: 4054}, split=split)[FEMALE].take == 4054
        assert incomplete_groups(str(tmp_path), split, {FEMALE: 4055, MALE: 1}) == [FEMALE, MALE]
        with pytest.raises(PatchesError, match=": 0 pairs of folders"):
            find({FEMALE: 4055}, split=split)


def test_half_a_pair(tmp_path, make, find):
    make(ALL, models="f")
    with pytest.raises(PatchesError) as caught:
        find({FEMALE: 1})
    assert str(caught.value) == f"{tmp_path}/{ALL}: 1 of 2 folders of {RUN}: {RUN}.model[gen_g] is missing"


def test_of_several_pairs_the_preferred_one(tmp_path, make, find):
    for identifier in (ALL, FIRST):
        for run in (RUN, OTHER_RUN):
            make(identifier, run)
    with pytest.raises(PatchesError) as caught:
        find({FEMALE: 1})
    assert str(caught.value) == (
        f"{tmp_path}: 4 pairs of folders with patched images of group 'not blond / female' of the train split: "
        f"{FIRST}/{RUN}; {FIRST}/{OTHER_RUN}; {ALL}/{RUN}; {ALL}/{OTHER_RUN}; give in patching.prefer texts that only "
        "the right one's path has"
    )
    with pytest.raises(PatchesError, match=": 2 pairs of folders"):
        find({FEMALE: 1}, ["3450"])
    assert find({FEMALE: 1}, ["y.4054]", "3450"]) == {
        FEMALE: PatchedGroup(pair(tmp_path, FIRST, OTHER_RUN), 4054)
    }
    # A text that is for another group does no harm, one that is for none is a mistake.
    make(f"[{NAME}.0.1.y].[2.*.*].train.0.000")
    assert find({MALE: 1}, ["y.4054]", "3450"])[MALE].take is None
    with pytest.raises(PatchesError) as caught:
        find({MALE: 1}, ["y.4055]"])
    assert str(caught.value) == f"patching.prefer: 'y.4055]' is in 0 of 10 paths in {tmp_path}"
