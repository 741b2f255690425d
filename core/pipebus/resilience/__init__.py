"""State machines that keep a service standing: they see plain numbers, never an event."""
