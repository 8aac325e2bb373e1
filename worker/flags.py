"""A few words between the worker's parent process and its forked child, in shared memory without locks.

A lock could be held by a child at the moment it is killed, and the parent would wait for it forever.
"""

import os
import time
from ctypes import c_double, c_int
from multiprocessing.sharedctypes import RawValue


class SharedFlags:
    """Built in the parent before it forks. Each word is one aligned number, so it is never read half written."""

    def __init__(self) -> None:
        self._stopping = RawValue(c_int, 0)
        self._startup_failed = RawValue(c_int, 0)
        self._child = RawValue(c_int, 0)
        self._last_sign = RawValue(c_double, 0.0)  # seconds of the monotonic clock, which all processes share; 0: idle

    def stop(self) -> None:
        """Parent: let go of the current job at the next opportunity."""
        self._stopping.value = 1

    def stopping(self) -> bool:
        """Child: whether the worker has been asked to stop."""
        return bool(self._stopping.value)

    def fail_startup(self) -> None:
        """Child: this worker can never render anything as it is set up."""
        self._startup_failed.value = 1

    def startup_failed(self) -> bool:
        """Parent: whether to give up."""
        return bool(self._startup_failed.value)

    def enter_child(self) -> None:
        """Child: this process is the one that renders now. It has nothing to do yet."""
        self._child.value = os.getpid()
        self.rest()

    def child(self) -> int:
        """Parent: the process id of the child that renders; 0 before there is one."""
        return self._child.value

    def sign_of_life(self) -> None:
        """Child: the render has come a step further."""
        self._last_sign.value = time.monotonic()

    def rest(self) -> None:
        """Both: there is no render to watch."""
        self._last_sign.value = 0.0

    def silent_s(self) -> float:
        """Parent: for how many seconds the render has given no sign of life; 0 when there is none."""
        last_sign = self._last_sign.value
        return time.monotonic() - last_sign if last_sign else 0.0
