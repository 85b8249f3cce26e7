"""What is told of an exception."""

from model_patching.pipelines.errors import LONGEST_REASON, one_paragraph


def test_kind_and_message_in_one_paragraph():
    assert one_paragraph(KeyError("label")) == "KeyError: 'label'"
    assert one_paragraph(ValueError("a\n  b")) == "ValueError: a b"
    assert one_paragraph(MemoryError()) == "MemoryError"


def test_beams_additions_are_left_out():
    assert one_paragraph(ValueError("bad record [while running 'Patch/Map']")) == "ValueError: bad record"
    worker = (
        "Error received from SDK harness: Traceback (most recent call last):\n"
        '  File "worker.py", line 12, in process\n    call()\n    ^^^^^^\n'
        "ValueError: bad record [while running 'Patch/Map']\n"
        "[while running 'Patch/Map-ptransform-12']\n"
    )
    assert one_paragraph(RuntimeError(worker)) == "RuntimeError: ValueError: bad record"


def test_a_long_message_is_cut():
    assert len(one_paragraph(ValueError("x" * 10000))) == LONGEST_REASON + 2
