"""`pipebus bench`: load from here to any HTTP server, and what came of it."""
