"""The OpenAPI document of the scoring endpoint."""

from typing import Any

TEXT = {"type": "string"}
TURNS = {
    "type": "array",
    "items": {"type": "object", "properties": {"role": TEXT, "content": TEXT}, "required": ["role", "content"]},
}
MESSAGES = {
    "description": "one answer, the last of the turns",
    "type": "object",
    "properties": {"messages": {**TURNS, "minItems": 1}},
    "required": ["messages"],
}
PAIR = {
    "description": "two answers to the same turns",
    "type": "object",
    "properties": {
        "prompt": {"type": ["string", "null"], "description": "the last turn, or what follows on an answer"},
        "conversation": {**TURNS, "type": ["array", "null"]},
        "chosen": TEXT,
        "rejected": TEXT,
    },
    "required": ["chosen", "rejected"],
}
NUMBER = {"type": ["number", "null"]}
REWARD = {
    "type": "object",
    "properties": {
        "reward": {**NUMBER, "description": "of an item with `messages`"},
        "r_chosen": {**NUMBER, "description": "of a pair"},
        "r_rejected": NUMBER,
        "unscored": {**TEXT, "description": "why there is no reward"},
    },
}
ERROR = {"type": "object", "properties": {"error": TEXT}, "required": ["error"], "additionalProperties": False}
REFUSALS = {
    400: "an item that cannot be scored, or no JSON; the message names the item",
    401: "the token is missing or wrong",
    403: "asked for by another name than this machine's, or from another site",
    404: "no such path",
    405: "no such method",
    408: "the request did not arrive in time",
    413: "too many bytes, texts or characters; the message names the limit",
    429: "more requests at once than are taken; ask again after `Retry-After` seconds",
    500: "a fault of the server; the message says nothing of the texts",
    503: "not scored in time; ask again after `Retry-After` seconds",
}


def _json(schema: dict) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _answers(description: str, content: dict, *refusals: int) -> dict[str, Any]:
    told = {str(n): {"description": REFUSALS[n], "content": _json(ERROR)} for n in refusals}
    return {"200": {"description": description, "content": content}, **told}


def document(needs_token: bool) -> dict[str, Any]:
    """What the endpoint takes and answers, as OpenAPI 3.1 has it."""
    whole = {"type": "object", "properties": {"max_tokens": {"type": "integer"}}, "required": ["max_tokens"]}
    items = {"type": "array", "items": {"anyOf": [MESSAGES, PAIR]}}
    asked = {"type": "object", "properties": {"items": items}, "required": ["items"]}
    rewards = {"type": "object", "properties": {"rewards": {"type": "array", "items": REWARD}}, "required": ["rewards"]}
    guarded = (401,) * needs_token
    paths: dict[str, Any] = {
        "/score": {
            "post": {
                "summary": "rewards of items, in their order",
                "requestBody": {"required": True, "content": _json(asked)},
                "responses": _answers(
                    "one reward or pair of rewards an item",
                    _json(rewards),
                    *(400, *guarded, 403, 408, 413, 429, 500, 503),
                ),
            }
        },
        "/metrics": {
            "get": {
                "summary": "counts and times, as Prometheus reads them",
                "responses": _answers("the text format", {"text/plain": {"schema": TEXT}}, *guarded, 403),
            }
        },
        "/health": {
            "get": {
                "summary": "whether it serves, and how long an input may be",
                "security": [],
                "responses": _answers("it serves", _json(whole), 403),
            }
        },
    }
    made = {"openapi": "3.1.0", "info": {"title": "Rewards", "version": "1"}, "paths": paths}
    if needs_token:
        made["components"] = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
        made["security"] = [{"token": []}]
    return made
