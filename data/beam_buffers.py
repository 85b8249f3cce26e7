"""Keeps Beam's local runner from losing records."""

from apache_beam.runners.portability.fn_api_runner import worker_handlers


def turn_off_timed_flush() -> None:
    """Lets Beam send what a step has put out when 10 MB have gathered or the step ends, and not also every second.

    `--direct_running_mode=multi_threading` loses records without this (seen with Beam 2.77). There a thread of its own
    empties the buffers once a second; what the step writes while it does so, between its copying and its clearing, is
    gone (`TimeBasedBufferingClosableOutputStream` in Beam's `data_plane.py`). Beam has no option for it. Call this
    before a pipeline runs; it holds for the whole process, and only matters to the runners that work in it: workers in
    other processes don't flush by time unless they are told to.
    """
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
