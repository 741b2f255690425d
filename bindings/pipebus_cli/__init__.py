"""The `pipebus` command: serve, echo, call, demo."""
