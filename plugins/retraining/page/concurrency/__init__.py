"""How the page answers many people at once: in threads of its own, and each view once."""
