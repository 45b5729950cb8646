"""From a request to a command, and from its outcome to an answer. No rule about money lives here."""
