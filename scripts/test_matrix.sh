#!/bin/bash
# The tests with the oldest Django that we know on the Python given, and with each later one on a Python that can run it.
#
#   test_matrix.sh PYTHON
set -euo pipefail

find_python() { # the first of these versions that is installed
    local version candidate
    for version in "$@"; do
        for candidate in "$(command -v "python$version" || true)" ~/.pyenv/versions/"$version".*/bin/python; do
            if [ -n "$candidate" ] && "$candidate" -c 'import venv' 2>/dev/null; then
                echo "$candidate"
                return
            fi
        done
    done
    return 1
}

run_tests() { # run_tests PYTHON NAME DJANGO: in an environment of that name
    local folder=.venv-$2
    [ -x "$folder/bin/python" ] || "$1" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]' "$3"
    "$folder/bin/python" -c 'import sys, django; print(f"Django {django.__version__} on Python {sys.version.split()[0]}")'
    "$folder/bin/python" -m pytest
}

run_tests "$1" django52 'django>=5.2,<6'
if python=$(find_python 3.13 3.12); then
    run_tests "$python" django6 'django>=6,<7'
else
    echo 'Django 6 was left out: it needs Python 3.12 or later, and none was found.'
fi
