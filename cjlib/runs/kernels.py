"""Kernels that are forked with the libraries in place, where a new one would import them first.

Most of a small report's time is importing the same libraries in every kernel. Here one process
imports them (Python's fork server), and each notebook gets a fork of it, which forks its kernel.
Nothing else is shared: a fork copies what it writes to. Elsewhere than on Linux, where system
libraries may not survive a fork, kernels are started anew.
"""

import multiprocessing
import os
import sys
import tempfile
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext

import matplotlib
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

LIBRARIES = [
    *("papermill", "seaborn", "statistics", "scipy.stats", "sklearn.cluster", "sklearn.ensemble"),
    *("sklearn.dummy", "sklearn.linear_model", "sklearn.mixture", "sklearn.tree"),
    *("cjlib.attribution", "cjlib.churn", "cjlib.journey_map", "cjlib.log_profile"),
    *("cjlib.markov.mixture", "cjlib.plots", "cjlib.report", "cjlib.runs.kernels"),
    *("cjlib.segments", "cjlib.survival"),
]
"""What notebooks import; what is lacking here, a kernel imports itself."""


LONGEST = 70
"""Characters of a temporary folder in which a fork server can have its socket."""


def context() -> BaseContext:
    """Return how processes are started that execute notebooks."""
    if sys.platform != "linux" or len(tempfile.gettempdir()) > LONGEST:
        return multiprocessing.get_context("spawn")
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(LIBRARIES)
    return forked


def waiting_kernel() -> dict:
    """Fork the kernel of this process; return by which options Papermill finds it.

    To be called before this process opens sockets or starts threads, which no fork has.
    """
    ForkedKernelManager.waiting = ForkedKernel()
    return {"kernel_manager_class": ForkedKernelManager}


class ForkedKernel:
    """A kernel that waits for its work, with the face of a `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self):
        fork = multiprocessing.get_context("fork")
        theirs, self.begin = fork.Pipe(duplex=False)
        self.process = fork.Process(target=_serve, args=(theirs, self.begin), daemon=True)
        self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """Return how it ended, None while it lives."""
        return self.process.exitcode

    def wait(self) -> int:
        """Return how it ended, once it has."""
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def terminate(self) -> None:
        """Ask it to end."""
        self.process.terminate()


def _serve(begin: Connection, other: Connection) -> None:
    """Become the kernel that a manager asks for."""
    other.close()  # or it would never learn that the run has ended
    os.setsid()  # no signal to the run's group is one to the kernel
    try:
        arguments, environment, folder = begin.recv()
    except EOFError:
        return
    os.environ.update(environment)
    os.chdir(folder)
    rc = matplotlib.rc_params()  # of this environment and folder
    matplotlib.rcParams.update({name: rc[name] for name in rc if name != "backend"})
    app = IPKernelApp.instance()
    app.initialize(arguments)
    app.start()


class ForkedKernelManager(AsyncKernelManager):
    """Manages the kernel that waits in this process's `waiting`, in place of one started anew."""

    waiting: ForkedKernel

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.provisioner = _Provisioner(kernel_spec=self.kernel_spec, parent=self)


class _Provisioner(LocalProvisioner):
    async def launch_kernel(self, cmd: list[str], **kwargs):
        self.process = ForkedKernelManager.waiting
        self.pid = self.pgid = self.process.pid
        parent = f"--IPKernelApp.parent_handle={os.getpid()}"  # it ends with this process
        arguments = [*cmd[cmd.index("-f") :], parent]
        self.process.begin.send((arguments, kwargs["env"], kwargs.get("cwd", os.getcwd())))
        return self.connection_info
