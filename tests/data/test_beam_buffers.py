from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker.data_plane import (
    SizeBasedBufferingClosableOutputStream,
    TimeBasedBufferingClosableOutputStream,
)
from apache_beam.transforms.environments import EmbeddedPythonGrpcEnvironment

from model_patching.data.beam_buffers import turn_off_timed_flush


def runners_output_stream():
    """The stream through which Beam's local runner sends its workers their input."""
    server = worker_handlers.GrpcServer(worker_handlers.StateServicer(), None, None)
    try:
        channel = server.data_plane_handler.get_conn_by_worker_id("worker")
        return channel.output_stream("instruction", "transform")
    finally:
        server.close()


def workers_time_limit():
    """Milliseconds after which a worker thread sends its output; 0 for never."""
    payload = EmbeddedPythonGrpcEnvironment.default().to_runner_api_parameter(None)[1]
    server = worker_handlers.GrpcServer(worker_handlers.StateServicer(), None, None)
    try:
        handler = worker_handlers.EmbeddedGrpcWorkerHandler(payload, server.state, None, server)
        return handler._data_buffer_time_limit_ms
    finally:
        server.close()


def test_beam_no_longer_flushes_by_time(monkeypatch):
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1000)  # Beam's own
    stream = runners_output_stream()
    stream.close()
    assert type(stream) is TimeBasedBufferingClosableOutputStream
    assert workers_time_limit() == 1000
    turn_off_timed_flush()
    assert type(runners_output_stream()) is SizeBasedBufferingClosableOutputStream
    assert workers_time_limit() == 0
