"""Python processes that start at once: forks of a process that has imported what the stages import.

A new interpreter takes five seconds of CPU time to import torch and transformers. `Forks` forks a server from the
process of the tests, before torch starts threads in it; the server forks once for each `python -m` that it is asked
for. The programs `python` and `torchrun` in `Forks.folder` ask it, so that DVC and torchrun start stages in this way;
they end as the fork ends, and if they are killed, it is too. Forks have the code of this checkout, and the caller's
environment, folder and standard files. As a script, this file is that `python`.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys

SIZE = 8  # bytes of a number
FORKED = ("pipeline.stages.", "tests.", "torch.distributed.")  # other commands get a new interpreter


class Fork:
    """A process of the server, like a `subprocess.Popen`.

    Args:
        address: of the server.
        arguments: after `python -m`.
        environment: all its variables.
        files: descriptors of its standard input, output and error.
    """

    def __init__(self, address: str, arguments: list[str], environment: dict[str, str], files: list[int]):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        request = json.dumps([arguments, os.getcwd(), environment]).encode()
        socket.send_fds(self._socket, [len(request).to_bytes(SIZE, "big")], files)
        self._socket.sendall(request)
        self.pid = _receive(self._socket)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while the process runs."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> int | None:
        """Like `poll`, after at most this many seconds."""
        if self.returncode is None:
            self._socket.settimeout(timeout)
            try:
                self.returncode = _receive(self._socket)
            except (BlockingIOError, TimeoutError):
                return None
            self._socket.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process if it runs, and wait until it has ended."""
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)
            self.wait()


def _send(connection: socket.socket, number: int) -> None:
    connection.sendall(number.to_bytes(SIZE, "big", signed=True))


def _receive(connection: socket.socket) -> int:
    answer = connection.recv(SIZE, socket.MSG_WAITALL)
    if len(answer) < SIZE:
        raise EOFError("the server of forks has ended")
    return int.from_bytes(answer, "big", signed=True)


class Forks:
    """The server. Create it before torch computes anything in this process.

    Attributes:
        folder: for the front of PATH.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self.address = os.path.join(folder, "server")
        for name, before in (("python", ""), ("torchrun", "-m torch.distributed.run")):
            script = os.path.join(folder, name)
            with open(script, "w") as file:
                command = f"'{sys.executable}' -IS '{__file__}' '{self.address}' '{sys.executable}' {before}"
                file.write(f'#!/bin/sh\nexec {command} "$@"\n')
            os.chmod(script, 0o755)
        self._alive, theirs = socket.socketpair()  # closed when this process ends
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.address)
        listener.listen()
        self._server = os.fork()
        if self._server == 0:
            try:
                _serve(listener, theirs)
                os._exit(0)
            finally:
                os._exit(1)
        theirs.close()
        listener.close()

    def start(self, *arguments: str, stdin: int, stdout: int, stderr: int) -> Fork:
        """Fork a process that runs `python -m` with these arguments, with this process's folder and environment."""
        return Fork(self.address, list(arguments), dict(os.environ), [stdin, stdout, stderr])

    def close(self) -> None:
        """Kill what still runs, and the server."""
        self._alive.close()
        os.waitpid(self._server, 0)


def _serve(listener: socket.socket, alive: socket.socket) -> None:
    """Attend to each connection in a process of its own, until `alive` ends."""
    import faulthandler
    import logging

    faulthandler.disable()
    logging.root.handlers.clear()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener, alive = _only(listener, alive)
    attendants = []
    while alive not in select.select([listener, alive], [], [])[0]:
        connection, _ = listener.accept()
        attendant = os.fork()
        if attendant == 0:
            listener.close()
            _attend(connection, alive)
            os._exit(0)
        connection.close()
        attendants = [pid for pid in (*attendants, attendant) if os.waitpid(pid, os.WNOHANG) == (0, 0)]
    for pid in attendants:
        os.waitpid(pid, 0)


def _attend(connection: socket.socket, alive: socket.socket) -> None:
    """Fork the process, tell its id and its exit code; kill it if the connection or `alive` ends first."""
    from multiprocessing import get_context

    size, files, *_ = socket.recv_fds(connection, SIZE, 3)
    request = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    process = get_context("fork").Process(target=_run, args=(files, *json.loads(request)))
    process.start()
    for file in files:
        os.close(file)
    ended = os.pidfd_open(process.pid)
    with contextlib.suppress(ConnectionError):
        _send(connection, process.pid)
    if ended not in select.select([ended, connection, alive], [], [])[0]:
        process.kill()
    process.join()
    with contextlib.suppress(ConnectionError):
        _send(connection, process.exitcode)


def _only(*connections: socket.socket) -> list[socket.socket]:
    """Close all other files of this process; standard input, output and error become /dev/null."""
    kept = [connection.detach() for connection in connections]
    for first, last in zip([2, *sorted(kept)], [*sorted(kept), os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(first + 1, last)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    return [socket.socket(fileno=number) for number in kept]


def _run(files: list[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Do what `python -m` does."""
    import runpy

    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, folder)
    module, *sys.argv[1:] = arguments
    sys.modules.pop(module, None)  # imported as it may be, it runs again under the name __main__
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _python(address: str, interpreter: str, *arguments: str) -> None:
    """Do what the interpreter does with these arguments, in a fork if they run a module that is worth it."""
    given = [argument for argument in arguments if argument != "-u"]
    if given[:1] != ["-m"] or not given[1].startswith(FORKED):
        os.execv(interpreter, [interpreter, *arguments])
    fork = Fork(address, given[1:], dict(os.environ), [0, 1, 2])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: fork.send_signal(number))
    code = fork.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    _python(*sys.argv[1:])
