"""Why a model answers as it does: Shapley values of the columns of a request, for one row and over many."""
