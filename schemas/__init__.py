"""What the programs agree on: values, messages, bytes, the fold, topics, tables. Pure: no I/O."""
