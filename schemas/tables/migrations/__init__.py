"""`NNNN_{pre,post}_words.sql`, in order: `pre` must run under the old code, `post` after the new. No code."""
