"""Which configs are of about one size, so that one layout is right for all of them."""

from __future__ import annotations

# Up to half a billion parameters.
TINY = "honeycrisp-85M.*|gala-(85M|302M).*"
# Scores of attention with ALiBi are not by a kernel: one sequence at a time.
ALIBI_1B = "gala-1B-.*alibi.*"
ALIBI_7B = "gala-7B-.*alibi.*"
B1 = "fuji-1B-.*|gala-1B"
B3 = "(fuji|honeycrisp)-3B-?.*"
# Their single-host variants have a batch for few devices.
B7 = "fuji-(7B|8B)-((?!single-host).)*|gala-7B"
B7_SINGLE_HOST = "fuji-(7B|8B)-.*-single-host.*"
# Of both, those that have fewer parameters than fuji-8B.
B7_ALONE = "fuji-7B-.*|gala-7B"
B70 = "fuji-70B-.*"
B405 = "fuji-405B-.*"
