"""The one error class for what a person can cause and mend."""


class PerpcsError(Exception):
    """Something a person can put right: one sentence on what is wrong, one on what to do.

    The command line and the app show both sentences and no traceback. A bug raises whatever it raises.
    """

    def __init__(self, wrong: str, do: str) -> None:
        super().__init__(f"{wrong} {do}")
        self.wrong = wrong
        self.do = do
