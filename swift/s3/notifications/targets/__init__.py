"""The kinds of places that events are delivered to, one module each; how a message is retried is the daemon's."""
