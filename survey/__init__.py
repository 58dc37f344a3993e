"""The survey company: realistic new measurements on demand, with drift and dirt on purpose. See docs/survey.md."""
