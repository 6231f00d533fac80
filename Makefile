# `make` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help run run-redis redis demo test test-api test-cluster test-page picture chaos fuzz fmt lint deny ci check-deploy check-alerts \
	bench bench-send bench-deliver bench-backlog bench-live bench-feed bench-scale

HUB_URL ?= http://127.0.0.1:8080
REDIS_PORT ?= 6379

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start the hub on 127.0.0.1:8080 with the embedded store in ./data
	EVENTS__STORE__URL=$${EVENTS__STORE__URL:-embedded:data} cargo run --release --locked

redis: ## Start a Redis for the hub in the foreground, with redis/redis.conf
	@scripts/install.sh redis-server=redis-server
	@mkdir -p redis/data
	redis-server redis/redis.conf --port $(REDIS_PORT) --dir redis/data

run-redis: ## Start the hub on the Redis of `make redis`
	EVENTS__STORE__URL=$${EVENTS__STORE__URL:-redis://127.0.0.1:$(REDIS_PORT)} cargo run --release --locked

demo: ## Register, send, read the feed and watch live against a running hub
	scripts/demo.sh $(HUB_URL)

test: ## Run all tests; installs redis-server and rabbitmq-server if they are missing
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools rabbitmq-server=rabbitmq-server epmd=erlang-base \
		faketime=faketime
	cargo test --locked --no-fail-fast

test-api: ## Let Schemathesis ask a hub everything in its OpenAPI document; some minutes: TEST_API_EXAMPLES, TEST_API_SEED
	@scripts/install.sh curl=curl python3=python3
	@python3 -c 'import ensurepip, venv' 2>/dev/null || scripts/install.sh python3-venv-module=python3-venv
	scripts/test-api.sh

test-cluster: ## Failover, resharding, Sentinel, rolling restart under load; TLS; a few minutes
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools
	cargo test --locked --features cluster-tests --test cluster -- --test-threads=2

test-page: ## The dashboard in a real browser (Chromium); pictures of its pages go to target/screenshots; PAGE_TESTS="-k overview"
	@scripts/install.sh chromium=chromium chromedriver=chromium-driver python3=python3 redis-server=redis-server
	cargo build --locked
	scripts/axe.sh
	PYTHONDONTWRITEBYTECODE=1 python3 -m unittest discover -v -s tests/page $(PAGE_TESTS)

picture: ## Take the README's picture of the dashboard anew; a quarter of an hour
	PAGE_README=1 PAGE_HISTORY=930 $(MAKE) test-page PAGE_TESTS="-k busy_hub"

chaos: ## Run the fault program of `make test` longer: CHAOS_EVENTS, CHAOS_FAULTS, CHAOS_SEED (random unless given)
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools rabbitmq-server=rabbitmq-server epmd=erlang-base
	CHAOS_SEED=$${CHAOS_SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')} CHAOS_EVENTS=$${CHAOS_EVENTS:-200000} \
	CHAOS_FAULTS=$${CHAOS_FAULTS:-120} cargo test --locked --test chaos -- nothing_is_lost

check-alerts: ## Look over the alarms of deploy/ with promtool; installs it if it is missing
	@scripts/install.sh promtool=prometheus
	promtool check rules deploy/alerts.yaml

fuzz: ## Run the property tests of `make test` longer: PROPTEST_CASES (5000 instead of 256)
	PROPTEST_CASES=$${PROPTEST_CASES:-5000} cargo test --locked --lib -- --test-threads=1

fmt: ## Format the code
	cargo fmt

lint: ## Check format and lints
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

deny: ## Check licences, sources and duplicates of all dependencies by .deny.toml (needs no advisory database)
	scripts/cargo-deny.sh licenses sources bans

ci: ## What continuous integration runs
	.ci/run

check-deploy: ## Check what is in deploy/, Dockerfile and compose.yaml, as far as that goes without a container engine
	scripts/check-deploy.sh

bench: bench-send bench-deliver bench-backlog bench-live bench-feed bench-scale ## Measure everything below; about 45 minutes

bench-send: ## Sending against a bare server, and the bytes an event takes in Redis
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools wrk=wrk curl=curl
	bench/send.sh

bench-deliver: ## Webhooks a second and their latency, RabbitMQ against a bare publisher, isolation of streams
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools curl=curl rabbitmq-server=rabbitmq-server epmd=erlang-base
	bench/deliver.sh

bench-backlog: ## A million undelivered events: memory, start-up, sending, draining
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools curl=curl
	bench/backlog.sh

bench-live: ## A thousand WebSocket sessions beside nginx with nchan, ten thousand idle ones, a replay of a million events
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools curl=curl nginx=nginx-light
	@test -e /usr/lib/nginx/modules/ngx_nchan_module.so || scripts/install.sh nchan-module=libnginx-mod-nchan
	bench/live.sh

bench-feed: ## Feeds of 100 and 1000 events and a 304 against a bare server, few and many stored; a month of 1000 types; bytes of a mark
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools wrk=wrk curl=curl
	bench/feed.sh
	bench/marks.sh

bench-scale: ## What an event costs at each part with 1, 2 and 4 hubs, and with 1 and 3 masters of a Redis Cluster
	@scripts/install.sh redis-server=redis-server redis-cli=redis-tools curl=curl rabbitmq-server=rabbitmq-server epmd=erlang-base \
		ss=iproute2
	bench/scale.sh
