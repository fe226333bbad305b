"""A release or a model as a repository of the Hugging Face Hub: one commit, private unless said otherwise."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from handover.contents import HandoverError
from handover.verify import verify
from sql import statement
from training.profiles import MODELS

if TYPE_CHECKING:
    import duckdb
    from huggingface_hub import HfApi

REPOSITORY = r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}"
TASK = "text-classification"


@dataclass(frozen=True)
class Upload:
    """What goes to the Hub.

    Attributes:
        repository: OWNER/NAME.
        kind: what the Hub calls it.
        files: path in the repository -> a file, or its content.
        notes: what the page lacks, and how to add it.
    """

    repository: str
    kind: Literal["dataset", "model"]
    files: dict[str, Path | bytes]
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(len(f) if isinstance(f, bytes) else f.stat().st_size for f in self.files.values())


def of_release(folder: Path, repository: str) -> Upload:
    """A release, as it is.

    Raises:
        HandoverError: it is none, or was changed.
    """
    found = verify(folder)
    if found.faults:
        raise HandoverError(f"{folder} is not pushed: {found.faults[0]} (`assay release verify {folder}` says all)")
    files: dict[str, Path | bytes] = {
        p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()
    }
    return Upload(_named(repository), "dataset", files, list(found.notes))


@dataclass(frozen=True)
class Origin:
    """What a model's page says beside what its folder says.

    Attributes:
        base: the backbone's repository on the Hub; '' where nobody knows.
        datasets: repositories of what it was trained on.
        license: as the Hub spells it; '' where nobody said.
        results: (benchmark, metric, value, items) of the whole benchmarks.
    """

    base: str = ""
    datasets: tuple[str, ...] = ()
    license: str = ""
    results: tuple[tuple[str, str, float, int], ...] = ()


def origin_of(con: "duckdb.DuckDBPyConnection", model: str, backbone: str, given: Origin) -> Origin:
    """What the lake and the configuration know of a final model; what was given counts more.

    Args:
        model: its name, an arm.
        backbone: name of the backbone in the configuration.
    """
    sources = con.execute("SELECT path FROM sources WHERE path LIKE 'huggingface:%' ORDER BY path").fetchall()
    named = [re.match(rf"huggingface:({REPOSITORY})", path) for (path,) in sources]
    scores = con.execute(statement("handover/results_of_model"), parameters={"name": model}).fetchall()
    return Origin(
        given.base or MODELS.get(backbone, ("", 0))[0],
        given.datasets or tuple(dict.fromkeys(m[1] for m in named if m)),
        given.license,
        tuple(scores),
    )


def of_model(folder: Path, repository: str, origin: Origin) -> Upload:
    """An exported model with a page that the Hub understands.

    Raises:
        HandoverError: the folder holds no exported model.
    """
    if not (folder / "config.json").exists() or not (folder / "README.md").exists():
        raise HandoverError(f"{folder}: holds no exported reward model (config.json, README.md)")
    files: dict[str, Path | bytes] = {
        p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    files["README.md"] = page(card, _named(repository), origin).encode()
    notes = [
        f"the page names no {what}: {how}"
        for what, how, there in (
            ("base model", "--base-model OWNER/NAME", origin.base),
            ("license", "--license NAME; the backbone's and the data's decide it", origin.license),
            ("data set", "--dataset OWNER/NAME, where the data are on the Hub", origin.datasets),
            ("result", "only an arm of the lake has some, on whole benchmarks", origin.results),
        )
        if not there
    ]
    return Upload(repository, "model", files, notes)


def page(card: str, repository: str, origin: Origin) -> str:
    """A model's own page under the repository's name, with what the Hub reads from its head."""
    from huggingface_hub import EvalResult, ModelCard

    made: Any = ModelCard(card)
    name = repository.partition("/")[2]
    made.data.model_name = name
    made.data.base_model = origin.base or None
    made.data.datasets = list(origin.datasets) or None
    made.data.license = origin.license or None
    made.data.eval_results = [
        EvalResult(
            task_type=TASK, dataset_type=benchmark, dataset_name=benchmark, metric_type=metric,
            metric_value=round(100 * value, 2), metric_name=f"{metric} in %, {n:,} items",
        )
        for benchmark, metric, value, n in origin.results
    ] or None  # fmt: skip
    text = re.sub(r"^# Reward model .*$", f"# {name}", str(made), count=1, flags=re.MULTILINE)
    return text.replace("from_pretrained(folder)", f'from_pretrained("{repository}")').replace("FOLDER", repository)


def push(what: Upload, public: bool = False, api: "HfApi | None" = None) -> str:
    """Upload everything in one commit; what the repository held beside goes.

    Args:
        public: a repository that is made new can be seen by everybody. One that is there stays as it is.

    Returns:
        the revision, 40 hex digits.

    Raises:
        HandoverError: the Hub refused it; the message is the Hub's.
    """
    import httpx2
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    hub: Any = api or HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        hub.create_repo(what.repository, repo_type=what.kind, private=not public, exist_ok=True)
        there = hub.list_repo_files(what.repository, repo_type=what.kind)
        operations: list[Any] = [CommitOperationAdd(name, file) for name, file in what.files.items()]
        operations += [CommitOperationDelete(f) for f in there if f not in what.files and f != ".gitattributes"]
        done = hub.create_commit(
            what.repository, operations, repo_type=what.kind, commit_message="Release by Assay" if what.kind == "dataset"
            else "Reward model by Assay",
        )  # fmt: skip
    except (httpx2.HTTPError, OSError, ValueError) as e:  # the Hub's own errors are HTTPErrors
        said = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise HandoverError(f"{what.repository}: the Hub did not take it: {said}") from None
    return done.oid


def _named(repository: str) -> str:
    if not re.fullmatch(REPOSITORY, repository):
        raise HandoverError(
            f"{repository!r} is no repository of the Hub: OWNER/NAME, of letters, digits, '-', '_' and '.'"
        )
    return repository
