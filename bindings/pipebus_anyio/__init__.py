"""The shared binding: everything that asyncio and trio have in common."""
