"""The guideline and prompt files that people read and edit, and the version stored with every vote."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

EDITION = "v1"  # folder under prompts/; a new wording for a running project goes into a new folder beside it


@dataclass(frozen=True)
class Guideline:
    """Texts by name without ending, such as `core` or `category/math`."""

    texts: Mapping[str, str]

    def version(self, *prefixes: str) -> str:
        """Edition and hash of the texts whose names begin with one of the prefixes: any edit shows."""
        digest = hashlib.blake2b(digest_size=4)
        for name in sorted(n for n in self.texts if n.startswith(prefixes)):
            digest.update(f"{name}\0{self.texts[name]}\0".encode())
        return f"{EDITION}-{digest.hexdigest()}"

    @functools.cached_property
    def wordings(self) -> list[str]:
        """Files that put a judge's question, the usual one first."""
        return sorted(n.removeprefix("judge/") for n in self.texts if n.startswith("judge/answer"))

    @functools.cached_property
    def judge_version(self) -> str:
        return self.version("core", "category/", "objectivity/", "controversiality/", "judge/")

    @functools.cached_property
    def attribute_version(self) -> str:
        return self.version("attributes")


@functools.cache
def load() -> Guideline:
    folder = files("resources.judges").joinpath("prompts", EDITION)
    texts = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            texts |= {f"{entry.name}/{f.name[:-3]}": f.read_text(encoding="utf-8") for f in entry.iterdir()}
        else:
            texts[entry.name[:-3]] = entry.read_text(encoding="utf-8")
    return Guideline(texts)
