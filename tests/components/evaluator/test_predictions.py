"""What is read from files of predictions, and what is refused."""

import gzip

import numpy as np
import pytest

from model_patching.components.evaluator.predictions import BadPredictions, Columns, read_predictions


@pytest.fixture
def read(tmp_path):
    """A function that reads a text as a file of predictions."""

    def do(text, classes=None, subgroups=None, **columns):
        file = tmp_path / "p.csv"
        file.write_text(text, encoding="utf-8")
        return read_predictions(file, Columns(**columns), classes, subgroups)

    return do


def test_names(read):
    found = read("label,subgroup,prediction\ndog,snow,cat\ncat,grass,cat\ndog,grass,dog\n")
    assert found.groups.classes == ("cat", "dog") and found.groups.subgroups == ("grass", "snow")
    assert found.label.tolist() == [1, 0, 1]
    assert found.subgroup.tolist() == [1, 0, 0]
    assert found.prediction.tolist() == [0, 0, 1]
    assert found.probabilities is None


def test_numbers_are_ordered_by_size(read):
    found = read("label,subgroup,prediction\n10,0,9\n9,0,9\n")
    assert found.groups.classes == ("9", "10")
    assert found.label.tolist() == [1, 0]


def test_numbers_stand_for_listed_names(read):
    text = "label,subgroup,probability_1,probability_0\n1,0,0.4,0.6\n0,1,0.25,0.75\n"
    found = read(text, classes=["landbird", "waterbird"], subgroups=["land", "water"])
    assert found.groups.classes == ("landbird", "waterbird") and found.groups.subgroups == ("land", "water")
    assert found.label.tolist() == [1, 0] and found.subgroup.tolist() == [0, 1]
    assert found.prediction.tolist() == [0, 0]
    np.testing.assert_allclose(found.probabilities, [[0.6, 0.4], [0.75, 0.25]])


def test_probabilities_are_in_the_order_of_the_classes_and_scaled(read):
    text = "subgroup,probability_b,probability_a,label\nx,0.7004,0.3,b\nx,0.5,0.5,a\n"
    found = read(text)
    np.testing.assert_allclose(found.probabilities, [[0.3 / 1.0004, 0.7004 / 1.0004], [0.5, 0.5]], rtol=1e-12)
    assert found.prediction.tolist() == [1, 0]  # the first on a tie
    assert read(text, classes=["b", "a"]).label.tolist() == [0, 1]


def test_a_prediction_beside_probabilities_counts(read):
    found = read("label,subgroup,prediction,probability_a,probability_b\na,x,b,0.6,0.4\nb,x,b,0.1,0.9\n")
    assert found.prediction.tolist() == [1, 1]
    np.testing.assert_allclose(found.probabilities[0], [0.6, 0.4])


def test_columns_by_other_names_and_columns_that_do_not_matter(read):
    found = read(
        ",y,place,guess,p:a,p:b,note\n0,a,x,a,1,0,\n1,b,x,b,0,1,nan\n",
        label="y",
        subgroup="place",
        prediction="guess",
        probability="p:",
    )
    assert found.label.tolist() == [0, 1] and found.probabilities.tolist() == [[1, 0], [0, 1]]


def test_none_and_na_are_names(read):
    found = read("label,subgroup,prediction\na,None,a\nb,NA,b\n")
    assert found.groups.subgroups == ("NA", "None")


def test_a_class_without_examples(read):
    found = read("label,subgroup,prediction\na,x,c\nb,x,b\n", classes=["a", "b", "c"])
    assert found.groups.num_classes == 3
    assert found.prediction.tolist() == [2, 1]


def test_compressed_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "p.csv.gz"
    file.write_bytes(gzip.compress("label,subgroup,prediction\na,é,b\nb,x,b\n".encode("utf-8-sig")))
    assert read_predictions(file, Columns()).groups.subgroups == ("x", "é")


HEAD = "label,subgroup,prediction\na,x,a\n"
WITH = "label,subgroup,probability_a,probability_b\na,x,0.5,0.5\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("label,subgroup,prediction\n", "there are no rows below the header"),
        ("subgroup,prediction\nx,a\n", "there is no column 'label', name it with --label-column; there are 'sub"),
        ("label,prediction\na,a\n", "there is no column 'subgroup', name it with --subgroup-column; there are 'lab"),
        ("label,subgroup,p\na,x,a\n", "there is no column 'prediction', name it with --prediction-column; there are"),
        ("label,label,subgroup,prediction\na,a,x,a\n", "there are several columns 'label'"),
        (HEAD + "b,x\n", "row 3: column 'prediction' has no value"),
        (HEAD + "b,x,nan\n", "row 3: column 'prediction' has no value"),
        (HEAD + ",x,b\n", "row 3: column 'label' has no value"),
        (HEAD + "b,,b\n", "row 3: column 'subgroup' has no value"),
        (HEAD + "\nb,x,b\n", "row 3: column 'label' has no value"),
        (HEAD + "b,x,b,extra\n", "not a CSV file in UTF-8: Expected 3 fields in line 3, saw 4"),
        ("label,subgroup,prediction\nb,x,b,extra\n", "row 2 has more fields than the header"),
        (HEAD + 'b,"x,b\n', "not a CSV file in UTF-8: EOF inside string starting at row 3"),
        (HEAD + "bird,x,a\na,x,brid\n", "row 4: prediction 'brid' is none of a, bird, did you mean 'bird'?; --"),
        (HEAD, "column 'label' is 'a' in every row; --classes lists the others"),
        (WITH + "b,x,nan,0.5\n", "row 3: column 'probability_a' has no value"),
        (WITH + "b,x,0.5,\n", "row 3: column 'probability_b' has no value"),
        (WITH + "b,x,0.5,half\n", "row 3: probability_b is 'half', which is no number"),
        (WITH + "b,x,0.5,0.502\n", "row 3: the probabilities add up to 1.002, not to 1"),
        (WITH + "b,x,-0.5,1.5\n", "row 3: probability_a is -0.5, which is not between 0 and 1"),
        (WITH + "b,x,0.5,inf\n", "row 3: probability_b is inf, which is not between 0 and 1"),
        (WITH + "c,x,0.5,0.5\n", "there is no column 'probability_c', the probability of class 'c'; a column may also"),
        ("label,subgroup,probability_a\na,x,1\n", "column 'label' is 'a' in every row"),
    ],
)  # fmt: skip
def test_what_is_refused(read, tmp_path, text, says):
    with pytest.raises(BadPredictions) as caught:
        read(text)
    assert str(caught.value).startswith(f"{tmp_path}/p.csv: {says}")
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_the_lists(read):
    with pytest.raises(BadPredictions, match=r"row 2: label 'a' is none of b, c; --classes lists"):
        read(HEAD, classes=["b", "c"])
    with pytest.raises(BadPredictions, match=r"row 3: label '2' is none of a, b; --classes lists"):
        read("label,subgroup,prediction\n0,x,1\n2,x,1\n", classes=["a", "b"])
    with pytest.raises(BadPredictions, match=r"row 2: subgroup 'x' is none of y; --subgroups lists"):
        read(HEAD, classes=["a", "b"], subgroups=["y"])
    with pytest.raises(BadPredictions, match=r"no row is of subgroup 'y', which --subgroups lists"):
        read(HEAD, classes=["a", "b"], subgroups=["x", "y"])
    with pytest.raises(
        BadPredictions, match=r"column 'probability_b' is of none of the classes a, c; --classes"
    ):
        read(WITH, classes=["a", "c"])


def test_a_column_that_does_not_tell_groups(read):
    rows = "".join(f"{row % 2},{row},1\n" for row in range(600))
    with pytest.raises(
        BadPredictions, match=r"2 classes by 600 subgroups are too many, at most 1,000 groups"
    ):
        read(f"label,subgroup,prediction\n{rows}")


def test_files_that_cannot_be_read(tmp_path):
    for name, content, says in (
        ("gone.csv", None, "gone.csv: can't be read: No such file or directory"),
        ("latin.csv", "label,subgroup,prediction\né,x,é\n".encode("latin-1"), "latin.csv: not a CSV file in UTF-8"),
        ("cut.csv.gz", gzip.compress(HEAD.encode() * 1000)[:-20], "cut.csv.gz: not a CSV file in UTF-8"),
        ("no.csv.gz", HEAD.encode(), "no.csv.gz: can't be read: Not a gzipped file"),
    ):  # fmt: skip
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(BadPredictions) as caught:
            read_predictions(tmp_path / name, Columns())
        assert says in str(caught.value) and "\n" not in str(caught.value)
