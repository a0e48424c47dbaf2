# shellcheck shell=bash
# What the checks share. Each one sources this file first, which also takes it to the
# root of the project: a check may be run from any directory.

set -euo pipefail

case ${CARGO_TARGET_DIR:-} in
    '' | /*) ;;
    *) export CARGO_TARGET_DIR="$PWD/$CARGO_TARGET_DIR" ;;
esac

ci_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$ci_dir")
cd "$root"

# No check asks anything.
exec </dev/null

# Each check sets its own flags: those of the caller would change what is checked.
unset RUSTFLAGS RUSTDOCFLAGS MIRIFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_ENCODED_RUSTDOCFLAGS
unset CARGO_TERM_COLOR CARGO_TERM_QUIET CARGO_TERM_VERBOSE

# A git hook that calls a check leaves these set; they would point git at the wrong tree.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX

# The scripts that source this file use these.
# shellcheck disable=SC2034
{
    libraries=(allocator-core typed-pool)
    target_dir=${CARGO_TARGET_DIR:-$root/target}
}

# Ends the check as failed.
die() {
    echo "error: $*" >&2
    exit 1
}

# Adds a remark to the line of this check in the table of `.ci/run`.
note() {
    if [[ -n ${CI_NOTE_FILE:-} ]]; then
        echo "$*" >"$CI_NOTE_FILE"
    fi
}

# Ends the check as skipped, visibly: nothing was checked, and nothing was found wrong.
skip() {
    echo "SKIPPED: $*"
    note "SKIPPED: $*"
    exit 0
}

# Prints a command and runs it.
say() {
    echo "+ $*"
    "$@"
}

# Makes sure that the component $1 (rustfmt, clippy) of the toolchain is there: cargo's
# subcommand $2 comes with it.
need_component() {
    if cargo "$2" --version >/dev/null 2>&1; then
        return
    fi
    if command -v rustup >/dev/null; then
        echo "$1 is missing, adding it with rustup"
        rustup component add "$1" || true
    fi
    cargo "$2" --version >/dev/null 2>&1 ||
        die "$1 is missing and could not be added: try 'rustup component add $1'"
}

# The files of the project, one a line: those that git tracks or would track; in a tree
# without git, all but the build's.
project_files() {
    if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
        git -c core.quotePath=false ls-files --cached --others --exclude-standard |
            while IFS= read -r file; do
                if [[ -f $file ]]; then printf '%s\n' "$file"; fi
            done
    else
        find . -path ./target -prune -o -type f -print | sed 's|^\./||'
    fi
}

# Copies the project to $1/tree, to plant something in. All files count as changed (-m), so
# that nothing that an earlier copy built is taken for this one's. Cargo takes two copies of
# a workspace for the same one, so the copy needs a target directory of its own: $1 will do.
copy_tree() {
    rm -rf "$1/tree"
    mkdir -p "$1/tree"
    project_files | tar -cf - -T - | tar -xmf - -C "$1/tree"
}

# Copies directory $1, which cargo built, to $2, if there is none yet: what nobody patches need not be built again.
seed_builds() {
    if [[ -d $1 && ! -d $2 ]]; then
        # Whole or not at all.
        rm -rf "$2.new"
        mkdir -p "$(dirname "$2")"
        cp -a "$1" "$2.new"
        mv "$2.new" "$2"
    fi
}

# The patches of .ci/$1 whose file name contains $2, in the array `patches`.
find_patches() {
    shopt -s nullglob
    patches=("$ci_dir/$1"/*"$2"*.patch)
    shopt -u nullglob
}

# Prints in how many copies of the tree `patches` are planted at once: one for each core.
lanes() {
    local cores
    cores=$(nproc)
    echo $((${#patches[@]} < cores ? ${#patches[@]} : cores))
}

# Runs the check $1 as $2 lanes at once, with `--lane NUMBER/LANES` and what follows. Fails where one of them does.
run_lanes() {
    local check=$1 lanes=$2
    shift 2
    seq "$lanes" | xargs -P "$lanes" -I{} "$ci_dir/$check" --lane "{}/$lanes" "$@"
}

# Calls `check_patch` for those of `patches` that belong to the lane $1, NUMBER/LANES. Fails where one of them does.
check_lane() {
    local index faults=0
    for ((index = ${1%/*} - 1; index < ${#patches[@]}; index += ${1#*/})); do
        check_patch "${patches[index]}" || faults=1
    done
    return "$faults"
}

# git apply, in the copy in $1, as outside any repository: inside one it would silently skip
# the files that lie elsewhere than the patch says.
apply_in_copy() {
    local work=$1
    shift
    GIT_CEILING_DIRECTORIES=$work git -C "$work/tree" apply --whitespace=nowarn "$@"
}
