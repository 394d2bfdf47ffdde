"""What the processes of a pool do before their first task."""

from __future__ import annotations

import signal
import sys


def quiet_worker() -> None:
    """Workers share the processors, leave interrupts to the process that waits, and the standard output to its results.

    What anybody's code prints in a worker goes to the standard error stream, as in the process that waits.
    """
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr
