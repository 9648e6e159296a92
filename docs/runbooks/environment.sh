# What the commands of every runbook stand on. At the repository's root, in bash:  . docs/runbooks/environment.sh
# For another deployment than that of deploy/compose.yaml, write these functions anew; the runbooks stay as they are.

# Where `make up` keeps what it made, and what it calls its containers.
COMPOSE_STATE=${COMPOSE_STATE:-build/compose}
COMPOSE_PROJECT=${COMPOSE_PROJECT:-k2}
if [ -r "$COMPOSE_STATE/variables.env" ]; then
    # Ports, images and the cluster's id, as `make up` left them; not exported, or k2 takes K2_IMAGE for a setting.
    . "$COMPOSE_STATE/variables.env"
fi
export K2_DATA_DIR=${K2_DATA_DIR:-$COMPOSE_STATE/k2}
export PATH="$PWD/.venv/bin:$PATH"
API=http://127.0.0.1:${API_PORT:-8000}
REGISTRY_1=http://127.0.0.1:${SCHEMA_REGISTRY_1_PORT:-18081}
REGISTRY_2=http://127.0.0.1:${SCHEMA_REGISTRY_2_PORT:-18082}
BACKUP=${BACKUP:-build/backup}

# compose ps, compose logs --tail 100 api, ...: the services of deploy/compose.yaml
compose() {
    if docker compose version >/dev/null 2>&1; then
        docker compose --project-name "$COMPOSE_PROJECT" --env-file "$COMPOSE_STATE/variables.env" --file deploy/compose.yaml "$@"
    else
        docker-compose --project-name "$COMPOSE_PROJECT" --env-file "$COMPOSE_STATE/variables.env" --file deploy/compose.yaml "$@"
    fi
}

# ask 'EXPRESSION': what Prometheus says of it now, a line for each series; nothing where there is none
ask() {
    compose exec -T prometheus promtool query instant http://127.0.0.1:9090 "$1"
}

# firing: the alerts of this moment
firing() {
    compose exec -T alertmanager amtool --alertmanager.url=http://127.0.0.1:9093 alert query "$@"
}

# catalog 'STATEMENT': one statement on the catalog's database, as its superuser
catalog() {
    compose exec -T postgres psql --username postgres --dbname catalog --command "$1"
}

# healthy SERVICE: waits until its own health check passes, for two minutes at most
healthy() {
    for _ in $(seq 60); do
        container=$(compose ps --quiet "$1" | head -n 1)
        if [ "$(docker inspect --format '{{.State.Health.Status}}' "$container" 2>/dev/null)" = healthy ]; then
            return 0
        fi
        sleep 2
    done
    echo "$1 is not healthy: compose logs --tail 50 $1" >&2
    return 1
}

# as_it_was: everything runs again as it was deployed, whatever was stopped or scaled meanwhile
as_it_was() {
    compose up --detach && healthy api
}
