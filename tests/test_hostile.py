"""Whatever is put into a public function: an answer in numbers, or one line saying what is allowed.

Each function is called with good arguments, all but one, which is hostile: numbers in disguise (complex,
text, objects), values that are none (NaN, too large, empty), and shapes that do not fit.
"""

import inspect
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splithistory import (
    Recurrence,
    SplitHistory,
    differential,
    estimators,
    information,
    measure,
    objectives,
    policies,
    split_history,
    statistics,
    transformer,
)

WORLD = Recurrence()
HISTORIES = WORLD.histories(12, 20, seed=1)
PROBS, OTHER = [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]
COUNTS = [[3, 1], [2, 4]]
TABLE = [[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [0.5, 0.5]]]
SQUARE = [[2.0, 0.1], [0.3, 1.0]]
FUTURES = measure.Futures([0.5, 0.5], [0.6, 0.3, 0.1], [PROBS, OTHER])
MEASURED = SplitHistory(COUNTS, TABLE)

# function: good arguments, by name
CALLS = {
    information.entropy: {"probs": PROBS},
    information.kl: {"probs": PROBS, "reference": OTHER},
    information.binary_kl: {"s": 0.3, "q": 0.5},
    information.implied_op: {"s": 0.3, "p": 0.5},
    information.imp_min: {"s": 0.3, "s_prime": 0.5},
    information.tilt: {"prior": PROBS, "utility": [0.0, 1.0, 2.0], "value": 1.2},
    information.succeeding: {"goal": (0, 1), "n_outcomes": 4, "success": 0.7},
    information.goal_mask: {"goal": (0, 1), "n_outcomes": 4},
    information.whole_and_parts: {"joint": [[0.25, 0.25], [0.4, 0.1]], "reference": [[0.25] * 2] * 2},
    information.same_op_rate: {"s": 0.4, "p": 0.25, "q": 0.5},
    information.both_orders: {"s": 0.52},
    estimators.success_interval: {"successes": 3, "n": 10, "level": 0.9},
    estimators.bias_of_entropy: {"probs": PROBS, "n": 100},
    estimators.bias_of_kl: {"probs": PROBS, "reference": OTHER, "n": 100, "n_reference": 50},
    differential.op: {"j_g": SQUARE, "j_h": SQUARE, "noise_floor": 0.1},
    differential.imp: {"j_g": SQUARE, "j_h": SQUARE, "noise_floor": 0.0},
    differential.scalar: {"c": 0.5},
    differential.residual: {"c": SQUARE},
    statistics.t_interval: {"values": [0.1, 0.2, 0.4], "level": 0.95},
    statistics.t_test: {"values": [0.1, 0.2, 0.4], "above": 0.1},
    statistics.page: {"values": [[1.0, 2.0, 3.0], [0.5, 3.0, 2.0]]},
    statistics.f_test: {"values": [[1.0, 2.0], [0.5, 3.0], [1.0, 1.5]]},
    statistics.auc: {"right": [0.1, 0.9], "wrong": [0.3, 0.2]},
    statistics.redrawn: {"values": [0.1, 0.2, 0.4]},
    statistics.percentiles: {"draws": [0.1, 0.2, 0.4], "level": 0.9},
    statistics.detectable: {"half": 0.1, "n": 5, "level": 0.95, "power": 0.8},
    statistics.power_law_exponent: {"x": [1.0, 2.0, 4.0], "y": [2.0, 8.0, 31.0]},
    measure.Futures: {
        "action_probs": [0.5, 0.5],
        "outcome_probs": PROBS,
        "counterfactual_probs": [PROBS, OTHER],
    },
    SplitHistory: {"counts": COUNTS, "world": TABLE},
    MEASURED.interval: {"quantity": "op", "level": 0.95, "seed": 0},
    MEASURED.corrected: {"quantity": "imp", "seed": 0},
    MEASURED.success: {"goal": (0,)},
    MEASURED.decomposition: {"goal": (1,)},
    FUTURES.implied_op: {"goal": (0, 1)},
    split_history: {
        "histories": HISTORIES,
        "policy": lambda h: np.full(len(h), 9),
        "world": WORLD,
        "n_actions": 16,
    },
    objectives.cross_evaluate: {"futures": FUTURES, "goals": [(0,), (1, 2)]},
    objectives.threshold_goal: {"futures": FUTURES, "reference": OTHER},
    objectives.likelihood_ratio: {"futures": FUTURES, "reference": OTHER},
    objectives.rank_of: {"goal": (0,), "goals": [(0,), (1,)], "score": [0.2, 0.1]},
    objectives.named: {"goal": (0,), "goals": [(0,), (1,)], "score": np.array([0.2, 0.1])},
    policies.everywhere: {"outcomes": PROBS},
    policies.blind: {"world": WORLD, "probs": np.full(16, 1 / 16)},
    policies.always: {"world": WORLD, "action": 9},
    WORLD.outcome_probs: {"histories": HISTORIES, "actions": np.full(12, 9)},
    WORLD.classes: {"histories": HISTORIES},
    WORLD.next_probs: {"histories": HISTORIES},
    WORLD.noiseless_next: {"tokens": HISTORIES},
    WORLD.sample: {"n": 2, "length": 4, "seed": 0, "explore": 0.1},
    WORLD.histories: {"n": 2, "length": 20, "seed": 0},
    WORLD.op_range: {"goal": (0, 4), "success": 0.5},
    Recurrence: {"modulus": 17, "window": 16, "alphabet": 8, "noise": 0.1},
    transformer.choose: {"answer": torch.zeros(2, 3), "temperature": 1.0},
}
# arguments that take what no list of numbers is like: not what is asked here
FREE = {"policy", "world", "futures", "quantity"}

# that must never count as numbers
DISGUISED = [
    1j,
    [0.5 + 0j, 0.5],
    ".5",
    [".5", ".5"],
    [[""]],
    [["", "a"], ["b", ""]],
    b"ab",
    None,
    {},
    {0: 1.0},
    object(),
    [object()],
    np.array(["2026-11-25"], "datetime64[D]"),
    [[1.0], [0.5, 0.5]],
    [Decimal("0.5"), "x"],
    lambda: 0,
    10**400,
    [10**400, 1],
    torch.tensor([0.5 + 0j, 0.5]),
    "a\nb\x1b[31m" * 40,
]
ODD = [
    float("nan"),
    float("inf"),
    [float("nan"), 1.0],
    [np.inf, -np.inf],
    -1,
    -0.5,
    2,
    1.5,
    0,
    1,
    True,
    [True, False],
    [],
    [[]],
    np.zeros((0, 3)),
    np.zeros((2, 0)),
    [5, 5, 5],
    [0.5, 0.5],
    [1e308, -1e308],
    [1e-320, 1.0],
    1e308,
    1e-320,
    [[0.5, 0.5]] * 3,
    np.zeros((2, 2, 2, 2)),
    torch.tensor([0.5, 0.5], dtype=torch.bfloat16),
    torch.tensor([0.5, 0.5], requires_grad=True),
    np.float16(0.5),
    np.array(0.5),
    np.full((3, 3), 1 / 3),
    Fraction(1, 2),
    (0,),
    {0, 1},
    2**63,
    -(2**63),
]
CASES = [(call, name) for call, good in CALLS.items() for name in good]


def label(call) -> str:
    """What is called, for people."""
    return f"{call.__module__.rpartition('.')[2]}.{call.__qualname__}"


def numbers(found) -> list[np.ndarray]:
    """All numbers in an answer, whatever holds them."""
    if isinstance(found, measure.Futures):
        return [
            found.action_probs,
            found.outcome_probs,
            found.counterfactual_probs,
            np.array([found.op, found.imp]),
        ]
    if isinstance(found, information.Tilted):
        return [np.asarray(found.kl), np.asarray(found.rate), found.probs]
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list | tuple):
        return [array for each in found for array in numbers(each)]
    if found is None or isinstance(found, Recurrence | str):
        return []
    array = np.asarray(found)
    return [array.astype(float)] if array.dtype.kind in "fiub" else []


def asked(call, name: str, value) -> str:
    """What a call with one hostile argument comes to: "answered", or "refused" in one line. Else it fails."""
    where = f"{label(call)}({name}={information.shown(value)})"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = call(**(CALLS[call] | {name: value}))
    except ValueError as error:
        text = str(error)
        assert text.isprintable() and 0 < len(text) <= 300, f"{where}: {text!r}"
        return "refused"
    except Exception as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
    for array in numbers(found):
        assert not np.isnan(array).any(), f"{where} is {found}"
    return "answered"


def test_good_arguments_are_answered():
    for call, good in CALLS.items():
        name = next(iter(good))
        assert asked(call, name, good[name]) == "answered", label(call)


@pytest.mark.parametrize(("call", "name"), CASES, ids=lambda v: v if isinstance(v, str) else label(v))
def test_what_is_no_number_is_refused_in_one_line(call, name):
    if name in FREE:
        return
    optional = inspect.signature(call).parameters[name].default is None
    for value in DISGUISED:
        first = value[0] if isinstance(value, list) else value
        huge = isinstance(first, int) and first == 10**400
        if name == "seed" and huge:  # a seed may be as large as it likes
            continue
        if not (value is None and optional):
            assert asked(call, name, value) == "refused", f"{label(call)}({name}={information.shown(value)})"


@pytest.mark.parametrize(("call", "name"), CASES, ids=lambda v: v if isinstance(v, str) else label(v))
def test_odd_values_are_answered_with_numbers_or_refused_in_one_line(call, name):
    if name in FREE:
        return
    for value in ODD:
        asked(call, name, value)


scalars = st.one_of(
    st.floats(), st.integers(), st.complex_numbers(), st.text(max_size=5), st.booleans(), st.none()
)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([case for case in CASES if case[1] not in FREE]), anything)
def test_anything_generated_is_answered_with_numbers_or_refused_in_one_line(case, value):
    call, name = case
    if name in ("n", "n_outcomes", "length", "burn_in") and isinstance(value, int) and value > 10**5:
        value %= 10**5  # what would only take long
    asked(call, name, value)
