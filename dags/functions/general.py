"""Small things that several DAGs need."""

from __future__ import annotations

import re


def set_formatted_user(user: str) -> str:
    """Return a user's name as one word: whatever is not a small letter or a digit becomes a dash."""
    return re.sub(r"[^a-z0-9]+", "-", user)
