#!/usr/bin/env bash
# Builds sdist and wheel into a folder from the files that git knows, and proves that anyone gets the same bytes: built
# again elsewhere, later, by somebody with another umask, time zone and locale; and the wheel once more from the sdist.
set -euo pipefail
python=$1
target=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset SOURCE_DATE_EPOCH # hatchling gives every file one fixed date, unless this says another

build() { # from, to, options...
    (cd "$work/$1" && "$python" -m hatchling build --directory "$work/$2" "${@:3}") >"$work/log" 2>&1 ||
        { cat "$work/log" >&2 && return 1; }
}

if [ ! -e .git ]; then # an unpacked sdist
    export GIT_DIR=$work/git GIT_WORK_TREE=$PWD
    git init --quiet && git add --all
fi
mkdir "$work"/{first,second,unpacked}
git ls-files -z -- :!PKG-INFO | tar --create --null --files-from=- | tee >(tar --extract --directory "$work/first") |
    (umask 077 && tar --extract --touch --no-same-permissions --directory "$work/second")
build first built
(umask 077 && TZ=Pacific/Kiritimati LC_ALL=C build second again)
tar --extract --gzip --strip-components 1 --directory "$work/unpacked" --file "$work"/built/*.tar.gz
build unpacked from-sdist --target wheel

for file in "$work"/built/*; do
    cmp "$file" "$work/again/$(basename "$file")"
done
cmp "$work"/built/*.whl "$work"/from-sdist/*.whl
# The sdist holds the whole repository, so that its tests run from it.
diff <(git ls-files -- :!PKG-INFO | sort) <(cd "$work/unpacked" && find . -type f ! -name PKG-INFO -printf '%P\n' | sort)

mkdir -p "$target"
rm -f "$target"/*.whl "$target"/*.tar.gz
cp "$work"/built/* "$target"
(cd "$target" && sha256sum *.whl *.tar.gz)
