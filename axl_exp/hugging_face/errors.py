"""What is wrong with a directory of Hugging Face's layout, or cannot be said in it."""

from axl_exp.errors import UserError


class HuggingFaceError(UserError):
    """A file is missing or broken, or a model is not one that both sides have."""
