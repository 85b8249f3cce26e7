import gzip

import pytest

from model_patching.data.truncation import is_truncated

WHOLE = gzip.compress(bytes(range(256)) * 100)


@pytest.mark.parametrize(
    "content, truncated",
    [
        (WHOLE, False),
        (WHOLE + WHOLE, False),
        (WHOLE[:-1], True),
        (WHOLE[:-8], True),
        (WHOLE[:50], True),
        (WHOLE[:-8] + bytes(8), True),
        (b"", False),
    ],
    # A gzip file holds the time, which would name the tests otherwise in each process.
    ids=["whole", "two", "one byte short", "no end", "start", "end of zeros", "empty"],
)
def test_only_a_whole_file_passes(tmp_path, content, truncated):
    (tmp_path / "file").write_bytes(content)
    assert is_truncated(str(tmp_path / "file")) is truncated
