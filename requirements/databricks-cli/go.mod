// The Databricks command for the tests of the bundle: see scripts/databricks_cli.sh.
module lakescore/databricks-cli

go 1.26.0

require github.com/databricks/cli v1.10.0
