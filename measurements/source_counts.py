"""What `configs/all_sources.toml` imported, beside a count in plain DuckDB over the raw files that shares no code with it.

    ASSAY_DATA=FOLDER assay --config configs/all_sources.toml run pool
    ASSAY_DATA=FOLDER python -m measurements.source_counts [--lake FOLDER]

Prints Markdown: for each source the records in, pairs out, why the others are no pairs, and whether both counts agree,
characters of the chosen and of the rejected responses included; then the distinct pairs of all sources together. Exits
with 1 where they differ.
"""

import argparse
import os
import sys
import unicodedata
from pathlib import Path

import duckdb

CONFIG = Path(__file__).parents[1] / "configs" / "all_sources.toml"

# source -> SELECT conversation, a, b, winner ('a', 'b', 'tie' or NULL); the conversation as one text
ALPACA = """
SELECT 'user' || chr(1) || instruction, output_1, output_2,
    CASE WHEN preference >= 1 AND preference < 1.5 THEN 'a' WHEN preference > 1.5 AND preference <= 2 THEN 'b'
        WHEN preference IN (0, 1.5) THEN 'tie' END
FROM '{data}/pool/"""
SHAREGPT = """
SELECT array_to_string([CASE c."from" WHEN 'human' THEN 'user' WHEN 'gpt' THEN 'assistant' ELSE c."from" END || chr(1) || c."value"
    FOR c IN conversations], chr(2)), {chosen}, {rejected}, 'a' FROM '{data}/pool/"""
MESSAGES = """array_to_string([m.role || chr(1) || array_to_string([p."value" FOR p IN m.content], '') FOR m IN {of}], chr(2))"""
COMPARISONS = {
    "alpaca_eval": ALPACA + "alpaca_eval.parquet'",
    "alpaca_eval_best_of_16": ALPACA + "alpaca_eval_best_of_16.jsonl.zst'",
    "alpaca_eval_two_judges": ALPACA + "alpaca_eval_two_judges.parquet'",
    "alpaca_eval_v1": ALPACA + "alpaca_eval_v1.jsonl.zst'",
    "alpacafarm_gpt4_seeds": """
        SELECT 'user' || chr(1) || instruction || CASE WHEN input <> '' THEN chr(10) || chr(10) || input ELSE '' END,
            output_1, output_2, CASE preference WHEN 1 THEN 'a' WHEN 2 THEN 'b' END
        FROM '{data}/pool/alpacafarm_gpt4_seeds.parquet'""",
    "arena_bench_v1": """
        WITH said AS (SELECT question_id, turns[1] AS asked, model, answer_turns[1] AS answer, score
            FROM '{data}/pool/arena_bench_v1_pointwise.jsonl.zst')
        SELECT 'user' || chr(1) || x.asked, x.answer, y.answer,
            CASE WHEN x.score > y.score THEN 'a' WHEN x.score < y.score THEN 'b' WHEN x.score = y.score THEN 'tie' END
        FROM said x JOIN said y ON x.question_id = y.question_id AND x.model < y.model""",
    "dove_helpful": """
        SELECT 'user' || chr(1) || i_chosen, r_chosen, r_reject, 'a'
        FROM '{data}/pool/dove_helpful_val_conditional_pref.jsonl.gz'""",
    "gsm8k_solutions": """
        WITH solved AS (
            SELECT question, unnest([1, 2, 3, 4]) AS place, unnest(["6b_finetuning", "6b_verification", "175b_finetuning",
                "175b_verification"]) AS s
            FROM '{data}/pool/gsm8k_model_solutions.jsonl.zst')
        SELECT 'user' || chr(1) || x.question, x.s.solution, y.s.solution,
            CASE WHEN x.s.is_correct = y.s.is_correct THEN 'tie' WHEN x.s.is_correct THEN 'a' ELSE 'b' END
        FROM solved x JOIN solved y ON x.question = y.question AND x.place < y.place""",
    "hh_rlhf_harmless_test": r"""
        WITH cut AS (
            SELECT chosen, rejected, regexp_extract(chosen, '(?s)^(.*)\n\nAssistant:(.*)$', ['before', 'after']) AS c,
                regexp_extract(rejected, '(?s)^(.*)\n\nAssistant:(.*)$', ['before', 'after']) AS r
            FROM '{data}/pool/hh_rlhf_harmless_base_test.jsonl.gz')
        SELECT c.before, trim(c.after), trim(r.after), CASE
            WHEN c.before <> r.before THEN 'different_conversations'
            WHEN array_to_string(regexp_extract_all(c.before, '\n\n(Human|Assistant):', 1), ' ') NOT SIMILAR TO
                'Human( Assistant Human)*' THEN 'bad_roles'
            ELSE 'a' END
        FROM cut""",
    "dpo_en_demo": SHAREGPT + "llama_factory_dpo_en_demo.json.gz'",
    "dpo_zh_demo": SHAREGPT + "llama_factory_dpo_zh_demo.json.gz'",
    "kto_en_demo": """
        WITH one AS (
            SELECT array_to_string([m.role || chr(1) || m.content FOR m IN messages[:-2]], chr(2)) AS asked,
                messages[-1].content AS said, label
            FROM '{data}/pool/llama_factory_kto_en_demo.json.gz')
        SELECT x.asked, x.said, y.said, 'a' FROM one x JOIN one y USING (asked) WHERE x.label AND NOT y.label""",
    "oaast_rm_zh": """
        WITH ranked AS (
            SELECT row_number() OVER () AS id, array_to_string(list_transform(flatten(history), lambda h, i:
                CASE WHEN i % 2 = 1 THEN 'user' ELSE 'assistant' END || chr(1) || h), chr(2)) || chr(2) || instruction ||
                CASE WHEN input <> '' THEN chr(10) || chr(10) || input ELSE '' END AS asked, output
            FROM '{data}/pool/llama_factory_oaast_rm_zh.json.gz'),
        answers AS (SELECT id, asked, unnest(output) AS said, unnest(range(len(output))) AS place FROM ranked)
        SELECT x.asked, x.said, y.said, 'a' FROM answers x JOIN answers y ON x.id = y.id AND x.place < y.place""",
    "v1_dpo_demo": "SELECT "
    + MESSAGES.replace("{of}", "chosen_messages[:-2]")
    + "".join(f""", array_to_string([p."value" FOR p IN {m}_messages[-1].content], '')""" for m in ("chosen", "rejected"))
    + ", 'a' FROM '{data}/pool/llama_factory_v1_dpo_demo.jsonl.gz'",
    "medicalgpt_dpo_zh": SHAREGPT.replace("{chosen}", "chosen").replace("{rejected}", "rejected")
    + "medicalgpt_dpo_zh_500.jsonl.gz'",
    "oasst_en_100_tree": """
        WITH RECURSIVE message AS (
            SELECT CAST(prompt AS JSON) AS m, 'user' || chr(1) || prompt."text" AS said
            FROM '{data}/pool/oasst_en_100_tree.jsonl.gz'
            UNION ALL
            SELECT r, said || chr(2) || CASE r ->> 'role' WHEN 'assistant' THEN 'assistant' ELSE 'user' END || chr(1) ||
                (r ->> 'text')
            FROM (SELECT said, unnest(CAST(m -> 'replies' AS JSON[])) AS r FROM message)),
        answers AS (
            SELECT row_number() OVER () AS id, said,
                [r FOR r IN CAST(m -> 'replies' AS JSON[]) IF r ->> 'role' = 'assistant'] AS replies FROM message),
        one AS (SELECT id, said, unnest(replies) AS r, unnest(range(len(replies))) AS place FROM answers)
        SELECT x.said, x.r ->> 'text', y.r ->> 'text', CASE
            WHEN (x.r ->> 'rank')::INT < (y.r ->> 'rank')::INT THEN 'a'
            WHEN (x.r ->> 'rank')::INT > (y.r ->> 'rank')::INT THEN 'b'
            WHEN (x.r ->> 'rank')::INT = (y.r ->> 'rank')::INT THEN 'tie' END
        FROM one x JOIN one y ON x.id = y.id AND x.place < y.place""",
    "prd_llm_reviews": """
        SELECT 'user' || chr(1) || q.text, a.text, b.text, ['a', 'b', 'tie'][r.score]
        FROM '{data}/pool/prd_vicuna80_llm_reviews.jsonl.zst' r
        JOIN '{data}/pool/prd_vicuna80_questions.jsonl' q USING (question_id)
        JOIN '{data}/pool/prd_vicuna80_answers.jsonl.zst' a ON a.answer_id = r.answer1_id
        JOIN '{data}/pool/prd_vicuna80_answers.jsonl.zst' b ON b.answer_id = r.answer2_id""",
    "sparse_feedback": """
        SELECT 'user' || chr(1) || c1 || CASE WHEN c2 IS NOT NULL THEN chr(10) || chr(10) || c2 ELSE '' END, c3, c4,
            CASE c5 WHEN '(a)' THEN 'a' WHEN '(b)' THEN 'b' WHEN 'equal' THEN 'tie' END
        FROM read_csv('{data}/pool/sparse_feedback_*.csv.gz', auto_detect = false, strict_mode = false, quote = '"',
            escape = '"', nullstr = 'nan',
            columns = {'c1': 'VARCHAR', 'c2': 'VARCHAR', 'c3': 'VARCHAR', 'c4': 'VARCHAR', 'c5': 'VARCHAR'})""",
    "alpacafarm_gold_100": """
        SELECT 'user' || chr(1) || instruction, output_1, output_2, CASE gold_preference WHEN 1 THEN 'a' WHEN 2 THEN 'b' END
        FROM '{data}/gold/alpacafarm_claude_vs_gold_100.json.gz'""",
    "autoj": """
        SELECT 'user' || chr(1) || prompt, "response 1", "response 2", ['a', 'b', 'tie'][label + 1]
        FROM '{data}/gold/autoj_testdata_pairwise.jsonl.gz'""",
    "finegrained_qa": """
        WITH numbered AS (SELECT *, row_number() OVER () AS id FROM '{data}/gold/finegrained_qa_dev_feedback.jsonl.zst'),
        votes AS (
            SELECT id, question || passages::VARCHAR AS asked, ["prediction 1", "prediction 2", "prediction 3", "prediction 4"]
                AS said, unnest([[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]]) AS two, unnest(preference) AS v FROM numbered)
        SELECT asked, said[two[1]], said[two[2]], CASE v WHEN 1 THEN 'a' WHEN 2 THEN 'b' WHEN 0 THEN 'tie' END FROM votes""",
    "hhh_alignment": """
        WITH cut AS (SELECT split_part(chosen_instruction, '###Response to evaluate:', 1) AS asked,
            trim(split_part(split_part(chosen_instruction, '###Response to evaluate:', 2), '###Score Rubrics:', 1)) AS c,
            trim(split_part(split_part(rejected_instruction, '###Response to evaluate:', 2), '###Score Rubrics:', 1)) AS r
            FROM '{data}/gold/hhh_alignment_eval.json.gz')
        SELECT asked, c, r, 'a' FROM cut""",
    "llmbar": """
        SELECT 'user' || chr(1) || input, output_1, output_2, CASE label WHEN 1 THEN 'a' WHEN 2 THEN 'b' END
        FROM '{data}/gold/llmbar.jsonl.zst'""",
    "news_summaries": """
        SELECT 'user' || chr(1) || article_text, writer_summary, "text-davinci-002_summary",
            CASE overall_writer_better::VARCHAR WHEN 'true' THEN 'a' WHEN 'false' THEN 'b' WHEN '"Equally Good"' THEN 'tie' END
        FROM '{data}/gold/news_summ_pairwise.jsonl.zst'""",
    "pandalm": """
        SELECT 'user' || chr(1) || instruction || CASE WHEN input <> '' THEN chr(10) || chr(10) || input ELSE '' END,
            response1 ->> '$', response2 ->> '$', CASE annotator1 WHEN 1 THEN 'a' WHEN 2 THEN 'b' WHEN 0 THEN 'tie' END
        FROM '{data}/gold/pandalm_testset_v1.json.gz'
        WHERE json_type(response1) = 'VARCHAR' AND json_type(response2) = 'VARCHAR'""",
    "prd_human": """
        WITH models AS (
            SELECT *, replace(replace(split_part(model_id, ':', 1), 'gpt-3.5-turbo', 'gpt35'), 'gpt-4', 'gpt4') AS model
            FROM '{data}/pool/prd_vicuna80_answers.jsonl.zst')
        SELECT 'user' || chr(1) || q.text, a.text, b.text, ['a', 'b', 'tie'][v.score]
        FROM '{data}/gold/prd_vicuna80_human.jsonl.zst' v
        JOIN '{data}/pool/prd_vicuna80_questions.jsonl' q USING (question_id)
        JOIN models a ON a.question_id = v.question_id AND v._path LIKE '%/answer_' || a.model || '-vs-%'
        JOIN models b ON b.question_id = v.question_id AND v._path LIKE '%-vs-answer_' || b.model || '-human%'""",
    "tulu1": """
        SELECT 'user' || chr(1) || prompt, completion_a, completion_b, CASE WHEN preference LIKE 'a-is%' THEN 'a'
            WHEN preference LIKE 'b-is%' THEN 'b' WHEN preference = 'tie' THEN 'tie' END
        FROM '{data}/gold/tulu1_human_eval.jsonl.zst'""",
    "ukp_convarg1": """
        SELECT debateMetaData.title || arg1.stance, arg1.text, arg2.text,
            CASE goldLabel WHEN 'a1' THEN 'a' WHEN 'a2' THEN 'b' WHEN 'equal' THEN 'tie' END
        FROM '{data}/gold/ukp_convarg1.jsonl.zst'""",
}  # fmt: skip

# in the order in which a comparison is looked at
REASON = r"""
CASE WHEN a IS NULL OR b IS NULL THEN 'null_response'
    WHEN conversation IS NULL THEN 'no_prompt'
    WHEN winner IN ('different_conversations', 'bad_roles') THEN winner
    WHEN regexp_full_match(a, '[\s\p{Z}\p{Cf}]*') OR regexp_full_match(b, '[\s\p{Z}\p{Cf}]*') THEN 'empty_response'
    WHEN a = b THEN 'identical'
    WHEN spelt(a) = spelt(b) THEN 'identical_normalised'
    WHEN winner IS NULL THEN 'no_label' WHEN winner = 'tie' THEN 'tie' ELSE 'pair' END
"""
SPELT = r"""
CREATE TEMP MACRO spelt(text) AS
    trim(regexp_replace(nfkc(regexp_replace(text, '[\x{200b}-\x{200f}\x{2060}\x{feff}]', '', 'g')), '[\s\p{Z}]+', ' ', 'g'))
"""
LENGTHS = ("characters of chosen", "characters of rejected")  # sides the wrong way round would show in them
# records that stand for no comparison of their own, which only the import counts
WITHOUT = ("paired", "no_partner", "single_response", "wrong_type")


def counts(con: duckdb.DuckDBPyConnection, data: Path) -> dict[str, dict[str, int]]:
    """Source -> 'pair' or the reason why not -> comparisons, and both LENGTHS; leaves them all in the table `compared`."""
    con.create_function("nfkc", lambda text: unicodedata.normalize("NFKC", text), [str], str)
    con.execute(SPELT)
    con.execute(
        "CREATE TEMP TABLE compared (source VARCHAR, conversation VARCHAR, a VARCHAR, b VARCHAR, winner VARCHAR)"
    )
    for source, query in COMPARISONS.items():
        text = query.replace("{chosen}", 'chosen."value"').replace("{rejected}", 'rejected."value"')
        text = text.replace("{data}", str(data).replace("'", "''"))
        con.execute(f"INSERT INTO compared SELECT '{source}', * FROM ({text})")
    found: dict[str, dict[str, int]] = {s: {} for s in COMPARISONS}
    for source, reason, n in con.execute(
        f"SELECT source, {REASON} AS reason, count(*) FROM compared GROUP BY ALL"
    ).fetchall():
        found[source][reason] = n
    _add_lengths(found, con, f"""
        SELECT source, sum(length(CASE winner WHEN 'a' THEN a ELSE b END)), sum(length(CASE winner WHEN 'a' THEN b ELSE a END))
        FROM compared WHERE {REASON} = 'pair' GROUP BY source""")  # fmt: skip
    return found


def _add_lengths(found: dict[str, dict[str, int]], con: duckdb.DuckDBPyConnection, query: str) -> None:
    for source, *sums in con.execute(query).fetchall():
        found[source] |= dict(zip(LENGTHS, map(int, sums), strict=True))


def distinct(con: duckdb.DuckDBPyConnection) -> int:
    """Distinct (conversation, chosen, rejected) within each source, added up; after `counts`."""
    return con.execute(f"""
        SELECT count(*) FROM (SELECT DISTINCT source, conversation, CASE winner WHEN 'a' THEN a ELSE b END,
            CASE winner WHEN 'a' THEN b ELSE a END FROM compared WHERE {REASON} = 'pair')""").fetchall()[0][0]


def imported(lake) -> dict[str, dict[str, int]]:
    """The same from the lake's tables, and `records` of each source."""
    with lake.connect() as con:
        rows = con.execute("""
            SELECT source, 'pair' AS reason, count(*) AS n FROM raw_pool GROUP BY source
            UNION ALL SELECT source, reason, count(*) FROM unusable GROUP BY ALL
            UNION ALL SELECT source, reason, count(*) FROM quarantine GROUP BY ALL
            UNION ALL SELECT source, 'records', count(DISTINCT row) FROM (
                SELECT source, row FROM raw_pool UNION ALL SELECT source, row FROM unusable
                UNION ALL SELECT source, row FROM quarantine) GROUP BY source
        """).fetchall()
        found: dict[str, dict[str, int]] = {s: {} for s in COMPARISONS}
        for source, reason, n in rows:
            found[source][reason] = n
        _add_lengths(
            found, con, "SELECT source, sum(length(chosen)), sum(length(rejected)) FROM raw_pool GROUP BY source"
        )
    return found


def differences(ours: dict[str, int], plain: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Reason -> (imported, counted) where they differ."""
    reasons = (set(ours) | set(plain)) - {"records", *WITHOUT}
    return {r: (ours.get(r, 0), plain.get(r, 0)) for r in sorted(reasons) if ours.get(r, 0) != plain.get(r, 0)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lake", type=Path, help="default: the lake of configs/all_sources.toml")
    args = parser.parse_args()
    if "ASSAY_DATA" not in os.environ:
        parser.error("ASSAY_DATA names the folder with pool/ and gold/")
    from resources.lake import Lake
    from resources.settings import load

    lake = Lake(str(args.lake)) if args.lake else Lake.of(load(CONFIG))
    ours = imported(lake)
    with duckdb.connect() as con:
        con.execute("SET threads=1")
        plain = counts(con, Path(os.environ["ASSAY_DATA"]))
        each = distinct(con)
    print("| source | records in | pairs out | no pair, and why | plain DuckDB |\n|---|---:|---:|---|---|")
    wrong = 0
    for source, found in ours.items():
        why = ", ".join(f"{r} {n:,}" for r, n in sorted(found.items()) if r not in ("pair", "records", *LENGTHS))
        differ = differences(found, plain[source])
        wrong += bool(differ)
        said = "; ".join(f"{r}: {a:,} imported, {b:,} counted" for r, (a, b) in differ.items()) or "agrees"
        print(f"| {source} | {found.get('records', 0):,} | {found.get('pair', 0):,} | {why} | {said} |")
    total = {k: sum(f.get(k, 0) for f in ours.values()) for k in ("records", "pair")}
    print(f"| all | {total['records']:,} | {total['pair']:,} | | {len(ours) - wrong} of {len(ours)} agree |")
    with lake.connect() as con:
        inside = con.execute("SELECT count(*) FROM (SELECT DISTINCT source, pair_id FROM raw_pool)").fetchall()[0][0]
    print(f"\nDistinct pairs within each source, added up: {inside:,} imported, {each:,} in plain DuckDB.")
    return int(wrong > 0 or inside != each)


if __name__ == "__main__":
    sys.exit(main())
