AS_DECLARED = [
    ("sex", "string"),
    ("length", "double"),
    ("diameter", "double"),
    ("height", "double"),
    ("whole_weight", "double"),
    ("shucked_weight", "double"),
    ("viscera_weight", "double"),
    ("shell_weight", "double"),
    ("rings", "bigint"),
]


def test_training_columns_start_with_the_target(config):
    assert config.contract.training_columns[0] == "rings"
    assert config.contract.feature_columns == ("sex", *[name for name, _ in AS_DECLARED[1:-1]])


def test_without_an_identity_every_column_is_part_of_it(config):
    assert config.contract.identity == tuple(name for name, _ in AS_DECLARED)
