"""What is trained: the candidates of ``model.yaml``, and the search for hyperparameters of one of them."""
