#!/usr/bin/env bash
# Runs fuzz targets, all of them or those named, each for ten million executions or 30 minutes, whichever is first; prints a
# row of the table in docs/reliability.md for each. What was found worth keeping is reduced and added to fuzz/corpus.
#
#     fuzz/long_runs.sh [TARGET...]        RUNS, SECONDS_EACH, TIMEOUT and SANITIZER change the limits and the sanitizer
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${RUNS:-10000000} seconds=${SECONDS_EACH:-1800} sanitizer=${SANITIZER:-none}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- $(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"|\1|p' fuzz/Cargo.toml)
cargo +nightly fuzz build -s "$sanitizer" --release
for target; do
    mkdir -p "$work/$target" "$work/$target.least" fuzz/artifacts/"$target"
    begun=$SECONDS
    # The seeds are only read: new inputs go to the first folder. Nothing under 64 KiB needs more than 5 s or 2 GB.
    cargo +nightly fuzz run -s "$sanitizer" --release "$target" "$work/$target" "fuzz/corpus/$target" -- \
        -runs="$runs" -max_total_time="$seconds" -max_len=32768 -timeout="${TIMEOUT:-25}" -rss_limit_mb=2048 -print_final_stats=1 \
        >"$work/$target.log" 2>&1 && outcome='no crash' || outcome="CRASH: $(ls fuzz/artifacts/"$target")"
    done=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log")
    echo "| $target | ${done:-?} | $((SECONDS - begun)) | $outcome |"
    # What reaches code that the seeds do not, as few and small inputs as do it; larger ones are left out.
    cp "fuzz/corpus/$target"/* "$work/$target.least"
    cargo +nightly fuzz run -s "$sanitizer" --release "$target" "$work/$target.least" "$work/$target" -- \
        -merge=1 -max_len=4096 >"$work/$target.merge" 2>&1 || true
    find "$work/$target.least" -type f -size -5k -printf '%s %p\n' | sort -n | head -n 60 | cut -d' ' -f2- |
        xargs -r cp -n -t "fuzz/corpus/$target"
done
