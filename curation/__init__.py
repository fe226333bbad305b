"""The rules of the paper as pure functions: no Dagster, no SDK, no I/O."""
