"""Records that could not work, and what an operator decides about each: send the same bytes again, or let it lie."""
