"""Whatever is put into a public function: an answer in numbers, or one line saying what is allowed.

Each function is called with good arguments, all but one, which is hostile: numbers in disguise (complex,
text, objects), values that are none (NaN, too large, empty), and shapes that do not fit.
"""

import importlib
import inspect
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from calls import CALLS, CASES, INSIDE, SIZES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_project import FLOORS

from splithistory import estimators, information, measure

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


def quick(name: str, value):
    """A hostile value, but no size that would only take long."""
    return value % 1000 if name in SIZES and isinstance(value, int) and 1000 < value < 2**40 else value


def label(call) -> str:
    """What is called, for people."""
    return f"{call.__module__.rpartition('.')[2]}.{call.__qualname__}"


def numbers(found) -> list[np.ndarray]:
    """All numbers in an answer, whatever holds them."""
    if isinstance(found, measure.Futures):
        parts = (found.action_probs, found.outcome_probs, found.counterfactual_probs, found.op, found.imp)
        return [np.asarray(part, float) for part in parts]
    if isinstance(found, information.Tilted):
        return [np.asarray(found.kl), np.asarray(found.rate), found.probs]
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list | tuple):
        return [array for each in found for array in numbers(each)]
    try:
        array = np.asarray(found)
    except ValueError:  # an object of unlike parts
        return []
    return [array.astype(float)] if array.dtype.kind in "fiub" else []


def asked(call, name: str, value) -> str:
    """What a call with one hostile argument comes to: "answered", or "refused" in one line. Else it fails."""
    where = f"{label(call)}({name}={information.shown(value)})"
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("error")
            if "UserWarning" in inspect.getdoc(call):  # what its docstring announces, nothing else
                warnings.simplefilter("always", UserWarning)
            found = call(**(CALLS[call] | {name: value}))
            arrays = numbers(found)
    except ValueError as error:
        text = str(error)
        assert text.isprintable() and 0 < len(text) <= 300, f"{where}: {text!r}"
        return "refused"
    except Exception as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
    texts = [str(warning.message) for warning in said]
    assert all(text.isprintable() and len(text) <= 300 for text in texts), f"{where}: {texts}"
    undefined = any("undefined" in text for text in texts)  # nan is an answer only if this is said of it
    for array in arrays:
        assert undefined or not np.isnan(array).any(), f"{where} is {found}"
    return "answered"


def public() -> set[str]:
    """Functions, classes and methods of the library, by room and name."""
    found = set()
    for room in sorted(room for room in FLOORS if "." not in room and room not in ("study", "cli")):
        module = importlib.import_module(f"splithistory.{room}")
        for name, own in vars(module).items():
            if name[0] != "_" and (asks(own) or inspect.isclass(own)) and own.__module__ == module.__name__:
                members = vars(own).items() if inspect.isclass(own) else []
                found.add(f"{room}.{name}")
                found |= {f"{room}.{name}.{k}" for k, member in members if k[0] != "_" and asks(member)}
    return found


def asks(member) -> bool:
    return inspect.isfunction(member) or isinstance(member, classmethod | staticmethod)


def test_every_public_function_is_asked_or_said_to_be_inside():
    answering, there = {label(call) for call in CALLS}, public()
    inside = {each: {name for name in there if name.startswith(each)} for each in INSIDE}
    assert there - answering - set().union(*inside.values()) == set()
    assert [each for each, names in inside.items() if not names - answering] == []  # what is not there


def test_good_arguments_are_answered(tried):
    for call, good in CALLS.items():
        name = next(iter(good), None)
        assert name is None or asked(call, name, good[name]) == "answered", label(call)
        tried["good calls"] += 1


@pytest.mark.parametrize(("call", "name"), CASES, ids=lambda v: v if isinstance(v, str) else label(v))
def test_what_is_no_number_is_refused_in_one_line(call, name, tried):
    optional = inspect.signature(call).parameters[name].default is None
    for value in DISGUISED:
        first = value[0] if isinstance(value, list) else value
        huge = isinstance(first, int) and first == 10**400
        if name in ("seed", "seeds") and huge:  # a seed may be as large as it likes
            continue
        if name == "sinks" and isinstance(value, dict) and not value:  # a world without any
            continue
        if (name == "quantity" and callable(value)) or (name in ("name", "names") and isinstance(first, str)):
            continue  # a function of the user, any text
        if not (value is None and optional):
            assert asked(call, name, value) == "refused", f"{label(call)}({name}={information.shown(value)})"
            tried["disguised values"] += 1


@pytest.mark.parametrize(("call", "name"), CASES, ids=lambda v: v if isinstance(v, str) else label(v))
def test_odd_values_are_answered_with_numbers_or_refused_in_one_line(call, name, tried):
    for value in ODD:
        asked(call, name, value)
        tried["odd values"] += 1


scalars = st.one_of(
    st.floats(), st.integers(), st.complex_numbers(), st.text(max_size=5), st.booleans(), st.none()
)
# nearly what is asked for
few = st.lists(st.one_of(st.integers(0, 4), st.floats(0, 4)), min_size=1, max_size=4)
anything = st.one_of(
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=12),
    few,
    st.lists(few, min_size=1, max_size=3),
)


def test_an_infinite_estimate_is_an_answer_where_the_docstring_announces_its_warning():
    for call in (estimators.kl_plugin, estimators.kl_corrected, estimators.kl_jackknife):
        assert asked(call, "reference_counts", [0, 0, 3]) == "answered"  # infinite
    assert asked(estimators.kl_jackknife, "reference_counts", [1, 1, 1]) == "answered"  # undefined


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=st.sampled_from(CASES), value=anything)
def test_anything_generated_is_answered_with_numbers_or_refused_in_one_line(tried, case, value):
    call, name = case
    asked(call, name, quick(name, value))
    tried["generated values"] += 1
