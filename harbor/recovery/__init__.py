"""The tick: what time brings to an intent becomes an ordinary command. It can ask for nothing else."""
