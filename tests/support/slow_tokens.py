"""A rank of two that turns pairs into tokens: rank 0 takes longer than a collective operation may wait, in its parts and in
what it does alone."""

import datetime
import json
import sys
import time
from pathlib import Path

import torch.distributed as dist

from training import prepare
from training.job import TrainJob
from training.processes import ProcessGroup

TIMEOUT_S, SLOW_S = 6.0, 8.0


def main() -> None:
    job = TrainJob.read(Path(sys.argv[1]))
    group = ProcessGroup()
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=TIMEOUT_S))
    made, prepare.PART_ROWS = [], 16
    write = prepare.write_pairs

    def slowly(path: Path, *args):
        if group.is_main and not made:
            time.sleep(SLOW_S)
        made.append(f"{path.parent.name}/{path.name}")
        return write(path, *args)

    prepare.write_pairs = slowly
    tokens = prepare.prepare_tokens(job, prepare.tokenizer_for(job, group), group, True)
    with group.main_only() as main:
        if main:
            time.sleep(SLOW_S)
    total = group.all_reduce_sum([len(tokens.train)])
    (job.out / f"rank-{group.rank}.json").write_text(json.dumps({"made": made, "pairs": total}))
    group.part()


if __name__ == "__main__":
    main()
