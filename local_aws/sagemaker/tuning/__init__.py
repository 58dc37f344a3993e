"""Hyperparameter tuning jobs: what is searched, how the next trial is chosen, and the jobs themselves."""
