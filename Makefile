# The verbs of this project. `make help` lists them.
PYTHON ?= python3
LOCAL  := $(or $(RETRAINING_LOCAL_DIR),.local)
VENVS  := $(LOCAL)/venvs
RUN    := PYTHONPATH=. $(VENVS)/airflow/bin/python -m local_stack
# A call is checked by whatever Python is there, before an environment is created or anything is started.
CHECK  := PYTHONPATH=. $(PYTHON) -m local_stack --only-check
SETUP  := $(PYTHON) -m local_stack.bootstrap local_aws jobs airflow
# Tests and benchmarks run many Spark jobs: they wait for the recording of Java's classes, which the first demo has no use for.
SETUP_DEV := $(SETUP) sagemaker dev spark-classes
AIRFLOW_PYTHON := $(VENVS)/airflow/bin/python
READY  := { test -x $(AIRFLOW_PYTHON) || { echo "error: nothing is set up yet: 'make up' does it and starts the stack" >&2; exit 2; }; }
DEV    := $(VENVS)/dev/bin
SDK_STEPS := training,evaluation
WITH_SDK  := $(if $(filter-out 0 no false,$(SDK)),RETRAINING_SDK_STEPS=$(SDK_STEPS))
# One more than processors: tests wait for the processes that they start.
TEST_WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, len(os.sched_getaffinity(0)) + 1))')
# What test-e2e plays: all of it, or a file of it.
E2E ?= tests/e2e
# What a verb prints is all that it prints, also when another make calls it: eval "$(make env)".
MAKEFLAGS += --no-print-directory

# The deployment: make up ENV=staging. On a command line only, for ENV in a shell's environment is often something else.
export AIRFLOW__RETRAINING__ENVIRONMENT := $(or $(if $(findstring command,$(origin ENV)),$(ENV)),$(AIRFLOW__RETRAINING__ENVIRONMENT),dev)
# How a stack is started by whichever verb starts it. One that runs in the other way refuses the verb.
ifneq ($(ENFORCE),)
export RETRAINING_ENFORCE_POLICIES := $(if $(filter-out 0 no false,$(ENFORCE)),1,0)
endif
ifneq ($(SPARES),)
export RETRAINING_SPARES := $(if $(filter-out 0 no false,$(SPARES)),1,0)
endif

.DEFAULT_GOAL := help
.PHONY: setup-dev setup-classes plan-comment $(shell sed -nE 's/^([a-z0-9-]+):.*[#]{2}.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help:  ## list these verbs
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup:  ## create the Python environments below .local from the pinned requirements
	@$(SETUP)

setup-xgboost:  ## the optional environment of the trainer xgboost
	@$(PYTHON) -m local_stack.bootstrap xgboost

setup-tensorflow:  ## the optional environment of the trainer keras_mlp, and of the abalone model's keras candidate
	@$(PYTHON) -m local_stack.bootstrap tensorflow

setup-sdk:  ## the environment of the SageMaker SDK, for steps that are written with it
	@$(PYTHON) -m local_stack.bootstrap sagemaker

setup-fab:  ## Airflow with the auth manager that MWAA has, for the tests of the page
	@$(PYTHON) -m local_stack.bootstrap fab

setup-survey:  ## the environment of the survey company's CTGAN
	@$(PYTHON) -m local_stack.bootstrap survey

HAS_HEADERS := $(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'

setup-toolkits:  ## SageMaker's own packages, with which `make conformance` compares local_aws; built with a C compiler
	@if command -v "$${CC:-cc}" >/dev/null && $(HAS_HEADERS); then $(PYTHON) -m local_stack.bootstrap toolkits; \
	else echo "a C compiler or Python's headers are not here: SageMaker's own packages cannot be built, and local_aws is not compared with them"; fi

setup-dev:
	@$(SETUP_DEV)

setup-classes:
	@$(SETUP) spark-classes

demo: setup $(if $(WITH_SDK),setup-sdk)  ## the whole story on this machine: first model, new data, retraining; ACT=3 also drift, an incident, labels; SDK=1 with SageMaker SDK steps, ENFORCE=1 with IAM's policies enforced
	@$(WITH_SDK) $(RUN) demo $${ACT:+--act "$$ACT"}

up: setup $(if $(WITH_SDK),setup-sdk)  ## start local_aws and Airflow; SDK=1 with SageMaker SDK steps, ENFORCE=1 with IAM's policies enforced
	@$(WITH_SDK) $(RUN) up

down:  ## stop them; data and history stay
	@if test -x $(AIRFLOW_PYTHON); then $(RUN) down; else echo "nothing was running"; fi

STATUS := status $${MODEL:+--model "$$MODEL"}
REPORT_CALL := report $${MODEL:+--model "$$MODEL"} $${RUN_KEY:+--run "$$RUN_KEY"}
LOGS   := logs $${JOB:+--job "$$JOB"}

status:  ## what runs, what each model serves, what keeps a model from running: make status [MODEL=abalone]
	@$(CHECK) $(STATUS) && if test -x $(AIRFLOW_PYTHON); then $(RUN) $(STATUS); else echo "nothing is set up yet: 'make up' does it and starts the stack"; fi

report:  ## verdict and path of a run's report: make report [MODEL=abalone] [RUN_KEY=v3-0123456789ab]
	@$(CHECK) $(REPORT_CALL) && $(READY) && $(RUN) $(REPORT_CALL)

logs:  ## the whole log of a job, by its name or a part of it: make logs JOB=abalone-train-12ab
	@$(READY) && $(RUN) $(LOGS)

# What is given on make's command line is in the environment of a recipe: "$$FILE" keeps blanks and quotes as they were typed.
CHECK_MODEL := check-model $${MODEL:+--model "$$MODEL"}
RETRAIN     := retrain "$$FILE" $${MODEL:+--model "$$MODEL"}
SCORE       := score "$$FILE" $${MODEL:+--model "$$MODEL"}
RUN_DAG     := run "$$DAG" $${PARAMS:+--params "$$PARAMS"}

check-model:  ## read the model folders and name every mistake by file and line, in a second: make check-model [MODEL=abalone]
	@$(CHECK) $(CHECK_MODEL) && $(SETUP) && $(RUN) $(CHECK_MODEL)

check-file:  ## what the merge would do with a file or folder, without a stack: make check-file FILE=path [MODEL=abalone] [JSON=1]
	@test -n "$$FILE" || { echo "error: name the file: make check-file FILE=path.csv" >&2; exit 2; }
	@test -x $(VENVS)/airflow/bin/python || $(SETUP) >&2
	@PYTHONPATH=plugins $(VENVS)/airflow/bin/python -m retraining.command.check_file "$$FILE" $${MODEL:+--model "$$MODEL"} $(if $(filter-out 0 no false,$(JSON)),--json)

new-model:  ## a model folder from a CSV file, no code: make new-model FILE=data.csv TARGET=income [NAME=adult] [TASK=count]
	@test -n "$$FILE" && test -n "$$TARGET" || { echo "error: name file and target: make new-model FILE=data.csv TARGET=income" >&2; exit 2; }
	@test -x $(VENVS)/airflow/bin/python || $(SETUP) >&2
	@PYTHONPATH=plugins $(VENVS)/airflow/bin/python -m retraining.command.new_model "$$FILE" "$$TARGET" $${NAME:+--name "$$NAME"} $${TASK:+--task "$$TASK"}

retrain:  ## upload CSV files of yours as new data: make retrain FILE="a.csv b.csv" [MODEL=abalone]
	@$(CHECK) $(RETRAIN) && $(SETUP) && $(RUN) $(RETRAIN)

score:  ## answers for CSV files of yours, from the model that serves: make score FILE="a.csv b.csv" [MODEL=abalone]
	@$(CHECK) $(SCORE) && $(SETUP) && $(RUN) $(SCORE)

API     := api $${MODEL:+--model "$$MODEL"} $${API_PORT:+--port "$$API_PORT"}
OPENAPI := openapi $${MODEL:+--model "$$MODEL"}

api:  ## the HTTP API of a model, and a form, on 127.0.0.1: make api [MODEL=abalone] [API_PORT=8090]
	@$(CHECK) $(API) && $(READY) && $(RUN) $(API)

openapi:  ## print the OpenAPI document of a model's HTTP API: make openapi [MODEL=abalone]
	@$(CHECK) $(OPENAPI) && { test -x $(AIRFLOW_PYTHON) || $(SETUP) >&2; } && $(RUN) $(OPENAPI)

run:  ## start a DAG by hand and follow it: make run DAG=abalone_rollback PARAMS='{"why": "it drifts"}'
	@$(CHECK) $(RUN_DAG) && $(SETUP) && $(RUN) $(RUN_DAG)

yes = $(filter-out 0 no false,$(1))
PROMOTE := promote --from "$$FROM" --to "$$TO" $${MODEL:+--model "$$MODEL"} $${LATENCY_MS:+--latency-ms "$$LATENCY_MS"} \
	$(if $(call yes,$(PLAN)),--plan) $(if $(call yes,$(UNCOMPARED)),--uncompared) $(if $(call yes,$(AWS)),--aws)

promote:  ## the model that serves in one deployment goes into another, by the gate there: make promote FROM=dev TO=prod [MODEL=] [PLAN=1] [LATENCY_MS=1000] [UNCOMPARED=1] [AWS=1]
	@$(CHECK) $(PROMOTE) && $(READY) && $(RUN) $(PROMOTE)

SURVEY := $(VENVS)/airflow/bin/python -m survey

survey:  ## make new measurements: make survey [MODEL=abalone] ROWS=100 METHOD=copula|ctgan|replay UPLOAD=1 PREDICT=1 LABELS=1 ARGS="--drift rings+3"
	@$(CHECK) call $${MODEL:+--model "$$MODEL"} --rows "$${ROWS:-100}" --method "$${METHOD:-copula}" && $(SETUP) && \
	PYTHONPATH=. $(SURVEY) $${MODEL:+--model "$$MODEL"} --rows "$${ROWS:-100}" --method "$${METHOD:-copula}" $(if $(call yes,$(UPLOAD)),--upload) $(if $(call yes,$(PREDICT)),--predict) $(if $(call yes,$(LABELS)),--labels) $(ARGS)

EXPERIMENT := $(foreach change,$(SET),--set '$(change)') $(foreach range,$(SWEEP),--sweep '$(range)') $(if $(DATA_VERSION),--data-version '$(DATA_VERSION)') \
	$(if $(MODEL),--model 'dags/models/$(MODEL)') $(if $(call yes,$(PROPOSE)),--propose $(if $(filter force,$(PROPOSE)),--force)) $(if $(call yes,$(AWS)),--account environment) \
	$(if $(call yes,$(YES)),--yes) $(ARGS)

experiment:  ## a variation against the champion: make experiment SET="algorithm.svr.C=3" [MODEL=] [SWEEP="algorithm.svr.C=1,3,10"] DATA_VERSION=4 PROPOSE=1 AWS=1 ARGS=--json
	@$(CHECK) call $${MODEL:+--model "$$MODEL"} $${DATA_VERSION:+--data-version "$$DATA_VERSION"} && $(PYTHON) -m local_stack.bootstrap sagemaker && \
	PYTHONPATH=. $(VENVS)/sagemaker/bin/python -m experiment $(EXPERIMENT)

RESET := reset $${MODEL:+--model "$$MODEL"} $(if $(call yes,$(YES)),--yes)

reset:  ## stop, and delete local data and history, after a question: make reset [MODEL=abalone] [YES=1]
	@$(CHECK) $(RESET) && if test -x $(AIRFLOW_PYTHON); then $(RUN) $(RESET); else echo "nothing is set up yet: there is nothing to delete"; fi

DATASET_LOG := dataset-log $${MODEL:+--model "$$MODEL"} $${COMMAND:+--words "$$COMMAND"}

dataset-log:  ## versions of the data set: make dataset-log [MODEL=abalone] [COMMAND="verify|refused|show 3|rebuild|..."]
	@$(CHECK) $(DATASET_LOG) && $(READY) && $(RUN) $(DATASET_LOG)

QUERY_CALL := call --sql "$$SQL" $${MODEL:+--model "$$MODEL"} $${VERSION:+--version "$$VERSION"}

query:  ## SQL over a version of the data set: make query SQL="select sex, avg(rings) from abalone group by sex" [MODEL=abalone] [VERSION=3] [CSV=1]
	@$(CHECK) $(QUERY_CALL) && $(SETUP_DEV) && vars="$$($(RUN) env)" && eval "$$vars" && \
	PYTHONPATH=plugins $(DEV)/python -m retraining.command.query "$${MODEL:-abalone}" "$$SQL" \
		$${VERSION:+--version "$$VERSION"} $(if $(filter-out 0 no false,$(CSV)),--csv)

# It asks the local account, as a query does.
PROFILE_CALL := call --sql profile $${MODEL:+--model "$$MODEL"} $${VERSION:+--version "$$VERSION"}

profile:  ## what the columns of a version of the data set hold, as table, page and JSON: make profile [MODEL=abalone] [VERSION=3]
	@$(CHECK) $(PROFILE_CALL) && $(SETUP_DEV) && vars="$$($(RUN) env)" && eval "$$vars" && \
	PYTHONPATH=plugins $(DEV)/python -m retraining.command.profile "$${MODEL:-abalone}" \
		$${VERSION:+--version "$$VERSION"} --into .local/profiles

env:  ## print variables for aws and boto3, with AIRFLOW=1 for airflow too: eval "$(make env)"
	@$(READY) && $(RUN) env $(if $(AIRFLOW),--airflow)

check: setup-dev  ## linter, formatter, types, order of the rooms, templates, workflows
	$(DEV)/ruff check .
	$(DEV)/ruff format --check .
	$(DEV)/mypy plugins/retraining local_aws local_stack deploy experiment
	PYTHONPATH=plugins:. $(DEV)/lint-imports --no-cache
	$(DEV)/cfn-lint infra/*.yaml
	$(DEV)/zizmor --offline --no-progress --quiet --pedantic .github/workflows docs/examples/local-aws-action.yml
	PYTHONPATH=plugins $(DEV)/python docs/generate.py --check
	$(DEV)/python docs/words.py
	@if docker compose version >/dev/null 2>&1; then docker compose config -q; else echo "docker compose is not here: its file was not checked"; fi
	@if command -v hadolint >/dev/null; then hadolint Dockerfile survey/Dockerfile; else echo "hadolint is not here: the Dockerfiles were not checked"; fi

wheel: setup-dev  ## local_aws as a wheel of its own, in build/ or WHEELS=DIR
	$(VENVS)/uv/bin/uv build --quiet --wheel --out-dir $${WHEELS:-build} local_aws

format: setup-dev  ## format the sources
	$(DEV)/ruff check --fix .
	$(DEV)/ruff format .

docs: setup-dev  ## write the reference pages that come from code
	PYTHONPATH=plugins $(DEV)/python docs/generate.py

report-picture: setup-dev  ## draw the picture of the README from a report: make report-picture [REPORT=.local/report.html]
	$(DEV)/python docs/report_picture.py $(or $(REPORT),$(LOCAL)/report.html) docs/images/report.svg

page-pictures: setup-dev  ## draw each view of the page of the running stack, light and dark, wide and on a phone: make page-pictures [MODEL=abalone]
	PYTHONPATH=plugins $(DEV)/python docs/page_pictures.py build/page $(MODEL)

image-uris:  ## write the table of SageMaker's own images from what the SageMaker SDK says
	@$(PYTHON) -m local_stack.bootstrap sagemaker
	$(VENVS)/sagemaker/bin/python -m deploy.image_table

test: setup-dev setup-xgboost setup-fab  ## all tests but those that start a whole stack
	$(DEV)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations=15 $(ARGS)

test-e2e: setup-dev  ## the whole loop on a real Airflow: demo, second run, dry run, pinned version, rebuild, rollback; ENFORCE=1 with IAM's policies enforced
	E2E_ENFORCE=$(RETRAINING_ENFORCE_POLICIES) $(DEV)/python -m pytest -m e2e $(E2E)

test-pages: setup-dev  ## every command of README.md and docs/, played as a reader would
	$(DEV)/python -m pytest tests/pages -m pages

test-faults: setup-dev  ## kills, lost replies, throttling, full disks; with a real Airflow
	$(DEV)/python -m pytest tests/faults -m "faults or faults_fast" -p no:cacheprovider $(ARGS)

conformance: setup-dev setup-toolkits  ## what AWS and MWAA would refuse, found without an account
	$(DEV)/python -m pytest tests/conformance -q $(ARGS)

test-fuzz: setup-dev  ## 100,000 made-up contracts, files, events, requests and pages
	FUZZ_EXAMPLES=100000 $(DEV)/python -m pytest tests/faults/test_fuzz.py tests/faults/test_hostile_input.py -m "faults or faults_fast" -p no:cacheprovider

bench: setup-dev setup-xgboost setup-sdk  ## all benchmarks in a short form against benchmarks/goals.yaml and the last run; build/bench.json; ONLY="parse landing"
	$(DEV)/python benchmarks/bench_all.py $${ONLY:+--only $$ONLY} $(ARGS)

bench-parse: setup  ## what parsing the DAG files costs
	$(VENVS)/airflow/bin/python benchmarks/bench_parse.py $(ARGS)

bench-demo: setup-classes  ## time, memory and worker-slot seconds of the demo and of small files on the warm stack; ARGS="--runs 5 --without-spares"
	$(VENVS)/airflow/bin/python benchmarks/bench_demo.py $(ARGS)

bench-model: setup-dev setup-xgboost  ## RMSE of the shipped pipelines and of the gate, with plots
	$(DEV)/python benchmarks/bench_model.py $(ARGS)

bench-gate: setup-dev  ## what each promotion rule does in a year of daily retrainings, and in one look
	$(DEV)/python benchmarks/bench_gate.py $(ARGS)

bench-etl: setup-dev  ## merge time against history, the published method and DuckDB
	$(DEV)/python benchmarks/bench_etl.py $(ARGS)

bench-landing: setup  ## what 10 new files cost to sense and crawl over landing zones of 10, 1,000 and 20,000 files
	$(VENVS)/airflow/bin/python benchmarks/bench_landing.py $(ARGS)

bench-looks: setup  ## how late looks at jobs come when 1, 12 and 30 models share one triggerer
	$(VENVS)/airflow/bin/python benchmarks/bench_looks.py $(ARGS)

bench-local-aws: setup  ## seconds to start, memory at rest and overhead of a request of local_aws, beside MiniStack alone; ARGS="--against REVISION"
	$(VENVS)/airflow/bin/python benchmarks/bench_local_aws.py $(ARGS)

bench-lambda: setup-dev  ## memory and precision of the analysis function at 10 million rows
	$(DEV)/python benchmarks/bench_lambda.py $(ARGS)

bench-explain: setup-dev  ## what an explanation costs beside a plain request
	$(DEV)/python benchmarks/bench_explain.py $(ARGS)

bench-survey: setup-dev  ## what 1,000 rows of each method in the training data cost on real test rows
	$(DEV)/python benchmarks/bench_survey.py $(ARGS)

bench-monitor: setup-dev  ## false alarms and delays of the drift monitor in simulated years, beside rules that judge each batch alone
	$(DEV)/python benchmarks/bench_monitor.py $(ARGS)

bench-page: setup-dev  ## how soon the page shows its views with 500 versions, 5,000 files and 100,000 quarantined rows
	$(DEV)/python benchmarks/bench_page.py $(ARGS)

bench-page-load: setup-dev  ## what 50 people on the page leave of Airflow's own API, on a stack of its own; ARGS="--people 50 --seconds 120"
	$(DEV)/python benchmarks/bench_page_load.py $(ARGS)

bench-page-cost: setup-dev  ## processor time of each request for the page in the API server, beside Airflow's own; ARGS="--versions 500 --times 50"
	$(DEV)/python benchmarks/bench_page_cost.py $(ARGS)

bench-slots: setup setup-sdk  ## worker-slot seconds of a training of 60 s, declarative and with the SageMaker SDK
	$(VENVS)/airflow/bin/python benchmarks/bench_slots.py $(ARGS)

DEPLOY := PYTHONPATH=.:plugins $(VENVS)/airflow/bin/python -m deploy
TO_AWS := $(CHECK) call --env "$$ENV" && $(SETUP)

deploy:  ## to AWS: make deploy ENV=prod; PLAN=1 only shows what would change, DRY_RUN=1 runs the DAGs once without deploying a model
	@$(TO_AWS) && $(RUN) check-model && $(DEPLOY) up --env "$$ENV" $(if $(call yes,$(PLAN)),--plan) $(if $(call yes,$(DRY_RUN)),--dry-run) $(ARGS)

plan-comment:
	@PYTHONPATH=.:plugins $(PYTHON) -m deploy.ci.plan_comment

KEYS := --env "$$ENV" --model "$$MODEL" $${NAME:+--name "$$NAME"} $${DAYS:+--days "$$DAYS"} $(if $(call yes,$(REVOKE)),--revoke)

api-key:  ## keys of a model's HTTP API on AWS: make api-key ENV=prod MODEL=abalone lists them, NAME=shop [DAYS=365] makes one, REVOKE=1 ends it
	@$(CHECK) call --env "$$ENV" --model "$$MODEL" >&2 && { test -x $(AIRFLOW_PYTHON) || $(SETUP) >&2; } && \
	PYTHONPATH=.:plugins $(AIRFLOW_PYTHON) -m deploy.api_keys $(KEYS)

PRICED := $(if $(findstring command,$(origin ENV)),"$$ENV")

cost:  ## the month of a model on AWS, and what its last runs took: make cost [MODEL=abalone] [ENV=prod] [JSON=1]
	@$(CHECK) call $${MODEL:+--model "$$MODEL"} $(if $(PRICED),--priced $(PRICED)) && \
	{ test -x $(AIRFLOW_PYTHON) || $(SETUP) >&2; } && \
	PYTHONPATH=.:plugins $(AIRFLOW_PYTHON) -m deploy.cost $${MODEL:+--model "$$MODEL"} $(if $(PRICED),--env $(PRICED)) $(if $(call yes,$(JSON)),--json)

VERIFIED := --env "$$ENV" $${MAX_USD:+--max-usd "$$MAX_USD"} $${HOURS:+--hours "$$HOURS"} $${REGION:+--region "$$REGION"} \
	$(if $(call yes,$(YES)),--yes) $(if $(call yes,$(DOWN)),--down) $(if $(call yes,$(REHEARSAL)),--rehearsal) $(ARGS)
# A rehearsal plays in the account of the stack of dev.
IN_DEV := $(if $(call yes,$(REHEARSAL)),AIRFLOW__RETRAINING__ENVIRONMENT=dev)
LOCALLY := $(if $(IN_DEV),vars="$$($(IN_DEV) $(RUN) env)" && eval "$$vars" &&)

verify-aws:  ## try everything but MWAA in an account, in a deployment of its own, and take it down: make verify-aws ENV=verify-ab12 [MAX_USD=1] [HOURS=2] [REGION=] [YES=1] [DOWN=1] [REHEARSAL=1]
	@$(IN_DEV) $(CHECK) call --verified "$$ENV" $(if $(IN_DEV),--rehearsal) && $(SETUP) && $(LOCALLY) \
	PYTHONPATH=.:plugins $(AIRFLOW_PYTHON) -m deploy.verification $(VERIFIED)

deploy-dags:  ## copy dags/ to the environment's bucket: make deploy-dags ENV=prod
	@$(TO_AWS) && $(RUN) check-model && $(DEPLOY) dags --env "$$ENV"

destroy:  ## delete the environment and its network; data stays: make destroy ENV=prod
	@$(TO_AWS) && $(DEPLOY) destroy --env "$$ENV"

sbom: setup-dev  ## software bill of materials and licences of the installed environments
	PYTHONPATH=. $(PYTHON) -m deploy.sbom --environments $(VENVS) --output build/sbom.cdx.json --licences docs/licences.md

audit: setup  ## known vulnerabilities in the locks and risky patterns in the sources
	@$(PYTHON) -m local_stack.bootstrap audit
	@PYTHONPATH=. $(PYTHON) -m deploy.audit --tools $(VENVS)/audit/bin
