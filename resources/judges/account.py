"""Who pays for calls, at which price, up to what."""

import datetime

from ..prices import price_of
from ..settings import AttributeSettings, Judge, Settings
from .online import Payer


def account(caller: Judge | AttributeSettings, settings: Settings, stage: str, name: str) -> Payer:
    """The account of one caller.

    Raises:
        UnknownPrice: its model has no price.
    """
    price = price_of(caller.model, caller.price, datetime.datetime.now(datetime.UTC).date())
    return Payer(stage, name, caller.model, price, round(settings.budget.dollars * 1_000_000))
