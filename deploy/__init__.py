"""How Paybond is run: `local` is the whole system on one machine."""
