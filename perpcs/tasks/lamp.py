"""The table of tasks. Input formats follow LaMP (Salemi et al., 2024), prompts the sections of the paper's Table 6."""

import re

from perpcs.errors import PerpcsError, unknown
from perpcs.tasks.task import Task

MOVIE_TAGS = (
    "sci-fi",
    "based on a book",
    "comedy",
    "action",
    "twist ending",
    "dystopia",
    "dark comedy",
    "classic",
    "psychology",
    "fantasy",
    "romance",
    "thought-provoking",
    "social commentary",
    "violence",
    "true story",
)
NEWS_CATEGORIES = (
    "women",
    "religion",
    "politics",
    "style & beauty",
    "entertainment",
    "culture & arts",
    "sports",
    "science & technology",
    "travel",
    "business",
    "crime",
    "education",
    "healthy living",
    "parents",
    "food & drink",
)
"""LaMP's own, as its questions list them."""
NEWS_SECTIONS = (
    "politics",
    "entertainment",
    "world news",
    "u.s. news",
    "comedy",
    "black voices",
    "media",
    "queer voices",
    "crime",
    "sports",
    "women",
    "weird news",
    "style & beauty",
    "home & living",
    "wellness",
)
"""Of news posts by author: what the shipped pool's people wrote under."""
FOLDERS = {
    "citation": "LaMP_1",
    "movie_tagging": "LaMP_2",
    "LaMP_2M": "LaMP_2",
    "news_categorize": "LaMP_2N",
    "news_categorization": "LaMP_2N",
    "product_rating": "LaMP_3",
    "news_headline": "LaMP_4",
    "scholarly_title": "LaMP_5",
    "tweet_paraphrase": "LaMP_7",
}
"""What OPPU's and Per-Pcs's releases and LaMP's later files call the tasks."""

_TABLE = (
    Task(
        name="LaMP_1",
        title="Citation identification",
        kind="label",
        instruction="Which of the two references does this researcher cite? Answer with its number only.",
        history_instruction="Name a paper that this publication cites.",
        input_label="Paper Title:",
        answer_label="Answer:",
        x_fields=("title", "abstract"),
        y_field="citation",
        query_pattern=r'title "(?P<x>.*?)",? which reference.*?\[1\]:? "(?P<option1>.*?)" \[2\]:? "(?P<option2>.*?)"$',
        labels=("[1]", "[2]"),
        metric="accuracy",
        max_new_tokens=4,
        version=2,
    ),
    Task(
        name="LaMP_2",
        title="Movie tagging",
        kind="label",
        instruction="Choose the tag that fits this movie. Answer with the tag only.",
        input_label="Description:",
        answer_label="Tag:",
        x_fields=("description",),
        y_field="tag",
        query_pattern=r"^(?:Which tag\b.*? )?description: (?P<x>.*)$",
        labels=MOVIE_TAGS,
        metric="accuracy",
        max_new_tokens=8,
    ),
    Task(
        name="LaMP_2N",
        title="News categorisation",
        kind="label",
        instruction="Choose the category that fits this article. Answer with the category only.",
        input_label="Article:",
        answer_label="Category:",
        x_fields=("text",),
        y_field="category",
        query_pattern=r"^(?:Which category\b.*? )?article: (?P<x>.*)$",
        labels=NEWS_CATEGORIES,
        other_labels=NEWS_SECTIONS,
        metric="accuracy",
        max_new_tokens=8,
    ),
    Task(
        name="LaMP_3",
        title="Product rating",
        kind="rating",
        instruction="Rate this review from 1 to 5. Answer with 1, 2, 3, 4 or 5 only.",
        input_label="Review:",
        answer_label="Score:",
        x_fields=("text",),
        y_field="score",
        query_pattern=r"^(?:What is the score\b.*? )?review: (?P<x>.*)$",
        labels=("1", "2", "3", "4", "5"),
        metric="mae",
        max_new_tokens=3,
    ),
    Task(
        name="LaMP_4",
        title="News headlines",
        kind="text",
        instruction="Write a headline for this article.",
        input_label="Article:",
        answer_label="Headline:",
        x_fields=("text",),
        y_field="title",
        query_pattern=r"^Generate a headline for the following article: (?P<x>.*)$",
    ),
    Task(
        name="LaMP_5",
        title="Scholarly titles",
        kind="text",
        instruction="Write a title for this abstract.",
        input_label="Abstract:",
        answer_label="Title:",
        x_fields=("abstract",),
        y_field="title",
        query_pattern=r"^Generate a title for the following abstract of a paper: (?P<x>.*)$",
    ),
    Task(
        name="LaMP_7",
        title="Tweet paraphrasing",
        kind="text",
        instruction="Rewrite this text as a tweet.",
        text_instruction="Write a tweet.",
        input_label="Text:",
        answer_label="Tweet:",
        x_fields=("text",),
        y_field=None,
        query_pattern=r"^Paraphrase the following (?:tweet|text) [^:]*: (?P<x>.*)$",
    ),
)

_WORDINGS = (
    (r"which reference is related\?|which of the following.*references", "LaMP_1"),
    (r"Which tag does this movie relate to", "LaMP_2"),
    (r"Which category does this article relate to", "LaMP_2N"),
    (r"What is the score of the following review", "LaMP_3"),
    (r"Generate a headline for the following article", "LaMP_4"),
    (r"Generate a title for the following abstract", "LaMP_5"),
    (r"Generate a subject for the following email", "LaMP_6"),
    (r"Paraphrase the following (?:tweet|text)", "LaMP_7"),
)


def asked_task(input: str) -> str:
    """The name of the task whose question a text is, by LaMP's wording; "" where it follows none."""
    return next((name for pattern, name in _WORDINGS if re.search(pattern, input[:2000], re.IGNORECASE)), "")


def no_emails() -> PerpcsError:
    """Why LaMP_6 is not among the tasks."""
    return PerpcsError(
        "LaMP_6 (email subjects) is not among the tasks: its mails are the Avocado collection, which needs a licence, "
        "and the papers leave it out.",
        f"Choose one of: {', '.join(TASKS)}.",
    )


TASKS: dict[str, Task] = {task.name: task for task in _TABLE}


def get_task(name: str) -> Task:
    """The task of that name, LaMP's or that of a release's folder.

    Raises:
        PerpcsError: for an unknown name, with the nearest known one, and for LaMP_6 with the reason.
    """
    if name in TASKS or name in FOLDERS:
        return TASKS[FOLDERS.get(name, name)]
    if name == "LaMP_6":
        raise no_emails()
    raise unknown("task", name, TASKS)
