#!/bin/sh
# Find a Python that fits, then hand over to setup.py with it. Usage: setup.sh dev|compat|deep
# PYTHON=/path/to/python overrides the search.
set -eu
environment=${1:-dev}
case "$environment" in
    compat) versions="3.10" name=COMPAT_PYTHON ;;
    *) versions="3.12 3.11 3.10" name=PYTHON ;;
esac

version_of() { # a name on PATH can be a shim that fails: only what runs counts
    answer=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || answer=""
    echo "$answer"
}

fits() {
    for wanted in $versions; do [ "$1" = "$wanted" ] && return 0; done
    return 1
}

if [ -n "${PYTHON:-}" ]; then
    candidates=$PYTHON
else
    candidates=""
    for version in $versions; do candidates="$candidates python$version"; done
    candidates="$candidates python3 python"
    for version in $versions; do
        for path in "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python \
            "${HOME:-}/.local/share/uv/python/cpython-$version".*/bin/python"$version"; do
            [ -x "$path" ] && candidates="$candidates $path"
        done
    done
fi

seen=""
for candidate in $candidates; do
    found=$(version_of "$candidate")
    if [ -n "$found" ] && fits "$found"; then
        exec "$candidate" "$(dirname "$0")/setup.py" "$environment"
    elif [ -n "$found" ]; then
        seen="$seen, $candidate is $found"
    elif [ -n "${PYTHON:-}" ]; then
        seen="$seen, $candidate does not run"
    fi
done

newest=${versions%% *}
echo "set-up stopped: this needs Python $(echo "$versions" | sed 's/ / or /g')${seen:-, and none runs};" \
    "install one (for example apt-get install python$newest python$newest-venv, brew install" \
    "python@$newest or pyenv install $newest), or name it: $name=/path/to/python" >&2
exit 3
