"""tensorboardX's writer of event files, without torch.

tensorboardX imports torch where that is installed, to know its tensors from others: 1.7 s of every
start, while all that a run writes are floats.
"""

import sys

_hides_torch = "torch" not in sys.modules
if _hides_torch:
    # To import it is then an ImportError, by which tensorboardX takes it for not installed.
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]

from tensorboardX import SummaryWriter as EventWriter  # noqa: E402

if _hides_torch:
    del sys.modules["torch"]

__all__ = ["EventWriter"]
