"""The LaMP tasks as data, and the few functions that turn people's items into prompts.

items.py    Item, Query, User: what a person wrote, task-neutral
lamp.py     the table of tasks
task.py     what a Task is and how it renders prompts
"""

from perpcs.tasks.items import Item, Query, User
from perpcs.tasks.lamp import FOLDERS, TASKS, asked_task, get_task, no_emails
from perpcs.tasks.task import Task

__all__ = ["FOLDERS", "TASKS", "Item", "Query", "Task", "User", "asked_task", "get_task", "no_emails"]
