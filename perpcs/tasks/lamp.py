"""The table of tasks. Input formats follow LaMP (Salemi et al., 2024), prompts the sections of the paper's Table 6."""

from perpcs.errors import unknown
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

TASKS: dict[str, Task] = {task.name: task for task in _TABLE}


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        PerpcsError: for an unknown name, with the nearest known one.
    """
    if name in TASKS:
        return TASKS[name]
    raise unknown("task", name, TASKS)
