"""What the exit codes of the commands, and of a cluster's steps, mean."""

DONE = 0
FAILED = 1
BAD_INPUT = 2  # an argument, the configuration, data or a data base; typer ends with it too
NOT_BLESSED = 3
INTERRUPTED = 130
