"""The registry of methods, one line each."""

from perpcs.errors import unknown
from perpcs.personalizers import base, perpcs, rag
from perpcs.personalizers.method import Method

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("base", "Base model", "The query alone: the same answer for everybody.", base.prepare),
        Method("rag", "RAG", "The most similar item of the history is shown to the model.", rag.prepare),
        Method("perpcs", "Per-Pcs", "The model carries pieces that the history chose.", perpcs.prepare),
    )
}


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        PerpcsError: for an unknown name, with the nearest known one.
    """
    if name in METHODS:
        return METHODS[name]
    raise unknown("method", name, METHODS)
