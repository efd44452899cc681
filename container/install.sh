#!/usr/bin/env bash
# Both environments of the workflow below a folder, from the locks, without conda:
#
#     container/install.sh /shared/caneft        # two environments, 1.5 GB with a torch for CPUs
#     . /shared/caneft/activate                  # then: snakemake --cores all
#
# What the images of this folder run, and as good by itself. PYTHON names a Python 3.11 or 3.12 (python3). torch is the
# build that pip takes on this machine, so an index of your own in pip's configuration counts; what else there is comes by
# uv, from the registry that uv is set up for. The folder cannot be moved afterwards.
set -euo pipefail

[ $# = 1 ] || { echo "usage: container/install.sh FOLDER" >&2; exit 2; }
source="$(cd "$(dirname "$0")/.." && pwd)"
mkdir -p "$1"
folder="$(cd "$1" && pwd)"
python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
  || { echo "Python 3.11 or 3.12 is needed; name one: PYTHON=/path/to/python3.11 $0 $1" >&2; exit 1; }
export UV_CACHE_DIR="${UV_CACHE_DIR:-$folder/.cache}"

"$python" -m venv --clear "$folder/main"
"$folder/main/bin/python" -m pip install --quiet "$(grep '^uv==' "$source/requirements.txt")"
"$folder/main/bin/python" -m pip download --quiet --no-deps --dest "$folder/.wheels" "$(grep '^torch==' "$source/requirements.txt")"
cp "$folder/main/bin/uv" "$folder/.uv"  # it replaces itself below

install() {  # compiled, since an image may be read-only
  "$folder/.uv" pip install --quiet --compile-bytecode --python "$folder/$1/bin/python" --find-links "$folder/.wheels" --requirement "$2"
  "$folder/.uv" pip check --quiet --python "$folder/$1/bin/python"
}
install main "$source/requirements.txt"
"$python" -m venv --clear "$folder/comet"
install comet "$source/envs/comet.txt"

cat > "$folder/activate" <<END
export PATH="$folder/main/bin:\$PATH"
export CANEFT_COMET_PYTHON="$folder/comet/bin/python"
END
rm -rf "$folder/.cache" "$folder/.wheels" "$folder/.uv"
echo "Installed. To work with it:  . $folder/activate"
