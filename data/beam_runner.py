"""Which of Beam's runners works where nobody names one. Plain Python: the configuration has it for a default."""

# Beam's "DirectRunner" would first download another runner, a program of its own, from the internet.
IN_PROCESS_RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"
