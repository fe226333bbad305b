"""The asset graph as text. `python -m tests.support.graph` writes it anew where a change of it is meant."""

from pathlib import Path

from assets.definitions import build
from curation.tables import TABLES
from resources.settings import load
from tests.support.places import ROOT

FILE = Path(__file__).parents[1] / "assets" / "graph.txt"


def described() -> str:
    """A line an asset: group, key, partitions, owners, checks, and the keys that it depends on."""
    graph = build(load(ROOT / "assay.toml")).resolve_asset_graph()
    lines = []
    for key in sorted(graph.materializable_asset_keys, key=lambda k: (graph.get(k).group_name, k)):
        node = graph.get(key)
        kinds = TABLES[key.to_user_string()].partition
        keys = kinds and kinds.replace("|", " x ")
        name = f"{node.group_name}/{key.to_user_string()}" + (f" [{keys}]" if keys else "")
        checks = sorted(k.name for k in node.check_keys)
        lines.append(f"{name} ({', '.join(sorted(node.owners))})")
        lines += [f"    checks {', '.join(checks)}"] if checks else []
        needs = sorted(k.to_user_string() for k in node.parent_keys)
        lines += [f"    needs {', '.join(needs)}"] if needs else []
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(described(), encoding="utf-8")
