"""Every command in the pages is run by a test, or says that it needs an AWS account. How each is run: documented_commands.yaml."""

import re
import textwrap

import documented_commands as documented
import pytest

LANGUAGES = {*documented.COMMANDS, "usage", "text", "python", "yaml", "json", "csv", "toml", "dockerfile", "mermaid"}
KNOWN = documented.registry()
PAGES = {path.relative_to(documented.ROOT).as_posix(): path.read_text(encoding="utf-8") for path in documented.pages()}
BLOCKS = [block for page, text in PAGES.items() for block in documented.blocks(page, text)]
FENCED = [command for page in PAGES for command in documented.page_commands(page)]
INLINE = [command for page, text in PAGES.items() for command in documented.inline(page, text)]
LISTED = {entry["command"] for entry in KNOWN["commands"]}
PLAYER = "make test-pages"  # runs the commands of the list, and so cannot be one of them
REMEDY = """{command}
is run by no test. Do one of these:
- add it to `commands` in tests/documented_commands.yaml: `make test-pages` then runs it on its stack (`as`: a shorter form of a slow one);
- if a test runs it already, word for word, add it to `elsewhere` with that test's file;
- if the whole page is a story that can be played from top to bottom on an empty stack, add the page to `sessions`;
- if it needs an AWS account, let its comment on the page begin with AWS: `$ make deploy ENV=prod   # AWS: changes the account`."""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_every_block_names_its_language_and_commands_are_marked_as_such(block):
    place = f"{block.page}:{block.line}"
    assert block.language in LANGUAGES, (
        f"{place}: write what the block is after its backquotes: console for commands (each line begins with `$ `), "
        f"usage for the form of a command with placeholders, or one of {', '.join(sorted(LANGUAGES))}"
    )
    if block.language not in documented.COMMANDS and block.language != "usage":
        assert not documented.looks_like_commands(block), (
            f"{place} holds commands: make it a console block, `$ ` before each"
        )
    if block.language == "console":
        assert list(documented.commands(block)), f"{place} is a console block without a command: begin each with `$ `"


@pytest.mark.parametrize("command", FENCED, ids=str)
def test_every_command_of_a_block_is_run_by_a_test_or_needs_an_account(command):
    proven = (
        command.aws or command.page in KNOWN["sessions"] or command.text in LISTED or command.text in KNOWN["elsewhere"]
    )
    assert proven, REMEDY.format(command=command)


@pytest.mark.parametrize("command", INLINE, ids=str)
def test_every_command_in_a_sentence_is_one_that_a_block_or_the_list_has(command):
    if documented.is_form(command.text):
        documented.check_form(command.text)
        return
    proven = {PLAYER, *LISTED, *KNOWN["elsewhere"], *(other.text for other in FENCED)}
    assert any(documented.names(command.text, other) for other in proven), (
        f"{command}\nis neither a command of a block nor in tests/documented_commands.yaml, not even the beginning of one. "
        + REMEDY.format(command=command)
    )


@pytest.mark.parametrize(("command", "file"), KNOWN["elsewhere"].items())
def test_the_file_that_is_said_to_run_a_command_has_it_word_for_word(command, file):
    assert re.match(r"tests/.*\.py$|docker/verify\.sh$|\.ci/run$", file), f"{file} is no test"
    assert documented.runs(documented.ROOT / file, command), f"{file} does not run: {command}"


def test_nothing_is_listed_that_no_page_has():
    texts = [command.text for command in (*FENCED, *INLINE)]
    for command in (*LISTED, *KNOWN["elsewhere"]):
        assert any(documented.names(text, command) for text in texts), f"no page has {command}: remove it from the list"
    assert set(KNOWN["sessions"]) <= set(PAGES)


def test_the_shorter_form_of_a_command_is_the_same_command():
    for entry in KNOWN["commands"]:
        shorter = entry.get("as", entry["command"])
        assert entry["command"] in shorter, f"{shorter} is not {entry['command']} with more arguments"


def test_every_verb_of_make_exists():
    makefile = (documented.ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    used = {str(command): documented.verb(command.text) for command in (*FENCED, *INLINE)}
    assert {command: verb for command, verb in used.items() if verb and verb not in verbs} == {}


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "usage"], ids=lambda block: f"{block.page}:{block.line}"
)
def test_options_in_the_form_of_a_command_exist(block):
    for line in block.lines:
        documented.check_form(line)


PAGE = textwrap.dedent("""
    ```console
    $ make up            # a comment
    output
    $ make run DAG=x \\
        PARAMS='{"why": "# no comment"}'   # AWS: this one
    ```
    Say `make status` or `python -m survey --help`, not `model.yaml`.
    ```sh
    # only a comment
    make down
    ```
    ```text
    make up
    ```
""")


def test_commands_are_read_from_a_page():
    found = [
        command
        for block in documented.blocks("p", PAGE)
        if block.language != "text"
        for command in documented.commands(block)
    ]
    assert [(command.text, command.aws) for command in found] == [
        ("make up", False),
        ('make run DAG=x PARAMS=\'{"why": "# no comment"}\'', True),
        ("make down", False),
    ]
    assert [command.text for command in documented.inline("p", PAGE)] == ["make status", "python -m survey --help"]
    assert [documented.looks_like_commands(block) for block in documented.blocks("p", PAGE)] == [True, True, True]
    assert not documented.looks_like_commands(documented.Block("p", 1, "text", ("bucket/make/x", "  up  down")))


@pytest.mark.parametrize(
    "line",
    [
        "python -m survey",
        "python -m retraining.command.dataset release MODEL BATCH --why TEXT",
        "python -m local_aws --port PORT",
    ],
)
def test_the_form_of_a_command_is_compared_with_the_sources(line):
    assert documented.is_form(line)
    documented.check_form(line)


@pytest.mark.parametrize("line", ["python -m surveys", "python -m local_aws --harbour PORT"])
def test_a_form_that_no_source_has_is_found(line):
    with pytest.raises((AssertionError, FileNotFoundError)):
        documented.check_form(line)


@pytest.mark.parametrize(
    ("short", "long", "same"),
    [
        ("make survey", "make survey ROWS=1", True),
        ("make surv", "make survey", False),
        ("make retrain FILE=...", "make retrain FILE=x.csv MODEL=y", True),
        ("make demo SDK=1", "make demo", True),
        ("make reset demo", "make reset", False),
        ("python -m survey", ".local/venvs/airflow/bin/python -m survey --help", True),
        ("python -m survey --help", "python -m retraining.command.dataset --help", False),
    ],
)
def test_a_sentence_may_name_the_beginning_of_a_command(short, long, same):
    assert documented.names(short, long) is same


def test_a_script_runs_what_stands_in_it_and_not_what_a_comment_says(tmp_path):
    script, module = tmp_path / "x.sh", tmp_path / "test_x.py"
    script.write_text("# make demo\nstep up; make up\nmake history >file\necho make down\n")
    module.write_text('"""make demo"""\nX = "make down"\nrun("make up", "make up --fast")\n')
    assert [documented.runs(script, f"make {verb}") for verb in ("demo", "up", "history", "down")] == [
        False,
        True,
        True,
        False,
    ]
    assert [documented.runs(module, f"make {verb}") for verb in ("demo", "up", "down", "u")] == [
        False,
        True,
        False,
        False,
    ]


def test_the_index_has_every_page():
    index = PAGES["docs/README.md"]
    names = {page.removeprefix("docs/") for page in PAGES if re.fullmatch(r"docs/[\w-]+\.md", page)} - {"README.md"}
    missing = sorted(name for name in names if f"({name})" not in index)
    assert not missing, (
        f"docs/README.md does not list {', '.join(missing)}: add a line under Learn, Do, Look up or Understand"
    )


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    folder = (documented.ROOT / page).parent
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([\w-]*)\)", PAGES[page]):
        if "://" in target:
            continue
        place = folder / target if target else documented.ROOT / page
        assert place.exists(), f"{page} links to {target}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page} links to {target}#{anchor}; that page has {', '.join(sorted(slugs))}"
