# Two commands: `make run` and `make test`. Both need Linux, Python 3.11, make and a package index; nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv

.PHONY: run test check lock css openapi docs formats clean

run: $(VENV)/.installed  ## Set everything up, serve, and do the main job on the bundled sample
	@exec $(BIN)/python manage.py run

test: $(VENV)/.installed-tests  ## Everything that CI runs
	@$(BIN)/python tests/everything.py

$(BIN)/uv:
	@command -v $(PYTHON) >/dev/null 2>&1 && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	@$(BIN)/python -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$(sed -n 's/^uv==//p' requirements.txt)"

$(VENV)/.installed: requirements.txt requirements-no-deps.txt | $(BIN)/uv
	@echo "Installing the pinned requirements"
	@$(UV) pip install --quiet --python $(BIN)/python -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python -r requirements-no-deps.txt
	@touch $@

$(VENV)/.installed-tests: tests/requirements.txt $(VENV)/.installed
	@$(UV) pip install --quiet --python $(BIN)/python -r requirements.txt -r tests/requirements.txt
	@touch $@

lock: $(BIN)/uv  ## Pin the direct dependencies of pyproject.toml anew
	$(UV) pip compile --quiet --upgrade --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.txt
	$(UV) pip compile --quiet --upgrade --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links -c requirements.txt --group dev -o tests/requirements.txt

css:  ## Build static/css/app.css (needs Node.js)
	npm install --no-save --loglevel=error
	npm run css

openapi: $(VENV)/.installed  ## Write the OpenAPI description
	$(BIN)/python manage.py spectacular --file edge_ai/api/openapi.yaml --validate --fail-on-warn

docs: $(VENV)/.installed  ## Write the generated parts of the documentation
	$(BIN)/python manage.py document

formats: $(VENV)/.installed  ## Try every conversion of the models in MODELS, a folder, and write docs/formats.md
	$(BIN)/python -m benchmarks.formats --models $(MODELS)

clean:
	rm -rf $(VENV) node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
