#!/bin/bash
# Runs a Python file of the workspace as a module, so that imports start at the root.
set -euo pipefail
module=${1%.py}
shift
exec python3 -B -m "${module//\//.}" "$@"
