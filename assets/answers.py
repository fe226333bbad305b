"""The ledger of recorded answers: what people and models once said is accepted, or refused with its reason."""

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa

from assets.table_asset import Rows, table_asset
from curation.identity import digest
from curation.tables import ANSWER_FILES, UNUSABLE_ANSWERS, WORLD_FILES
from resources.lake import Lake
from resources.run import Run
from resources.settings import Answers, Settings


def _configured(settings: Settings) -> Iterator[tuple[str, int, Answers]]:
    """Whose answers, which of their files, and where they stand."""
    every = {"people": settings.people.answers, "reference": settings.reference.answers}
    every |= {f"judge {judge.name}": judge.answers for judge in settings.judges.judges}
    for owner, files in every.items():
        yield from ((owner, place, answers) for place, answers in enumerate(files))


def _as_they_are(settings: Settings, lake: Lake, _: str | None) -> str:
    """The configuration and the bytes of every file of answers."""
    from resources.sources.reader import BadFile, fingerprint

    parts = []
    for owner, place, answers in _configured(settings):
        try:
            content = fingerprint(answers, lake)[0]
        except BadFile:
            content = "-"
        parts += [owner, str(place), answers.model_dump_json(), content]
    return digest(parts)


@table_asset(
    ANSWER_FILES,
    UNUSABLE_ANSWERS,
    reads=[WORLD_FILES],
    settings_seen=("people", "reference", "judges"),
    external_version=_as_they_are,
    group="pool",
    kinds={"python"},
)
def unusable_answers(run: Run) -> Iterator[Rows]:
    """Reads every file of recorded answers once and says of each row that is no label why."""
    from resources.sources.reader import refused_answers as refused_of

    files, refused = [], []
    for owner, place, answers in _configured(run.settings):
        reasons: Counter[str] = Counter()
        accepted = 0
        for told in refused_of(answers, run.lake):
            if isinstance(told, int):
                accepted = told
            else:
                reasons[told["reason"]] += 1
                refused.append({"answers_of": owner, "place": place} | told)
        told_why = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
        files.append(
            {"answers_of": owner, "path": answers.origin, "place": place, "accepted": accepted}
            | {"refused": reasons.total(), "reasons": told_why}
        )
        if reasons or not accepted:
            run.log(f"answers of {owner}, {answers.origin}: {accepted} accepted, {reasons.total()} refused: {told_why}")
    about = {f["answers_of"]: f"{f['accepted']} accepted, {f['refused']} refused" for f in files}
    yield Rows(ANSWER_FILES, pa.Table.from_pylist(files, ANSWER_FILES.schema), about)
    yield Rows(UNUSABLE_ANSWERS, pa.Table.from_pylist(refused, UNUSABLE_ANSWERS.schema), about)
