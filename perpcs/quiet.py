"""Libraries print progress bars and advice; a person who typed one of our commands should read only ours."""


def quiet_transformers() -> None:
    """Turn off transformers' progress bars and warnings for this process."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
