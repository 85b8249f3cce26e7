"""Times of a schedule, as people write them and as Kubeflow Pipelines takes them."""

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# Name, first and last value, and names of the values.
_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)


class BadCron(ValueError):
    """No times can be had from the expression; the message says why, in one line."""


def kubeflow_cron(text: str) -> str:
    """The six fields that Kubeflow Pipelines takes: it counts seconds first.

    It would read the usual five as second, minute, hour, … and run "0 3 * * *" each hour. The syntax of a field is that
    of github.com/robfig/cron 1.2, by which the server and its controller read it.

    Args:
        text: five fields as in crontab (minute, hour, day of the month, month, day of the week), or six, seconds first.

    Raises:
        BadCron: there are neither five nor six fields, one of them isn't right, or the date never comes.
    """
    fields = text.split()
    if len(fields) not in (5, 6):
        raise BadCron(f"--cron '{text}': give five fields, such as '0 3 * * *' for each day at 03:00")
    six = fields if len(fields) == 6 else ["0", *fields]
    values = [_values(text, field, *description) for field, description in zip(six, _FIELDS, strict=True)]
    _, _, _, days, months, _ = values
    any_day_of_week = six[5].startswith(("*", "?"))
    if any_day_of_week and min(days) > max(_DAYS_OF_MONTH[month - 1] for month in months):
        raise BadCron(f"--cron '{text}': there is no such date")
    return " ".join(six)


def _values(text: str, field: str, name: str, first: int, last: int, names: tuple[str, ...]) -> set[int]:
    """What a field stands for; of lists, ranges and steps."""
    found = set()
    for item in field.split(","):
        parts = re.fullmatch(r"(?:([*?])|(\w+)(?:-(\w+))?)(?:/(\d+))?", item)
        if parts is None:
            raise BadCron(f"--cron '{text}': {name} '{item}' can't be read")
        star, start, end, step = parts.groups()
        low = first if star else _number(text, start, name, first, last, names)
        top = last if star or step else low
        high = _number(text, end, name, first, last, names) if end else top
        if low > high:
            raise BadCron(f"--cron '{text}': {name} '{item}' ends before it begins")
        if step == "0":
            raise BadCron(f"--cron '{text}': {name} '{item}' has steps of 0")
        found.update(range(low, high + 1, int(step or 1)))
    return found


def _number(text: str, value: str, name: str, first: int, last: int, names: tuple[str, ...]) -> int:
    if value.lower() in names:
        return first + names.index(value.lower())
    number = int(value) if value.isascii() and value.isdecimal() else -1
    if not first <= number <= last:
        hint = ", 0 is Sunday" if names is _DAYS else ""
        raise BadCron(f"--cron '{text}': {name} '{value}' is not between {first} and {last}{hint}")
    return number
