"""Runs of true values in a mask."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avsync.core.runs import runs


@given(st.lists(st.booleans()))
def test_the_runs_are_what_is_true_and_never_touch(values):
    mask = np.array(values, bool)
    found = runs(mask)
    rebuilt = np.zeros(len(mask), bool)
    for first, past in found:
        assert first < past
        rebuilt[first:past] = True
    assert (rebuilt == mask).all()
    assert all(past < first for (_, past), (first, _) in itertools.pairwise(found))
