"""Who pays for calls, at which price, up to what."""

import datetime

from resources.llm.policy import Payer
from resources.llm.prices import rates_of
from resources.settings import AttributeModel, Judge, Settings


def account(caller: Judge | AttributeModel, settings: Settings, stage: str, name: str) -> Payer:
    """The account of one caller.

    Raises:
        UnknownPrice: its model has no price.
    """
    price = rates_of(
        caller.model, caller.backend, caller.base_url, caller.price, datetime.datetime.now(datetime.UTC).date()
    )
    return Payer(stage, name, caller.model, price, round(settings.budget.dollars * 1_000_000))
