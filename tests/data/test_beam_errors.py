import pytest

from model_patching.data.beam_errors import plain_error


class WrongImage(ValueError):
    pass


TRACEBACK = """bundle_3. Original traceback is
Traceback (most recent call last):
  File "data/a.py", line 3, in f
    raise WrongImage("f.gz, record 3: bad")
somewhere.WrongImage: f.gz, record 3: bad

During handling of the above exception, another exception occurred:
somewhere.WrongImage: f.gz, record 3: bad [while running 'Convert/Map(f)']
"""


@pytest.mark.parametrize(
    "error", [WrongImage("f.gz, record 3: bad [while running 'Convert/Map(f)']"), RuntimeError(TRACEBACK)]
)
def test_the_workers_own_line_is_found(error):
    found = plain_error(error, (KeyError, WrongImage))
    assert type(found) is WrongImage
    assert str(found) == "f.gz, record 3: bad"


def test_interruptions_and_dead_workers_are_known_and_other_errors_are_not():
    assert type(plain_error(RuntimeError("KeyboardInterrupt [while running 'a']"), ())) is KeyboardInterrupt
    assert "has ended" in str(plain_error(RuntimeError("Channel closed prematurely."), (WrongImage,)))
    assert plain_error(ValueError("something else"), (WrongImage,)) is None
