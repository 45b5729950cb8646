"""Random predicates and payloads over few names, so that their paths often meet."""

from hypothesis import strategies as st

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, -1.5]),
    st.sampled_from(["", "a", "b", "\U0001f600", "￿"]),
)
NAMES = st.sampled_from(["a", "b", "é"])
PAYLOADS = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)
PATHS = st.lists(NAMES | st.integers(0, 2), min_size=1, max_size=3)

LEAVES = st.one_of(
    st.just({"op": "true"}),
    st.just({"op": "matches_schema"}),
    st.builds(
        lambda op, path, value: {"op": op, "path": path, "value": value},
        st.sampled_from(["eq", "ne"]),
        PATHS,
        SCALARS,
    ),
    st.builds(
        lambda op, path, value: {"op": op, "path": path, "value": value},
        st.sampled_from(["lt", "lte", "gt", "gte"]),
        PATHS,
        st.integers(-2, 2) | st.sampled_from(["", "a", "b"]),
    ),
    st.builds(
        lambda path: {"op": "gte", "path": path, "value_from": "amount_cents"},
        PATHS,
    ),
    st.builds(
        lambda path, values: {"op": "in", "path": path, "values": values},
        PATHS,
        st.lists(SCALARS, min_size=1, max_size=3),
    ),
    st.builds(
        lambda op, path: {"op": op, "path": path},
        st.sampled_from(["exists", "non_empty"]),
        PATHS,
    ),
)
CLAUSES: st.SearchStrategy[object] = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda clause: {"op": "not", "clause": clause}, inner)
        | st.builds(
            lambda op, clauses: {"op": op, "clauses": clauses},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        )
    ),
    max_leaves=10,
)
