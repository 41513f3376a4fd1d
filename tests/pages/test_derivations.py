"""The chapters of derivations: a step that were wrong would fail. Slips are planted, and must be caught."""

import re
from contextlib import contextmanager
from functools import cache
from unittest import mock

import matplotlib.pyplot as plt
import pytest
from conftest import ROOT, CaughtAt, Rehearsed, planted

from splithistory.pages import figures, findings

FOLDER = ROOT / "book/derivations"
A1, A2, A3 = "a1-optimization", "a2-impact", "a3-utilities"
# chapter, what is wrong, the text, the slip
SLIPS = [
    (A1, "the number of outcomes is left out", "good, bad = s / (K * p),", "good, bad = s / p,"),
    (
        A1,
        "entropy: failures are spread over the successes",
        "h_f += -(1 - s) * sp.log((1 - s) / (K * (1 - p)))",
        "h_f += -(1 - s) * sp.log((1 - s) / (K * p))",
    ),
    (A1, "entropy of F' negative", "h_split = -sp.log(1 / K)", "h_split = sp.log(1 / K)"),
    (A1, "first line: a factor 1 - s is missing", "first += (1 - s) * sp.log(", "first += sp.log("),
    (
        A1,
        "second line: ln K does not cancel",
        "second += sp.log(1 / K) - s * sp.log(1 / K) - sp.log(1 / K)",
        "second += sp.log(1 / K) + s * sp.log(1 / K) - sp.log(1 / K)",
    ),
    (
        A1,
        "the formula: a factor 1 - s is missing",
        "third = s * sp.log(s / p) + (1 - s) * sp.log(",
        "third = s * sp.log(s / p) + sp.log(",
    ),
    (
        A1,
        "the formula: p and 1 - p are swapped",
        "counted - coins(rate, share)",
        "counted - coins(rate, 1 - share)",
    ),
    (A1, "rare goals: 1 - s for s", "growth - t / (1 + t)", "growth - 1 / (1 + t)"),
    (A1, "only s is swapped", "third.subs({s: 1 - s, p: 1 - p}", "third.subs({s: 1 - s, p: p}"),
    (A1, "the identity's proof: a factor 1 - s is missing", "of_failure += (1 - s) * x", "of_failure += x"),
    (A1, "the identity: δ is added", "+ uneven - delta", "+ uneven + delta"),
    (A1, "the identity: s and 1 - s do not weigh", "return mass * divergence(", "return divergence("),
    (
        A1,
        "the identity: unevenness within failure is left out",
        "uneven = within(future, goal) + within(future, ~goal)",
        "uneven = within(future, goal)",
    ),
    (
        A1,
        "largest Op: a factor 1 - s is missing",
        "s * sp.log(K * p) + (1 - s) * sp.log(K * (1 - p))",
        "s * sp.log(K * p) + sp.log(K * (1 - p))",
    ),
    (
        A1,
        "erratum 10, the post's claim that none is below the line",
        "assert float(op) < float(line) - 0.1",
        "assert float(op) >= float(line)",
    ),
    (
        A1,
        "the bound of a utility on Op without δ",
        "information.tilt(U, u, future @ u).kl - policy.delta",
        "information.tilt(U, u, future @ u).kl",
    ),
    (A2, "Q does not have success rate s", "Q_s = [s / s0 * q for", "Q_s = [s * q for"),
    (A2, "Q does not sum to one", "Q_f = [(1 - s) / (1 - s0) * q", "Q_f = [(1 - s) * q"),
    (A2, "Q is flat", "Q_f = [(1 - s) / (1 - s0) * q for q", "Q_f = [(1 - s) / 2 + 0 * q for q"),
    (A2, "line 1: s / s0 for failures", "line1 += sum(down * q", "line1 += sum(up * q"),
    (
        A2,
        "line 2: wrong factor in the logarithm",
        "line2 += down * sum(q * sp.log(down)",
        "line2 += down * sum(q * sp.log(up)",
    ),
    (A2, "line 3: probabilities not summed", "line3 += down * (1 - s0) *", "line3 += down *"),
    (
        A2,
        "the formula: a factor 1 - s is missing",
        "kl = s * sp.log(s / s0) + (1 - s) * sp.log(",
        "kl = s * sp.log(s / s0) + sp.log(",
    ),
    (
        A2,
        "step 1: mass leaves both outcomes",
        "step1 += (q2 + e) * sp.log((s / s0 * p2 + e)",
        "step1 += (q2 + e) * sp.log((s / s0 * p2 - e)",
    ),
    (A2, "step 2: sign", "step2 -= e * sp.log(", "step2 += e * sp.log("),
    (A2, "step 3: sign in a logarithm", "step3 = q1 * sp.log(1 - y1)", "step3 = q1 * sp.log(1 + y1)"),
    (A2, "step 4: sign", "(sp.log(1 + y2) - sp.log(1 - y1))", "(sp.log(1 + y2) + sp.log(1 - y1))"),
    (
        A2,
        "erratum 7, the post's sign in the Taylor step",
        "step5 = outer + e * (y2 + y1)",
        "step5 = outer + e * (y2 - y1)",
    ),
    (A2, "step 6: a half is missing", "step6 = -(e**2) * both / 2", "step6 = -(e**2) * both"),
    (
        A2,
        "step 7: s / s0 upside down",
        "step7 = e**2 / 2 * s0 / s * (1 / p1 + 1 / p2)",
        "step7 = e**2 / 2 * s / s0 * (1 / p1 + 1 / p2)",
    ),
    (A2, "the chain rule: a factor 1 - s is missing", "in_f += (1 - s) * r", "in_f += r"),
    (
        A2,
        "Q in numbers: divided by s0 off the goal",
        "np.where(goal, rate / base, (1 - rate) / (1 - base))",
        "np.where(goal, rate / base, (1 - rate) / base)",
    ),
    (A2, "the bound taken for the divergence", "divergence(R, P) - divergence(R, Q)", "divergence(R, P)"),
    (A2, "tangent", "above = r * sp.log(r / q) - r + q", "above = r * sp.log(r / q)"),
    (
        A2,
        "the search: kl with s and s0 swapped",
        "bound = information.imp_min(rate, base)",
        "bound = information.imp_min(base, rate)",
    ),
    (
        A2,
        "the search: a bound that is not reached",
        "bound = information.imp_min(rate, base)",
        "bound = information.imp_min(rate, base) / 2",
    ),
    (A2, "curvature", "expected = s / s1**2 + (1 - s)", "expected = s / s1**2 + 1"),
    (A2, "s' not weighed by π̄", "coins(rate, (weights * rates).sum())", "coins(rate, rates.sum() / 2)"),
    (
        A2,
        "Imp taken to be finite as Imp_min is",
        "assert np.isfinite(policy.imp_min((0,)))",
        "assert np.isfinite(policy.imp)",
    ),
    (
        A2,
        "the post's claim that impact always adds up",
        "float(whole) < float(parts) - 0.2",
        "float(whole) >= float(parts)",
    ),
    (A2, "products: sign", "both - each - mutual", "both - each + mutual"),
    (A3, "the identity: sign of ln Z", "r * (lam * u - sp.log(Z))", "r * (lam * u + sp.log(Z))"),
    (A3, "the second moment for the variance", "* (w - mean) ** 2", "* w**2"),
    (A3, "slope of the dual", "(v - mean)) == 0", "(v + mean)) == 0"),
    (A3, "value at the end of the range", "- 1 / P3[2]", "- P3[2]"),
    (
        A3,
        "Donsker and Varadhan: sign of ln Z",
        "bound = value * ln(growth) - ln(weights.sum())",
        "bound = value * ln(growth) + ln(weights.sum())",
    ),
    (A3, "wrong Q: the prior is not tilted", "Q, value = weights / weights.sum()", "Q, value = P"),
    (A3, "special case: a ratio for the odds", "odds = s * (1 - s0) / (s0 * (1 - s))", "odds = s / s0"),
    (A3, "wrong Q off the goal", "1 / z - (1 - s) / (1 - s0)", "1 / z - (1 - s)"),
    (
        A3,
        "special case: a factor 1 - s is missing",
        "kl = s * sp.log(s / s0) + (1 - s) * sp.log(",
        "kl = s * sp.log(s / s0) + sp.log(",
    ),
    (A3, "tilt returns the rate for the value", "best.kl - expected", "best.rate - expected"),
    (A3, "chain: tasks not weighed by who reaches them", "sum(w * task for", "sum(task for"),
    (A3, "chain: not conditional", "reach[1:] / reach[:-1], base[1:]", "reach[1:], base[1:]"),
    (
        A3,
        "tilt taken to be always the better bound",
        'spread["tilt"] < 1e-12 < spread["threshold"]',
        'spread["tilt"] >= spread["threshold"]',
    ),
    (
        A3,
        "the bound on Op: δ is added",
        "bound = information.tilt(flat, grades, value).kl - policy.delta",
        "bound = information.tilt(flat, grades, value).kl + policy.delta",
    ),
    (A3, "Jensen's inequality the wrong way", "middle >= least - 1e-12", "middle <= least"),
    (
        A3,
        "the models' bound: what it leaves over is not added",
        'models["op_tilt"] + models["op_rest"]',
        'models["op_tilt"] - models["op_rest"]',
    ),
]


@contextmanager
def outside_a_notebook():
    """There is nothing to glue to, and no figure is looked at."""
    with plt.rc_context(), mock.patch.object(figures, "keep"), mock.patch.object(findings, "quote"):
        try:
            yield
        finally:
            plt.close("all")


@cache
def rehearsed(chapter: str) -> Rehearsed:
    with outside_a_notebook():
        return Rehearsed(chapter)


@pytest.mark.parametrize("chapter", [A1, A2, A3])
def test_without_a_slip_every_check_passes_and_passes_again(chapter):
    with outside_a_notebook():
        rehearsed(chapter).each_again()


@pytest.mark.parametrize(
    ("chapter", "text", "slip"),
    [pytest.param(chapter, *texts, id=f"{chapter}, {wrong}") for chapter, wrong, *texts in SLIPS],
)
def test_a_planted_slip_is_caught(chapter, text, slip, tried):
    sources, where = planted(chapter, text, slip)
    with outside_a_notebook(), pytest.raises(CaughtAt):
        rehearsed(chapter).again(sources, where)
    tried["planted changes"] += 1


def test_a_slip_can_only_be_planted_where_its_text_stands_once():
    for text in ("no such text", "sp.log"):
        with pytest.raises(AssertionError, match="a1-optimization: not once"):
            planted(A1, text, "")


@pytest.mark.parametrize("label", ["thm-op-identity", "def-minimum-impact", "thm-imp-min", "thm-tilt"])
def test_results_that_other_chapters_refer_to_keep_their_labels(label):
    text = "".join(path.read_text("utf8") for path in FOLDER.glob("*.md"))
    assert len(re.findall(rf"^:label: {label}$", text, re.MULTILINE)) == 1
