"""Accumulators on plain numbers."""
