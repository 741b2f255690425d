"""`pipebus demo`: an experiment that was made with two Go programs, measured again."""
