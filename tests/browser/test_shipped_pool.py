"""The pool that comes with the studio, in a real browser: its first page, a stored example, one pasted history."""

import json

import pytest
from driver import FILLED, SHIPPED, start, wait_until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (SHIPPED / "manifest.json").exists(), reason="The shipped pool is not in this checkout."),
    pytest.mark.timeout(900),
]

HEADLINES = "\n".join(
    [
        "A bakery in Leeds has sold the same rye loaf since 1921. => the loaf that outlived three bakers",
        "Otters have been seen in the centre of Dublin for the first time. => otters move into the city",
        "A library in Oslo lends out musical instruments. => borrow a cello with your novel",
        "Night trains between Vienna and Paris are sold out until May. => everybody wants to sleep on rails",
        "A school in Porto starts at ten, and its pupils sleep longer. => let them sleep, says a school",
        "Bees on the roof of a bank in Hamburg make 80 jars of honey a year. => the bank with a sweet reserve",
    ]
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A server on the shipped pool."""
    running = start(tmp_path_factory.mktemp("shipped") / "log", SHIPPED)
    yield running
    running.stop()


def test_the_first_page_says_what_is_computed_and_tells_an_examples_story(shipped, open_tab):
    tab = open_tab(shipped.url)
    tab.locator(FILLED[""]).wait_for()
    lede = tab.locator(".pp-lede").inner_text()
    assert "A few forward passes and one backward pass" in lede
    assert "No network is trained" in lede
    tab.get_by_text("Per-Pcs + Newton weights").first.wait_for()
    assert tab.locator(".pp-error").count() == 0


def test_one_article_is_answered_by_six_people_and_the_switch_shows_another(shipped, open_tab):
    tab = open_tab(shipped.url)
    article, cards = tab.locator(".pp-quote").first, tab.locator(".pp-voices li")
    article.wait_for()
    first, answers = article.inner_text(), tab.locator(".pp-voices p").all_inner_texts()
    assert cards.count() == 7  # the base model and six people
    assert len(set(answers)) >= 5
    tab.locator(".st-key-voices button").nth(1).click()
    wait_until(lambda: article.inner_text() != first)
    wait_until(lambda: tab.locator(".pp-voices p").all_inner_texts() != answers)
    assert len(set(tab.locator(".pp-voices p").all_inner_texts())) >= 4


def test_compare_says_whose_answers_are_written_like_the_person(shipped, open_tab):
    tab = open_tab(f"{shipped.url}/compare?task=LaMP_4&user=example-LaMP_4-1")
    tab.get_by_role("heading", name="Written like Desmond?").wait_for()
    table = tab.locator("table").filter(has_text="casing").first
    assert {"Base model", "Per-Pcs + Newton weights"} <= set(table.locator("th").all_inner_texts())
    for trait in ("casing", "length", "opens with", "ends with"):
        assert trait in table.inner_text().lower()


def test_a_citation_of_ones_own_is_answered_by_one_of_its_references(shipped, open_tab):
    tab = open_tab(f"{shipped.url}/compare?task=LaMP_1")
    tab.get_by_text("My own words").click()
    tab.get_by_role("textbox", name="Title").fill("Pruning attention heads of small translation models")
    ask = tab.get_by_role("button", name="Ask")
    wait_until(ask.is_disabled)
    for number, title in ((1, "Are sixteen heads really better than one?"), (2, "A survey of protein folding")):
        field = tab.get_by_role("textbox", name=f"Reference [{number}]")
        field.fill(title)
        field.press("Enter")
    wait_until(ask.is_enabled)
    ask.click()
    tab.get_by_text("whole answer").first.wait_for(timeout=300_000)
    wait_until(lambda: tab.get_by_role("button", name="Stop").count() == 0, 300)
    answers = tab.locator(".pp-answer p").all_inner_texts()
    assert {answer for answer in answers if answer in ("[1]", "[2]")}


def test_an_example_persons_map_is_there_without_running_the_model(shipped, open_tab):
    person = json.loads((SHIPPED / "LaMP_4" / "examples.json").read_bytes())[1]
    tab = open_tab(f"{shipped.url}/assemble?task=LaMP_4&user={person['user_id']}")
    tab.get_by_role("heading", name=f"{person['name']}’s model uses").wait_for()
    tab.locator(FILLED["assemble"]).wait_for()
    tab.get_by_text("precomputed", exact=True).first.wait_for()
    assert "newest" in tab.locator(".pp-fitcheck").inner_text()


def test_a_pasted_history_is_assembled_checked_and_answers(shipped, open_tab):
    tab = open_tab(shipped.url + "/assemble?source=paste")
    text = tab.get_by_role("textbox", name="Your past items, one per line")
    text.fill(HEADLINES)
    text.press("Control+Enter")
    tab.get_by_text("6 items read").wait_for()
    tab.get_by_role("button", name="Assemble", exact=True).click()
    tab.get_by_role("heading", name="Your model uses").wait_for(timeout=300_000)
    tab.locator(FILLED["assemble"]).wait_for()
    check = tab.locator(".pp-fitcheck").inner_text()
    assert "your newest item" in check or "This pool does not help with your text" in check

    tab.get_by_role("link", name="Compare").click()
    question = tab.get_by_role("textbox", name="Article")
    question.fill("A clockmaker in Prague is giving away 40 clocks that nobody came back for.")
    question.press("Control+Enter")
    ask = tab.get_by_role("button", name="Ask")
    wait_until(ask.is_enabled)
    ask.click()
    tab.get_by_text("whole answer").nth(2).wait_for(timeout=300_000)
    wait_until(lambda: tab.get_by_role("button", name="Stop").count() == 0, 300)
    answers = tab.locator(".pp-answer p").all_inner_texts()
    assert len(answers) >= 3
    assert all(answer.strip() for answer in answers[:3])
    assert "Traceback" not in shipped.log.read_text()
