"""What is told of an exception."""

from model_patching.pipelines.errors import LONGEST_REASON, behind_clean_up, one_paragraph


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


def launch(clean_up_fails: bool) -> Exception:
    """The error of a node, with functions named as TFX's are."""

    def run_executor():
        raise ValueError("the node's own")

    def remove_output_dirs():
        try:
            raise FileNotFoundError("gone")
        except FileNotFoundError as error:
            raise OSError from error

    try:
        try:
            run_executor()
        except ValueError:
            if clean_up_fails:
                remove_output_dirs()
            raise
    except (ValueError, OSError) as error:
        return error


def test_a_failing_clean_up_does_not_hide_the_nodes_own_error():
    assert str(behind_clean_up(launch(clean_up_fails=False))) == "the node's own"
    assert isinstance(launch(clean_up_fails=True), OSError)
    assert str(behind_clean_up(launch(clean_up_fails=True))) == "the node's own"


def test_a_failure_that_cannot_be_published_does_not_hide_the_nodes_own_error():
    def _publish_failed_execution():
        try:
            raise ConnectionError("refused")
        except ConnectionError:
            raise OSError("the store is away") from None

    def run_executor():
        raise ValueError("the node's own")

    try:
        try:
            run_executor()
        except ValueError:
            _publish_failed_execution()
    except OSError as error:
        assert str(behind_clean_up(error)) == "the node's own"


def test_an_error_without_clean_up_stays():
    error = KeyError("x")
    assert behind_clean_up(error) is error
