"""Trainers in the box: models of tables that need no code in the model folder, named by ``trainer`` in ``model.yaml``.

They go by the contract: numbers with gaps, categories by their allowed values, rare and new texts, dates. What is pickled takes contract
rows as they come.
"""
