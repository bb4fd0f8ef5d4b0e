"""Which configs are of about one size, so that one layout is right for all of them."""

from __future__ import annotations

# Up to half a billion parameters.
TINY = "honeycrisp-85M.*|gala-(85M|302M).*"
B1 = "(fuji|gala)-1B-?.*"
B3 = "(fuji|honeycrisp)-3B-?.*"
# Their single-host variants have a batch for few devices.
B7 = "(fuji-(7B|8B)|gala-7B)-?((?!single-host).)*"
B7_SINGLE_HOST = "fuji-(7B|8B)-.*-single-host.*"
B70 = "fuji-70B-.*"
B405 = "fuji-405B-.*"
