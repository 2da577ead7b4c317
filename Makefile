# The commands of this repository. Each sets up what it needs: .venv, and for `demo` and `test`
# the Debian packages of the lab (as root).

.PHONY: demo test check bench setup clean

setup:
	@scripts/setup

# The main job, from nothing, on the lab: hosts, DNS, mail, warm-up.
demo:
	@scripts/setup --lab
	@.venv/bin/mailfleet lab demo

# Every test. Those on real hosts are skipped, loudly, where the lab cannot run.
test:
	@scripts/setup --lab
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

# Lint, format, types. roles/, deploy/ and templates/ ship as parts of the package mailfleet, so
# mypy sees them in the place they will have.
check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@rm -rf .venv/types && mkdir -p .venv/types/mailfleet
	@ln -s $(CURDIR)/mailfleet/* $(CURDIR)/roles $(CURDIR)/deploy $(CURDIR)/templates .venv/types/mailfleet/
	cd .venv/types && ../bin/mypy --config-file ../../pyproject.toml --cache-dir ../mypy

# Benchmarks: printed, never asserted in a test.
bench: setup
	@for bench in bench/[a-z]*.py; do echo "== $$bench"; .venv/bin/python $$bench || exit 1; done

clean:
	rm -rf .venv build dist *.egg-info
