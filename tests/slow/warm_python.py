"""Stands in for `python` where a test starts many: imports TFX once and forks a process for every command.

    python warm_python.py SOCKET

A request is a line of JSON, {"command": ["python", "-m", MODULE, …], "environment": {…}, "output": FILE}; the answers
are the process's id and, when it has ended, its exit code, or minus the signal. Each command has its own process, its
own arguments and the environment of the request alone, and ends as it would: only the half minute for TFX is saved.
"""

import json
import os
import runpy
import socket
import sys
import threading

import tfx.orchestration.portable.launcher  # noqa: F401
from tfx import v1  # noqa: F401

import model_patching.pipelines.pipeline  # noqa: F401


def run(request: dict) -> None:
    """Becomes the command; doesn't return."""
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    _, flag, module, *arguments = request["command"]
    assert flag == "-m"
    sys.argv = [module, *arguments]
    code = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        # None is success: absl's `app.run` exits with what `main` returns.
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(connection: socket.socket, process: int) -> None:
    """Answers when the process has ended."""
    _, status = os.waitpid(process, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    connection.close()


def main(path: str) -> None:
    """Serves requests until it is killed."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    while True:
        connection, _ = server.accept()
        request = json.loads(connection.makefile().readline())
        process = os.fork()
        if process == 0:
            server.close()
            connection.close()
            run(request)
        connection.sendall(f"{process}\n".encode())
        threading.Thread(target=wait, args=(connection, process), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
