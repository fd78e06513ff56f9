#!/usr/bin/env bash
# Runs fuzz targets, all of them or those named, each for ten million executions or 30 minutes of processor time, whichever is
# first; prints a row of the table in docs/reliability.md for each. A target goes on where it was when it was interrupted. What
# was found worth keeping is reduced and added to fuzz/corpus.
#
#     fuzz/long_runs.sh [TARGET...]        RUNS, SECONDS_EACH, ROUND, TIMEOUT and SANITIZER change the limits and the sanitizer;
#                                          WORK is where what was done is kept (default fuzz/long_runs)
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${RUNS:-10000000} seconds=${SECONDS_EACH:-1800} round=${ROUND:-120} sanitizer=${SANITIZER:-none} work=${WORK:-fuzz/long_runs}
[ $# -gt 0 ] || set -- $(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"|\1|p' fuzz/Cargo.toml)
cargo +nightly fuzz build -s "$sanitizer" --release
programs=fuzz/target/$(rustc +nightly -vV | sed -n 's/^host: //p')/release
for target; do
    mkdir -p "$work/$target/found" "$work/$target/least" fuzz/artifacts/"$target"
    # Executions and seconds of processor time of the rounds so far.
    touch "$work/$target/rounds"
    outcome='no crash'
    while
        read -r executed used < <(awk '{runs += $1; seconds += $2} END {printf "%d %d\n", runs, seconds}' "$work/$target/rounds")
        [ "$executed" -lt "$runs" ] && [ "$used" -lt "$seconds" ]
    do
        # The seeds are only read: new inputs go to the first folder. Nothing under 64 KiB needs more than 5 s or 2 GB.
        # Processor time, as a run that others slow down or stop would be cut short by the clock.
        TIMEFORMAT='%U %S'
        { time "$programs/$target" "$work/$target/found" "fuzz/corpus/$target" -artifact_prefix="fuzz/artifacts/$target/" \
            -runs=$((runs - executed)) -max_total_time="$round" -max_len=32768 -timeout="${TIMEOUT:-25}" -rss_limit_mb=2048 \
            -print_final_stats=1 >"$work/$target/log" 2>&1; } 2>"$work/$target/time" || outcome="CRASH: $(ls fuzz/artifacts/"$target")"
        done=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target/log")
        echo "${done:-0} $(awk '{print $1 + $2}' "$work/$target/time")" >>"$work/$target/rounds"
        [ "$outcome" = 'no crash' ] || break
    done
    read -r executed used < <(awk '{runs += $1; seconds += $2} END {printf "%d %d\n", runs, seconds}' "$work/$target/rounds")
    echo "| $target | $executed | $used | $outcome |"
    # What reaches code that the seeds do not, as few and small inputs as do it; larger ones are left out.
    cp "fuzz/corpus/$target"/* "$work/$target/least"
    "$programs/$target" -merge=1 -max_len=4096 "$work/$target/least" "$work/$target/found" >"$work/$target/merge" 2>&1 || true
    find "$work/$target/least" -type f -size -5k -printf '%s %p\n' | sort -n | awk 'NR <= 60' | cut -d' ' -f2- |
        xargs -r cp -n -t "fuzz/corpus/$target"
done
