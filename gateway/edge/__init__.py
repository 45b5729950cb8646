"""What stands between the wire and a route: sizes, raw bytes, request ids, the error envelope."""
