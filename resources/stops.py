"""What stops a step until somebody, or time, changes something outside."""


class Stop(Exception):
    """The step cannot go on now. What it has done is kept, and the next run goes on from there; the message says what
    to do. Steps let it pass: the orchestrator shows it as a failure that is not worth a retry, or, where `waits_for` says
    for whom, as a run that ended well and waits."""

    waits_for = ""
