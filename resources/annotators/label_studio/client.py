"""The calls of Label Studio's API that are needed, over plain HTTP."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from resources.settings.people import LabelStudio
from resources.stops import Stop

PAGE = 500  # tasks a request
FRESH = 240.0  # seconds for which an access token is used; it lives five minutes
TRIES = 3


class ServerTrouble(Stop):
    """The Label Studio server cannot be reached or refuses; the message names it and never a key."""


class Client:
    """A server with one account's token: a personal access token, which is exchanged for short-lived ones, or a legacy
    one. Nothing of the token is in any message.

    Raises:
        ServerTrouble: no token is set, or the server cannot be used.
    """

    def __init__(self, settings: LabelStudio):
        self.url, self.variable = settings.url.rstrip("/"), settings.api_key_env
        self.key = os.environ.get(self.variable, "").strip()
        if not self.key:
            raise ServerTrouble(
                f"{self.variable} holds no token for {self.url}; make one in Label Studio under Account & Settings"
            )
        self.personal = self.key.count(".") == 2  # a JWT
        self._access, self._since = "", 0.0
        self._http = httpx.Client(
            base_url=self.url,
            follow_redirects=False,
            limits=httpx.Limits(max_keepalive_connections=0),  # what comes beyond an answer answers no later call
            timeout=settings.timeout,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    # ---- requests --------------------------------------------------------------------------------------------------
    def _authorization(self, anew: bool) -> str:
        if not self.personal:
            return f"Token {self.key}"
        if anew or time.monotonic() - self._since > FRESH or not self._access:
            said = self._sent("POST", "/api/token/refresh/", json={"refresh": self.key}, headers={})
            if said.status_code in (401, 403):
                raise ServerTrouble(f"{self.url} does not accept the token in {self.variable} ({said.status_code})")
            self._access, self._since = str(self._json(said, "token")["access"]), time.monotonic()
        return f"Bearer {self._access}"

    def _sent(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A response, after a few tries where none came; only what may be sent twice is sent twice."""
        tries = 1 if method == "POST" and path.endswith("/import") else TRIES
        for n in range(tries):
            try:
                said = self._http.request(method, path, **more)
                if said.status_code not in (502, 503, 504) or n == tries - 1:
                    return said
            except httpx.HTTPError as e:
                if n == tries - 1:
                    raise ServerTrouble(
                        f"Label Studio at {self.url} does not answer ({type(e).__name__}). What people did there stays; run"
                        " again when it is up"
                    ) from None
            time.sleep(0.2 * 2**n)
        raise AssertionError("unreachable")

    def _call(self, method: str, path: str, **more: Any) -> Any:
        for anew in (False, True):
            said = self._sent(method, path, headers={"Authorization": self._authorization(anew)}, **more)
            if said.status_code != 401:
                break
        return self._json(said, path)

    def _json(self, said: httpx.Response, what: str) -> Any:
        if said.status_code == 404 and said.request.method == "DELETE":  # gone already
            return None
        if not said.is_success:
            raise ServerTrouble(
                f"Label Studio at {self.url}: {said.request.method} {what}: {said.status_code}: {self._why(said)}"
            )
        if said.status_code == 204 or not said.content:
            return None
        try:
            return said.json()
        except ValueError:
            raise ServerTrouble(f"Label Studio at {self.url}: {what}: an answer that is no JSON") from None

    def _why(self, said: httpx.Response) -> str:
        text = " ".join(said.text.split())[:300]
        for secret in (self.key, self._access):
            text = text.replace(secret, "…") if secret else text
        return text

    # ---- calls -----------------------------------------------------------------------------------------------------
    def projects(self, title: str) -> list[dict[str, Any]]:
        """Projects of just this title, the oldest first."""
        found, page = [], 1
        while True:
            said = self._call("GET", "/api/projects/", params={"page": page, "page_size": PAGE, "title": title})
            rows = said["results"] if isinstance(said, dict) else said
            found += [p for p in rows if p["title"] == title]
            if not isinstance(said, dict) or not said.get("next"):
                return sorted(found, key=lambda p: p["id"])
            page += 1

    def validate(self, config: str) -> None:
        """Let the server check a labelling configuration."""
        self._call("POST", "/api/projects/validate/", json={"label_config": config})

    def create(self, **fields: Any) -> dict[str, Any]:
        return self._call("POST", "/api/projects/", json=fields)

    def update_project(self, project: int, **fields: Any) -> None:
        self._call("PATCH", f"/api/projects/{project}/", json=fields)

    def tasks(self, project: int) -> Iterator[dict[str, Any]]:
        """Every task with its data and annotations."""
        page = 1
        while True:
            said = self._call(
                "GET",
                "/api/tasks/",
                params={
                    "project": project,
                    "page": page,
                    "page_size": PAGE,
                    "fields": "all",
                    "include": "id,data,total_annotations",
                },
            )
            yield from said["tasks"]
            if not said["tasks"] or page * PAGE >= said["total"]:
                return
            page += 1

    def add_tasks(self, project: int, tasks: Sequence[dict[str, Any]]) -> None:
        for k in range(0, len(tasks), PAGE):
            self._call("POST", f"/api/projects/{project}/import", json=list(tasks[k : k + PAGE]))

    def update_task(self, task: int, **fields: Any) -> None:
        self._call("PATCH", f"/api/tasks/{task}/", json=fields)

    def delete_task(self, task: int) -> None:
        self._call("DELETE", f"/api/tasks/{task}/")

    def annotated(self, project: int) -> list[dict[str, Any]]:
        """The tasks that somebody has annotated, as the export has them."""
        return self._call("GET", f"/api/projects/{project}/export", params={"exportType": "JSON"})

    def delete_annotation(self, annotation: int) -> None:
        """Take an annotation away; its task is in that person's queue again."""
        self._call("DELETE", f"/api/annotations/{annotation}/")

    def users(self) -> dict[int, str]:
        """E-mail addresses by id."""
        return {u["id"]: u["email"] for u in self._call("GET", "/api/users/")}
