"""`pipebus report`: a performance analysis of a run of `pipebus bench`, from its RUN.json alone."""
