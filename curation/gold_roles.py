"""The roles of gold and who may read which (spec O-06). A conversation cluster has one role for good; sql/gold.sql
deals them.

    train        the gold reward model learns from it
    few_shot     shown to judges as examples; the gold reward model learns from it too
    validation   chooses checkpoints
    calibration  turns scores into probabilities and thresholds
    test         read by nothing but the final measure

The loop's reward model never learns from gold, so what it gets wrong among train, few_shot and validation is honest.
"""

ROLES = ("train", "few_shot", "validation", "calibration", "test")
EXAMPLES = ("few_shot",)
TRAINED_ON = ("train", "few_shot")
OPEN = ("train", "few_shot", "validation")  # what the loop may look at


def sql_list(roles: tuple[str, ...]) -> str:
    """For `role IN …`.

    >>> sql_list(("train",))
    "('train')"
    """
    return "(" + ", ".join(f"'{r}'" for r in roles) + ")"
