"""The one machine that a binding drives."""
