"""A process that reads parts of sources: each request names one and a file for its pairs; the answer is what it holds.

python -m resources.sources.part_process PARENT
"""

import os
import pickle
import signal
import sys
from collections import Counter
from typing import BinaryIO

import pyarrow as pa

from curation.tables import RAW_POOL
from resources.sources.parts import PartRead
from resources.sources.reader import read_part
from training.supervise import die_with_parent


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while True:
        try:
            source, part, cells, path = pickle.load(requests)
        except EOFError:
            return
        told: PartRead | Exception
        try:
            told = PartRead(path)
            with pa.ipc.new_file(str(path), RAW_POOL.schema) as file:
                runs: Counter[int | None] = Counter()
                for batch in read_part(source, part.rows(source.max_row_bytes), cells, told):
                    told.unusable.append(batch.unusable)
                    told.quarantine.append(batch.quarantine)
                    file.write_batch(batch.pairs)
                    runs[batch.run] += 1
                told.runs += runs.values()
        except Exception as e:  # for who asked to raise
            told = RuntimeError(f"{part.path}: {type(e).__name__}: {e}")
        pickle.dump(told, answers)
        answers.flush()


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks says when to stop
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a package prints is no answer
    serve(sys.stdin.buffer, answers)
