#!/bin/sh
# Makes the Python environment $1 with Python 3.11 or 3.12: Bytewax has no wheels for newer ones.
# Where neither is found, uv (from PyPI) fetches one, which then lives in the environment's folder.
# PYTHON names an interpreter to use; UV_PYTHON_INSTALL_MIRROR a place of one's own for uv to fetch from.
set -eu

venv=$1
uv_pinned=uv==0.13.9

version() {
  "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null
}

fits() {
  case "$(version "$1")" in
    3.11.* | 3.12.*) return 0 ;;
    *) return 1 ;;
  esac
}

runs() {
  version "$1" >/dev/null
}

# An interpreter of those named that `$1` is true of; a command may be there and not run, as pyenv's are.
first() {
  wanted=$1
  shift
  for name in "$@"; do
    if "$wanted" "$name"; then
      echo "$name"
      return 0
    fi
  done
  return 1
}

if [ -n "${PYTHON:-}" ]; then
  fits "$PYTHON" || { echo "Penstock needs Python 3.11 or 3.12; PYTHON=$PYTHON is $(version "$PYTHON" || echo none)." >&2; exit 1; }
  python=$PYTHON
else
  python=$(first fits python3.12 python3.11 python3 python) || python=
fi

if [ -z "$python" ]; then
  any=$(first runs python3 python python3.14 python3.13 python3.10) || any=
  found=$([ -z "$any" ] || echo " (there is $(version "$any"))")
  if command -v uv >/dev/null 2>&1; then
    uv=uv
  elif [ -n "$any" ]; then
    uv=$venv/.uv/bin/uv
  else
    echo "Penstock needs Python 3.11 or 3.12, or any Python 3, or uv, on the PATH: there is none." >&2
    exit 1
  fi
  echo "==> no Python 3.11 or 3.12 here$found: uv from PyPI fetches one into $venv/.python"
  if [ "$uv" != uv ]; then
    "$any" -m venv "$venv/.uv"
    "$venv/.uv/bin/python" -m pip install --disable-pip-version-check --quiet "$uv_pinned"
  fi
  export UV_PYTHON_INSTALL_DIR="$venv/.python"
  "$uv" --no-config python install --no-bin 3.12 || {
    echo "uv could not fetch Python 3.12. Install Python 3.11 or 3.12, or set UV_PYTHON_INSTALL_MIRROR." >&2
    exit 1
  }
  python=$("$uv" --no-config python find --managed-python 3.12)
  rm -rf "$venv/.uv"
fi

echo "==> making $venv with Python $(version "$python")"
exec "$python" -m venv "$venv"
