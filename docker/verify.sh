#!/usr/bin/env bash
# Plays docs/docker-compose.md against a real Docker engine: a model gets into service, and down and up again lose nothing.
# Leaves the stack up. Ten minutes; the first time the images are built on top of that.
set -euo pipefail
cd "$(dirname "$0")/.."
before=$(mktemp)
trap 'rm -f "$before"' EXIT
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "up";       docker compose up -d --wait
step "password"; docker compose run --rm password
step "demo";     docker compose run --rm demo
step "history";  docker compose run --rm -T demo python -m local_stack history >"$before"
step "down";     docker compose down
step "up again"; docker compose up -d --wait
step "compare";  docker compose run --rm -T demo python -m local_stack history --compare - <"$before"
step "restart";  docker compose restart triggerer scheduler
step "healthy";  docker compose up -d --wait
step "done"
