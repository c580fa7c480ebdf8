#!/bin/sh
# Build the Databricks command (under its own licence, a tool of development alone) from its pinned
# source, and print where it is. Needs Go; takes some minutes the first time.
set -eu
cd "$(dirname "$0")/.."
version=1.10.0
command=$PWD/.cache/databricks-cli-$version/cli
if [ ! -x "$command" ]; then
    cd requirements/databricks-cli
    GOBIN=$(dirname "$command") go install -mod=readonly \
        -ldflags "-X github.com/databricks/cli/internal/build.buildVersion=$version" \
        github.com/databricks/cli >&2
fi
echo "$command"
