"""Reads any model's predictions from a CSV file, and checks them."""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from model_patching.data.dataset import Groups

# How far the probabilities of a row may add up to something else than one: they may have been rounded.
SUM_TOLERANCE = 1e-3
MOST_GROUPS = 1000

# Nothing else is taken for a missing value: a subgroup may well be called "None" or "NA".
_MISSING = ("", "nan", "NaN", "NAN")
_FIRST_ROW = 2  # rows are counted as in a spreadsheet, where the header is row 1


class BadPredictions(ValueError):
    """Predictions can't be evaluated. One line that names the file and the row or column."""


@dataclass(frozen=True)
class Columns:
    """What the columns of a file are called."""

    label: str = "label"
    subgroup: str = "subgroup"
    prediction: str = "prediction"
    probability: str = "probability_"  # what the columns of probabilities begin with; the class follows


@dataclass(frozen=True)
class Predictions:
    """One model's predictions of n examples."""

    groups: Groups
    label: np.ndarray  # int32 [n]
    subgroup: np.ndarray  # int32 [n]
    prediction: np.ndarray  # int32 [n]
    probabilities: np.ndarray | None  # float64 [n, C], each row's sum is one


def read_predictions(
    file: Path,
    columns: Columns,
    classes: Sequence[str] | None = None,
    subgroups: Sequence[str] | None = None,
) -> Predictions:
    """Reads a file with a header and one row an example.

    It has the columns `label`, `subgroup`, and `prediction` or one `probability_<class>` for each class, or both; other
    columns don't matter. Without `prediction` the class with the highest probability is it, the first on a tie.

    Labels and subgroups are names. Whole numbers may stand for names that are listed in the arguments, counted from 0;
    so they may in the names of columns.

    Args:
        file: CSV, UTF-8, compressed if its name says so.
        columns: what its columns are called.
        classes: the classes in their order. None: those of the labels and of the columns of probabilities, numbers by
            size, other names in alphabetical order.
        subgroups: the subgroups in their order, each with examples. None: those that there are.

    Raises:
        BadPredictions: the file can't be read, or holds what can't be evaluated.
    """
    probability_columns = _probability_columns(file, columns)
    table = _read(file, columns, probability_columns)
    for column in (columns.label, columns.subgroup, columns.prediction):
        if column in table:
            _refuse_rows(file, table[column].isna(), lambda row, name=column: f"column '{name}' has no value")

    suffixes = [column.removeprefix(columns.probability) for column in probability_columns]
    class_names = classes or _in_order({*table[columns.label].cat.categories, *suffixes})
    subgroup_names = subgroups or _in_order(table[columns.subgroup].cat.categories)
    _check_names(file, columns, class_names, subgroup_names)
    label = _codes(file, table[columns.label], class_names, classes is not None, "--classes")
    subgroup = _codes(file, table[columns.subgroup], subgroup_names, subgroups is not None, "--subgroups")
    for number, name in enumerate(subgroup_names):
        if not (subgroup == number).any():
            raise BadPredictions(f"{file}: no row is of subgroup '{name}', which --subgroups lists")
    probabilities = _probabilities(file, table, columns, class_names, classes is not None, suffixes)
    return Predictions(
        groups=Groups(classes=tuple(class_names), subgroups=tuple(subgroup_names)),
        label=label,
        subgroup=subgroup,
        prediction=_codes(file, table[columns.prediction], class_names, classes is not None, "--classes")
        if columns.prediction in table
        else probabilities.argmax(axis=1).astype(np.int32),
        probabilities=probabilities,
    )


def _probability_columns(file: Path, columns: Columns) -> list[str]:
    """Reads the header and checks it."""
    # Without a header of its own pandas would rename columns of one name.
    (header,) = _read_csv(file, header=None, nrows=1, dtype=str, na_filter=False).to_numpy().tolist()
    probability_columns = [
        column
        for column in header
        if column.startswith(columns.probability) and column != columns.probability
    ]
    needed = {columns.label: "--label-column", columns.subgroup: "--subgroup-column"}
    if not probability_columns:
        needed[columns.prediction] = "--prediction-column"
    for column, option in needed.items():
        if column not in header:
            raise BadPredictions(
                f"{file}: there is no column '{column}', name it with {option}; there are "
                + ", ".join(f"'{other}'" for other in header)
            )
    for column in (columns.label, columns.subgroup, columns.prediction, *probability_columns):
        if header.count(column) > 1:
            raise BadPredictions(f"{file}: there are several columns '{column}'")
    return probability_columns


def _read(file: Path, columns: Columns, probability_columns: Sequence[str]) -> pd.DataFrame:
    """Names as categories, probabilities as numbers, and what isn't needed as text, so that nothing is guessed."""
    names = dict.fromkeys((columns.label, columns.subgroup, columns.prediction), "category")
    others = dict.fromkeys(_read_csv(file, nrows=0).columns, "str")
    try:
        table = _read_csv(file, dtype=others | names | dict.fromkeys(probability_columns, "float64"))
    except _NotANumber:
        texts = _read_csv(file, dtype=others | names)
        for column in probability_columns:
            is_bad = texts[column].notna() & pd.to_numeric(texts[column], errors="coerce").isna()
            _refuse_rows(
                file,
                is_bad,
                lambda row, column=column: f"{column} is '{texts[column][row]}', which is no number",
            )
        raise
    if table.empty:
        raise BadPredictions(f"{file}: there are no rows below the header")
    if not isinstance(table.index, pd.RangeIndex):
        # pandas takes what is too much in the first row for names of the rows.
        raise BadPredictions(f"{file}: row {_FIRST_ROW} has more fields than the header")
    return table


class _NotANumber(BadPredictions):
    """A column of numbers has something else."""


def _read_csv(file: Path, **options) -> pd.DataFrame:
    try:
        return pd.read_csv(
            file,
            keep_default_na=False,
            na_values=list(_MISSING),
            skip_blank_lines=False,
            encoding="utf-8-sig",
            **options,
        )
    except pd.errors.EmptyDataError:
        raise BadPredictions(f"{file}: the file is empty") from None
    except (pd.errors.ParserError, UnicodeDecodeError, EOFError) as error:
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        # pandas counts rows from 0 here, lines from 1.
        reason = re.sub(r"(?<=at row )\d+", lambda match: str(int(match[0]) + 1), reason)
        raise BadPredictions(f"{file}: not a CSV file in UTF-8: {reason}") from None
    except OSError as error:
        raise BadPredictions(f"{file}: can't be read: {error.strerror or error}") from None
    except ValueError as error:
        raise _NotANumber(f"{file}: can't be read: {error}") from None


def _in_order(names: Iterable[str]) -> list[str]:
    """Numbers by size, other names in alphabetical order."""
    if all(_is_number(name) for name in names):
        return sorted(names, key=int)
    return sorted(names)


def _is_number(name: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", name) is not None


def _check_names(
    file: Path, columns: Columns, class_names: Sequence[str], subgroup_names: Sequence[str]
) -> None:
    if len(class_names) == 1:
        raise BadPredictions(
            f"{file}: column '{columns.label}' is '{class_names[0]}' in every row; --classes lists the others"
        )
    if len(class_names) * len(subgroup_names) > MOST_GROUPS:
        raise BadPredictions(
            f"{file}: {len(class_names):,} classes by {len(subgroup_names):,} subgroups are too many, at most "
            f"{MOST_GROUPS:,} groups; --label-column and --subgroup-column name the columns that tell them"
        )


def _codes(
    file: Path, column: pd.Series, names: Sequence[str], numbers_count: bool, option: str
) -> np.ndarray:
    """The number of each row's name.

    Args:
        file, column: for messages too.
        names: in the order of their numbers.
        numbers_count: whether a column of whole numbers, none of them a name, has the names' numbers.
        option: lists the names.
    """
    found = list(column.cat.categories)
    known = _numbers(found, names, numbers_count)
    is_unknown = ~column.isin([name for name in found if name in known])

    def unknown(row: int) -> str:
        value = column[row]
        close = difflib.get_close_matches(value, names, n=1)
        suggestion = f", did you mean '{close[0]}'?" if close else ""
        return f"{column.name} '{value}' is none of {_listed(names)}{suggestion}; {option} lists all that there are"

    _refuse_rows(file, is_unknown, unknown)
    return np.array([known[name] for name in found], np.int32)[column.cat.codes.to_numpy()]


def _numbers(found: Sequence[str], names: Sequence[str], numbers_count: bool) -> dict[str, int]:
    """The number of each name that is known."""
    numbers = {name: number for number, name in enumerate(names)}
    if numbers_count and not numbers.keys() & set(found) and all(_is_number(name) for name in found):
        numbers = {str(number): number for number in range(len(names))}
    return {name: numbers[name] for name in found if name in numbers}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown}, … ({len(names)} in all)"


def _probabilities(
    file: Path,
    table: pd.DataFrame,
    columns: Columns,
    class_names: Sequence[str],
    numbers_count: bool,
    suffixes: Sequence[str],
) -> np.ndarray | None:
    """The checked probabilities in the order of the classes, each row divided by its sum; None without columns."""
    if not suffixes:
        return None
    known = _numbers(suffixes, class_names, numbers_count)
    for suffix in suffixes:
        if suffix not in known:
            raise BadPredictions(
                f"{file}: column '{columns.probability}{suffix}' is of none of the classes {_listed(class_names)}; "
                "--classes lists all that there are"
            )
    in_order = {number: f"{columns.probability}{suffix}" for suffix, number in known.items()}
    for number, name in enumerate(class_names):
        if number not in in_order:
            raise BadPredictions(
                f"{file}: there is no column '{columns.probability}{name}', the probability of class '{name}'; "
                "a column may also have the number of a class that --classes lists"
            )
    names = [in_order[number] for number in range(len(class_names))]
    values = table[names].to_numpy(np.float64)
    for column, name in enumerate(names):
        _refuse_rows(
            file, np.isnan(values[:, column]), lambda row, name=name: f"column '{name}' has no value"
        )
        _refuse_rows(
            file,
            (values[:, column] < 0) | (values[:, column] > 1),
            lambda row, name=name, column=column: (
                f"{name} is {values[row, column]:g}, which is not between 0 and 1"
            ),
        )
    sums = values.sum(axis=1)
    _refuse_rows(
        file,
        np.abs(sums - 1) > SUM_TOLERANCE,
        lambda row: f"the probabilities add up to {sums[row]:.6g}, not to 1",
    )
    return values / sums[:, None]


def _refuse_rows(file: Path, is_bad: np.ndarray | pd.Series, says: Callable[[int], str]) -> None:
    """Raises BadPredictions for the first bad row, if there is one."""
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise BadPredictions(f"{file}: row {row + _FIRST_ROW}: {says(row)}")
