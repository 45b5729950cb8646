"""The whole system on one machine, without containers: servers, supervisor, demo. Nothing here decides about money."""
