"""The LaMP tasks as data, and the few functions that turn people's items into prompts.

task.py     Item, Query, User: what a person wrote, task-neutral; what a Task is and how it renders prompts; how
            somebody writes, in counts
lamp.py     the table of tasks
"""

from perpcs.tasks.lamp import FOLDERS, TASKS, asked_task, get_task, no_emails
from perpcs.tasks.task import Item, Query, Task, User

__all__ = ["FOLDERS", "TASKS", "Item", "Query", "Task", "User", "asked_task", "get_task", "no_emails"]
