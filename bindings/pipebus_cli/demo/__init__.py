"""`pipebus demo`: the seed report's experiment, measured again."""
