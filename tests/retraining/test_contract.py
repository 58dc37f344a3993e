import pytest

from retraining.settings.contract_keys import schema_differences

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
ANONYMOUS = [(f"col{number}", kind) for number, (_, kind) in enumerate(AS_DECLARED)]


def changed(columns, position, **to):
    name, kind = columns[position]
    return [*columns[:position], (to.get("name", name), to.get("kind", kind)), *columns[position + 1 :]]


@pytest.mark.parametrize(
    "columns",
    [AS_DECLARED, ANONYMOUS, changed(AS_DECLARED, 1, kind="bigint"), changed(ANONYMOUS, 3, kind="string"), []],
)
def test_columns_that_can_be_merged_differ_in_nothing(config, columns):
    assert schema_differences(config.contract, columns) == []


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (AS_DECLARED[:-1], ["- rings int: missing in the new data"]),
        ([*AS_DECLARED, ("colour", "string")], ["+ colour string: not in the contract"]),
        (changed(AS_DECLARED, 1, kind="date"), ["~ length: the contract says double, the new data has date"]),
        (changed(AS_DECLARED, 8, kind="double"), ["~ rings: the contract says int, the new data has double"]),
        (
            changed(AS_DECLARED, 1, name="len"),
            ["- length double: missing in the new data", "+ len double: not in the contract"],
        ),
        (ANONYMOUS[:-1], ["files without a header have 8 columns, the contract has 9"]),
        (changed(ANONYMOUS, 2, kind="boolean"), ["~ diameter: the contract says double, the new data has boolean"]),
    ],
)
def test_every_difference_is_one_readable_line(config, columns, lines):
    assert schema_differences(config.contract, columns) == lines


def test_training_columns_start_with_the_target(config):
    assert config.contract.training_columns[0] == "rings"
    assert config.contract.feature_columns == ("sex", *[name for name, _ in AS_DECLARED[1:-1]])


def test_without_an_identity_every_column_is_part_of_it(config):
    assert config.contract.identity == tuple(name for name, _ in AS_DECLARED)
