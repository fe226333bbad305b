"""`python -m tests.support.silent_rank JOB.json`: the training program, whose rank 1 stands still from its third step on,
while the others wait for it in DeepSpeed's own operations."""

import os
import signal
import sys

from training import train

ENGINE_FOR = train.engine_for


def engine_for(*about):
    engine = ENGINE_FOR(*about)
    step, steps = engine.step, iter(range(100))

    def standing_still():
        if os.environ["RANK"] == "1" and next(steps) == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        step()

    engine.step = standing_still
    return engine


if __name__ == "__main__":
    train.engine_for = engine_for
    sys.exit(train.main())
