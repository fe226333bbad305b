"""Rewards for a file or over HTTP.

    python -m training.serve file MODEL INPUT.jsonl OUTPUT.jsonl
    python -m training.serve http MODEL --port 8500

A line of the file, or an element of the request's `items`, is an item of `training.scorer`. A line that has no reward
for another reason than its length costs that line: `unscored` says file, line and reason, the others are scored, and
the exit status is 2. A request with such an item is refused whole, with its reason. `training.endpoint` says what a
request may take.

    curl -d '{"items": [{"prompt": "2+2?", "chosen": "4", "rejected": "5"}]}' http://127.0.0.1:8500/score
"""

import argparse
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from training.addresses import PortTaken, listening, loopback
from training.atomic import beside
from training.endpoint import Endpoint, Limits, server
from training.scorer import BadItem, Scorer

CHUNK = 1024
SHOWN = 10  # reasons that are printed; all stand in the file
TOKEN = "ASSAY_ENDPOINT_TOKEN"
SHORTEST_TOKEN = 16


@dataclass
class Scored:
    """What became of a file's lines.

    Attributes:
        scored: lines with rewards.
        over_length: lines that are too long.
        refused: lines without a reward for another reason.
        reasons: the first of them, each with file and line.
    """

    scored: int = 0
    over_length: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()

    def add(self, result: dict | BadItem) -> None:
        if isinstance(result, BadItem):
            self.refused += 1
            self.reasons = (*self.reasons, str(result))[:SHOWN]
        elif result.get("unscored"):
            self.over_length += 1
        else:
            self.scored += 1

    def told(self, target: Path) -> int:
        """Print the reasons and the counts on stderr. Returns the exit status: 2 if a line was refused."""
        more = [f"and {self.refused - len(self.reasons)} more"] * (self.refused > len(self.reasons))
        counts = [f"{self.scored:,} line{'s' * (self.scored != 1)} scored"]
        counts += [f"{self.over_length:,} too long"] * bool(self.over_length)
        counts += [f"{self.refused:,} refused (`unscored` in {target} says why)"] * bool(self.refused)
        print(*self.reasons, *more, ", ".join(counts), sep="\n", file=sys.stderr)
        return 2 if self.refused else 0


def score_file(scorer: Scorer, source: Path, target: Path) -> Scored:
    """Score a JSONL file; each line of `target` is the line of `source` with its rewards, or with `unscored`.

    `target` appears whole or not at all.
    """
    done = Scored()
    with beside(target) as new:
        with source.open("rb") as lines, new.open("w", encoding="utf-8", newline="\n") as out:
            numbered = _items(lines, source)
            while chunk := list(itertools.islice(numbered, CHUNK)):
                for (_, item), result in zip(chunk, scorer.score(chunk), strict=True):
                    done.add(result)
                    out.write(_line(item, result) + "\n")
        new.replace(target)
    return done


def _items(lines: Iterable[bytes], source: Path) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{source}, line {number}"
            try:
                yield where, json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as e:
                yield where, BadItem(f"{where}: no UTF-8 at byte {e.start}")
            except (json.JSONDecodeError, RecursionError) as e:
                yield where, BadItem(f"{where}: no JSON: {e}")


def _line(item: object, result: dict | BadItem) -> str:
    kept = item if isinstance(item, dict) else {}
    if isinstance(result, BadItem):
        names = ("reward",) if "messages" in kept else ("r_chosen", "r_rejected")
        result = {**dict.fromkeys(names if kept else ()), "unscored": str(result)}
    line = json.dumps({**kept, **result}, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # half of a surrogate pair somewhere: it stays, spelled as it came
        line = json.dumps({**kept, **result})
    return line


def http(scorer: Scorer, host: str, port: int, limits: Limits, token: str | None) -> int:
    """Serve until told to stop; returns the exit status."""
    with listening(host, port) as opened:
        shown = f"[{host}]" if ":" in host else host
        print(f"listening on http://{shown}:{opened.getsockname()[1]}/score", file=sys.stderr)
        endpoint = Endpoint(scorer, limits, token)
        try:
            server(endpoint).run(sockets=[opened])
        except KeyboardInterrupt:
            return 130
        finally:
            endpoint.stop()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="training.serve", description=(__doc__ or "").splitlines()[0])
    ways = parser.add_subparsers(dest="way", required=True)
    file, http_way = ways.add_parser("file"), ways.add_parser("http")
    for way in (file, http_way):
        way.add_argument("model", type=Path, help="folder of a reward model")
        way.add_argument("--max-tokens", type=int, help="longest input; default: what the model says of itself")
    file.add_argument("source", type=Path)
    file.add_argument("target", type=Path)
    http_way.add_argument(
        "--host", default="127.0.0.1", help=f"an address that is not this machine's own needs a token in {TOKEN}"
    )
    http_way.add_argument("--port", type=int, default=8500)
    for limit in dataclasses.fields(Limits):
        kind = float if limit.type is float else int
        name = "--max-" + limit.name.replace("_", "-")
        http_way.add_argument(name, type=kind, default=limit.default, dest=limit.name, help=limit.metadata["help"])
    args = parser.parse_args()
    token = os.environ.get(TOKEN) or None
    if args.way == "http":
        if token is None and not loopback(args.host):
            parser.error(f"{args.host} is not this machine's own address: set a token in {TOKEN}")
        if token is not None and len(token) < SHORTEST_TOKEN:
            parser.error(f"the token in {TOKEN} is short; at least {SHORTEST_TOKEN} characters")
    try:
        scorer = Scorer(args.model, args.max_tokens)
        if scorer.note:
            print(scorer.note, file=sys.stderr)
        if args.way == "file":
            return score_file(scorer, args.source, args.target).told(args.target)
        limits = Limits(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Limits)})
        return http(scorer, args.host, args.port, limits, token)
    except (OSError, ValueError, PortTaken) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
