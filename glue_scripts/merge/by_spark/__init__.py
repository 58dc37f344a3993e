"""The merge of any number of rows, by Spark: the rules of the contract as its expressions."""
