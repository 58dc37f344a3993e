"""How a prediction is told to people: the ``present`` section of ``model.yaml``, and the arithmetic that it may hold."""
