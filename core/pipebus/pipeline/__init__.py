"""What a user declares (data only) and what a handler is given (protocols)."""
