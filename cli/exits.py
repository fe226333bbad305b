"""The exit statuses of the command line; docs/command_line.md says what each means."""

DONE = 0
FAILED = 1
UNUSABLE = 2
UNCONFIRMED = 3
INCOMPLETE = 4
DAMAGED = 5
INTERRUPTED = 130
TERMINATED = 143
