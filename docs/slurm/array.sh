#!/bin/bash
# One SLURM array: each task trains its part of the plan. Submit it again to go on where it was.
#   sbatch docs/slurm/array.sh
#SBATCH --job-name=lnl-bench
#SBATCH --array=1-4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=B:INT@60
#SBATCH --output=lnl-bench-%A-%a.log
# Ctrl-C comes a minute before the time is up; `exec` lets it reach the command, which keeps its checkpoints.
exec python -m bench run --methods ce,gce,elr --noise asym --shard slurm --out runs --boards "boards-${SLURM_ARRAY_TASK_ID}"
