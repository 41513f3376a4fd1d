"""The interactive pages: what they are given, and that the page computes what Python does."""

import base64
import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import ROOT

from splithistory import Recurrence, SplitHistory, objectives, policies, study
from splithistory.measure import Futures
from splithistory.pages import machine
from splithistory.transformer import Architecture, action_logits, positions

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCRIPTS = ("machine/measures.js", "machine/world.js", "machine/transformer.js", "machine.js")
POST = Recurrence()


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    """A folder of static files as a rendered book has it."""
    folder = tmp_path_factory.mktemp("book") / "_static"
    shutil.copytree(ROOT / "book/_static", folder, ignore=shutil.ignore_patterns("mathjax"))
    machine.write(folder)
    return folder


@pytest.fixture(scope="module")
def results():
    return study.published("post")


def handed_over(path):
    """What a script hands to the page: its name and data."""
    name, data = re.fullmatch(
        r"splithistory\.receive\((\"[^\"]+\"), (.*)\);\n", path.read_text("utf8")
    ).groups()
    return json.loads(name), json.loads(data)


def test_weights_come_whole_and_in_the_order_of_their_shapes(static, results):
    name, stored = handed_over(static / "machine/models/18k-sampled-4.js")
    assert name == "18k-sampled-4"
    numbers, start = np.frombuffer(base64.b64decode(stored["numbers"]), "<f4"), 0
    (row,) = (row for row in machine.shown(results) if row["name"] == name)
    architecture = Architecture(*study.SIZES["18k"])
    weights = results.weights(row["model"]) | {"positions": positions(architecture.context, 32).numpy()}
    for part, shape in stored["shapes"]:
        size = int(np.prod(shape))
        assert np.array_equal(numbers[start : start + size].reshape(shape), weights[part]), part
        start += size
    assert start == len(numbers) == row["n_parameters"] + 20 * 32


def test_the_manifest_has_the_hash_of_every_file_and_of_its_source(static):
    manifest = json.loads((static / "machine/manifest.json").read_text("utf8"))
    written = {str(p.relative_to(static)) for p in static.rglob("*") if p.suffix == ".js"} - {
        str(p.relative_to(ROOT / "book/_static")) for p in (ROOT / "book/_static").rglob("*.js")
    }
    assert written < set(manifest["files"])
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((static / name).read_bytes()).hexdigest() == digest, name
    for name, digest in manifest["sources"].items():
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == digest, name


def test_the_still_state_has_the_published_numbers(static, results):
    page = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", (static / "machine/machine.html").read_text("utf8")))
    (row,) = (row for row in machine.shown(results) if row["name"] == machine.FIRST)
    known = results.scalars(row["model"])
    said = f"0, 2, 4 or 6 comes in {100 * known['s']:.0f} % of cases"
    assert said in page and f"and it is {100 * known['s_prime']:.0f} %" in page
    assert f"Op {known['op']:.3f} nats" in page and f"Imp {known['imp']:.3f} nats" in page
    low, high = (f"{known[f'op_{end}']:.3f}" for end in ("low", "high"))
    assert f"{known['op']:.3f} (95 %: {low} to {high})" in page
    n = f"{results.measured(row['model']).n_histories:,} histories"
    assert n in page and n in (ROOT / "book/machine.md").read_text("utf8") and "$" not in page


def test_what_the_page_says_to_try_is_so(results):
    for row in machine.shown(results):
        cold, warm = (results.scalars(row["model"], temperature=t) for t in (0.0, 1.0))
        if row["n_good"]:
            assert warm["op"] < cold["op"], row["name"]
        else:
            assert 0 < cold["op"] < 0.05 and 0 < cold["imp"] < 0.08, row["name"]


def test_few_histories_make_impact_too_high_as_the_page_says(results):
    (row,) = (row for row in machine.shown(results) if row["name"] == machine.FIRST)
    known = results.measured(row["model"])
    shares = known.counts.ravel() / known.counts.sum()
    drawn = np.random.default_rng(0).multinomial(100, shares, size=400).reshape(-1, 16, 16)
    assert Futures.of_tables(drawn, POST.table).imp.mean() > known.imp + 0.03


def test_all_models_of_the_study_can_be_explored_with_their_measures(static, results):
    _, data = handed_over(static / "explorer/cases.js")
    studied = [case for case in data["cases"] if case["group"].startswith("the study")]
    assert len(studied) == len(results.models)
    for case, number in zip(studied[::25], results.models["model"][::25], strict=True):
        futures = Futures(case["weights"], case["outcome"], data["others"][case["others"]])
        known = results.measured(number)
        assert abs(futures.op - known.op) < 1e-9 and abs(futures.imp - known.imp) < 1e-9


def test_the_example_of_the_post_is_among_the_pictures(static):
    _, data = handed_over(static / "explorer/cases.js")
    (case,) = (case for case in data["cases"] if case["name"].startswith("2 and 3"))
    futures = Futures(case["weights"], case["outcome"], data["others"][case["others"]])
    assert np.isclose(futures.op, 1.657, atol=5e-4)
    assert np.isclose(futures.implied_op(case["goal"]), 0.0298, atol=5e-5)


def test_nothing_is_written_without_a_published_study(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.study, "published", lambda name: None)
    with pytest.raises(ValueError, match="results: given none of the study post"):
        machine.write(tmp_path)
    assert not list(tmp_path.iterdir())


def slug(case: dict) -> str:
    """The name of a case in an address, as the page makes it."""
    name = re.sub("['’]", "", f"{case['group']} {case['name']}".lower())
    return re.sub("[^a-z0-9]+", "-", name).strip("-")


def test_links_into_the_explorer_lead_to_what_the_page_says(static):
    _, data = handed_over(static / "explorer/cases.js")
    named = {slug(case): case for case in data["cases"]}
    assert len(named) == len(data["cases"])
    links = re.findall(r'"#load--([a-z0-9-]+)__goal--(\d+)"', (ROOT / "book/explorer.md").read_text("utf8"))
    futures = {n: Futures(c["weights"], c["outcome"], data["others"][c["others"]]) for n, c in named.items()}
    example, pictures, steers, blind, trained, _ = (futures[name] for name, _ in links)
    text = (ROOT / "book/explorer.md").read_text("utf8")
    assert (
        f"implies {example.implied_op(study.GOALS[6]):.3f} nats" in text and f"is {example.op:.3f}." in text
    )
    assert pictures.success(study.GOALS[4]) == 0.75 and pictures.excess(study.GOALS[4]) < 1e-9
    others = [f for n, f in futures.items() if "pictures" in n and f not in (pictures, example)]
    assert len(others) == 3
    for other in others:
        assert np.isclose(other.success(study.GOALS[4]), 0.75) and other.excess(study.GOALS[4]) > 0.01
    assert np.allclose(steers.outcome_probs, blind.outcome_probs) and steers.op > 1 > 1e-9 > abs(blind.op)
    assert trained.excess([0, 4]) > trained.excess(study.GOALS[4])


@pytest.mark.parametrize(("goal", "words"), [((3,), "3"), ((0, 4), "0 or 4"), ((6, 0, 2), "0, 2 or 6")])
def test_a_goal_in_words(goal, words):
    assert machine.in_words(goal) == words


# --- in a real browser, from a disk, with the network cut off --------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no chromium: `apt-get install chromium` gets one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def opened(browser, static, component: str, ready: str):
    """A page from a disk that has a component and nothing else, and what should not have happened in it."""
    (static.parent / "pages").mkdir(exist_ok=True)
    file = static.parent / "pages" / component.split("/")[-1]
    markup = (static / component).read_text("utf8")
    below = '<h2 id=how-to-read-it>How</h2><p style="height: 99em">It is long.</p>'
    file.write_text(
        f"<!doctype html><html lang=en><title>x</title><body>{markup}{below}</body></html>", "utf8"
    )
    page, complaints = browser.new_context(offline=True).new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: r.url.startswith("file:") or complaints.append(f"request to {r.url}"))
    page.goto(file.as_uri())
    page.wait_for_selector(ready)
    return page, complaints


@pytest.fixture(scope="module")
def page(browser, static):
    page, complaints = opened(browser, static, "machine/machine.html", "[data-do=run]")
    yield page
    assert complaints == []


@pytest.fixture
def explorer(browser, static):
    page, complaints = opened(browser, static, "explorer/explorer.html", "[data-slot=ranked] tr")
    yield page
    assert complaints == []
    page.close()


def random_futures(rng) -> Futures:
    weights, outcome = rng.dirichlet(np.ones(3)), rng.dirichlet(np.full(8, 0.7))
    return Futures(weights, outcome, rng.dirichlet(np.full(8, 2.0), 3))


def as_given(futures: Futures) -> dict:
    names = {"weights": "action_probs", "outcome": "outcome_probs", "others": "counterfactual_probs"}
    return {name: getattr(futures, own).tolist() for name, own in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["18k-pretrained", "18k-sampled-4", "18k-acted-6", "53k-sampled-2"])
def test_the_page_has_the_logits_of_the_model(page, static, results, name):
    (row,) = (row for row in machine.shown(results) if row["name"] == name)
    histories = POST.histories(40, seed=[3, row["model"]])
    weights = {k: torch.as_tensor(v).double()[None] for k, v in results.weights(row["model"]).items()}
    expected = action_logits(weights, Architecture(*study.SIZES[row["size"]]), histories)[0].numpy()
    stored = handed_over(static / f"machine/models/{name}.js")[1]
    found = page.evaluate(
        "([stored, histories]) => { const model = splithistory.unpacked(stored);"
        " return histories.map((h) => splithistory.logits(model, h)); }",
        [stored, histories.tolist()],
    )
    assert np.abs(np.array(found) - expected).max() < 1e-9


@pytest.mark.slow
def test_the_page_has_the_world(page):
    histories = POST.histories(200, seed=7)
    found = page.evaluate(
        "(histories) => { const w = splithistory.recurrence();"
        " return [w.table, histories.map(w.classOf), histories.map(w.noiselessNext)]; }",
        histories.tolist(),
    )
    assert np.abs(np.array(found[0]) - POST.table).max() < 1e-9
    assert found[1] == POST.classes(histories).tolist()
    assert found[2] == POST.noiseless_next(histories).tolist()


@pytest.mark.slow
def test_the_page_draws_histories_of_the_world(page):
    drawn = page.evaluate(
        "() => { const w = splithistory.recurrence(), u = splithistory.stream(5);"
        " return Array.from({ length: 4000 }, () => w.history(u, 20)); }"
    )
    histories = np.array(drawn)
    assert histories.shape == (4000, 20) and (histories[:, ::2] >= 8).all() and (histories[:, 1::2] < 8).all()
    kept = (POST.noiseless_next(histories[:, :-1]) == histories[:, -1]).mean()
    assert abs(kept - POST.predictability) < 0.01
    shares = np.bincount(POST.classes(histories), minlength=16) / 4000
    assert np.abs(shares - POST.class_shares()).max() < 0.02


@pytest.mark.slow
def test_the_page_measures_a_table_of_counts(page):
    rng = np.random.default_rng(0)
    for _ in range(20):
        counts = rng.integers(0, 50, (16, 16)) * (rng.random((16, 16)) < 0.5)
        measured, goal = SplitHistory(counts, POST.table), [0, 4]
        found = page.evaluate(
            "([counts, goal]) => { const s = splithistory, f = s.futures(counts, s.recurrence().table);"
            " return [s.op(f), s.imp(f), s.delta(f), s.success(f, goal), s.otherSuccess(f, goal),"
            " s.impliedOp(f, goal), s.impMin(f, goal)]; }",
            [counts.tolist(), goal],
        )
        names = ("success", "counterfactual_success", "implied_op", "imp_min")
        expected = [measured.op, measured.imp, measured.delta, *(getattr(measured, n)(goal) for n in names)]
        assert np.abs(np.array(found) - expected).max() < 1e-9


@pytest.mark.slow
def test_the_page_splits_op_and_imp_into_their_terms(page):
    rng = np.random.default_rng(1)
    for _ in range(30):
        futures, goal = random_futures(rng), sorted(rng.permutation(8)[: rng.integers(1, 8)].tolist())
        found = page.evaluate("([f, goal]) => splithistory.decomposition(f, goal)", [as_given(futures), goal])
        expected = futures.decomposition(goal)
        assert found.keys() == expected.keys()
        assert max(abs(found[k] - expected[k]) for k in expected) < 1e-9


@pytest.mark.slow
def test_imp_min_is_infinite_where_nothing_fails_whatever_rounding_leaves_of_one_less_s(page):
    other = [n / 44 for n in (7, 7, 1, 5, 9, 8, 7, 0)]
    left, *found = page.evaluate(
        "([f, goal]) => { const s = splithistory;"
        " const found = [s.impMin(f, goal), s.decomposition(f, goal).imp_success_rate];"
        " return [1 - s.sum(f.others[0]), ...found.map(String)]; }",
        [{"weights": [1], "outcome": [1 / 8] * 8, "others": [other]}, list(range(7))],
    )
    assert 0 < left < 1e-15 and found == ["Infinity", "Infinity"]


@pytest.mark.slow
def test_the_page_ranks_goals_as_the_rules_do(page):
    rng, goals = np.random.default_rng(2), objectives.every_goal(8)
    for _ in range(12):
        futures = random_futures(rng)
        found = page.evaluate(
            "([f, goals]) => splithistory.scores(f, goals).map((own) =>"
            " Object.fromEntries(Object.entries(own).map(([k, v]) => [k, v === -Infinity ? -1e99 : v])))",
            [as_given(futures), goals],
        )
        for rule in found[0]:
            expected = objectives.scores(futures, goals, rule)
            given = np.array([own[rule] for own in found])
            assert np.array_equal(given == -1e99, np.isneginf(expected)), rule
            candidates = np.isfinite(expected)
            assert np.abs(given[candidates] - expected[candidates]).max(initial=0) < 1e-9, rule
        names = page.evaluate("(f) => splithistory.simpleNames(f)", as_given(futures))
        assert {rule: tuple(goal) for rule, goal in names.items()} == objectives.simple_names(futures)


@pytest.mark.slow
def test_goals_are_ranked_by_a_share_of_an_infinite_imp_too(page):
    lacking, goals = np.array([1, 1, 2, 0, 1, 0, 1, 2]) / 8, objectives.every_goal(8)
    f = {"weights": [1], "outcome": [1 / 8] * 8, "others": [lacking.tolist()]}
    found = page.evaluate(
        "([f, goals]) => splithistory.scores(f, goals).map((own) => [own.imp, own.both, own.op].map(String))",
        [f, goals],
    )
    for goal, given in zip(goals, np.array(found, float), strict=True):
        candidate, absent = len(goal) / 8 > lacking[list(goal)].sum(), set(goal) <= {3, 5}
        assert given[0] == (float(absent) if candidate else -np.inf), goal
    assert not np.isnan(np.array(found, float)).any()


@pytest.mark.slow
def test_the_page_has_the_region_that_the_world_can_reach(page):
    unoptimized = np.array([policies.always(POST, a).delta for a in range(16)])
    ends = [np.log(8) - unoptimized.max(), np.log(8) - unoptimized.min()]
    for goal in study.GOALS.values():
        s = np.linspace(0.1, 0.9, 9)
        found = page.evaluate(
            "([s, n, ends]) => s.map((one) => splithistory.opRange(one, n, 8, ends, 0.02 / 8))",
            [s.tolist(), len(goal), ends],
        )
        assert np.abs(np.array(found).T - POST.op_range(goal, s)).max() < 1e-9


@pytest.mark.slow
def test_histories_answered_in_the_page_come_to_the_published_measurement(page, static, results):
    (row,) = (row for row in machine.shown(results) if row["name"] == machine.FIRST)
    found = page.evaluate(
        "(stored) => { const s = splithistory, w = s.recurrence(), tally = s.nothing(w), u = s.stream(1);"
        " const model = s.unpacked(stored);"
        " while (tally.n < 1500) s.step(w, model, tally, 0, u);"
        " return tally; }",
        handed_over(static / f"machine/models/{machine.FIRST}.js")[1],
    )
    measured, known = SplitHistory(found["counts"], POST.table), results.scalars(row["model"])
    last = found["series"][-1]
    assert found["n"] == measured.n_histories == sum(found["own"]) == sum(found["other"]) / 3 == 1500
    assert abs(measured.op - known["op"]) < 0.06 and abs(measured.imp - known["imp"]) < 0.06
    assert abs(last["op"] - measured.op) < 0.02 and 1400 < last["n"] <= 1500
    goal = list(study.GOALS[4])
    for drawn, rate in ((found["own"], known["s"]), (found["other"], known["s_prime"])):
        assert abs(np.array(drawn)[goal].sum() / sum(drawn) - rate) < 0.05


@pytest.mark.slow
def test_the_buttons_draw_histories_and_start_again(page, results):
    (row,) = (row for row in machine.shown(results) if row["name"] == machine.FIRST)
    known = results.scalars(row["model"])
    assert page.inner_text("[data-slot=op]") == f"{known['op']:.3f}"
    page.click("[data-do=step]")
    assert page.inner_text("[data-slot=count]") == "1 history drawn"
    assert page.locator(".sh-strip:not(.head)").count() == 4
    page.click("[data-do=run]")
    page.wait_for_function("document.querySelectorAll('path.so-far').length === 2")
    page.click("[data-do=run]")
    assert page.inner_text("[data-slot=op]") != f"{known['op']:.3f}"
    page.click("[data-do=reset]")
    assert page.inner_text("[data-slot=count]") == "no history drawn yet"
    assert page.inner_text("[data-slot=op]") == f"{known['op']:.3f}"


@pytest.mark.slow
def test_the_count_moves_while_it_draws_and_is_read_aloud_at_rest(page):
    page.click("[data-do=reset]")
    page.click("[data-do=run]")
    page.wait_for_function(
        "/^([2-9]|\\d{2,}) histories so far$/.test(document.querySelector('.sh-count').innerText)"
    )
    assert page.get_attribute(".sh-count", "aria-live") == "off"
    page.click("[data-do=run]")
    assert page.inner_text(".sh-count").endswith(" histories drawn")
    assert page.get_attribute(".sh-count", "aria-live") == "polite"


@pytest.mark.slow
def test_bars_words_and_numbers_are_of_the_same_histories_from_the_first_one_on(page):
    page.click("[data-do=reset]")
    assert page.inner_text("[data-slot=key]") == "Measured on 40,000 histories."
    for n in range(1, 12):
        page.click("[data-do=step]")
        good = page.locator("[data-future=own] .good b").all_inner_texts()
        assert abs(sum(map(int, good)) - int(page.inner_text("[data-slot=own]")[:-2])) <= 2, n
        assert page.locator(".sh-bars.live").count() == 2
        assert page.inner_text("[data-slot=key]").startswith("Bars and numbers: drawn here.")
        if n == 1:  # one answer to one history steers nothing
            assert page.inner_text("[data-slot=op]") == page.inner_text("[data-slot=imp]") == "0.000"
    page.click("[data-do=reset]")


@pytest.mark.slow
def test_every_number_of_histories_stands_in_the_middle_of_where_the_line_has_it(page):
    page.click("[data-do=reset]")
    found = page.evaluate(
        "[...document.querySelectorAll('[data-chart=op] text')].slice(0, 4).map((at) => {"
        " const { x, width } = at.getBBox();"
        " return [Number(at.getAttribute('x')), x + width / 2, x + width]; })"
    )
    places = np.array(found)
    assert np.abs(places[:, 0] - places[:, 1]).max() < 0.1 and places.max() <= 300
    steps = np.diff(places[:, 0])
    assert np.allclose(steps / steps[0], [1, 1, np.log10(5)], atol=1e-6)


@pytest.mark.slow
def test_paper_keeps_the_bars_of_the_machine(page):
    page.emulate_media(media="print")
    kept = "(at) => getComputedStyle(at, '::before').printColorAdjust"
    assert page.locator(".sh-bars > span").first.evaluate(kept) == "exact"
    page.emulate_media(media="screen")


@pytest.mark.slow
def test_any_goal_can_be_chosen_but_not_none_and_not_all(page):
    pressed = "[data-outcome][aria-pressed=true]"
    for k in range(8):
        if page.locator(f"[data-outcome='{k}'][aria-pressed=true]").count() == 0:
            page.click(f"[data-outcome='{k}']")
    assert page.locator(pressed).count() == 7
    for k in range(8):
        if page.locator(f"[data-outcome='{k}'][aria-pressed=true]").count():
            page.click(f"[data-outcome='{k}']")
    assert page.locator(pressed).count() == 1


@pytest.fixture
def choosing(browser, static):
    """A machine of one's own, for what leaves the page."""
    page, complaints = opened(browser, static, "machine/machine.html", "[data-do=run]")
    yield page
    assert complaints == []
    page.close()


def chosen(page) -> tuple:
    """What the fields say, and what model and temperature the words and numbers are of."""
    model = page.locator("[data-set=model]").input_value()
    temperature = page.locator("[type=radio]:checked").input_value()
    goal = page.locator("[data-outcome][aria-pressed=true]").all_inner_texts()
    said = [page.inner_text(f"[data-slot={name}]") for name in ("reward", "op-known", "goal")]
    return model, temperature, goal, said


@pytest.mark.slow
@pytest.mark.parametrize("way", ["back", "reload", "link"])
def test_fields_and_numbers_agree_when_the_reader_comes_back_to_what_was_chosen(choosing, results, way):
    choosing.select_option("[data-set=model]", "18k-pretrained")
    choosing.wait_for_function("document.querySelector('[data-slot=reward]').innerText.includes('never')")
    choosing.check("[type=radio][value='1']")
    choosing.click("[data-outcome='0']")
    (row,) = (row for row in machine.shown(results) if row["name"] == "18k-pretrained")
    op = f"{results.scalars(row['model'], temperature=1.0)['op']:.3f}"
    before, address = chosen(choosing), choosing.url
    assert before[:3] == ("18k-pretrained", "1", ["2", "4", "6"]) and f"histories: {op} " in before[3][1]
    if way == "reload":
        choosing.reload()
    else:
        choosing.goto("about:blank")
        choosing.go_back() if way == "back" else choosing.goto(address)
    choosing.wait_for_selector("[data-do=run]")
    assert chosen(choosing) == before and choosing.url == address


@pytest.mark.slow
def test_an_address_that_is_no_state_leaves_the_machine_as_it_is(choosing):
    before, plain = chosen(choosing), choosing.url
    assert "#" not in plain  # nothing was chosen
    choosing.click("[data-outcome='0']")
    choosing.click("[data-outcome='0']")
    choosing.click("[data-do=step]")
    choosing.evaluate("location.hash = '#how-to-read-it'")
    choosing.wait_for_timeout(100)
    assert choosing.url.endswith("#how-to-read-it")
    choosing.go_back()  # to the same state: what was drawn stays
    choosing.wait_for_timeout(100)
    assert "#model--" in choosing.url and choosing.inner_text(".sh-count") == "1 history drawn"
    choosing.goto(plain + "#model--x__temperature--7__goal--01234567")
    choosing.reload()
    choosing.wait_for_selector("[data-do=run]")
    assert chosen(choosing) == before


# --- the explorer -----------------------------------------------------------------------------------------


def shown_state(page) -> Futures:
    """The two futures that the bars show, to a tenth of a percent."""
    bars = [
        [
            float(v)
            for v in page.locator(f"[data-future={future}]").evaluate(
                "(box) => [...box.querySelectorAll('.ex-row')].map((at) => at.style.getPropertyValue('--p'))"
            )
        ]
        for future in ("outcome", "reference")
    ]
    return Futures([1.0], bars[0], [bars[1]])


@pytest.mark.slow
def test_the_explorer_shows_the_measures_of_what_is_loaded(explorer, static):
    _, data = handed_over(static / "explorer/cases.js")
    for case in data["cases"][::40]:
        explorer.select_option("[data-set=case]", slug(case))
        futures, goal = (
            Futures(case["weights"], case["outcome"], data["others"][case["others"]]),
            case["goal"],
        )
        slots = {"op": futures.op, "imp": futures.imp, "delta": futures.delta}
        slots |= {"implied": futures.implied_op(goal), "imp-min": futures.imp_min(goal)}
        slots |= {"s": futures.success(goal), "s-other": futures.counterfactual_success(goal)}
        for name, value in slots.items():
            said = explorer.inner_text(f"[data-slot='{name}']").replace("\u2212", "-")
            assert abs(float(said) - value) < 5.001e-4, (slug(case), name)


@pytest.mark.slow
def test_a_bar_moves_by_keys_and_the_link_holds_the_state(explorer):
    before = shown_state(explorer)
    bar = explorer.locator("[data-future=outcome] input").nth(3)
    bar.focus()
    for _ in range(10):
        bar.press("ArrowRight")
    explorer.click("button[aria-label='outcome 3 is good']")
    after = shown_state(explorer)
    assert after.outcome_probs[3] > before.outcome_probs[3] + 0.04
    others = np.delete(after.outcome_probs / before.outcome_probs, 3)
    assert np.allclose(others, others[0])  # the others made room in proportion
    link = explorer.get_attribute("[data-slot=link]", "href")
    explorer.wait_for_function("(link) => location.hash === link", arg=link)
    said = explorer.inner_text("[data-slot=say]")
    explorer.goto(explorer.url.split("#")[0] + link)
    explorer.reload()
    explorer.wait_for_selector("[data-slot=ranked] tr")
    assert np.abs(shown_state(explorer).outcome_probs - after.outcome_probs).max() < 1e-5
    explorer.wait_for_selector("[data-slot=say]:not(:empty)")
    assert explorer.inner_text("[data-slot=say]") == said
    assert said.startswith("A good outcome (0, 2, 3, 4 or 6) comes")


@pytest.mark.slow
def test_paper_keeps_the_bars_of_the_explorer(explorer):
    bar = explorer.locator("[data-future=outcome] input").first
    assert bar.evaluate("(at) => getComputedStyle(at).printColorAdjust") == "exact"


@pytest.mark.slow
def test_a_case_that_was_changed_can_be_loaded_again(explorer):
    menu, before = explorer.locator("[data-set=case]"), shown_state(explorer).outcome_probs
    chosen = menu.input_value()
    for change in (
        lambda: explorer.locator("[data-future=outcome] input").nth(3).press("End"),
        lambda: explorer.click("button[aria-label='outcome 3 is good']"),
    ):
        change()
        assert menu.locator("option:checked").inner_text() == "prefers some successes, changed"
        menu.select_option(chosen)  # a change only if another one was shown
        assert np.array_equal(shown_state(explorer).outcome_probs, before)
        assert menu.locator("option:checked").inner_text() == "prefers some successes"
    assert explorer.locator("button[aria-label='outcome 3 is good'][aria-pressed=true]").count() == 0


@pytest.mark.slow
def test_a_link_to_a_heading_leaves_what_the_reader_shaped(explorer):
    bar = explorer.locator("[data-future=outcome] input").nth(3)
    bar.press("End")
    shaped = shown_state(explorer).outcome_probs
    explorer.wait_for_function("location.hash === document.querySelector('[data-slot=link]').hash")
    explorer.evaluate("location.hash = '#how-to-read-it'")
    explorer.wait_for_timeout(400)  # longer than the address waits to be written
    assert explorer.url.endswith("#how-to-read-it")
    assert np.array_equal(shown_state(explorer).outcome_probs, shaped)
    bar.press("Home")  # from here on the address holds what the reader shaped again
    explorer.wait_for_function("location.hash === document.querySelector('[data-slot=link]').hash")
    assert "__f--" in explorer.url


@pytest.mark.slow
def test_an_address_with_a_heading_leads_there_and_stays(explorer):
    explorer.goto(explorer.url.split("#")[0] + "#how-to-read-it")
    explorer.reload()
    explorer.wait_for_selector("[data-slot=say]:not(:empty)")
    assert explorer.url.endswith("#how-to-read-it")
    top = explorer.locator("#how-to-read-it").evaluate("(at) => at.getBoundingClientRect().top")
    assert abs(top) < 2


@pytest.mark.slow
def test_an_address_that_cannot_be_decoded_throws_nothing(explorer, static):
    script = (static / "entries.js").as_uri()
    explorer.goto(explorer.url.split("#")[0] + "#%E0%A4%A")
    explorer.reload()
    explorer.add_script_tag(url=script)  # which the book has on every page; complaints are looked at last
    explorer.wait_for_selector("[data-slot=say]:not(:empty)")
    assert shown_state(explorer).outcome_probs.sum() == pytest.approx(1)


@pytest.mark.slow
def test_an_outcome_that_the_other_future_lacks_makes_impact_infinite(explorer):
    bar = explorer.locator("[data-future=reference] input").nth(0)
    bar.focus()
    bar.press("Home")
    assert explorer.inner_text("[data-slot=imp]") == "∞"
    assert "Infinite" in explorer.text_content("[data-chart=imp]")


@pytest.mark.slow
def test_a_broken_address_opens_the_first_picture(explorer):
    found = explorer.evaluate(
        "async () => { const s = splithistory, data = await s.loaded('cases');"
        " const broken = ['#load--x__goal--9', '#f--1-2', '#', '#goal--01234567__r--a-b'];"
        " return broken.map((hash) => s.fromHash(hash, data)); }"
    )
    assert all(state["goal"] == [0, 2, 4, 6] and "moved" not in state for state in found)
