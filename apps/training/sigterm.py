"""Notices SIGTERM without dying of it."""

import signal
import threading


class Sigterm:
    """Notes, inside `with`, that SIGTERM has arrived.

    SIGINT stays what it is: Ctrl-C stops at once, and the run goes on from its
    last checkpoint.

    Attributes:
        received: Whether it has arrived.
    """

    def __init__(self):
        self.received = False
        self._before = None

    def __enter__(self):
        # Python allows handlers in the main thread alone.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *error):
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, number, frame):
        self.received = True
