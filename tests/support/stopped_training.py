"""`python -m tests.support.stopped_training JOB.json`: the training program, which ends without a word before its fourth step."""

import sys

from training import train

ONE_STEP = train.Trainer.one_step


def one_step(trainer: train.Trainer) -> dict:
    if trainer.step == 3:
        sys.exit(9)
    return ONE_STEP(trainer)


if __name__ == "__main__":
    train.Trainer.one_step = one_step
    sys.exit(train.main())
