"""What the tables look like: migrations, and `rows`, the one way from an entry to its rows. No I/O."""
