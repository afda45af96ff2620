"""The registry of methods that train a person's own module, one line each. A further one is a file and a line."""

from perpcs.errors import unknown
from perpcs.peftu.method import Method
from perpcs.peftu.methods.adapter import Adapter
from perpcs.peftu.methods.head import Head
from perpcs.peftu.methods.ia3 import IA3
from perpcs.peftu.methods.lora import LoRA
from perpcs.peftu.methods.prefix import Prefix
from perpcs.peftu.methods.prompt import Prompt
from perpcs.peftu.methods.ptuning import PTuning

METHODS: dict[str, Method] = {
    method.name: method for method in (LoRA(), IA3(), Adapter(), Prefix(), PTuning(), Prompt(), Head())
}


def get_method(name: str) -> Method:
    """The method of a name.

    Raises:
        PerpcsError: for an unknown one.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
