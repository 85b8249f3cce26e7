"""Times of schedules. What robfig/cron 1.2 makes of an expression was worked out by hand from its documentation."""

import pytest

from model_patching.pipelines.kubeflow.cron import BadCron, kubeflow_cron


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("  */15   * * * *  ", "0 */15 * * * *"),
        ("30 0 3 * * *", "30 0 3 * * *"),
        ("0 3 1,15 jan-MAR mon-fri", "0 0 3 1,15 jan-MAR mon-fri"),
        ("5/10 0-6/2 ? * 0", "0 5/10 0-6/2 ? * 0"),
        ("0 3 29 2 *", "0 0 3 29 2 *"),
        ("0 3 31 2 mon", "0 0 3 31 2 mon"),  # a day of the week or of the month, so it does come
    ],
)
def test_five_fields_get_seconds_before_them(written, sent):
    assert kubeflow_cron(written) == sent


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "give five fields"),
        ("0 3 * *", "give five fields"),
        ("@daily", "give five fields"),
        ("0 0 3 * * * 2027", "give five fields"),
        ("60 3 * * *", "minute '60' is not between 0 and 59"),
        ("0 24 * * *", "hour '24' is not between 0 and 23"),
        ("0 3 0 * *", "day of the month '0' is not between 1 and 31"),
        ("0 3 * 13 *", "month '13' is not between 1 and 12"),
        ("0 3 * * 7", "day of the week '7' is not between 0 and 6, 0 is Sunday"),
        ("0 3 * mon *", "month 'mon'"),
        ("0 3 ** * *", "day of the month '**' can't be read"),
        ("-1 3 * * *", "minute '-1' can't be read"),
        ("1,, 3 * * *", "minute '' can't be read"),
        ("*/0 3 * * *", "steps of 0"),
        ("30-10 3 * * *", "ends before it begins"),
        ("0 3 31 2,4,6 *", "no such date"),
        ("0 3 30 feb ?", "no such date"),
        ("٣ 3 * * *", "minute '٣'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(written, says):
    with pytest.raises(BadCron) as error:
        kubeflow_cron(written)
    assert f"--cron '{written}': " in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
