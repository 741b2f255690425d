"""The event bus: topics, subscriptions, responders and exchanges, without IO."""
