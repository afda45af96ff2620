"""Laws of retrieval: the scores are rank_bm25's, the newest wins a tie."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from perpcs.data.prompts import BM25, retrieve, words
from perpcs.tasks import Item

word = st.sampled_from(["the", "a", "boat", "boats", "dawn", "bridge", "fire", "milk", "Boat", "é"])
document = st.lists(word, max_size=12)
corpus = st.lists(document, min_size=1, max_size=10).filter(lambda documents: any(documents))


@settings(max_examples=300, deadline=None)
@given(documents=corpus, query=st.lists(word | st.just("unheard"), max_size=8))
def test_scores_are_those_of_rank_bm25(documents, query):
    theirs = BM25Okapi(documents).get_scores(query)
    assert BM25(documents).scores(query) == pytest.approx(theirs.tolist(), abs=1e-9, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(documents=corpus, query=document, k1=st.floats(0.5, 3), b=st.floats(0, 0.99), epsilon=st.floats(0, 1))
def test_other_constants_mean_the_same(documents, query, k1, b, epsilon):
    theirs = BM25Okapi(documents, k1=k1, b=b, epsilon=epsilon).get_scores(query)
    assert BM25(documents, k1, b, epsilon).scores(query) == pytest.approx(theirs.tolist(), abs=1e-9, rel=1e-9)


@settings(max_examples=200, deadline=None)
@given(documents=corpus, query=document, k=st.integers(1, 12))
def test_retrieved_items_are_the_best_first_and_a_tie_keeps_the_newer(documents, query, k):
    history = [Item(" ".join(document), id=str(i)) for i, document in enumerate(documents)]
    scores = BM25(documents).scores(query)
    found = [int(item.id) for item in retrieve(" ".join(query), history, k)]
    assert found == sorted(range(len(documents)), key=lambda i: (scores[i], i), reverse=True)[:k]


def test_equal_items_keep_the_newest():
    texts = ["boats at dawn", "boats at dawn", "milk", "fire", "bridge", "choir"]
    history = [Item(text, id=str(i)) for i, text in enumerate(texts)]
    assert [item.id for item in retrieve("boats", history, 3)] == ["1", "0", "5"]
    assert [item.id for item in retrieve("nothing alike", history, 2)] == ["5", "4"]


def test_what_a_person_answered_is_searched_too():
    history = [Item("an article", "Boats return"), Item("an article", "Milk stops fire"), Item("free boats")]
    assert retrieve("boats milk", history[:2], 1)[0].y == "Milk stops fire"
    assert retrieve("boats", history, 1) == [history[2]]


def test_an_empty_item_scores_nothing_where_rank_bm25_divides_by_zero():
    assert BM25([["boats"], [], ["milk", "fire"]], b=1.0).scores(["milk"])[1] == 0


def test_nothing_to_search_is_no_error():
    assert retrieve("boats", [], 3) == []
    assert retrieve("boats", [Item("boats")], 0) == []
    assert retrieve("", [Item("boats")], 1) == [Item("boats")]
    assert BM25([]).scores(["boats"]) == []
    assert BM25([[], []]).scores(["boats"]) == [0, 0]


def test_words_are_split_at_white_space_alone():
    assert words(" Boats,\n return\tat dawn! ") == ["Boats,", "return", "at", "dawn!"]
