"""The routes, one file a resource. A handler is a few lines: read, submit or query, answer."""
