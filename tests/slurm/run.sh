#!/usr/bin/env bash
# Runs a suite as a real Slurm array and merges its parts: a controller and two node daemons on this one machine.
#
#     tests/slurm/run.sh [path of gatewise]
#
# Needs root on Debian, and installs slurm-wlm and munge where they are not there. Not part of the test command. Ends
# with 0 if the merged report is, byte for byte, the one of the suite run whole without Slurm, and if what should be
# refused is.
set -euo pipefail
cd "$(dirname "$0")/../.."
gatewise=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/release/gatewise}")
[ -x "$gatewise" ] || { echo "no program $gatewise: cargo build --release --locked -p gatewise" >&2; exit 2; }
golden=$PWD/tests/golden

if ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
fi

scratch=$(mktemp -d)
started=()
finish() {
  code=$?
  set +e
  # The daemons write their numbers when they are up: by these they are stopped, never by name.
  for file in "$scratch"/slurmd-n1.pid "$scratch"/slurmd-n2.pid "$scratch"/slurmctld.pid "${started[@]}"; do
    [ -s "$file" ] && kill "$(cat "$file")" 2> /dev/null
  done
  if [ "$code" -ne 0 ]; then
    tail -n 20 "$scratch"/*.log "$scratch"/out/*.txt >&2
  fi
  sleep 1
  rm -rf "$scratch"
  exit "$code"
}
trap finish EXIT

# munge: who speaks to the controller.
if ! munge -n 2> /dev/null | unmunge > /dev/null 2>&1; then
  mkdir -p /run/munge /var/lib/munge /var/log/munge
  chown munge: /etc/munge /run/munge /var/lib/munge /var/log/munge
  chmod 755 /run/munge
  [ -s /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none; }
  chown munge: /etc/munge/munge.key
  chmod 400 /etc/munge/munge.key
  setpriv --reuid munge --regid munge --clear-groups munged
  started+=(/run/munge/munged.pid)
  munge -n | unmunge > /dev/null
fi

host=$(hostname -s)
mkdir -p "$scratch"/state "$scratch"/spool/n1 "$scratch"/spool/n2 "$scratch"/out
cat > "$scratch/slurm.conf" <<END
ClusterName=gatewise
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool/%n
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd-%n.pid
SlurmctldLogFile=$scratch/slurmctld.log
SlurmdLogFile=$scratch/slurmd-%n.log
SlurmctldPort=16817
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=1
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES State=UP
END
export SLURM_CONF=$scratch/slurm.conf
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF" -N n1
slurmd -f "$SLURM_CONF" -N n2
for _ in $(seq 60); do
  [ "$(sinfo --noheader --states=idle --format=%D 2> /dev/null | tr -d ' ')" = 2 ] && break
  sleep 1
done
sinfo

cat > "$scratch/some.suite.toml" <<END
[defaults]
device = "cpu"
sequences = 8
timesteps = 12

[[case]]
name = "right"
checkpoint = ["$golden/basic", "$golden/multi", "$golden/bidirectional", "$golden/seed_names"]
candidate = "{checkpoint}/keras?/model.*"

[[case]]
name = "wrong"
checkpoint = "$golden/basic"
candidate = "$golden/basic/keras3/wrong/*.weights.h5"
expect = "fail"

[[case]]
name = "refused"
checkpoint = "$golden/peephole"
expect = "error"
says = "peephole"
END
cat > "$scratch/job.sh" <<'END'
#!/bin/sh
echo "task $SLURM_ARRAY_TASK_ID on $SLURMD_NODENAME"
exec "$GATEWISE" suite some.suite.toml --shard auto --jobs 1 --state "out/state-$SLURM_ARRAY_TASK_ID" \
    --results "out/part-$SLURM_ARRAY_TASK_ID.json"
END
chmod +x "$scratch/job.sh"
export GATEWISE=$gatewise
cd "$scratch"
"$gatewise" suite some.suite.toml --quiet --results whole.json

# An array that does not begin at 0 and has a step: tasks 3, 5, 7 and 9 are parts 1 to 4.
sbatch --wait --array=3-9:2 --output='out/%a.txt' job.sh
cat out/*.txt | grep '^task '
[ "$(grep -h '^task ' out/*.txt | awk '{print $4}' | sort -u | wc -l)" = 2 ] || echo 'note: all tasks ran on one node'
parts=(out/part-*.json)
[ "${#parts[@]}" = 4 ]
"$gatewise" suite merge "${parts[@]}" --results merged.json
cmp whole.json merged.json
echo 'the merged report is the one of the whole suite'

# A part that is missing is not passed over.
if "$gatewise" suite merge out/part-3.json out/part-5.json out/part-9.json 2> missing.txt; then exit 1; fi
grep 'part 3 of 4 is missing' missing.txt

# Uneven ids: a task that cannot tell which part it is says so, and runs nothing.
rm out/*
sbatch --wait --array=1,2,7 --output='out/%a.txt' job.sh || true
grep 'not evenly spaced' out/2.txt
[ ! -e out/part-2.json ]
