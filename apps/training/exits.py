"""How a training program ends other than by finishing.

| exit code | meaning |
|---|---|
| 0 | finished |
| 1 | bad input, or a defect, which comes with a traceback (`keras_xf.launch`) |
| 70 | a loss, a metric or a weight was not finite (`NonFiniteError`) |
| 75 | stopped by SIGTERM, state saved: run it again (`Preempted`) |
"""

from keras_xf.launch import ProgramError


class NonFiniteError(ProgramError):
    """A loss, a metric or a weight is infinite or not a number."""

    # EX_SOFTWARE of sysexits.h: trying again ends in the same place.
    exit_code = 70


class Preempted(SystemExit):
    """Training was asked to stop, and has saved its state.

    It is a `SystemExit`, so that a program which does nothing about it leaves
    with the code that tells a scheduler to start it again.
    """

    # EX_TEMPFAIL of sysexits.h: try again.
    exit_code = 75

    def __init__(self, step: int):
        super().__init__(self.exit_code)
        self.step = step
