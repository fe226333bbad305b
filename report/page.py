"""The report's page: what the figures mean, in one self-contained HTML file."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.decision_rule import Rule, loads
from curation.intervals import NOTHING, Estimate
from curation.tables import Table
from report import charts
from report.drawing import BAD, GOOD, MIXED, PLAIN, QUIET
from report.experiment_plots import picture
from report.experiments_section import filters, published_filters, shortened, stories, studies, told
from report.figures import BASELINES, Figure, Figures
from report.people_section import people
from resources.lake import Lake, label
from resources.settings import Settings
from sql import statement

if TYPE_CHECKING:
    import duckdb

EXAMPLES_EACH = 3
BAD_ROWS = 12
LEAST_SHOWN = 0.005  # of the input: rarer reasons share a bar; the table has them all
CLASSES = ("keep", "flip", "drop", "held_out", "pending", "removed", "quarantine")
STAGES = [
    ["unusable", "unreadable", "raw pool"],
    ["clean pool", "duplicates", "contaminated"],
    ["gold", "silver", "undecided", "kept", "flipped", "dropped", "pending"],
    ["curated release", "corrected release only", "test share, held out", "left out"],
]
TONES = {
    **dict.fromkeys(["gold", "silver", "kept", "curated release"], GOOD),
    **dict.fromkeys(["flipped", "corrected release only"], MIXED),
    **dict.fromkeys(["undecided", "dropped", "pending", "left out"], QUIET),
    **dict.fromkeys(["unusable", "unreadable", "duplicates", "contaminated"], BAD),
}
ARM_TONES = {  # in the order of the page
    "original": QUIET,
    "random": QUIET,
    "filtered": GOOD,
    "corrected": MIXED,
    "soft": MIXED,
    "gold": PLAIN,
    "oracle": GOOD,
    "longer_answer": BAD,
}
ARM_TONES |= {f"{arm}_with_gold": tone for arm, tone in ARM_TONES.items() if arm not in ("gold", "longer_answer")}
LABEL_TONES = {
    "original": QUIET,
    "stage 2 input": QUIET,
    "gold": GOOD,
    "silver": GOOD,
    "kept": GOOD,
    "kept, confident": GOOD,
    "kept, judged": GOOD,
    "flipped": MIXED,
    "dropped": BAD,
    "undecided": BAD,
    "curated release": PLAIN,
    "corrected release": PLAIN,
}
SCORE_CLAIMS = {
    ("filtered", "original"): "Curated data trains a better reward model than the uncurated pool",
    ("corrected", "filtered"): "Adding the flipped pairs makes it better still",
    ("filtered", "random"): "Curation beats an equally large random part of the pool (the null test)",
}
OTHER_CLAIMS = (  # claim, what is compared, figure, group
    (
        "The loop's reward model gets better",
        "accuracy on the same gold pairs, last − first",
        "rm_accuracy_gain",
        "last - first",
    ),
    (
        "Retrieval looks where the model is weak",
        "from topics the model errs on, retrieved − pool",
        "weak_topic_in_batch_difference",
        "retrieved - pool",
    ),
    (
        "Retrieval finds mislabelled pairs",
        "mislabelled by the reference, retrieved − pool",
        "mislabelled_in_batch_difference",
        "retrieved - pool",
    ),
    (
        "Retrieval finds mislabelled pairs",
        "swapped by people, retrieved − random",
        "swapped_by_people_difference",
        "retrieved - random",
    ),
    (
        "Labels that stage 2 keeps are more often right",
        "right labels, kept − all of stage 2",
        "label_precision_difference",
        "kept - stage 2 input",
    ),
    (
        "The curated release is cleaner than the pool",
        "right labels, release − pool",
        "label_precision_difference",
        "curated release - original",
    ),
)


HABITS = (  # figures of a judge's report card, in the order of the page
    *("agrees_with_people", "agrees_with_one_person", "prefers_first", "flips_with_order", "repeats_itself"),
    *("prefers_longer", "refuses"),
)


@dataclass(frozen=True)
class Claim:
    """One statement of the paper about the method, and what this run says about it.

    `headroom` is what a model of right labels would gain in the same units, planted or foreseen.
    `verdict` is "agrees" or "contradicts" when the interval excludes zero, "undecided" when it does not, and
    "not measured" where there is none.
    """

    text: str
    measured: str
    gain: Estimate
    n: int
    headroom: Estimate = NOTHING

    @property
    def verdict(self) -> str:
        if self.gain.interval is None:
            return "not measured"
        low, high = self.gain.interval
        return "agrees" if low > 0 else "contradicts" if high < 0 else "undecided"


def claims(figures: Figures) -> list[Claim]:
    """The paper's claims about the method, each as a gain that should be above zero (spec 3.16, 4.11, 8.01 to 8.03, 8.10)."""
    found = []
    scores = dict.fromkeys(f.figure for f in headline_scores(figures))
    for a, b in SCORE_CLAIMS:
        for name in scores or ["no benchmark"]:
            gain, room = figures[f"{name}_difference", f"{a} - {b}"], figures[f"{name}_difference", "oracle - original"]
            measured = f"{name.removeprefix('score of ')}, {a} − {b}"
            room = room if room.n else figures["headroom", "foreseen"]
            found.append(Claim(SCORE_CLAIMS[a, b], measured, gain.estimate, gain.n, room.estimate))
    for text, measured, figure, group in OTHER_CLAIMS:
        gain = figures[figure, group]
        found.append(Claim(text, measured, gain.estimate, gain.n))
    flipped = figures["label_precision", "flipped"]
    above = Estimate(*(None if v is None else v - 0.5 for v in flipped.estimate))
    text = "Flipped pairs are right more often than wrong"
    found.append(Claim(text, "right after the flip − 50 %", above, flipped.n))
    return found


def helps(figures: Figures) -> str:
    """Whether curation helped, in a sentence. It is said to help only where a model of curated data beats, on every
    benchmark, the pool as it came, people's labels alone, and the pool with people's labels beside it."""
    names = list(dict.fromkeys(f.figure for f in headline_scores(figures)))
    if not names:
        return "No benchmark has been run, so whether curation helps is not known."
    lacking: dict[str, list[str]] = {}
    for arm in ("filtered", "corrected"):
        gains = {base: [figures[f"{n}_difference", f"{arm} - {base}"] for n in names] for base in BASELINES}
        lacking[arm] = [
            f"{base} ({'not measured' if not all(f.n for f in found) else ', '.join(points(f.estimate) for f in found)})"
            for base, found in gains.items()
            if not all(f.estimate.interval and f.estimate.interval[0] > 0 for f in found)
        ]
        if not lacking[arm]:
            return f"Curation helps: {arm} beats {', '.join(BASELINES)}."
    return "That curation helps is not shown: " + "; ".join(
        f"{arm} does not beat {', '.join(bases)}" for arm, bases in lacking.items()
    ) + "."  # fmt: skip


def headline_scores(figures: Figures) -> list[Figure]:
    """Scores by arm of each benchmark's own headline metric: its accuracy, over what is at hand where parts miss."""
    names = dict.fromkeys(
        f.figure
        for name in _score_names(figures)
        for f in figures.groups(name)
        if name.rpartition(" ")[2] in ("accuracy", "accuracy_at_hand")
    )
    return [f for name in names for f in sorted(figures.groups(name), key=lambda f: _place(f.group))]


def _place(arm: str) -> int:
    return list(ARM_TONES).index(arm) if arm in ARM_TONES else len(ARM_TONES)


def _score_names(figures: Figures) -> list[str]:
    return sorted(n for n in figures.names() if n.startswith("score of ") and not n.endswith("_difference"))


def template(name: str):
    """A page's template; whatever it is given is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "number": "{:,}".format,
        "share": share,
        "points": points,
        "plain": plain,
        "short": short,
        "from_json": json.loads,
    }
    return env.get_template(name)


def render(
    con: "duckdb.DuckDBPyConnection", figures: Figures, settings: Settings, lake: Lake, reads: tuple[Table, ...]
) -> str:
    """The whole page. Texts of pairs are escaped by the template; nothing outside the file is referred to.

    Args:
        con: the lake's connection that `figures` were measured on.
        reads: tables whose versions the page names.
    """
    benchmarks = _benchmarks(con)
    cost = dicts(con, "SELECT who, stage, model, labels, dollars, simulated FROM cost ORDER BY who, stage")
    found = claims(figures)
    return template("report.html").render(
        name=settings.name,
        figures=figures,
        inputs=figures.count("records", "input"),
        gap=figures.count("ledger_gap", ""),
        caveats=caveats(con, settings),
        drawings=_drawings(con, figures),
        benchmarks=benchmarks,
        missing=list(dict.fromkeys(part for b in benchmarks for part in b["missing"])),
        claims=found,
        helps=helps(figures),
        rule=_rule(con),
        contradicted=[c for c in found if c.verdict == "contradicts"],
        classes=[(c, figures["records", c].n, _reasons(figures, c)) for c in CLASSES if figures["records", c].n],
        labels=[figures["label_precision", c] for c in LABEL_TONES if figures["undecidable", c].n],
        scores=headline_scores(figures),
        simulated_judges=_simulated_judges(con),
        filters=published_filters() | {"the rule": (None, None)},
        topics=_topics(figures),
        judges=sorted({f.group for f in figures.groups("judge_decides")}),
        **_cards(con, settings),
        people=people(con, settings),
        reference=next((f.against for f in figures.groups("label_precision")), ""),
        planted=sorted({f.group for f in figures.groups("planted_recall")}),
        habits=HABITS,
        cost=cost,
        spent={
            "labels": sum(c["labels"] for c in cost),
            "dollars": sum(c["dollars"] for c in cost),
            "simulated": sum(c["dollars"] for c in cost if c["simulated"]),
        },
        per_pair=dicts(con, "SELECT * FROM cost_per_pair WHERE class IN ('keep', 'flip', 'drop') ORDER BY class"),
        calls=dicts(con, "SELECT * FROM spending ORDER BY stage, who, model, status"),
        sources=dicts(con, "SELECT * FROM sources ORDER BY priority, source"),
        bad_input=dicts(con, statement("report/bad_input"), n=BAD_ROWS),
        models=sorted(
            dicts(con, "SELECT DISTINCT arm, pairs, steps FROM final_reward_model"), key=lambda r: _place(r["arm"])
        ),
        **_experiments(con, settings),
        examples=dicts(con, statement("report/examples"), each=EXAMPLES_EACH),
        config_hash=settings.section_hash(*type(settings).model_fields),
        versions=_versions(lake, settings, reads),
    )


def _experiments(con: "duckdb.DuckDBPyConnection", settings: Settings) -> dict[str, Any]:
    """What the section on experiments shows; figures as data, since the page is one file."""
    found = stories(con, settings)
    pictures = {s.name: base64.b64encode(drawn).decode() for s in found if (drawn := picture(s))}
    return {
        "experiments": found,
        "pictures": pictures,
        "told": told,
        "shortened": shortened,
        "studies": studies(con),
        "six_filters": filters(con),
    }


def _rule(con: "duckdb.DuckDBPyConnection") -> Rule | None:
    """The rule that decided stage 2."""
    rows = con.execute("SELECT file FROM decision_rule").fetchall()
    return loads(rows[0][0]) if rows else None


def _reasons(figures: Figures, name: str) -> list[tuple[str, int]]:
    """(reason, records) of a class, in the order of the table."""
    return [
        (reason, f.n)
        for f in figures.groups("records_by_reason")
        for class_, _, reason in [f.group.partition(" / ")]
        if class_ == name
    ]


def caveats(con: "duckdb.DuckDBPyConnection", settings: Settings) -> dict[str, list[str]]:
    """What in this run is no live person, model or datum: `simulated`, `recorded`, `heuristic` -> names."""
    flagged = con.execute(statement("report/simulated")).fetchall()[0]
    judges = _simulated_judges(con)
    simulated = ["the pool and its planted truth"] if settings.world else []
    simulated += ["people"] if flagged[0] else []
    simulated += [f"the judges {_listed(judges)}"] if judges else []
    simulated += ["attributes"] if flagged[1] else []
    recorded = ["people"] if settings.people.backend == "recorded" else []
    names = [j.name for j in settings.judges.judges if j.backend == "recorded"]
    recorded += [f"the judges {_listed(names)}"] if names else []
    heuristic = ["attributes"] if any(m.backend == "heuristic" for m in settings.attributes.models) else []
    return {"simulated": simulated, "recorded": recorded, "heuristic": heuristic}


def _cards(con: "duckdb.DuckDBPyConnection", settings: Settings) -> dict[str, Any]:
    """The panel's report cards: `cards` by (judge, stratum, figure), and what the page lists them by."""
    rows = con.execute("SELECT judge, stratum, figure, value, low, high, n FROM judge_cards ORDER BY ALL").fetchall()
    cards = {
        (judge, stratum, figure): Figure(figure, stratum, Estimate(*numbers), n)
        for judge, stratum, figure, *numbers, n in rows
    }
    return {
        "cards": cards,
        "ways": [j.removeprefix("panel: ") for j, _, f in cards if f == "credit" and j.startswith("panel: ")],
        "way": {"majority": "majority, both orders"}.get(settings.judges.aggregation, settings.judges.aggregation),
        "strata": sorted({s for _, s, _ in cards if s != "all"}),
        "measured": con.execute("SELECT count(DISTINCT pair_id) FROM gold_votes").fetchall()[0][0],
    }


def _card_chart(con: "duckdb.DuckDBPyConnection") -> str:
    rows = con.execute(statement("report/card_chart")).fetchall()
    tones = {"people": GOOD}
    named = {"people": "people, with each other"} | {j: f"{j} (simulated)" for j in _simulated_judges(con)}
    return charts.intervals(
        [
            (
                named.get(judge, judge),
                Estimate(*found),
                tones.get(judge, MIXED if ":" in judge else PLAIN),
            )
            for judge, *found in rows
        ],
        "Agreement with people, of what is decided",
        line=0.5,
    )


def _simulated_judges(con: "duckdb.DuckDBPyConnection") -> list[str]:
    return [name for (name,) in con.execute(statement("report/simulated_judges")).fetchall()]


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def share(estimate: Estimate) -> str:
    """`83.1 % (80.2 to 85.7)`, or a dash where nothing was measured."""
    if estimate.value is None:
        return "–"
    interval = " ({:.1f} to {:.1f})".format(*(100 * v for v in estimate.interval)) if estimate.interval else ""
    return f"{estimate.value * 100:.1f} %{interval}"


def plain(estimate: Estimate) -> str:
    """A figure that is no share: `0.43 (0.40 to 0.46)`, or a dash where it is not defined."""
    if estimate.value is None:
        return "–"
    interval = " ({:.2f} to {:.2f})".format(*estimate.interval) if estimate.interval else ""
    return f"{estimate.value:.2f}{interval}".replace("-", "−")


def points(estimate: Estimate) -> str:
    """A difference of shares, in points: `+4.2 (+1.1 to +7.3)`."""
    if estimate.value is None:
        return "–"
    interval = " ({:+.1f} to {:+.1f})".format(*(100 * v for v in estimate.interval)) if estimate.interval else ""
    return f"{estimate.value * 100:+.1f}{interval}".replace("-", "−")


def short(text: str, width: int = 180) -> str:
    """One line of at most `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _drawings(con: "duckdb.DuckDBPyConnection", figures: Figures) -> dict[str, str]:
    links = con.execute(statement("report/flow")).fetchall()
    sources = [f"source {f.group}" for f in figures.groups("records_of_source")]
    scores = headline_scores(figures)
    gains = [c for c in claims(figures) if c.gain.value is not None]
    colours = {"agrees": GOOD, "contradicts": BAD}
    return {
        "flow": charts.flow([sources, *STAGES], links, TONES, "Flow of records from sources to releases"),
        "attrition": charts.waterfall(_attrition(figures), "From input records to the curated release"),
        "rm": charts.intervals(
            [(f.group, f.estimate, PLAIN) for f in figures.groups("rm_accuracy_final_gold")],
            "Accuracy of each iteration's reward model on the final gold",
        ),
        "scores": charts.intervals(
            [
                (f"{f.figure.removeprefix('score of ')}: {f.group}", f.estimate, ARM_TONES.get(f.group, PLAIN))
                for f in scores
            ],
            "Benchmark scores by training data",
        ),
        "labels": charts.intervals(
            [(c, figures["label_precision", c].estimate, tone) for c, tone in LABEL_TONES.items()],
            "Share of right labels by class",
            line=0.5,
        ),
        "judges": _card_chart(con),
        "claims": charts.intervals(
            [(short(c.measured, 54), c.gain, colours.get(c.verdict, QUIET)) for c in gains],
            "Gains that the paper claims",
            line=0.0,
            signed=True,
        ),
    }


def _attrition(figures: Figures) -> list[tuple[str, int, str]]:
    """Input, every reason to leave by class, the curated release; what is left is counted, not assumed."""
    steps = [("input records", figures.count("records", "input"), "total")]
    for classes, level in (
        (("quarantine", "removed"), ("clean pool", figures.count("pairs", "clean pool"))),
        (("drop", "pending", "held_out", "flip"), ("curated release", figures.count("pairs", "curated release"))),
    ):
        for name in classes:
            some = dict(_reasons(figures, name))
            word = _WORDS.get(name, name)
            large = {r: n for r, n in some.items() if n >= LEAST_SHOWN * steps[0][1] or len(some) == 1}
            for reason, n in sorted(large.items(), key=lambda item: -item[1]):
                steps.append((f"{word}: {reason}".removesuffix(": "), n, "loss"))
            if rest := {r: n for r, n in some.items() if r not in large}:
                steps.append((f"{word}: {len(rest)} rarer reasons", sum(rest.values()), "loss"))
        steps.append((*level, "total"))
    return steps


_WORDS = {
    "quarantine": "unreadable",
    "removed": "removed",
    "drop": "dropped",
    "held_out": "held out",
    "flip": "label swapped",
}


def _benchmarks(con: "duckdb.DuckDBPyConnection") -> list[dict]:
    rows = dicts(con, statement("report/benchmarks"))
    whole = [r for r in rows if r["subset"] == "" and not r["metric"].startswith(("best_of_", "ceiling_"))]
    return sorted(whole, key=lambda r: (r["benchmark"], r["metric"], _place(r["arm"])))


def _topics(figures: Figures) -> list[dict[str, Any]]:
    """Topics with their right labels by class, the noisiest first."""
    table: dict[str, dict[str, Figure]] = {}
    for f in figures.groups("label_precision_by_topic"):
        topic, _, name = f.group.rpartition(" / ")
        table.setdefault(topic, {})[name] = f
    nothing = figures["label_precision_by_topic", ""]
    classes = ("original", "curated release", "corrected release", "kept", "flipped")
    rows = [{"topic": t, "classes": [by.get(c, nothing) for c in classes]} for t, by in table.items()]
    return sorted(rows, key=lambda r: (r["classes"][0].estimate.value or 0.0, r["topic"]))


def dicts(con: "duckdb.DuckDBPyConnection", sql: str, **values) -> list[dict]:
    """The rows of a query."""
    return con.sql(sql, params=values or None).to_arrow_table().to_pylist()


def _versions(lake: Lake, settings: Settings, reads: tuple[Table, ...]) -> list[tuple[str, str, int]]:
    """(table or table/partition, version, rows) of everything the page was made from."""
    found = []
    for table in reads:
        for key in settings.partition_keys(table.partition) if table.partition else [None]:
            if note := lake.note(table, key):
                found.append((label(table, key), note["version"], lake.rows(table, key)))
    return found
